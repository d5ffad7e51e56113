//! What of a driver's node half needs no backend: it stands beside a driver that can't be loaded, so that volumes can be
//! taken down from the journal meanwhile, and is a part of every driver that can.

use super::{
    lane::{Lane, Lanes, Wait},
    lock::{Key, Locks},
    ports::NodeEngine,
    work::{Work, blocking},
};
use bulkhead_domain::{
    ErrorKind, Result,
    node::{Unpublish, Unstage},
    volume::VolumeId,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// An engine, and the locks over its volumes. Cheap to clone; clones share the locks.
#[derive(Clone)]
pub struct NodeHalf {
    pub(super) engine: Arc<dyn NodeEngine>,
    pub(super) locks: Locks,
    lanes: Arc<Lanes>,
    work: Work,
    call_timeout: Duration,
}

impl NodeHalf {
    /// `call_timeout`: longest time for one call, whatever the client allows.
    pub fn new(engine: Arc<dyn NodeEngine>, work: Work, call_timeout: Duration) -> Self {
        Self { engine, locks: Locks::default(), lanes: Arc::default(), work, call_timeout }
    }

    /// The same volumes with another engine over the same journal: calls that run on either exclude each other.
    #[must_use]
    pub fn with_engine(&self, engine: Arc<dyn NodeEngine>) -> Self {
        Self { engine, ..self.clone() }
    }

    /// NodeUnstageVolume. Locks the volume.
    ///
    /// # Errors
    /// FAILED_PRECONDITION while it is published.
    pub async fn node_unstage_volume(&self, request: Unstage, timeout: Option<Duration>) -> Result<()> {
        self.locked(request.volume_id.clone(), timeout, move |engine| engine.unstage(request)).await
    }

    /// NodeUnpublishVolume. Locks the volume.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn node_unpublish_volume(&self, request: Unpublish, timeout: Option<Duration>) -> Result<()> {
        self.locked(request.volume_id.clone(), timeout, move |engine| engine.unpublish(request)).await
    }

    /// Takes back what was cut short and what nobody has come back for within `grace`: a client repeats its calls, and what it
    /// still wants is not to be taken down and made anew. One volume after the other, each under its lock.
    pub async fn reconcile(self, grace: Duration) {
        tokio::time::sleep(grace).await;
        let engine = self.engine.clone();
        let unfinished = match blocking(move || engine.unfinished()).await {
            Ok(unfinished) => unfinished,
            Err(error) => return tracing::warn!(%error, "can't look for volumes of which an operation was cut short"),
        };
        for volume in unfinished {
            let id = volume.clone();
            let step = move |engine: &dyn NodeEngine| engine.reconcile(id);
            match self.locked(volume.clone(), None, step).await {
                Ok(()) => {}
                // Somebody is at it.
                Err(error) if error.kind() == ErrorKind::Aborted => {}
                Err(error) => tracing::warn!(%volume, %error, "what was cut short can't be taken back now"),
            }
        }
    }

    /// Where work on a volume runs: together with all that would hang with it.
    pub(super) fn lane(&self, volume_id: &VolumeId) -> Lane {
        match self.engine.lies_on(volume_id) {
            Some(what) => self.lanes.of(&what),
            None => self.lanes.of(&format!("volume {volume_id}")),
        }
    }

    /// As [`NodeHalf::lane`], of a volume that lies on what its plan says, if that says it.
    pub(super) fn lane_on(&self, volume_id: &VolumeId, lies_on: Option<String>) -> Lane {
        lies_on.map_or_else(|| self.lane(volume_id), |what| self.lanes.of(&what))
    }

    /// Runs one step of the engine on a blocking thread that keeps the volume's lock until it ends.
    pub(super) async fn locked<T: Send + 'static>(
        &self,
        volume_id: VolumeId,
        timeout: Option<Duration>,
        step: impl FnOnce(&dyn NodeEngine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = self.engine.clone();
        let guard = self.locks.try_lock(Key::Volume(volume_id.as_str().to_owned()))?;
        let deadline = Instant::now() + timeout.map_or(self.call_timeout, |t| t.min(self.call_timeout));
        let lane = self.lane(&volume_id);
        let operation = async move {
            let step = move || {
                let _guard = guard;
                step(engine.as_ref())
            };
            lane.run(Wait::Until(deadline), step).await
        };
        self.work.run(deadline, operation).await
    }
}
