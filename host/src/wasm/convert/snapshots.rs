//! Snapshots, groups of them, and what is in them.

use super::{
    list, map_to_wit, topology,
    volumes::{digest, page_token, requirement_to_wit, size},
};
use crate::{
    ops::ports::{BlocksRequest, CreateOrder, GroupMembers},
    wasm::bindings::{imports::types as wit, offered},
};
use bulkhead_domain::{
    blocks::{BlockMetadataType, BlockPage, BlockRange},
    limits::{self, Violation},
    request::{CreateGroupSnapshot, CreateSnapshot, SnapshotFilter},
    snapshot::{GroupSnapshot, GroupSnapshotId, Snapshot},
    volume::{Page, SnapshotId, VolumeId},
};

/// CreateSnapshot, for the guest.
pub fn snapshot_request(order: CreateOrder<CreateSnapshot>) -> offered::snapshots::CreateSnapshotRequest {
    let request = order.request;
    offered::snapshots::CreateSnapshotRequest {
        name: request.name.as_str().to_owned(),
        source_volume_id: request.source_volume_id.as_str().to_owned(),
        parameters: map_to_wit(request.parameters),
        topology: request.topology.map(requirement_to_wit),
        request_digest: order.digest,
    }
}

/// Which snapshots, for the guest.
pub fn snapshot_filter(filter: SnapshotFilter) -> offered::snapshot_listing::SnapshotFilter {
    offered::snapshot_listing::SnapshotFilter {
        source_volume_id: filter.source_volume_id.map(|id| id.as_str().to_owned()),
        snapshot_id: filter.snapshot_id.map(|id| id.as_str().to_owned()),
    }
}

/// CreateVolumeGroupSnapshot, for the guest.
pub fn group_request(order: CreateOrder<CreateGroupSnapshot>) -> offered::group_snapshots::GroupRequest {
    let request = order.request;
    offered::group_snapshots::GroupRequest {
        name: request.name.as_str().to_owned(),
        source_volume_ids: request.source_volume_ids.iter().map(|id| id.as_str().to_owned()).collect(),
        parameters: map_to_wit(request.parameters),
        request_digest: order.digest,
    }
}

/// A group and its members, for the guest.
pub fn group_members(group: GroupMembers) -> (String, Vec<String>) {
    let members = group.snapshot_ids.iter().map(|id| id.as_str().to_owned());
    (group.id.as_str().to_owned(), members.collect())
}

/// A snapshot from the guest.
pub fn snapshot(snapshot: wit::Snapshot, topology_keys: &[String]) -> Result<Snapshot, Violation> {
    Ok(Snapshot {
        id: SnapshotId::from_backend(snapshot.snapshot_id)?,
        source_volume_id: VolumeId::from_backend(snapshot.source_volume_id)?,
        size_bytes: size("size-bytes", snapshot.size_bytes)?,
        created_at_ms: moment(snapshot.created_at_ms)?,
        ready_to_use: snapshot.ready_to_use,
        group_snapshot_id: snapshot.group_snapshot_id.map(GroupSnapshotId::from_backend).transpose()?,
        accessible_topology: list("accessible-topology", snapshot.accessible_topology, |t| topology(t, topology_keys))?,
        request_digest: digest(snapshot.request_digest)?,
    })
}

/// A page from the guest: only what was asked for, and no more of it.
pub fn snapshot_page(
    page: offered::snapshot_listing::SnapshotPage,
    max_entries: u32,
    filter: &SnapshotFilter,
    topology_keys: &[String],
) -> Result<Page<Snapshot>, Violation> {
    let page = Page {
        next_token: page_token(page.entries.len(), max_entries, page.next_token)?,
        entries: list("entries", page.entries, |s| snapshot(s, topology_keys))?,
    };
    let fits = |s: &Snapshot| {
        filter.snapshot_id.as_ref().is_none_or(|id| *id == s.id)
            && filter.source_volume_id.as_ref().is_none_or(|id| *id == s.source_volume_id)
    };
    if page.entries.iter().all(fits) { Ok(page) } else { Err("a snapshot that was not asked for is listed".into()) }
}

/// A group from the guest: every member names it, and it is ready only if all of them are.
pub fn group_snapshot(
    group: offered::group_snapshots::GroupSnapshot,
    topology_keys: &[String],
) -> Result<GroupSnapshot, Violation> {
    let id = GroupSnapshotId::from_backend(group.group_snapshot_id)?;
    let snapshots = list("snapshots", group.snapshots, |s| snapshot(s, topology_keys))?;
    if snapshots.is_empty() {
        return Err("a group snapshot without members".into());
    }
    if snapshots.iter().any(|member| member.group_snapshot_id.as_ref() != Some(&id)) {
        return Err("a member does not name its group".into());
    }
    if group.ready_to_use && !snapshots.iter().all(|member| member.ready_to_use) {
        return Err("a group is ready before its members are".into());
    }
    let created_at_ms = moment(group.created_at_ms)?;
    Ok(GroupSnapshot { id, snapshots, created_at_ms, ready_to_use: group.ready_to_use })
}

/// Protobuf's timestamps end with the year 9999.
fn moment(ms: u64) -> Result<u64, Violation> {
    const LAST: u64 = 253_402_300_799_999;
    if ms <= LAST { Ok(ms) } else { Err("created-at-ms is after the year 9999".into()) }
}

/// A page of blocks from the guest, as it was asked for.
pub fn block_page(page: offered::changed_blocks::BlockPage, asked: &BlocksRequest) -> Result<BlockPage, Violation> {
    use offered::changed_blocks::BlockMetadataType as Wit;
    let capacity = size("volume-capacity-bytes", page.volume_capacity_bytes)?;
    if asked.max_results > 0 && page.ranges.len() > asked.max_results as usize {
        return Err(format!("{} ranges where {} were asked for", page.ranges.len(), asked.max_results));
    }
    let mut end = 0;
    let ranges = list("ranges", page.ranges, |range| {
        let range = BlockRange { byte_offset: range.byte_offset, size_bytes: range.size_bytes };
        if range.size_bytes == 0 || range.byte_offset < end {
            return Err("ranges are empty, overlap or do not rise".into());
        }
        let past = range.byte_offset.checked_add(range.size_bytes).filter(|past| *past <= limits::MAX_BYTES);
        end = past.ok_or("a range goes beyond 2^63 - 1 bytes")?;
        Ok(range)
    })?;
    if ranges.first().is_some_and(|first| first.end() <= asked.starting_offset) {
        return Err("the first range ends before the offset asked for".into());
    }
    if page.next_offset.is_some_and(|next| next > capacity.max(end)) {
        return Err("next-offset lies beyond the end".into());
    }
    Ok(BlockPage {
        metadata_type: match page.metadata_type {
            Wit::FixedLength => BlockMetadataType::FixedLength,
            Wit::VariableLength => BlockMetadataType::VariableLength,
        },
        volume_capacity_bytes: capacity,
        ranges,
        next_offset: page.next_offset,
    })
}
