//! What can go wrong in any call.

use bulkhead_sdk::logging::{Level, log};
use bulkhead_sdk::pools::{self, ObjectKind, ObjectSpec, Provisioning};
use bulkhead_sdk::prelude::*;
use std::hint::black_box;
use std::time::Duration;

/// Behaviours that end the call without an answer, or come before a sound one (`log-many`, `log-long`, `pools`).
#[cfg(test)]
pub const HARMS: [&str; 10] =
    ["trap", "panic", "loop", "memory", "stack", "log", "log-many", "log-long", "pools", "pools-evil"];

/// Behaviours that return an error: one for each case, and some that the host must not take as they are.
#[cfg(test)]
pub const ERRORS: [&str; 17] = [
    "error-invalid-argument",
    "error-not-found",
    "error-already-exists",
    "error-resource-exhausted",
    "error-failed-precondition",
    "error-out-of-range",
    "error-permission-denied",
    "error-unauthenticated",
    "error-pending",
    "error-pending-large",
    "error-pending-control",
    "error-unavailable",
    "error-unknown-outcome",
    "error-internal",
    "error-empty",
    "error-long",
    "error-control",
];

/// Does it. Returns after `log-many`, `log-long` and `pools`, otherwise with an error or never.
pub fn misbehave(what: &str) -> Result<()> {
    match what {
        "trap" => trap(),
        "panic" => panic!("the backend has a bug"),
        "loop" => loop {
            black_box(());
        },
        "memory" => exhaust_memory(),
        "stack" => {
            black_box(recurse(black_box(0)));
            Ok(())
        }
        "log" => loop {
            log(Level::Error, "without end");
        },
        "log-many" => {
            (0..10_000).for_each(|line| log(Level::Info, &format!("line {line}")));
            Ok(())
        }
        "log-long" => {
            log(Level::Info, &"\u{1b}[31mforged\r\n\0".repeat(8192));
            Ok(())
        }
        "pending-resumed" => Err(pending_with_what_was_left()),
        "pools" => Ok(pools::stat_pool(POOL).map(drop)?),
        "pools-evil" => reach_for_everything(),
        _ => Err(error(what).unwrap_or_else(|| unknown(what))),
    }
}

/// Says what the last try has left, and leaves something.
fn pending_with_what_was_left() -> Error {
    let found = bulkhead_sdk::call::resume().unwrap_or_else(|| "nothing".to_owned());
    Error::pending(format!("resumed with {found}")).retry_after(Duration::from_millis(400)).resume("what was left")
}

/// The pool that a test grants this backend, if it grants one.
const POOL: &str = "bad";

/// Asks for objects that no host may make: out of the pool, in another one, larger than a disk. An `internal` error names
/// the first that was made all the same; otherwise it is `failed-precondition`.
fn reach_for_everything() -> Result<()> {
    let spec = |name: &str| ObjectSpec {
        name: name.to_owned(),
        kind: ObjectKind::Image,
        size_bytes: 4096,
        provisioning: Provisioning::Thin,
        metadata: Vec::new(),
    };
    let long = "n".repeat(129);
    let names = ["", ".", "..", "../x", "/etc/x", "a/b", ".hidden", "x\0y", "x\ny", long.as_str()];
    let mut orders: Vec<_> = names.map(|name| (POOL, spec(name))).into();
    orders.extend(["", "..", "../bad", "somebody-elses"].map(|pool| (pool, spec("evil"))));
    let large = |size_bytes, provisioning| ObjectSpec { size_bytes, provisioning, ..spec("large") };
    orders.push((POOL, large(u64::MAX, Provisioning::Thin)));
    orders.push((POOL, large(1 << 62, Provisioning::Thick)));
    orders.push((POOL, ObjectSpec { metadata: vec![("k".to_owned(), "v".repeat(5 << 10))], ..spec("wordy") }));
    match orders.iter().find(|(pool, spec)| pools::create_object(pool, spec).is_ok()) {
        Some((pool, spec)) => Err(Error::Internal(format!("pool {pool:?} took object {:?}", spec.name))),
        None => Err(Error::FailedPrecondition("every one was refused".to_owned())),
    }
}

/// A test asks for something that isn't there.
pub fn unknown(what: &str) -> Error {
    Error::Internal(format!("the bad backend knows no behaviour `{what}` here"))
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    std::process::abort()
}

fn exhaust_memory() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Each level keeps an array on Wasm's shadow stack and a frame on the host's stack.
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 4]);
    recurse(depth + 1) + black_box(frame)[1]
}

/// The cases by name. Made without the SDK's constructors, which would make the messages fit.
fn error(what: &str) -> Option<Error> {
    let text = || "as asked for".to_owned();
    let pending =
        |message: String, resume: Option<String>| Error::Pending(Pending { message, retry_after_ms: Some(20), resume });
    Some(match what.strip_prefix("error-")? {
        "invalid-argument" => Error::InvalidArgument(text()),
        "not-found" => Error::NotFound(text()),
        "already-exists" => Error::AlreadyExists(text()),
        "resource-exhausted" => Error::ResourceExhausted(text()),
        "failed-precondition" => Error::FailedPrecondition(text()),
        "out-of-range" => Error::OutOfRange(text()),
        "permission-denied" => Error::PermissionDenied(text()),
        "unauthenticated" => Error::Unauthenticated(text()),
        "pending" => pending(text(), None),
        "pending-large" => pending(text(), Some("r".repeat(10 << 10))),
        "pending-control" => pending("a\nb".to_owned(), Some("\0".to_owned())),
        "unavailable" => Error::unavailable(text()).retry_after(Duration::from_millis(20)),
        "unknown-outcome" => Error::UnknownOutcome(text()),
        "internal" => Error::Internal(text()),
        "empty" => Error::InvalidArgument(String::new()),
        "long" => Error::InvalidArgument("x".repeat(1 << 20)),
        "control" => Error::InvalidArgument("a\u{1b}[31m\r\n\0level=error forged=true\u{7f}b".to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_error_exists() {
        for what in ERRORS {
            assert!(error(what).is_some(), "{what}");
            assert_eq!(misbehave(what).err(), error(what));
        }
        assert!(HARMS.iter().all(|what| error(what).is_none()), "harms are no errors");
        assert_eq!(misbehave("error-nonsense"), Err(unknown("error-nonsense")));
    }
}
