//! Something that is fetched, used by many, and fetched anew before it ends: tokens and temporary keys.
//!
//! However many callers want one, one fetch is under way. It belongs to none of them: one that gives up doesn't end it. After
//! a failure nobody asks again for a second, then two, up to half a minute. What is about to end is renewed while it is still
//! used, and goes on being used if that fails.

use super::error::Problem;
use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Longest that one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long nobody asks again after a failure: doubled with each one more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Largest part of a lifetime in which it is renewed beforehand.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);
/// What would end within this is not used any more: a request takes time to get there.
const UNUSED_BEFORE: Duration = Duration::from_secs(10);

/// Where it is fetched.
pub(super) trait Source: Send + Sync + 'static {
    type Item: Send + Sync + 'static;

    fn fetch(&self, deadline: Instant) -> impl Future<Output = Result<Fetched<Self::Item>, Problem>> + Send;
}

/// What was fetched.
pub(super) struct Fetched<T> {
    pub item: T,
    /// From now on. None: it doesn't end by itself.
    pub lifetime: Option<Duration>,
}

/// The latest that was fetched, and which one it is.
pub(super) struct Held<T> {
    pub item: Arc<T>,
    pub generation: u64,
}

/// Cheap to clone; all clones share what is held.
pub(super) struct Lease<S: Source>(Arc<Inner<S>>);

struct Inner<S: Source> {
    source: S,
    /// Tests have a clock of their own.
    clock: fn(&S) -> Instant,
    state: Mutex<State<S::Item>>,
}

struct State<T> {
    held: Option<Lent<T>>,
    /// Of the latest that was fetched.
    generation: u64,
    /// A fetch is under way; closed when it has ended.
    flight: Option<watch::Receiver<()>>,
    failed: Option<Failed>,
    /// How often in a row what was fresh was refused, and when for the last time.
    refused: Option<(u32, Instant)>,
}

struct Lent<T> {
    item: Arc<T>,
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
}

struct Failed {
    problem: Problem,
    pause: Duration,
    until: Instant,
}

impl<S: Source> Clone for Lease<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Source> Lease<S> {
    pub(super) fn new(source: S) -> Self {
        Self::by(source, |_| Instant::now())
    }

    fn by(source: S, clock: fn(&S) -> Instant) -> Self {
        let state = State { held: None, generation: 0, flight: None, failed: None, refused: None };
        Self(Arc::new(Inner { source, clock, state: Mutex::new(state) }))
    }

    /// The source.
    pub(super) fn source(&self) -> &S {
        &self.0.source
    }

    /// What is held, or is fetched by `deadline`.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Held<S::Item>, Problem> {
        loop {
            let mut landed = {
                let mut state = self.0.state();
                let now = self.0.now();
                if let Some((held, renew)) = state.held(now) {
                    if renew && state.flight.is_none() && state.failure(now).is_none() {
                        self.take_off(&mut state);
                    }
                    return Ok(held);
                }
                match (&state.flight, state.failure(now)) {
                    (Some(flight), _) => flight.clone(),
                    (None, Some(problem)) => return Err(problem.clone()),
                    (None, None) => self.take_off(&mut state),
                }
            };
            // Nothing is ever sent: an error says that the fetch has ended.
            if tokio::time::timeout_at(deadline.into(), landed.changed()).await.is_err() {
                return Err(Problem::unavailable("the login has not ended in time"));
            }
        }
    }

    /// What had this generation was refused: fetches anew, once for all callers. False if that doesn't help, or if it was done
    /// just now: a server that refuses everything isn't asked with every request.
    pub(super) async fn renew(&self, generation: u64, deadline: Instant) -> bool {
        {
            let mut state = self.0.state();
            if state.held.is_some() && state.generation > generation {
                return true;
            }
            if state.held.is_some() && !state.count_refusal(self.0.now()) {
                return false;
            }
            state.held = None;
        }
        self.get(deadline).await.is_ok()
    }

    /// Starts a fetch of its own. Its end closes the receiver.
    fn take_off(&self, state: &mut State<S::Item>) -> watch::Receiver<()> {
        let (landing, landed) = watch::channel(());
        state.flight = Some(landed.clone());
        let flight = Flight { inner: self.0.clone(), result: None, _landing: landing };
        tokio::spawn(async move {
            let deadline = Instant::now() + FETCH_TIMEOUT;
            let fetched = tokio::time::timeout_at(deadline.into(), flight.inner.source.fetch(deadline)).await;
            flight.land(fetched.unwrap_or_else(|_| Err(Problem::unavailable("the login took too long"))));
        });
        landed
    }
}

