//! What the proxy counts.

use serde::Serialize;
use std::{collections::BTreeMap, time::Instant};

/// Counts since the start or since they were last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests by action, also those that met a fault or were refused.
    pub actions: BTreeMap<String, u64>,
    /// Replies by error code; `ok` for the others. As they would have been without a fault.
    pub replies: BTreeMap<String, u64>,
    /// Faults by name.
    pub faults: BTreeMap<String, u64>,
    /// Requests that the token bucket refused.
    pub throttled: u64,
    /// Requests that moto took though the proxy could not verify their signature, so that no rule was applied: none, if all keys
    /// are known here.
    pub unverified: u64,
    /// Requests under way.
    pub running: u64,
    /// The most that were under way at once.
    pub most: u64,
    /// Requests in each second since the first.
    pub seconds: Vec<u64>,
    #[serde(skip)]
    first: Option<Instant>,
    #[serde(skip)]
    last: Option<Instant>,
}

impl Stats {
    /// All requests.
    pub fn requests(&self) -> u64 {
        self.actions.values().sum()
    }

    /// Requests of one action.
    pub fn of(&self, action: &str) -> u64 {
        self.actions.get(action).copied().unwrap_or(0)
    }

    /// Replies with this error code, or `ok`.
    pub fn with(&self, code: &str) -> u64 {
        self.replies.get(code).copied().unwrap_or(0)
    }

    /// How often this fault was met.
    pub fn met(&self, fault: crate::Fault) -> u64 {
        self.faults.get(&fault.name()).copied().unwrap_or(0)
    }

    /// From the first request to the last, in seconds.
    pub fn span(&self) -> f64 {
        self.first.zip(self.last).map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64())
    }

    pub(crate) fn begin(&mut self, action: &str, now: Instant) {
        *self.actions.entry(action.into()).or_default() += 1;
        self.running += 1;
        self.most = self.most.max(self.running);
        let second = now.duration_since(*self.first.get_or_insert(now)).as_secs();
        let second = usize::try_from(second).unwrap_or(usize::MAX);
        // A proxy that nobody asks for a day does not keep a day's zeroes.
        if second < 86_400 {
            self.seconds.resize(self.seconds.len().max(second + 1), 0);
            self.seconds[second] += 1;
        }
        self.last = Some(now);
    }

    pub(crate) fn end(&mut self, code: &str) {
        self.running = self.running.saturating_sub(1);
        *self.replies.entry(code.into()).or_default() += 1;
    }

    /// Begins again, but for what is under way.
    pub(crate) fn reset(&mut self) {
        *self = Self { running: self.running, most: self.running, ..Self::default() };
    }
}
