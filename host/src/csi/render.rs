//! From the domain to protobuf.

mod capabilities;
mod health;
mod snapshot;

pub use capabilities::{controller_capabilities, group_capabilities, node_capabilities, plugin_capabilities};
pub use health::{storage_health, unhealthy_volumes, volume_health};
pub use snapshot::{block_page_allocated, block_page_delta, group_snapshot, snapshot, snapshots};

use crate::ops::node_health::VolumeStats;
use bulkhead_domain::{
    node::{NodeInfo, Usage, UsageUnit},
    topology::Topology,
    volume::{Available, ContentSource, ListedVolume, NodeId, Page, Volume},
};
use bulkhead_proto::v1;

/// Sizes are checked against 2^63 - 1 before they get here; should one slip through, the largest is shown.
pub fn bytes(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn topology(place: Topology) -> v1::Topology {
    v1::Topology { segments: place.segments }
}

fn source(source: ContentSource) -> v1::VolumeContentSource {
    use v1::volume_content_source::{SnapshotSource, Type, VolumeSource};
    let r#type = match source {
        ContentSource::Snapshot(id) => Type::Snapshot(SnapshotSource { snapshot_id: id.as_str().to_owned() }),
        ContentSource::Volume(id) => Type::Volume(VolumeSource { volume_id: id.as_str().to_owned() }),
    };
    v1::VolumeContentSource { r#type: Some(r#type) }
}

/// A volume.
pub fn volume(volume: Volume) -> v1::Volume {
    v1::Volume {
        capacity_bytes: bytes(volume.capacity_bytes),
        volume_id: volume.id.as_str().to_owned(),
        volume_context: volume.context,
        content_source: volume.source.map(source),
        accessible_topology: volume.accessible_topology.into_iter().map(topology).collect(),
    }
}

fn node_ids(ids: Vec<NodeId>) -> Vec<String> {
    ids.into_iter().map(|id| id.as_str().to_owned()).collect()
}

/// ListVolumes.
pub fn volumes(page: Page<ListedVolume>) -> v1::ListVolumesResponse {
    use v1::list_volumes_response::{Entry, VolumeStatus};
    let entry = |listed: ListedVolume| Entry {
        volume: Some(volume(listed.volume)),
        status: Some(VolumeStatus {
            published_node_ids: node_ids(listed.published_node_ids),
            volume_condition: listed.problems.as_deref().map(health::condition),
        }),
    };
    v1::ListVolumesResponse {
        entries: page.entries.into_iter().map(entry).collect(),
        next_token: page.next_token.unwrap_or_default(),
    }
}

/// ControllerGetVolume.
pub fn listed_volume(listed: ListedVolume) -> v1::ControllerGetVolumeResponse {
    use v1::controller_get_volume_response::VolumeStatus;
    v1::ControllerGetVolumeResponse {
        volume: Some(volume(listed.volume)),
        status: Some(VolumeStatus {
            published_node_ids: node_ids(listed.published_node_ids),
            volume_condition: listed.problems.as_deref().map(health::condition),
        }),
    }
}

/// GetCapacity.
pub fn available(available: Available) -> v1::GetCapacityResponse {
    v1::GetCapacityResponse {
        available_capacity: bytes(available.available_bytes),
        maximum_volume_size: available.maximum_volume_bytes.map(bytes),
        minimum_volume_size: available.minimum_volume_bytes.map(bytes),
    }
}

/// NodeGetInfo.
pub fn node_info(node_id: String, info: NodeInfo) -> v1::NodeGetInfoResponse {
    v1::NodeGetInfoResponse {
        node_id,
        max_volumes_per_node: info.max_volumes.map_or(0, i64::from),
        accessible_topology: info.topology.map(topology),
    }
}

/// NodeGetVolumeStats.
pub fn stats(stats: VolumeStats) -> v1::NodeGetVolumeStatsResponse {
    let line = |usage: Usage| v1::VolumeUsage {
        available: usage.available.map_or(0, bytes),
        total: bytes(usage.total),
        used: usage.used.map_or(0, bytes),
        unit: match usage.unit {
            UsageUnit::Bytes => v1::volume_usage::Unit::Bytes.into(),
            UsageUnit::Inodes => v1::volume_usage::Unit::Inodes.into(),
        },
    };
    v1::NodeGetVolumeStatsResponse {
        usage: stats.usage.into_iter().map(line).collect(),
        volume_condition: stats.problems.as_deref().map(health::condition),
    }
}
