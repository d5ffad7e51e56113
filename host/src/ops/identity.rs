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
    /// Probe: ready or still starting up.
    ///
    /// # Errors
    /// FAILED_PRECONDITION with the backend's reason: the specification's code for a plugin that is not healthy.
    pub async fn probe(&self, timeout: Option<Duration>) -> Result<bool> {
        // Held across the call: probes that come meanwhile wait for its answer instead of asking again.
        let mut last = self.inner.probe.0.lock().await;
        if let Some((when, answer)) = last.as_ref()
            && when.elapsed() < PROBE_TTL
        {
            return answer.clone();
        }
        // In a node process everything beyond the always-linked imports is closed, for this call too.
        let role = if self.inner.controller { Role::Controller } else { Role::Node };
        let cx = self.context(role, Effect::None, timeout, None, Secrets::default());
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
