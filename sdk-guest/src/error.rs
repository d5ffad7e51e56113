//! Errors: one constructor for each outcome that a client must tell apart.
//!
//! All but [`Error::pending`], [`Error::unavailable`] and [`Error::unknown_outcome`] are final: they promise that this call
//! left nothing behind. If you aren't sure, it is `unknown_outcome`.

use crate::pools::PoolError;
use crate::state::StateError;
use crate::types::{Error, Pending, Result, Unavailable};
use std::fmt::Display;
use std::time::Duration;

/// Longest message, in bytes, that the host takes.
const MAX_MESSAGE: usize = 1024;

/// Makes a message that the host takes as it is: no control characters, at most 1 KiB. Messages often quote names
/// and replies that somebody else has written.
fn message(text: impl Into<String>) -> String {
    let mut text: String = text.into();
    if text.contains(char::is_control) {
        text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    if text.len() > MAX_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE - '…'.len_utf8()));
        text.push('…');
    }
    text
}

impl Error {
    /// A parameter or combination that can never work (INVALID_ARGUMENT).
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::InvalidArgument(message(text))
    }

    /// The volume, snapshot, source or node doesn't exist (NOT_FOUND). Delete functions answer ok instead.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::NotFound(message(text))
    }

    /// The name is taken by something else (ALREADY_EXISTS).
    pub fn already_exists(text: impl Into<String>) -> Self {
        Self::AlreadyExists(message(text))
    }

    /// No space, quota, place or attach slot (RESOURCE_EXHAUSTED).
    pub fn exhausted(text: impl Into<String>) -> Self {
        Self::ResourceExhausted(message(text))
    }

    /// In use, has dependants, attached elsewhere, not set up (FAILED_PRECONDITION).
    pub fn precondition(text: impl Into<String>) -> Self {
        Self::FailedPrecondition(message(text))
    }

    /// The size can't be had, or an offset is past the end (OUT_OF_RANGE).
    pub fn out_of_range(text: impl Into<String>) -> Self {
        Self::OutOfRange(message(text))
    }

    /// The storage system refuses this account (PERMISSION_DENIED).
    pub fn permission_denied(text: impl Into<String>) -> Self {
        Self::PermissionDenied(message(text))
    }

    /// The storage system doesn't accept the credentials (UNAUTHENTICATED).
    pub fn unauthenticated(text: impl Into<String>) -> Self {
        Self::Unauthenticated(message(text))
    }

    /// The storage system is at work on this request (ABORTED, asked again). See [`Error::retry_after`] and
    /// [`Error::resume`].
    pub fn pending(text: impl Into<String>) -> Self {
        Self::Pending(Pending { message: message(text), retry_after_ms: None, resume: None })
    }

    /// Throttled or not reachable, and nothing was changed (UNAVAILABLE, asked again). See [`Error::retry_after`].
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable(Unavailable { message: message(text), retry_after_ms: None })
    }

    /// A request may or may not have had an effect (UNAVAILABLE, asked again).
    pub fn unknown_outcome(text: impl Into<String>) -> Self {
        Self::UnknownOutcome(message(text))
    }

    /// A bug in the backend.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::Internal(message(text))
    }

    /// Don't ask again before this time is over. Changes [`Error::pending`] and [`Error::unavailable`] only.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let wait = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        match &mut self {
            Self::Pending(pending) => pending.retry_after_ms = Some(wait),
            Self::Unavailable(unavailable) => unavailable.retry_after_ms = Some(wait),
            _ => {}
        }
        self
    }

    /// Text (at most 1 KiB) that the next try of the same request finds in `call::resume()`. Only a hint: it can be
    /// lost. Changes [`Error::pending`] only.
    #[must_use]
    pub fn resume(mut self, text: impl Into<String>) -> Self {
        if let Self::Pending(pending) = &mut self {
            pending.resume = Some(text.into());
        }
        self
    }

    /// The text that the client gets to read.
    pub fn message(&self) -> &str {
        match self {
            Self::InvalidArgument(text)
            | Self::NotFound(text)
            | Self::AlreadyExists(text)
            | Self::ResourceExhausted(text)
            | Self::FailedPrecondition(text)
            | Self::OutOfRange(text)
            | Self::PermissionDenied(text)
            | Self::Unauthenticated(text)
            | Self::UnknownOutcome(text)
            | Self::Internal(text) => text,
            Self::Pending(pending) => &pending.message,
            Self::Unavailable(unavailable) => &unavailable.message,
        }
    }
}

impl From<StateError> for Error {
    /// A conflict means that another call changed the key: the same request, asked again, sees the new value.
    fn from(error: StateError) -> Self {
        match error {
            StateError::Conflict(_) => Self::pending("another call changed the same state"),
            StateError::QuotaExceeded => Self::exhausted("this driver's share of the host's state store is used up"),
            StateError::Denied => Self::permission_denied("the host refuses this use of its state store"),
            StateError::Unavailable(text) => Self::unknown_outcome(format!("the host's state store: {text}")),
        }
    }
}

