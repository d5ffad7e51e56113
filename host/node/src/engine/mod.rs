//! Carries plans out, and undoes them.
//!
//! Every operation reads the volume's record, looks at what the kernel really has, writes down what it is about to do,
//! does it, and writes down that it is done. So after a crash at any line the same call goes on, and the opposite call
//! takes back, from the record and the kernel alone.
//!
//! **Invariant:** nothing is unmounted, detached, blanked or removed that is not on record and found to be ours.
//!
//! The caller sees to it that no two calls are about one volume at once. Calls about different volumes share nothing.

mod ask;
mod device;
mod disk;
mod ephemeral;
mod expand;
mod export;
mod group;
mod health;
mod medium;
mod publish;
mod reconcile;
mod replay;
mod source;
mod stage;
mod standing;
mod stats;
mod undo;
mod wanted;

pub use reconcile::Disagreement;

use self::ask::Questions;
use crate::disk::DeviceConfig;
use crate::fence::PathFence;
use crate::journal::{Entry, Journal, PublishPhase, Record, StagePhase};
use crate::loopdev::Tag;
use crate::pool::{PoolConfig, PoolStore, User};
use bulkhead_domain::volume::VolumeId;
use bulkhead_domain::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an [`Engine`] is for.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The host's state directory; the journal goes to `node/DRIVER` in it. The caller has locked it, see
    /// [`crate::lock_dir`].
    pub state_dir: PathBuf,
    /// Staging and target paths lie below this directory, which must exist. It is opened once: what is mounted on it
    /// later is not seen.
    pub kubelet_root: PathBuf,
    /// Name of the driver.
    pub driver: String,
    /// CSI node id.
    pub node_id: String,
    /// Pools that the driver's backend may use, by name.
    pub pools: BTreeMap<String, PoolConfig>,
    /// Where disks are looked for, and which paths a plan may name.
    pub devices: DeviceConfig,
    /// The driver offers SINGLE_NODE_MULTI_WRITER, see `AccessMode::allows_second_target`.
    pub single_node_multi_writer: bool,
    /// The driver promises VOLUME_MOUNT_GROUP: a plan may name a group.
    pub volume_mount_group: bool,
    /// NodeExpandVolume grows objects too: no controller does.
    pub grows_objects: bool,
}

/// A volume on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSummary {
    /// The volume; none if its record can't be read.
    pub volume_id: Option<String>,
    /// `staging`, `staged`, `unstaging`; `publishing`, `published`, `unpublishing` of an inline ephemeral one; or why the
    /// record can't be read.
    pub state: String,
    /// An inline ephemeral volume: it is gone when it is unpublished.
    pub ephemeral: bool,
    /// Where it is staged; empty if it is not.
    pub staging_path: PathBuf,
    /// Where it is published.
    pub targets: Vec<PathBuf>,
    /// An operation was cut short; repeating it or doing the opposite finishes it.
    pub unfinished: bool,
}

/// The node half of one driver.
#[derive(Debug)]
pub struct Engine {
    fence: PathFence,
    journal: Journal,
    pools: Arc<PoolStore>,
    devices: DeviceConfig,
    single_node_multi_writer: bool,
    volume_mount_group: bool,
    grows_objects: bool,
    questions: Arc<Questions>,
}

impl Engine {
    /// Opens pools, kubelet root and journal, and logs what was cut short. Nothing is mounted, unmounted or repaired: that is left
    /// to the calls that clients repeat, and to [`Engine::reconcile`]. Nothing that is mounted is looked at either: it may hang.
    ///
    /// # Errors
    /// FailedPrecondition: a directory is missing. InvalidArgument: a name. Unavailable: something can't be read.
    pub fn open(config: EngineConfig) -> Result<Self> {
        bulkhead_domain::limits::object_name("driver name", &config.driver).map_err(Error::invalid_argument)?;
        let fence = PathFence::open(&config.kubelet_root)?;
        if !crate::sys::has_mount_setattr(&fence) {
            return Err(Error::failed_precondition(
                "this kernel has no mount_setattr(2): Linux 5.12 or newer is needed",
            ));
        }
        let engine = Self {
            fence,
            journal: Journal::open(&config.state_dir, &config.driver, &config.node_id)?,
            pools: Arc::new(PoolStore::open(&config.pools, &config.node_id)?),
            devices: config.devices,
            single_node_multi_writer: config.single_node_multi_writer,
            volume_mount_group: config.volume_mount_group,
            grows_objects: config.grows_objects,
            questions: Arc::default(),
        };
        for volume in engine.volumes()?.iter().filter(|volume| volume.unfinished) {
            tracing::warn!(
                driver = config.driver,
                volume = volume.volume_id.as_deref().unwrap_or("unknown"),
                state = volume.state,
                "an operation on this volume was cut short; the next call about it finishes or undoes it"
            );
        }
        Ok(engine)
    }

