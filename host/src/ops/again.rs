//! Asking a backend again, before the client has to.
//!
//! A backend answers "pending" where the storage system is still at work, and "unavailable, not before" where it throttles. Both
//! times nothing is lost by asking again, and much by sending the client away: it would come back when it pleases. So the
//! call waits here, as long as the client does. It keeps its locks and nothing else: no thread, no place among the calls of the
//! backend, no turn at a node.

use super::{
    pending::{Pending, RequestId},
    ports::{Backoff, CallContext},
    work::Work,
};
use bulkhead_domain::{Error, ErrorKind, Result, error::Again};
use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

/// First pause, where the backend names none; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Shortest pause, whatever the backend names.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// A try begins so much before the deadline, at least: this part of the whole time, between these bounds.
const MARGIN_PART: u32 = 10;
const MARGIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(2)];

/// Pauses between tries.
#[derive(Debug)]
pub(super) struct Pauses {
    /// Numbers from 0 to 1 that nobody can tell in advance.
    jitter: fn() -> f64,
}

impl Default for Pauses {
    fn default() -> Self {
        // The standard library's keys are random, and differ each time.
        Self { jitter: || RandomState::new().hash_one(0) as f64 / u64::MAX as f64 }
    }
}

impl Pauses {
    /// Before the next try, after `tries`: what the backend wants and up to a tenth more; or half to all of a pause that grows.
    fn next(&self, tries: u32, wanted: Option<Duration>) -> Duration {
        let jitter = (self.jitter)();
        match wanted {
            Some(wanted) => wanted.max(SHORTEST_PAUSE).mul_f64(1.0 + jitter / 10.0),
            None => {
                let doubled = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(tries.saturating_sub(1)));
                doubled.min(LONGEST_PAUSE).mul_f64(0.5 + jitter / 2.0)
            }
        }
    }
}

/// Asks one backend, and asks it again.
pub(super) struct Asking {
    driver: String,
    work: Work,
    pace: Arc<dyn Backoff>,
    pauses: Pauses,
    pending: Pending,
}

impl Asking {
    /// For the backend of `driver`.
    pub(super) fn new(driver: &str, work: Work, pace: Arc<dyn Backoff>) -> Self {
        Self { driver: driver.to_owned(), work, pace, pauses: Pauses::default(), pending: Pending::default() }
    }

    /// Makes one call of the backend, and makes it again as long as that promises something and there is time for it. `about`
    /// says which request it is, for what has to be kept until the client comes again.
    pub(super) async fn ask<T, F, Fut>(&self, mut cx: CallContext, about: Option<RequestId>, call: F) -> Result<T>
    where
        F: Fn(CallContext) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let last = last_moment(&cx);
        if let Some(kept) = about.and_then(|id| self.pending.recall(id, Instant::now())) {
            if !self.wait(kept.not_before, last).await {
                return Err(kept.error);
            }
            cx = self.next_try(cx, kept.error.again());
        }
        let mut tries = 0;
        loop {
            let try_ = call(cx.clone());
            let answer = try_.await;
            tries += 1;
            let Err(error) = &answer else {
                self.settled(about);
                return answer;
            };
            let wanted = error.retry_after_ms().map(|ms| Duration::from_millis(u64::from(ms)));
            let pause = self.pauses.next(tries, wanted);
            let now = Instant::now();
            match error.again() {
                Again::No => {
                    if !is_open(error) {
                        self.settled(about);
                    }
                    return answer;
                }
                Again::Pending(_) => {
                    if let Some(id) = about {
                        self.pending.keep(id, error, now, wanted.unwrap_or_default());
                    }
                }
                Again::Unchanged => self.pace.unavailable(wanted.unwrap_or_default()),
            }
            let go_on = self.wait(now + pause, last).await && self.turn_to_ask(error, last).await;
            if !go_on {
                return answer;
            }
            let (driver, request_id) = (self.driver.as_str(), cx.request_id.as_str());
            tracing::debug!(driver, request_id, tries, reason = error.message(), "asking again");
            cx = self.next_try(cx, error.again());
        }
    }

    /// The circumstances of the next try. What the backend left with the last one stays until it leaves something else.
    fn next_try(&self, cx: CallContext, again: &Again) -> CallContext {
        let resume = match again {
            Again::Pending(resume) => resume.clone(),
            Again::Unchanged | Again::No => cx.resume.clone(),
        };
        CallContext { request_id: super::call::new_request_id(), resume, ..cx }
    }

    fn settled(&self, about: Option<RequestId>) {
        if let Some(id) = about {
            self.pending.forget(id);
        }
    }

    /// True: it is that moment. False: it would be after the last one, or the host is shutting down.
    async fn wait(&self, moment: Instant, last: Instant) -> bool {
        if moment > last {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep_until(moment.into()) => true,
            () = self.work.closing() => false,
        }
    }

    /// Where the storage system throttles, calls that come again stand in one queue. True: it is this one's turn.
    async fn turn_to_ask(&self, error: &Error, last: Instant) -> bool {
        if *error.again() != Again::Unchanged {
            return true;
        }
        tokio::select! {
            turn = tokio::time::timeout_at(last.into(), self.pace.turn()) => turn.is_ok(),
            () = self.work.closing() => false,
        }
    }
}

/// The latest moment at which a try may begin.
fn last_moment(cx: &CallContext) -> Instant {
    let left = cx.deadline.saturating_duration_since(Instant::now());
    let margin = (left / MARGIN_PART).clamp(MARGIN[0], MARGIN[1]);
    cx.deadline.checked_sub(margin).unwrap_or(cx.deadline)
}

/// The client will come again with this same request.
fn is_open(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Aborted)
}

#[cfg(test)]
mod tests;
