//! The Identity service.

use super::{
    Driver,
    ports::{Effect, Role},
};
use bulkhead_domain::{Error, Result, request::Secrets};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long an answer of a backend's probe is good for, so that many probing clients cost the storage system nothing.
const PROBE_TTL: Duration = Duration::from_secs(3);

/// The last answer of a backend's probe.
#[derive(Default)]
pub(super) struct ProbeCache(Mutex<Option<(Instant, Result<bool>)>>);

impl Driver {
    /// Probe: ready or still starting up. A node's half is ready once it is loaded: its backend reaches nothing there, so it
    /// isn't asked.
    ///
    /// # Errors
    /// FAILED_PRECONDITION with the backend's reason: the specification's code for a plugin that is not healthy.
    pub async fn probe(&self, timeout: Option<Duration>) -> Result<bool> {
        if !self.inner.controller {
            return Ok(true);
        }
        // Held across the call: probes that come meanwhile wait for its answer instead of asking again.
        let mut last = self.inner.probe.0.lock().await;
        if let Some((when, answer)) = last.as_ref()
            && when.elapsed() < PROBE_TTL
        {
            return answer.clone();
        }
        let cx = self.context(Role::Controller, Effect::None, timeout, None, Secrets::default());
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        let answer = self
            .inner
            .work
            .run(deadline, async move { backend.probe(cx).await })
            .await
            .map_err(|e| Error::failed_precondition(format_args!("the backend is not healthy: {e}")));
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
