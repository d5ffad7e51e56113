//! What can go wrong, as a client must tell it apart.

use crate::limits;
use std::fmt;

/// What a client can do about an error. One kind for each gRPC code in use; the table from kind to code is in the
/// `csi` room.
///
/// CSI sidecars treat `Aborted`, `Unavailable` and `DeadlineExceeded` as "may still have an effect, ask again" and
/// every other kind as "nothing was left behind". So an outcome that is not certain must never be one of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request can never work as it is.
    InvalidArgument,
    /// The volume, source or node does not exist.
    NotFound,
    /// The name or path is taken by something incompatible.
    AlreadyExists,
    /// No space, quota or slot.
    ResourceExhausted,
    /// The object is not in a state that allows this.
    FailedPrecondition,
    /// A size or offset that can't be had.
    OutOfRange,
    /// The storage system refuses this account.
    PermissionDenied,
    /// The storage system does not accept the credentials.
    Unauthenticated,
    /// Another operation on the same object is in progress, or the storage system is still at work.
    Aborted,
    /// Can't be done now, or the outcome is not known.
    Unavailable,
    /// The call ran out of time; it may have had an effect.
    DeadlineExceeded,
    /// The backend does not offer this.
    Unimplemented,
    /// A bug, in a call that can have had no effect.
    Internal,
}

/// Text of a backend's `pending`, for the next try of the same request. Opaque, and never shown: nobody but the backend knows
/// what is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Resume(String);

impl Resume {
    /// Longest text in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Takes a backend's text; none if it is too long or holds control characters.
    pub fn parse(text: String) -> Option<Self> {
        limits::text("resume", &text, Self::MAX_BYTES).is_ok().then_some(Self(text))
    }

    /// The text, for the backend.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// Whether the host may ask a backend again by itself, before it answers the client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Again {
    /// No: the client decides.
    #[default]
    No,
    /// The storage system is at work on the request. What to hand back with the next try.
    Pending(Option<Resume>),
    /// Nothing was changed, and the storage system has said when to come again.
    Unchanged,
}

/// An error on its way to the client.
///
/// `message` is never empty, is at most [`Error::MAX_MESSAGE_BYTES`] long and holds no control characters, so that
/// nothing a backend says can forge a log line. It must never hold a secret or a mount flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after_ms: Option<u32>,
    again: Again,
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Longest message in bytes; what is longer is cut and marked.
    pub const MAX_MESSAGE_BYTES: usize = 1024;

    /// Makes an error. Control characters in `message` are escaped and an over-long one is cut.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        let message = clean_text(&message.to_string(), Self::MAX_MESSAGE_BYTES);
        Self { kind, message, retry_after_ms: None, again: Again::No }
    }

    /// What the client can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Milliseconds before which asking again is useless, where the storage system said so.
    pub fn retry_after_ms(&self) -> Option<u32> {
        self.retry_after_ms
    }

    /// Sets [`Error::retry_after_ms`].
    #[must_use]
    pub fn with_retry_after_ms(mut self, ms: Option<u32>) -> Self {
        self.retry_after_ms = ms;
        self
    }

    /// Whether the host may ask again by itself.
    pub fn again(&self) -> &Again {
        &self.again
    }

    /// Sets [`Error::again`].
    #[must_use]
    pub fn with_again(mut self, again: Again) -> Self {
        self.again = again;
        self
    }

    /// Puts `what: ` before the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = clean_text(&format!("{what}: {}", self.message), Self::MAX_MESSAGE_BYTES);
        self
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $kind:ident),* $(,)?) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl fmt::Display) -> Self { Self::new(ErrorKind::$kind, message) })*
        }
    };
}
constructors! {
    /// [`ErrorKind::InvalidArgument`].
    invalid_argument = InvalidArgument,
    /// [`ErrorKind::NotFound`].
    not_found = NotFound,
    /// [`ErrorKind::AlreadyExists`].
    already_exists = AlreadyExists,
    /// [`ErrorKind::ResourceExhausted`].
    resource_exhausted = ResourceExhausted,
    /// [`ErrorKind::FailedPrecondition`].
    failed_precondition = FailedPrecondition,
    /// [`ErrorKind::OutOfRange`].
    out_of_range = OutOfRange,
    /// [`ErrorKind::PermissionDenied`].
    permission_denied = PermissionDenied,
    /// [`ErrorKind::Unauthenticated`].
    unauthenticated = Unauthenticated,
    /// [`ErrorKind::Aborted`].
    aborted = Aborted,
    /// [`ErrorKind::Unavailable`].
    unavailable = Unavailable,
    /// [`ErrorKind::DeadlineExceeded`].
    deadline_exceeded = DeadlineExceeded,
    /// [`ErrorKind::Unimplemented`].
    unimplemented = Unimplemented,
    /// [`ErrorKind::Internal`]. Only from calls that can have had no effect.
    internal = Internal,
}

/// Escapes control characters and cuts `text` to at most `max` bytes (on a character boundary). An empty text becomes
/// `(no message)`, since CSI demands one with every error.
pub fn clean_text(text: &str, max: usize) -> String {
    const MARK: &str = "... (cut)";
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.trim().chars() {
        let before = out.len();
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > max {
            out.truncate(before);
            while out.len() > max.saturating_sub(MARK.len()) {
                out.pop();
            }
            out.push_str(MARK);
            break;
        }
    }
    if out.is_empty() { "(no message)".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cleaned_and_cut() {
        assert_eq!(clean_text("a\nb\u{1b}[31m", 100), "a\\nb\\u{1b}[31m");
        assert_eq!(clean_text("  ", 100), "(no message)");
        let long = clean_text(&"ä".repeat(5000), Error::MAX_MESSAGE_BYTES);
        assert!(long.len() <= Error::MAX_MESSAGE_BYTES && long.ends_with("(cut)"), "{}", long.len());
    }

    #[test]
    fn context_keeps_kind_and_hint() {
        let busy = Error::unavailable("busy").with_retry_after_ms(Some(5)).with_again(Again::Unchanged);
        let e = busy.context("volume v");
        assert_eq!((e.kind(), e.message(), e.retry_after_ms()), (ErrorKind::Unavailable, "volume v: busy", Some(5)));
        assert_eq!(*e.again(), Again::Unchanged);
    }

    #[test]
    fn resume_is_short_plain_and_not_shown() {
        let text = "t".repeat(Resume::MAX_BYTES);
        let resume = Resume::parse(text.clone()).unwrap();
        assert_eq!(resume.expose(), text);
        assert_eq!(format!("{resume:?}"), "<1024 bytes>");
        assert!(Resume::parse(text + "t").is_none() && Resume::parse("a\nb".into()).is_none());
        assert_eq!(Resume::parse(String::new()).unwrap().expose(), "");
    }
}
