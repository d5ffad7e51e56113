//! Where operations run: in tasks of their own, on the runtime of the guests, counted, so that a client that hangs up
//! stops nothing halfway and a shutdown can wait.

use bulkhead_domain::{Error, Result};
use std::{
    future::Future,
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
        let task = self.tracker.spawn_on(operation, &self.runtime);
        match tokio::time::timeout_at(deadline.into(), task).await {
            Ok(ended) => joined(ended),
            Err(_) => {
                Err(Error::deadline_exceeded("the call ran out of time; the operation may still go on: try again"))
            }
        }
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
    ended.unwrap_or_else(|e| {
        tracing::error!(error = %e, "an operation ended without an answer: this is a bug in the host");
        Err(Error::unavailable("the operation ended without an answer; its outcome is not known"))
    })
}
