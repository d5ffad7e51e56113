//! What of a driver's node half needs no backend: it stands beside a driver that can't be loaded, so that volumes can be
//! taken down from the journal meanwhile, and is a part of every driver that can.

use super::{
    lock::{Key, Locks},
    ports::NodeEngine,
    work::{Work, blocking},
};
use bulkhead_domain::{
    Result,
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
    work: Work,
    call_timeout: Duration,
}

impl NodeHalf {
    /// `call_timeout`: longest time for one call, whatever the client allows.
    pub fn new(engine: Arc<dyn NodeEngine>, work: Work, call_timeout: Duration) -> Self {
        Self { engine, locks: Locks::default(), work, call_timeout }
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
        let operation = blocking(move || {
            let _guard = guard;
            step(engine.as_ref())
        });
        self.work.run(deadline, operation).await
    }
}
