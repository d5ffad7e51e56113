//! From kernel errors to the errors that a client sees.

use bulkhead_domain::{Error, ErrorKind};
use std::fmt::Display;
use std::io;

/// Result of one system call or of a few; the caller adds what was done to what.
pub(crate) type IoResult<T> = Result<T, rustix::io::Errno>;

/// Kind for a failed system call of a call that may have had an effect: never one that a client takes as "nothing was
/// left behind", except where the kernel says so (no space, file too large).
fn kind_of(error: &io::Error) -> ErrorKind {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::ResourceExhausted,
        Some(libc::EFBIG) => ErrorKind::OutOfRange,
        _ => ErrorKind::Unavailable,
    }
}

/// Makes an error of a failed system call. `what` says what was done to what, without a colon at its end.
pub(crate) fn io_error(what: impl Display, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    Error::new(kind_of(&error), format_args!("{what}: {error}"))
}

/// As [`io_error`], for results.
pub(crate) trait Context<T> {
    /// Adds what was done to what.
    fn during(self, what: impl Display) -> bulkhead_domain::Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn during(self, what: impl Display) -> bulkhead_domain::Result<T> {
        self.map_err(|error| io_error(what, error))
    }
}
