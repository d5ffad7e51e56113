//! Snapshots and groups of them.

use crate::{
    limits,
    topology::Topology,
    volume::{SnapshotId, VolumeId},
};

crate::volume::text_id! {
    /// CSI `group_snapshot_id`, at most 128 bytes.
    GroupSnapshotId, limits::STRING_BYTES, "group_snapshot_id"
}

/// The state of one volume at one moment: CSI `Snapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The same snapshot always has the same id.
    pub id: SnapshotId,
    /// The volume it was cut from; that volume may be gone by now.
    pub source_volume_id: VolumeId,
    /// Bytes that a volume restored from it needs at least; 0 = not known.
    pub size_bytes: u64,
    /// Moment of the cut, milliseconds since 1970-01-01 UTC.
    pub created_at_ms: u64,
    /// False: cut, but not usable yet.
    pub ready_to_use: bool,
    /// Set on members of a group snapshot.
    pub group_snapshot_id: Option<GroupSnapshotId>,
    /// Empty: wherever the source was.
    pub accessible_topology: Vec<Topology>,
    /// The request digest that was stored with the snapshot, see [`crate::digest`].
    pub request_digest: Option<String>,
}

/// A set of volumes at one moment: CSI `VolumeGroupSnapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// The same group always has the same id.
    pub id: GroupSnapshotId,
    /// One for each source; every member names this group.
    pub snapshots: Vec<Snapshot>,
    /// Moment of the cut, milliseconds since 1970-01-01 UTC.
    pub created_at_ms: u64,
    /// True only if all members are ready.
    pub ready_to_use: bool,
}
