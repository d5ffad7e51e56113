//! How fast a backend's requests may leave, learnt from what the storage system answers.
//!
//! All calls of a driver share one pace. So calls that are throttled don't each try again for themselves, which is how a storm
//! begins: they stand in one queue, first come first served, and the queue moves as fast as the storage system lets it.

mod rate;
#[cfg(test)]
mod tests;

use rate::{Lane, Rate};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// One for each driver; all calls share it, and no other driver does. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    rate: Mutex<Rate>,
    /// The queues. Who has the lock is at the head; tokio's lock is fair, and forgets who stops waiting.
    requests: tokio::sync::Mutex<()>,
    calls: tokio::sync::Mutex<()>,
}

impl Default for Pace {
    fn default() -> Self {
        let (requests, calls) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { start: Instant::now(), rate: Mutex::default(), requests, calls }))
    }
}

impl Pace {
    /// Waits until the next request may leave: at once, as long as nothing was throttled. Who stops waiting loses nobody's turn.
    /// Waits for as long as it takes: the caller knows its deadline.
    pub async fn turn(&self) {
        self.wait(&self.0.requests, Lane::Requests).await;
    }

    /// Waits until a call that was told to come again may do so. Its requests wait for turns of their own.
    pub async fn call_turn(&self) {
        self.wait(&self.0.calls, Lane::Calls).await;
    }

    /// The storage system said of a request that it is asked too often. No request leaves before `retry_after`, of which two
    /// minutes count.
    pub fn throttled(&self, retry_after: Option<Duration>) {
        self.with(|rate, now| rate.throttled(now, retry_after));
    }

    /// A call was answered with "unavailable", and when to come again.
    pub fn unavailable(&self, retry_after: Duration) {
        self.with(|rate, now| rate.unavailable(now, retry_after));
    }

    /// The storage system answered a request with something else.
    pub fn passed(&self) {
        self.with(Rate::passed);
    }

    async fn wait(&self, queue: &tokio::sync::Mutex<()>, lane: Lane) {
        let _head = queue.lock().await;
        while let Err(until) = self.with(|rate, now| rate.take(lane, now)) {
            tokio::time::sleep_until((self.0.start + until).into()).await;
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Rate, Duration) -> T) -> T {
        let mut rate = self.0.rate.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut rate, self.0.start.elapsed())
    }
}
