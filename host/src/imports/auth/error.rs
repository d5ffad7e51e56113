//! Why a request can't be signed.

use std::{fmt, sync::Arc};

/// What became of an attempt to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthErrorKind {
    /// Credentials are wrong, expired or missing: somebody has to do something.
    Unauthenticated,
    /// Whoever has to be asked can't be reached or is in trouble: a later try may go well.
    Unavailable,
}

/// Why a request can't be signed. Names the profile, never a key. Displays as `unauthenticated: auth profile `NAME`: why` or
/// `unavailable: ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError {
    profile: Arc<str>,
    problem: Problem,
}

impl AuthError {
    pub(super) fn new(profile: &Arc<str>, problem: Problem) -> Self {
        Self { profile: profile.clone(), problem }
    }

    /// The profile.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Profile and reason, without the kind.
    pub fn about(&self) -> String {
        format!("auth profile `{}`: {}", self.profile, self.problem.text)
    }

    /// Whether a later try may go well.
    pub fn kind(&self) -> AuthErrorKind {
        self.problem.kind
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.problem.kind {
            AuthErrorKind::Unauthenticated => "unauthenticated",
            AuthErrorKind::Unavailable => "unavailable",
        };
        write!(f, "{kind}: {}", self.about())
    }
}

impl std::error::Error for AuthError {}

/// The same before it is known whose it is. The text may hold what a server said, cleaned and masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub kind: AuthErrorKind,
    pub text: String,
}

impl Problem {
    pub(super) fn unauthenticated(text: impl fmt::Display) -> Self {
        Self { kind: AuthErrorKind::Unauthenticated, text: text.to_string() }
    }

    pub(super) fn unavailable(text: impl fmt::Display) -> Self {
        Self { kind: AuthErrorKind::Unavailable, text: text.to_string() }
    }
}