/// Dropped when a fetch has ended, also by a panic or with its runtime: nobody waits for one that is gone.
struct Flight<S: Source> {
    inner: Arc<Inner<S>>,
    result: Option<Result<Fetched<S::Item>, Problem>>,
    _landing: watch::Sender<()>,
}

impl<S: Source> Flight<S> {
    /// It has ended with a result.
    fn land(mut self, result: Result<Fetched<S::Item>, Problem>) {
        self.result = Some(result);
    }
}

impl<S: Source> Drop for Flight<S> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| Err(Problem::unavailable("the login was broken off")));
        let mut state = self.inner.state();
        let now = self.inner.now();
        state.flight = None;
        match result {
            Ok(fetched) => {
                state.generation += 1;
                state.failed = None;
                state.held = Some(Lent::new(fetched, now));
            }
            Err(problem) => {
                let pause = state.failed.as_ref().map_or(FIRST_PAUSE, |failed| (failed.pause * 2).min(LONGEST_PAUSE));
                state.failed = Some(Failed { problem, pause, until: now + pause });
            }
        }
    }
}

impl<S: Source> Inner<S> {
    fn now(&self) -> Instant {
        (self.clock)(&self.source)
    }

    fn state(&self) -> MutexGuard<'_, State<S::Item>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lent<T> {
    fn new(fetched: Fetched<T>, now: Instant) -> Self {
        // A lifetime beyond what the clock can count is none.
        let after = |lifetime: Duration| now.checked_add(lifetime);
        let renew = |lifetime: Duration| lifetime.saturating_sub(RENEWED_BEFORE.min(lifetime / 5));
        let end = |lifetime: Duration| lifetime.saturating_sub(UNUSED_BEFORE.min(lifetime / 20));
        Self {
            item: Arc::new(fetched.item),
            renew_at: fetched.lifetime.map(renew).and_then(after),
            ends_at: fetched.lifetime.map(end).and_then(after),
        }
    }
}

impl<T> State<T> {
    /// What can be used now, and whether it is time to renew it.
    fn held(&self, now: Instant) -> Option<(Held<T>, bool)> {
        let lent = self.held.as_ref().filter(|lent| lent.ends_at.is_none_or(|end| now < end))?;
        let held = Held { item: lent.item.clone(), generation: self.generation };
        Some((held, lent.renew_at.is_some_and(|renew| now >= renew)))
    }

    fn failure(&self, now: Instant) -> Option<&Problem> {
        self.failed.as_ref().filter(|failed| now < failed.until).map(|failed| &failed.problem)
    }

    /// Counts a refusal of what is held. False: too soon after the last one to fetch anew.
    fn count_refusal(&mut self, now: Instant) -> bool {
        let times = match self.refused {
            Some((times, last)) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(5)).min(LONGEST_PAUSE);
                let since = now.saturating_duration_since(last);
                if since < pause {
                    return false;
                }
                // Long quiet: what is refused now had served for a while.
                if since > LONGEST_PAUSE * 2 { 1 } else { times + 1 }
            }
            None => 1,
        };
        self.refused = Some((times, now));
        true
    }
}

#[cfg(test)]
mod tests;