impl From<PoolError> for Error {
    /// What most backends mean. What a missing pool means depends on the call: nothing that it holds exists for one that asks,
    /// but one that deletes must not take it for "gone".
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::NoSuchPool => Self::not_found("the pool isn't granted to this backend"),
            PoolError::NoSuchObject(text) => Self::not_found(text),
            PoolError::Taken(text) => Self::already_exists(text),
            PoolError::Conflict(_) => Self::pending("another call changed the same object"),
            PoolError::InUse(text) => Self::precondition(text),
            PoolError::Busy(text) => Self::pending(text),
            PoolError::NoSpace(text) => Self::exhausted(text),
            PoolError::TooLarge(text) => Self::out_of_range(text),
            PoolError::Denied => Self::permission_denied("the host's pools are closed to this call"),
            PoolError::Invalid(text) => Self::invalid(text),
            PoolError::Unavailable(text) => Self::unknown_outcome(text),
        }
    }
}

/// Turns what isn't there, and errors of other kinds, into an [`Error`], for use with `?`.
pub trait OrError<T> {
    /// `make` is a constructor of [`Error`], `what` says what was being done or looked for:
    /// `text.parse::<u32>().or_error(Error::internal, "LUN in the array's reply")?`.
    ///
    /// # Errors
    /// What `make` makes.
    fn or_error(self, make: fn(String) -> Error, what: &str) -> Result<T>;
}

impl<T> OrError<T> for Option<T> {
    fn or_error(self, make: fn(String) -> Error, what: &str) -> Result<T> {
        self.ok_or_else(|| make(what.to_owned()))
    }
}

impl<T, E: Display> OrError<T> for std::result::Result<T, E> {
    fn or_error(self, make: fn(String) -> Error, what: &str) -> Result<T> {
        self.map_err(|error| make(format!("{what}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit_what_the_host_takes() {
        assert_eq!(Error::invalid("a\nb\0c").message(), "a b c");
        let long = Error::internal("ü".repeat(2000));
        assert!(long.message().len() <= MAX_MESSAGE);
        assert!(long.message().ends_with("ü…"));
        assert_eq!(Error::not_found("v1"), Error::NotFound("v1".to_owned()));
    }

    #[test]
    fn waiting_and_resuming_change_only_what_can_be_asked_again() {
        let pending = Error::pending("copying").retry_after(Duration::from_secs(2)).resume("task 7");
        let expected =
            Pending { message: "copying".to_owned(), retry_after_ms: Some(2000), resume: Some("task 7".to_owned()) };
        assert_eq!(pending, Error::Pending(expected));
        let throttled = Error::unavailable("429").retry_after(Duration::from_secs(u64::MAX)).resume("lost");
        assert_eq!(
            throttled,
            Error::Unavailable(Unavailable { message: "429".to_owned(), retry_after_ms: Some(u32::MAX) })
        );
        assert_eq!(Error::invalid("x").retry_after(Duration::from_secs(1)), Error::invalid("x"));
    }

    #[test]
    fn options_and_results_become_errors() {
        assert_eq!(None::<u8>.or_error(Error::not_found, "volume v1"), Err(Error::not_found("volume v1")));
        let parsed = "x".parse::<u8>().or_error(Error::invalid, "lun");
        assert_eq!(parsed, Err(Error::invalid("lun: invalid digit found in string")));
        assert_eq!(Some(1).or_error(Error::internal, "one"), Ok(1));
    }

    #[test]
    fn a_lost_race_for_state_is_asked_again() {
        assert!(matches!(Error::from(StateError::Conflict(Some(3))), Error::Pending(_)));
        assert!(matches!(Error::from(StateError::Unavailable("x".to_owned())), Error::UnknownOutcome(_)));
    }

    #[test]
    fn what_pools_answer_becomes_an_error() {
        let text = || "x".to_owned();
        for (pool, error) in [
            (PoolError::NoSuchObject(text()), Error::not_found("x")),
            (PoolError::Taken(text()), Error::already_exists("x")),
            (PoolError::InUse(text()), Error::precondition("x")),
            (PoolError::Busy(text()), Error::pending("x")),
            (PoolError::NoSpace(text()), Error::exhausted("x")),
            (PoolError::TooLarge(text()), Error::out_of_range("x")),
            (PoolError::Invalid(text()), Error::invalid("x")),
            (PoolError::Unavailable(text()), Error::unknown_outcome("x")),
        ] {
            assert_eq!(Error::from(pool), error);
        }
        assert!(matches!(Error::from(PoolError::NoSuchPool), Error::NotFound(_)));
        assert!(matches!(Error::from(PoolError::Conflict(2)), Error::Pending(_)));
        assert!(matches!(Error::from(PoolError::Denied), Error::PermissionDenied(_)));
    }
}
