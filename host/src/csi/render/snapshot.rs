//! Snapshots, groups of them, and what is in them.

use super::{bytes, topology};
use bulkhead_domain::{
    blocks::{BlockMetadataType, BlockPage},
    snapshot::{GroupSnapshot, Snapshot},
    volume::Page,
};
use bulkhead_proto::v1;

/// A moment in milliseconds since 1970, which the border to the backend has checked against the year 9999.
fn moment(ms: u64) -> Option<bulkhead_proto::Timestamp> {
    Some(bulkhead_proto::Timestamp {
        seconds: i64::try_from(ms / 1000).ok()?,
        nanos: i32::try_from(ms % 1000).ok()? * 1_000_000,
    })
}

/// A snapshot. `topology`: the client is of a generation that knows where snapshots are.
pub fn snapshot(snapshot: Snapshot, with_topology: bool) -> v1::Snapshot {
    let places = if with_topology { snapshot.accessible_topology } else { vec![] };
    v1::Snapshot {
        size_bytes: bytes(snapshot.size_bytes),
        snapshot_id: snapshot.id.as_str().to_owned(),
        source_volume_id: snapshot.source_volume_id.as_str().to_owned(),
        creation_time: moment(snapshot.created_at_ms),
        ready_to_use: snapshot.ready_to_use,
        group_snapshot_id: snapshot.group_snapshot_id.map_or_else(String::new, |id| id.as_str().to_owned()),
        accessible_topology: places.into_iter().map(topology).collect(),
    }
}

/// ListSnapshots.
pub fn snapshots(page: Page<Snapshot>, with_topology: bool) -> v1::ListSnapshotsResponse {
    use v1::list_snapshots_response::Entry;
    let entries = page.entries.into_iter();
    v1::ListSnapshotsResponse {
        entries: entries.map(|s| Entry { snapshot: Some(snapshot(s, with_topology)) }).collect(),
        next_token: page.next_token.unwrap_or_default(),
    }
}

/// A group snapshot.
pub fn group_snapshot(group: GroupSnapshot, with_topology: bool) -> v1::VolumeGroupSnapshot {
    v1::VolumeGroupSnapshot {
        group_snapshot_id: group.id.as_str().to_owned(),
        snapshots: group.snapshots.into_iter().map(|s| snapshot(s, with_topology)).collect(),
        creation_time: moment(group.created_at_ms),
        ready_to_use: group.ready_to_use,
    }
}

fn block_type(metadata_type: BlockMetadataType) -> i32 {
    match metadata_type {
        BlockMetadataType::FixedLength => v1::BlockMetadataType::FixedLength.into(),
        BlockMetadataType::VariableLength => v1::BlockMetadataType::VariableLength.into(),
    }
}

fn ranges(page: &BlockPage) -> Vec<v1::BlockMetadata> {
    let range = |r: &bulkhead_domain::blocks::BlockRange| v1::BlockMetadata {
        byte_offset: bytes(r.byte_offset),
        size_bytes: bytes(r.size_bytes),
    };
    page.ranges.iter().map(range).collect()
}

/// One message of GetMetadataAllocated.
pub fn block_page_allocated(page: BlockPage) -> v1::GetMetadataAllocatedResponse {
    v1::GetMetadataAllocatedResponse {
        block_metadata_type: block_type(page.metadata_type),
        volume_capacity_bytes: bytes(page.volume_capacity_bytes),
        block_metadata: ranges(&page),
    }
}

/// One message of GetMetadataDelta.
pub fn block_page_delta(page: BlockPage) -> v1::GetMetadataDeltaResponse {
    v1::GetMetadataDeltaResponse {
        block_metadata_type: block_type(page.metadata_type),
        volume_capacity_bytes: bytes(page.volume_capacity_bytes),
        block_metadata: ranges(&page),
    }
}
