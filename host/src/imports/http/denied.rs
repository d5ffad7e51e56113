//! Requests that were refused: why, how often, and what would grant them.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It can't be read in one way only: a user name, an address in disguise, a dot at the end.
    Malformed,
    /// No grant names its scheme, host and port.
    Destination,
    /// A grant names where it goes, and not its method.
    Method,
    /// Its host's name leads to addresses of a kind that isn't granted.
    Address,
    /// It was made on a node or while the backend was loaded: requests are for calls of the controller.
    Role,
}

impl Reason {
    const ALL: [Self; 5] = [Self::Malformed, Self::Destination, Self::Method, Self::Address, Self::Role];

    /// For logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Destination => "destination",
            Self::Method => "method",
            Self::Address => "address",
            Self::Role => "role",
        }
    }
}

/// One request that was refused. Holds its method, scheme, host and port, nothing else of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// What was asked for, and what is wrong with it.
    pub what: String,
    /// The line of config that would grant it; none where none can.
    pub advice: Option<String>,
    /// How many requests of the driver were refused for this reason, this one counted; 0 before it is.
    pub nth: u64,
}

impl Denial {
    /// Not counted yet.
    pub fn new(reason: Reason, what: String, advice: Option<String>) -> Self {
        Self { reason, what, advice, nth: 0 }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        self.advice.iter().try_for_each(|advice| write!(f, ": to grant it, {advice}"))
    }
}

/// How many requests of one driver were refused, by reason.
#[derive(Debug, Default)]
pub struct Denials([AtomicU64; Reason::ALL.len()]);

impl Denials {
    /// One more. Gives how many there were for this reason.
    pub(super) fn count(&self, reason: Reason) -> u64 {
        self.0[reason as usize].fetch_add(1, Relaxed) + 1
    }

    /// All reasons with their counts.
    pub fn all(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.0[reason as usize].load(Relaxed)))
    }
}
