//! Assertions, with messages that tell what was asked, what came, and what was expected.

use crate::{Outcome, Stop};
use tonic::{Code, Status};

/// Ends the case as failed unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::Stop::Fail(format!($($why)+)));
        }
    };
}

/// The name of a code as gRPC's documentation writes it.
pub fn name(code: Code) -> String {
    let text = format!("{code:?}");
    let mut name = String::new();
    for c in text.chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

fn names(codes: &[Code]) -> String {
    codes.iter().map(|code| name(*code)).collect::<Vec<_>>().join(" or ")
}

/// The answer of a call that must succeed. `what` is the call and why: `the same request again`.
///
/// # Errors
/// It failed.
pub fn ok<T>(answer: Result<T, Status>, what: &str) -> Outcome<T> {
    answer.map_err(|s| Stop::Fail(format!("{what}: must be OK, was {} ({})", name(s.code()), s.message())))
}

/// The error of a call that must fail with this code.
///
/// # Errors
/// It did not fail, or with another code.
pub fn refused<T>(answer: Result<T, Status>, code: Code, what: &str) -> Outcome<Status> {
    refused_as(answer, &[code], what)
}

/// As [`refused`], with any of the codes.
///
/// # Errors
/// As [`refused`].
pub fn refused_as<T>(answer: Result<T, Status>, codes: &[Code], what: &str) -> Outcome<Status> {
    match answer {
        Ok(_) => Err(Stop::Fail(format!("{what}: must be {}, was OK", names(codes)))),
        Err(s) if codes.contains(&s.code()) => Ok(s),
        Err(s) => {
            Err(Stop::Fail(format!("{what}: must be {}, was {} ({})", names(codes), name(s.code()), s.message())))
        }
    }
}

/// The answer, if there is one; nothing if it failed with one of the codes.
///
/// # Errors
/// It failed with another code.
pub fn ok_or<T>(answer: Result<T, Status>, codes: &[Code], what: &str) -> Outcome<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(s) if codes.contains(&s.code()) => Ok(None),
        Err(s) => {
            Err(Stop::Fail(format!("{what}: must be OK or {}, was {} ({})", names(codes), name(s.code()), s.message())))
        }
    }
}

/// What an answer must hold.
///
/// # Errors
/// It does not.
pub fn some<T>(value: Option<T>, what: &str) -> Outcome<T> {
    value.ok_or_else(|| Stop::Fail(format!("the answer has no {what}")))
}

/// Both are the same.
///
/// # Errors
/// They differ.
pub fn same<T: PartialEq + std::fmt::Debug>(is: &T, must: &T, what: &str) -> Outcome {
    ensure!(is == must, "{what}: must be {must:?}, was {is:?}");
    Ok(())
}

/// What is wrong with an error of the driver, whatever it is about.
pub(crate) fn of_error(rpc: &str, status: &Status) -> Vec<String> {
    let mut wrong = vec![];
    if !status.details().is_empty() {
        wrong.push(format!("{rpc}: the error {} has details, which must be empty", name(status.code())));
    }
    // Of a service that isn't there the RPC library answers, not the driver.
    if status.message().is_empty() && status.code() != Code::Unimplemented {
        wrong.push(format!("{rpc}: the error {} has no message", name(status.code())));
    }
    wrong
}
