//! Why there is no reply.

use crate::types::Error;

/// What is known of a request that has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The host refuses the destination, or this instance may not use the network at all. Nothing was sent.
    Denied,
    /// The host has no good credentials for it. Nothing was done.
    Unauthenticated,
    /// It never left: no address, no connection, no login server. Nothing happened.
    NotSent,
    /// It left, or may have left, and no whole reply came.
    NoReply,
    /// The reply is larger than allowed: something answered.
    TooLarge,
    /// No host would send it: a bad URL or header, or a body larger than allowed. Nothing was sent.
    Invalid,
}

/// A request without a reply. [`Error`] takes it with `?`; a write that may have happened becomes `unknown-outcome`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is known.
    pub kind: Kind,
    /// For people: what happened, where. No path, no query, no body.
    pub message: String,
    /// The request may change something.
    pub writes: bool,
}

impl Failure {
    /// Of a request that changes nothing.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), writes: false }
    }

    /// Nothing has happened at the other end.
    pub fn is_harmless(&self) -> bool {
        !self.writes || !matches!(self.kind, Kind::NoReply | Kind::TooLarge)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let harmless = failure.is_harmless();
        let text = failure.message;
        match failure.kind {
            Kind::Denied => Self::permission_denied(text),
            Kind::Unauthenticated => Self::unauthenticated(text),
            Kind::Invalid => Self::internal(text),
            Kind::NotSent | Kind::NoReply | Kind::TooLarge if harmless => Self::unavailable(text),
            Kind::NotSent | Kind::NoReply | Kind::TooLarge => Self::unknown_outcome(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_that_may_have_happened_is_uncertain() {
        let error = |kind, writes| Error::from(Failure { writes, ..Failure::new(kind, "x") });
        for writes in [false, true] {
            assert_eq!(error(Kind::Denied, writes), Error::permission_denied("x"));
            assert_eq!(error(Kind::Unauthenticated, writes), Error::unauthenticated("x"));
            assert_eq!(error(Kind::NotSent, writes), Error::unavailable("x"));
            assert_eq!(error(Kind::Invalid, writes), Error::internal("x"));
        }
        for kind in [Kind::NoReply, Kind::TooLarge] {
            assert_eq!(error(kind, false), Error::unavailable("x"));
            assert_eq!(error(kind, true), Error::unknown_outcome("x"));
        }
    }
}
