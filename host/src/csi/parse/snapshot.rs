//! Snapshots, groups of them, and what is in them.

use super::{entries, invalid, map, max_entries, requirement, secrets, volume_id};
use bulkhead_domain::{
    Error, Result,
    request::{
        Blocks, CreateGroupSnapshot, CreateSnapshot, ListSnapshots, OneGroupSnapshot, OneSnapshot, SnapshotFilter,
        WalkBlocks,
    },
    snapshot::GroupSnapshotId,
    volume::{Name, SnapshotId},
};
use bulkhead_proto::v1;
use std::collections::BTreeSet;

fn snapshot_id(id: String) -> Result<SnapshotId> {
    SnapshotId::parse(id).map_err(invalid)
}

/// CreateSnapshot.
pub fn create_snapshot(r: v1::CreateSnapshotRequest) -> Result<CreateSnapshot> {
    Ok(CreateSnapshot {
        name: Name::parse(r.name).map_err(invalid)?,
        source_volume_id: volume_id(r.source_volume_id).map_err(|e| e.context("source_volume_id"))?,
        parameters: map("parameters", r.parameters)?,
        topology: requirement(r.accessibility_requirements)?,
        secrets: secrets(r.secrets)?,
    })
}

/// DeleteSnapshot.
pub fn delete_snapshot(r: v1::DeleteSnapshotRequest) -> Result<OneSnapshot> {
    Ok(OneSnapshot { snapshot_id: snapshot_id(r.snapshot_id)?, secrets: secrets(r.secrets)? })
}

/// GetSnapshot.
pub fn get_snapshot(r: v1::GetSnapshotRequest) -> Result<OneSnapshot> {
    Ok(OneSnapshot { snapshot_id: snapshot_id(r.snapshot_id)?, secrets: secrets(r.secrets)? })
}

/// ListSnapshots.
pub fn list_snapshots(r: v1::ListSnapshotsRequest) -> Result<ListSnapshots> {
    let set = |id: String| (!id.is_empty()).then_some(id);
    Ok(ListSnapshots {
        filter: SnapshotFilter {
            source_volume_id: set(r.source_volume_id).map(volume_id).transpose()?,
            snapshot_id: set(r.snapshot_id).map(snapshot_id).transpose()?,
        },
        max_entries: max_entries(r.max_entries)?,
        starting_token: r.starting_token,
        secrets: secrets(r.secrets)?,
    })
}

/// CreateVolumeGroupSnapshot. A volume that is named twice is a mistake of the client, not a set.
pub fn create_group_snapshot(r: v1::CreateVolumeGroupSnapshotRequest) -> Result<CreateGroupSnapshot> {
    let name = Name::parse(r.name).map_err(invalid)?;
    if r.source_volume_ids.is_empty() {
        return Err(Error::invalid_argument("source_volume_ids is missing"));
    }
    entries("source_volume_ids", &r.source_volume_ids)?;
    let count = r.source_volume_ids.len();
    let source_volume_ids: BTreeSet<_> = r.source_volume_ids.into_iter().map(volume_id).collect::<Result<_>>()?;
    if source_volume_ids.len() < count {
        return Err(Error::invalid_argument("source_volume_ids names a volume twice"));
    }
    Ok(CreateGroupSnapshot {
        name,
        source_volume_ids,
        parameters: map("parameters", r.parameters)?,
        secrets: secrets(r.secrets)?,
    })
}

fn one_group(id: String, members: Vec<String>) -> Result<(GroupSnapshotId, BTreeSet<SnapshotId>)> {
    entries("snapshot_ids", &members)?;
    let id = GroupSnapshotId::parse(id).map_err(invalid)?;
    Ok((id, members.into_iter().map(snapshot_id).collect::<Result<_>>()?))
}

/// DeleteVolumeGroupSnapshot.
pub fn delete_group_snapshot(r: v1::DeleteVolumeGroupSnapshotRequest) -> Result<OneGroupSnapshot> {
    let (group_snapshot_id, snapshot_ids) = one_group(r.group_snapshot_id, r.snapshot_ids)?;
    Ok(OneGroupSnapshot { group_snapshot_id, snapshot_ids, secrets: secrets(r.secrets)? })
}

/// GetVolumeGroupSnapshot.
pub fn get_group_snapshot(r: v1::GetVolumeGroupSnapshotRequest) -> Result<OneGroupSnapshot> {
    let (group_snapshot_id, snapshot_ids) = one_group(r.group_snapshot_id, r.snapshot_ids)?;
    Ok(OneGroupSnapshot { group_snapshot_id, snapshot_ids, secrets: secrets(r.secrets)? })
}

/// A negative offset is out of range, a negative count is no count.
fn window(starting_offset: i64, max_results: i32) -> Result<(u64, u32)> {
    let max_results = u32::try_from(max_results).map_err(|_| Error::invalid_argument("max_results is negative"))?;
    let offset = u64::try_from(starting_offset).map_err(|_| Error::out_of_range("starting_offset is negative"))?;
    Ok((offset, max_results))
}

/// GetMetadataAllocated.
pub fn allocated(r: v1::GetMetadataAllocatedRequest) -> Result<WalkBlocks> {
    let blocks = Blocks::Allocated(snapshot_id(r.snapshot_id)?);
    let secrets = secrets(r.secrets)?;
    let (starting_offset, max_results) = window(r.starting_offset, r.max_results)?;
    Ok(WalkBlocks { blocks, starting_offset, max_results, secrets })
}

/// GetMetadataDelta.
pub fn delta(r: v1::GetMetadataDeltaRequest) -> Result<WalkBlocks> {
    let base = snapshot_id(r.base_snapshot_id).map_err(|e| e.context("base_snapshot_id"))?;
    let target = snapshot_id(r.target_snapshot_id).map_err(|e| e.context("target_snapshot_id"))?;
    let secrets = secrets(r.secrets)?;
    let (starting_offset, max_results) = window(r.starting_offset, r.max_results)?;
    Ok(WalkBlocks { blocks: Blocks::Changed { base, target }, starting_offset, max_results, secrets })
}
