//! The Node service: how much is in use, and what is wrong. Nothing here takes a lock: it changes nothing, and a dead file
//! system must not hold one.

use super::{
    Driver,
    call::Call,
    lane::Wait,
    ports::{Effect, Role},
};
use bulkhead_domain::{
    Result,
    health::{StorageProblem, VolumeHealth, VolumeProblem},
    node::{NodeHealth, Stats, Usage},
    request::Secrets,
};
use std::time::Duration;

/// Longest wait for a file system's figures: a dead one must not keep a caller.
const STATS_TIMEOUT: Duration = Duration::from_secs(5);

/// What NodeGetVolumeStats answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeStats {
    /// Empty where the volume can't be read.
    pub usage: Vec<Usage>,
    /// What is wrong with it; none: not asked for by this generation of clients.
    pub problems: Option<Vec<VolumeProblem>>,
}

impl Driver {
    /// NodeGetVolumeStats.
    ///
    /// # Errors
    /// NOT_FOUND; DEADLINE_EXCEEDED from a file system that does not answer, where the volume's condition can't say so.
    pub async fn node_get_volume_stats(&self, request: Stats, timeout: Option<Duration>) -> Result<VolumeStats> {
        let (engine, lane) = (self.engine()?, self.node_half()?.lane(&request.volume_id));
        let condition = self.offer().shows_node_condition();
        let cx = self.context(Role::Node, Effect::None, timeout, None, Secrets::default());
        let patience = patience(timeout);
        let look = move || {
            if !condition {
                return Ok(VolumeStats { usage: engine.stats(request, patience)?, problems: None });
            }
            let ask =
                NodeHealth { volume_id: request.volume_id.clone(), volume_path: Some(request.volume_path.clone()) };
            let problems = engine.health(ask, patience / 2)?;
            let unreadable = problems.iter().any(|p| p.status != VolumeHealth::Degraded);
            let usage = if unreadable { vec![] } else { engine.stats(request, patience / 2)? };
            Ok(VolumeStats { usage, problems: Some(problems) })
        };
        let wait = Wait::Until(cx.deadline);
        self.inner.work.run(cx.deadline, async move { lane.run(wait, look).await }).await
    }

    /// NodeGetVolumeHealth: what this node sees; empty = healthy.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub async fn node_get_volume_health(
        &self,
        request: NodeHealth,
        timeout: Option<Duration>,
    ) -> Result<Vec<VolumeProblem>> {
        let (engine, lane) = (self.engine()?, self.node_half()?.lane(&request.volume_id));
        let cx = self.context(Role::Node, Effect::None, timeout, None, Secrets::default());
        let (patience, wait) = (patience(timeout), Wait::Until(cx.deadline));
        let look = async move { lane.run(wait, move || engine.health(request, patience)).await };
        self.inner.work.run(cx.deadline, look).await
    }

    /// NodeGetStorageHealth: the controller half's view of the storage system; empty = healthy.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn node_get_storage_health(
        &self,
        secrets: Secrets,
        timeout: Option<Duration>,
    ) -> Result<Vec<StorageProblem>> {
        let like = Call::reading(timeout, secrets);
        self.ask(like, (), (), |backend, cx, ()| async move { backend.get_storage_health(cx).await }).await
    }
}

fn patience(timeout: Option<Duration>) -> Duration {
    timeout.map_or(STATS_TIMEOUT, |t| t.min(STATS_TIMEOUT))
}
