//! What it means for the client when a backend does not answer as it should.
//!
//! A CO takes INTERNAL and its like as "nothing was left behind" and forgets. So from a call that may have had an effect, a
//! fault gives UNAVAILABLE or DEADLINE_EXCEEDED, and INTERNAL only from a call that can't have had one. The client
//! gets one sentence; the log gets the backend, the function and the reason.

use crate::ops::ports::Effect;
use bulkhead_domain::{Error, error::clean_text, limits::Violation};
use std::fmt::Display;
use wasmtime::WasmBacktrace;

/// Longest reason, in bytes.
const REASON_BYTES: usize = 512;
/// Most frames of the guest's stack that a reason names.
const FRAMES: usize = 8;

/// The library's words, fit for one line: it lays out what it says over several.
pub(super) fn one_line(error: impl Display) -> String {
    let text = error.to_string();
    clean_text(&text.split_whitespace().collect::<Vec<_>>().join(" "), REASON_BYTES)
}

/// Why a guest trapped, and where in it, innermost first.
pub(super) fn trap_text(error: &wasmtime::Error) -> String {
    let cause = one_line(error.root_cause());
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let show = |frame: &wasmtime::FrameInfo| {
        let name = frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), one_line);
        format!("{name} at {:#x}", frame.module_offset().unwrap_or_default())
    };
    let shown: Vec<_> = frames.iter().take(FRAMES).map(show).collect();
    let more = if frames.len() > FRAMES { ", ..." } else { "" };
    if shown.is_empty() { cause } else { format!("{cause} (in {}{more})", shown.join(", ")) }
}

/// Why a backend gave no answer.
#[derive(Debug)]
pub enum Fault {
    /// It trapped; the text is wasmtime's.
    Trap(String),
    /// It did not end within the deadline.
    Timeout,
    /// All its places were taken until the deadline; it was not called.
    Busy,
    /// It answered, with something that breaks a rule.
    BadAnswer(Violation),
    /// It could not be instantiated (out of memory over all backends); it was not called.
    NoInstance(String),
}

impl Fault {
    /// Logs the fault and gives the client's error.
    pub fn report(self, driver: &str, function: &str, effect: Effect) -> Error {
        let uncertain = |message: String| match effect {
            Effect::None => Error::internal(message),
            Effect::Possible => Error::unavailable(format_args!("{message}; its outcome is not known: try again")),
        };
        match self {
            Self::Trap(reason) => {
                tracing::error!(driver, function, reason, "the backend trapped");
                uncertain(format!("the backend failed in {function}"))
            }
            Self::Timeout => {
                tracing::error!(driver, function, "the backend did not answer in time and was stopped");
                Error::deadline_exceeded(format_args!("the backend did not answer in time in {function}"))
            }
            Self::Busy => {
                tracing::warn!(driver, function, "no place for another call of the backend (limits.concurrency)");
                Error::unavailable("the backend is at its limit of concurrent calls: try again")
            }
            Self::BadAnswer(violation) => {
                tracing::error!(driver, function, %violation, "the backend's answer is not acceptable");
                uncertain(format!("the backend's answer to {function} is not acceptable: {violation}"))
            }
            Self::NoInstance(reason) => {
                tracing::error!(driver, function, reason, "the backend could not be started for a call");
                Error::unavailable("the backend could not be started for this call: try again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    #[test]
    fn what_the_library_says_fits_on_a_line() {
        assert_eq!(one_line("expected=[\n    0x0,\n]  actual\u{1b}"), "expected=[ 0x0, ] actual\\u{1b}");
        assert!(one_line("x".repeat(10_000)).len() <= REASON_BYTES);
    }

    #[test]
    fn an_uncertain_outcome_is_never_final() {
        let faults = || {
            [
                Fault::Trap("unreachable".into()),
                Fault::Timeout,
                Fault::Busy,
                Fault::BadAnswer("an id".into()),
                Fault::NoInstance("memory".into()),
            ]
        };
        for fault in faults() {
            let shown = format!("{fault:?}");
            let kind = fault.report("d", "create-volume", Effect::Possible).kind();
            assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded), "{shown}: {kind:?}");
        }
        assert_eq!(Fault::Trap(String::new()).report("d", "f", Effect::None).kind(), ErrorKind::Internal);
    }
}
