//! Where operations run: counted, so that a shutdown can wait, and never cut short by a client that hangs up.
//!
//! An operation begins on the thread that serves the client. Most end right there: a guest's answer is there within
//! microseconds, and moving it to another thread and back would cost more than the sandbox does. One that has to wait, or
//! whose guest is still computing at the next epoch, moves to the runtime of the guests in a task of its own. So a
//! guest that spins keeps a serving thread for one epoch and no longer.

use bulkhead_domain::{Error, Result};
use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts operations and waits for them. Cheap to clone.
#[derive(Clone)]
pub struct Work {
    runtime: Handle,
    tracker: TaskTracker,
    closing: CancellationToken,
}

impl Work {
    /// Runs operations on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tracker: TaskTracker::new(), closing: CancellationToken::new() }
    }

    /// Runs `operation` to its end, also when the caller is dropped, and answers at `deadline` at the latest. What
    /// the operation holds (locks) stays held until it really ends.
    ///
    /// # Errors
    /// Those of the operation; DEADLINE_EXCEEDED; UNAVAILABLE once the host is shutting down, before anything is begun,
    /// and when the operation panicked (its outcome is not known).
    pub async fn run<T, F>(&self, deadline: Instant, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if self.closing.is_cancelled() {
            return Err(Error::unavailable("this host is shutting down: try again"));
        }
        let mut operation = Box::pin(self.tracker.track_future(operation));
        let begun = poll_fn(|cx| {
            // Timers and blocking threads that the operation asks for belong to the runtime that may run it on.
            let _runtime = self.runtime.enter();
            Poll::Ready(catch_unwind(AssertUnwindSafe(|| operation.as_mut().poll(cx))))
        });
        match begun.await {
            Ok(Poll::Ready(result)) => return result,
            Ok(Poll::Pending) => {}
            Err(_) => return Err(lost(&"it panicked")),
        }
        let task = self.runtime.spawn(operation);
        match tokio::time::timeout_at(deadline.into(), task).await {
            Ok(ended) => joined(ended),
            Err(_) => {
                Err(Error::deadline_exceeded("the call ran out of time; the operation may still go on: try again"))
            }
        }
    }

    /// Waits until the host is shutting down: an operation that only waits ends then.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Refuses new operations and waits for those that run, at most `patience`. Returns how many are still running.
    pub async fn close(&self, patience: Duration) -> usize {
        self.closing.cancel();
        self.tracker.close();
        // Elapsed or not, what counts is how many are left.
        let _ = tokio::time::timeout(patience, self.tracker.wait()).await;
        self.tracker.len()
    }
}

/// Runs blocking `operation` on a thread that may block. Call it from within [`Work::run`].
///
/// # Errors
/// Those of the operation; UNAVAILABLE when it panicked.
pub async fn blocking<T, F>(operation: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    joined(tokio::task::spawn_blocking(operation).await)
}

fn joined<T>(ended: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    ended.unwrap_or_else(|e| Err(lost(&e)))
}

fn lost(reason: &dyn std::fmt::Display) -> Error {
    tracing::error!(%reason, "an operation ended without an answer: this is a bug in the host");
    Error::unavailable("the operation ended without an answer; its outcome is not known")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[tokio::test]
    async fn what_waits_goes_on_without_its_client_and_past_its_deadline() {
        static DONE: AtomicBool = AtomicBool::new(false);
        let work = Work::new(Handle::current());
        let slow = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            DONE.store(true, SeqCst);
            Ok(())
        };
        assert_eq!(work.run(soon(), slow).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        assert!(!DONE.load(SeqCst));
        assert_eq!(work.close(Duration::from_secs(5)).await, 0);
        assert!(DONE.load(SeqCst), "it ran to its end");
        assert_eq!(work.run(soon(), async { Ok(()) }).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_panic_is_one_failed_call() {
        let work = Work::new(Handle::current());
        let at_once = work.run::<(), _>(soon(), async { panic!("at once") }).await;
        assert_eq!(at_once.unwrap_err().kind(), ErrorKind::Unavailable);
        let later = work.run::<(), _>(soon(), async {
            tokio::task::yield_now().await;
            panic!("later")
        });
        assert_eq!(later.await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(work.run(soon(), async { Ok(7) }).await, Ok(7));
    }
}
