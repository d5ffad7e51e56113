//! Snapshots, groups of them, and what is in them.

use super::Secrets;
use crate::{
    StringMap,
    snapshot::GroupSnapshotId,
    topology::TopologyRequirement,
    volume::{Name, SnapshotId, VolumeId},
};
use std::collections::BTreeSet;

/// CreateSnapshot.
#[derive(Debug, Clone, Hash)]
pub struct CreateSnapshot {
    /// The idempotency key.
    pub name: Name,
    /// What it is cut from.
    pub source_volume_id: VolumeId,
    /// VolumeSnapshotClass parameters.
    pub parameters: StringMap,
    /// Where it must be usable (CSI 1.13).
    pub topology: Option<TopologyRequirement>,
    /// Of this call.
    pub secrets: Secrets,
}

/// DeleteSnapshot and GetSnapshot.
#[derive(Debug, Clone, Hash)]
pub struct OneSnapshot {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// Of this call.
    pub secrets: Secrets,
}

/// Which snapshots to list. Both none: all. Both set: both must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotFilter {
    /// Cut from this volume.
    pub source_volume_id: Option<VolumeId>,
    /// This one.
    pub snapshot_id: Option<SnapshotId>,
}

/// ListSnapshots, with the client's own token.
#[derive(Debug, Clone)]
pub struct ListSnapshots {
    /// Which.
    pub filter: SnapshotFilter,
    /// 0 = as many as we like.
    pub max_entries: u32,
    /// Empty = from the start.
    pub starting_token: String,
    /// Of this call.
    pub secrets: Secrets,
}

/// CreateVolumeGroupSnapshot.
#[derive(Debug, Clone, Hash)]
pub struct CreateGroupSnapshot {
    /// The idempotency key.
    pub name: Name,
    /// At least one; the order carries no meaning.
    pub source_volume_ids: BTreeSet<VolumeId>,
    /// VolumeGroupSnapshotClass parameters.
    pub parameters: StringMap,
    /// Of this call.
    pub secrets: Secrets,
}

/// DeleteVolumeGroupSnapshot and GetVolumeGroupSnapshot.
#[derive(Debug, Clone, Hash)]
pub struct OneGroupSnapshot {
    /// The group.
    pub group_snapshot_id: GroupSnapshotId,
    /// Its members as the client knows them; may be empty.
    pub snapshot_ids: BTreeSet<SnapshotId>,
    /// Of this call.
    pub secrets: Secrets,
}

/// Which blocks are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocks {
    /// Those of a snapshot that hold data: GetMetadataAllocated.
    Allocated(SnapshotId),
    /// Those that differ between two snapshots of one volume: GetMetadataDelta.
    Changed {
        /// The older one.
        base: SnapshotId,
        /// The newer one.
        target: SnapshotId,
    },
}

/// GetMetadataAllocated and GetMetadataDelta.
#[derive(Debug, Clone)]
pub struct WalkBlocks {
    /// Which blocks.
    pub blocks: Blocks,
    /// Bytes; what ends at or before it is left out.
    pub starting_offset: u64,
    /// Most ranges in one message; 0 = as many as we like.
    pub max_results: u32,
    /// Of this call.
    pub secrets: Secrets,
}
