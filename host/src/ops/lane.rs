//! A few threads for each thing that may stop answering.
//!
//! A thread that waits for a file system can't be stopped: it comes back when the file system answers, or never. If all work
//! shared its threads, one dead pool would take them all, and with them every other driver of the process. So what lies on one
//! pool or one server has a lane: as many threads as it may lose, and no more. Who finds all of them taken waits without one.

use super::work::blocking;
use bulkhead_domain::{Error, Result};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most threads of a lane.
pub const THREADS: usize = 16;
/// How long none of a lane's threads may have come back before it is said not to answer.
const QUIET: Duration = Duration::from_secs(1);

/// The threads for work on one thing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lane(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// For messages, like `pool fast`.
    what: String,
    free: Arc<Semaphore>,
    start: Instant,
    /// Milliseconds after `start` at which a thread was last taken or came back.
    moved: AtomicU64,
    /// It was said that it does not answer.
    said: AtomicBool,
}

/// How long work waits for a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until then.
    Until(Instant),
    /// For as long as threads come back. For who must not wait in vain, as it keeps others from something meanwhile.
    WhileItMoves,
}

impl Lane {
    /// At most `threads` for work on `what`, which begins messages: `pool fast`.
    pub fn new(what: impl Into<String>, threads: usize) -> Self {
        Self(Arc::new(Inner {
            what: what.into(),
            free: Arc::new(Semaphore::new(threads.max(1))),
            start: Instant::now(),
            moved: AtomicU64::new(0),
            said: AtomicBool::new(false),
        }))
    }

    /// Runs blocking `operation` on a thread of this lane, to its end, also when the caller is dropped. Who is dropped while it
    /// waits for a thread has begun nothing. Call it from within [`super::work::Work::run`].
    ///
    /// # Errors
    /// Those of the operation; UNAVAILABLE when no thread was to be had (nothing was begun) and when it panicked.
    pub async fn run<T, F>(&self, wait: Wait, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let taken = self.take(wait).await?;
        blocking(move || {
            let _taken = taken;
            operation()
        })
        .await
    }

    async fn take(&self, wait: Wait) -> Result<Taken> {
        let inner = &self.0;
        if let Ok(permit) = inner.free.clone().try_acquire_owned() {
            return Ok(self.taken(permit));
        }
        loop {
            let now = Instant::now();
            let until = match wait {
                Wait::Until(deadline) if deadline <= now => return Err(self.silent()),
                Wait::Until(deadline) => deadline,
                Wait::WhileItMoves => match QUIET.checked_sub(inner.quiet_for()) {
                    Some(left) if !left.is_zero() => now + left,
                    _ => return Err(self.silent()),
                },
            };
            if let Ok(Ok(permit)) = tokio::time::timeout_at(until.into(), inner.free.clone().acquire_owned()).await {
                return Ok(self.taken(permit));
            }
        }
    }

    fn taken(&self, permit: OwnedSemaphorePermit) -> Taken {
        self.0.note();
        Taken { lane: self.0.clone(), _permit: permit }
    }

    /// Says it, in the log once for each time that it stops answering.
    fn silent(&self) -> Error {
        let (what, seconds) = (&self.0.what, self.0.quiet_for().as_secs());
        if !self.0.said.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "{what} is busy or does not answer: all its threads are taken, and none has come back for {seconds} s; if that goes on, \
                 look at the storage beneath it"
            );
        }
        Error::unavailable(format_args!(
            "{what} is busy or does not answer (nothing came back for {seconds} s); nothing was begun: try again"
        ))
    }
}

impl Inner {
    fn quiet_for(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.moved.load(Ordering::Relaxed)))
    }

    fn note(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }
}

/// A thread of a lane.
struct Taken {
    lane: Arc<Inner>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.lane.note();
        if self.lane.said.swap(false, Ordering::Relaxed) {
            tracing::info!("{} answers", self.lane.what);
        }
    }
}

/// Lanes by what they are for. One that nobody uses is forgotten.
#[derive(Debug, Default)]
pub struct Lanes(Mutex<HashMap<String, Weak<Inner>>>);

impl Lanes {
    /// The lane for `what`.
    pub fn of(&self, what: &str) -> Lane {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(what).and_then(Weak::upgrade) {
            return Lane(lane);
        }
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Lane::new(what, THREADS);
        lanes.insert(what.to_owned(), Arc::downgrade(&lane.0));
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;
    use std::sync::mpsc;

    fn soon() -> Wait {
        Wait::Until(Instant::now() + Duration::from_millis(50))
    }

    /// Occupies a thread until the sender is dropped.
    fn hang(lane: &Lane) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
        let (lane, (release, held)) = (lane.clone(), mpsc::channel::<()>());
        let stuck = tokio::spawn(async move {
            let wait = move || {
                let _ = held.recv();
                Ok(())
            };
            lane.run(soon(), wait).await
        });
        (release, stuck)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_hangs_keeps_its_threads_and_no_others() {
        let lanes = Lanes::default();
        let lane = lanes.of("pool a");
        let stuck: Vec<_> = (0..THREADS).map(|_| hang(&lane)).collect();
        while lane.0.free.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            let refused = lanes.of("pool a").run(soon(), || Ok(())).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable);
            assert!(refused.message().contains("pool a is busy or does not answer"), "{refused}");
        }
        let patient = lane.run(Wait::WhileItMoves, || Ok(()));
        let refused = tokio::time::timeout(Duration::from_secs(30), patient).await.expect("it gives up").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        let start = Instant::now();
        assert!(lane.run(Wait::WhileItMoves, || Ok(())).await.is_err());
        assert!(start.elapsed() < QUIET, "from then on nobody waits");
        assert_eq!(lanes.of("pool b").run(soon(), || Ok(7)).await, Ok(7));
        for (release, stuck) in stuck {
            drop(release);
            stuck.await.unwrap().unwrap();
        }
        assert_eq!(lane.run(soon(), || Ok(7)).await, Ok(7));
        drop(lane);
        lanes.of("pool c");
        assert!(!lanes.0.lock().unwrap().contains_key("pool a"), "what nobody uses is forgotten");
    }

    /// A lane that is only busy is waited for.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_moves_is_waited_for() {
        let lane = Lane::new("pool a", 1);
        let (release, stuck) = hang(&lane);
        while lane.0.free.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let (waiting, next) = (lane.clone(), tokio::time::sleep(QUIET / 4));
        let waiting = tokio::spawn(async move { waiting.run(Wait::WhileItMoves, || Ok(7)).await });
        next.await;
        drop(release);
        assert_eq!(waiting.await.unwrap(), Ok(7));
        stuck.await.unwrap().unwrap();
    }
}