    /// The pools, for the controller half.
    pub fn pools(&self) -> &Arc<PoolStore> {
        &self.pools
    }

    /// All volumes on record, sorted by id; those whose records can't be read come first.
    ///
    /// # Errors
    /// Unavailable: the journal's directory can't be read.
    pub fn volumes(&self) -> Result<Vec<VolumeSummary>> {
        let mut volumes: Vec<_> = self.journal.all()?.into_iter().map(summary).collect();
        volumes.sort_by(|a, b| a.volume_id.cmp(&b.volume_id));
        Ok(volumes)
    }

    /// The volume is staged or published here, or may be: what was cut short counts too.
    ///
    /// # Errors
    /// Unavailable: its record can't be read.
    pub fn is_published(&self, volume: &VolumeId) -> Result<bool> {
        Ok(self.journal.load(volume)?.is_some())
    }

    /// What a volume on record lies on together with others, see [`bulkhead_domain::plan::storage`]; none if it has a disk of its own
    /// or is not on record. Does not block.
    pub fn lies_on(&self, volume: &VolumeId) -> Option<String> {
        self.journal.lies_on(volume)
    }

    fn tag(&self, volume: &VolumeId) -> Tag {
        let (driver, node_id) = self.journal.owner();
        Tag::volume(driver, node_id, volume.as_str())
    }

    fn user(&self, volume: &VolumeId, read_only: bool) -> User {
        let (driver, node_id) = self.journal.owner();
        User {
            driver: driver.to_owned(),
            node_id: node_id.to_owned(),
            volume_id: volume.as_str().to_owned(),
            read_only,
        }
    }

    /// The record of a volume that is at `path`, and the path as the record has it.
    ///
    /// # Errors
    /// NotFound: not on record, or not at that path.
    fn on_record(&self, volume: &VolumeId, path: &Path) -> Result<(Record, PathBuf)> {
        let missing = |why: &str| Error::not_found(format_args!("volume {volume} {why}"));
        let record = self.journal.load(volume)?.ok_or_else(|| missing("is not staged on this node"))?;
        let path = self.fence.canonical("volume_path", path).map_err(|_| missing("is not at this path"))?;
        if path != record.staging_path && !record.publishes.contains_key(&path) {
            return Err(missing("is not at this path"));
        }
        Ok((record, path))
    }
}

fn summary(entry: Entry) -> VolumeSummary {
    match entry {
        Entry::Record(record) => VolumeSummary {
            volume_id: Some(record.volume_id.as_str().to_owned()),
            state: match (record.phase, &record.ephemeral) {
                (StagePhase::Staging, None) => "staging",
                (StagePhase::Staged, None) => "staged",
                (StagePhase::Unstaging, None) => "unstaging",
                (StagePhase::Staging, Some(_)) => "publishing",
                (StagePhase::Staged, Some(_)) => "published",
                (StagePhase::Unstaging, Some(_)) => "unpublishing",
            }
            .to_owned(),
            ephemeral: record.ephemeral.is_some(),
            unfinished: record.phase != StagePhase::Staged
                || record.publishes.values().any(|publish| publish.phase != PublishPhase::Published),
            targets: record.publishes.into_keys().collect(),
            staging_path: record.staging_path,
        },
        Entry::Unreadable(why) => VolumeSummary {
            volume_id: None,
            state: why.message().to_owned(),
            ephemeral: false,
            staging_path: PathBuf::new(),
            targets: Vec::new(),
            unfinished: true,
        },
    }
}
