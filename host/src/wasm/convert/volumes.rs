//! Volumes, pages, capacity, expansion.

use super::{list, map, map_to_wit, topology};
use crate::{
    ops::{ports::CreateOrder, token::MAX_TOKEN_BYTES},
    wasm::bindings::{imports::types as wit, offered},
};
use bulkhead_domain::{
    capability::{AccessMode, AccessType, VolumeCapability},
    capacity::CapacityRange,
    limits::{self, Violation},
    request::{ExpandVolume, GetCapacity, ValidateVolumeCapabilities},
    topology::{Topology, TopologyRequirement},
    volume::{
        Available, ContentSource, Expanded, ListedVolume, NodeId, Page, PageRequest, SnapshotId, Volume, VolumeId,
    },
};

pub(super) fn capability_to_wit(capability: VolumeCapability) -> wit::VolumeCapability {
    wit::VolumeCapability {
        access_type: match capability.access_type {
            AccessType::Block => wit::AccessType::Block,
            // Mount flags stay here: they may hold sensitive text.
            AccessType::Mount(mount) => wit::AccessType::Mount(wit::MountAccess {
                fs_type: mount.fs_type,
                volume_mount_group: mount.volume_mount_group,
            }),
        },
        access_mode: match capability.access_mode {
            AccessMode::SingleNodeWriter => wit::AccessMode::SingleNodeWriter,
            AccessMode::SingleNodeReaderOnly => wit::AccessMode::SingleNodeReaderOnly,
            AccessMode::MultiNodeReaderOnly => wit::AccessMode::MultiNodeReaderOnly,
            AccessMode::MultiNodeSingleWriter => wit::AccessMode::MultiNodeSingleWriter,
            AccessMode::MultiNodeMultiWriter => wit::AccessMode::MultiNodeMultiWriter,
            AccessMode::SingleNodeSingleWriter => wit::AccessMode::SingleNodeSingleWriter,
            AccessMode::SingleNodeMultiWriter => wit::AccessMode::SingleNodeMultiWriter,
        },
    }
}

fn capabilities_to_wit(capabilities: Vec<VolumeCapability>) -> Vec<wit::VolumeCapability> {
    capabilities.into_iter().map(capability_to_wit).collect()
}

fn range_to_wit(range: CapacityRange) -> wit::CapacityRange {
    wit::CapacityRange { required: range.required(), limit: range.limit() }
}

fn topology_to_wit(place: Topology) -> wit::Topology {
    wit::Topology { segments: map_to_wit(place.segments) }
}

fn requirement_to_wit(requirement: TopologyRequirement) -> wit::TopologyRequirement {
    wit::TopologyRequirement {
        requisite: requirement.requisite.into_iter().map(topology_to_wit).collect(),
        preferred: requirement.preferred.into_iter().map(topology_to_wit).collect(),
    }
}

/// CreateVolume, for the guest.
pub fn create_request(order: CreateOrder) -> wit::CreateVolumeRequest {
    let request = order.request;
    wit::CreateVolumeRequest {
        name: request.name.as_str().to_owned(),
        capacity: request.capacity.map(range_to_wit),
        capabilities: capabilities_to_wit(request.capabilities),
        parameters: map_to_wit(request.parameters),
        mutable_parameters: map_to_wit(request.mutable_parameters),
        topology: request.topology.map(requirement_to_wit),
        request_digest: order.digest,
    }
}

/// ValidateVolumeCapabilities, for the guest.
pub fn validate_request(request: ValidateVolumeCapabilities) -> offered::volumes::ValidateRequest {
    offered::volumes::ValidateRequest {
        volume_id: request.volume_id.as_str().to_owned(),
        context: map_to_wit(request.context),
        capabilities: capabilities_to_wit(request.capabilities),
        parameters: map_to_wit(request.parameters),
        mutable_parameters: map_to_wit(request.mutable_parameters),
    }
}

/// A page, for the guest.
pub fn page_request(page: PageRequest) -> wit::PageRequest {
    const MOST: u32 = limits::LIST_ENTRIES as u32;
    wit::PageRequest { max_entries: page.max_entries.min(MOST), token: page.token }
}

/// GetCapacity, for the guest.
pub fn capacity_request(request: GetCapacity) -> offered::capacity::CapacityRequest {
    offered::capacity::CapacityRequest {
        capabilities: capabilities_to_wit(request.capabilities),
        parameters: map_to_wit(request.parameters),
        topology: request.topology.map(topology_to_wit),
    }
}

/// ControllerExpandVolume, for the guest.
pub fn expand_request(request: ExpandVolume) -> offered::expansion::ExpandRequest {
    offered::expansion::ExpandRequest {
        volume_id: request.volume_id.as_str().to_owned(),
        capacity: range_to_wit(request.capacity),
        capability: request.capability.map(capability_to_wit),
    }
}

fn size(what: &str, bytes: u64) -> Result<u64, Violation> {
    if bytes <= limits::MAX_BYTES { Ok(bytes) } else { Err(format!("{what} is larger than 2^63 - 1 bytes")) }
}

fn source(source: wit::ContentSource) -> Result<ContentSource, Violation> {
    Ok(match source {
        wit::ContentSource::Snapshot(id) => {
            limits::id("snapshot-id", &id)?;
            ContentSource::Snapshot(SnapshotId::parse(id)?)
        }
        wit::ContentSource::Volume(id) => ContentSource::Volume(VolumeId::from_backend(id)?),
    })
}

/// A volume from the guest.
pub fn volume(volume: wit::Volume, topology_keys: &[String]) -> Result<Volume, Violation> {
    let digest_ok =
        |digest: &String| digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if volume.request_digest.as_ref().is_some_and(|digest| !digest_ok(digest)) {
        return Err("request-digest is not 64 lower-case hexadecimal digits".into());
    }
    Ok(Volume {
        id: VolumeId::from_backend(volume.volume_id)?,
        capacity_bytes: size("capacity-bytes", volume.capacity_bytes)?,
        context: map("context", volume.context)?,
        accessible_topology: list("accessible-topology", volume.accessible_topology, |t| topology(t, topology_keys))?,
        source: volume.source.map(source).transpose()?,
        request_digest: volume.request_digest,
    })
}

/// A volume and its nodes from the guest.
pub fn listed_volume(listed: wit::ListedVolume, topology_keys: &[String]) -> Result<ListedVolume, Violation> {
    Ok(ListedVolume {
        volume: volume(listed.volume, topology_keys)?,
        published_node_ids: list("published-node-ids", listed.published_node_ids, NodeId::parse)?,
    })
}

/// A page from the guest: no more than was asked for, and a token that can stand in a string field.
pub fn volume_page(
    page: offered::listing::VolumePage,
    max_entries: u32,
    topology_keys: &[String],
) -> Result<Page<ListedVolume>, Violation> {
    if max_entries > 0 && page.entries.len() > max_entries as usize {
        return Err(format!("a page of {} entries where {max_entries} were asked for", page.entries.len()));
    }
    if let Some(token) = &page.next_token {
        limits::required_text("next-token", token, MAX_TOKEN_BYTES)?;
    }
    Ok(Page {
        entries: list("entries", page.entries, |v| listed_volume(v, topology_keys))?,
        next_token: page.next_token,
    })
}

/// GetCapacity from the guest.
pub fn available(available: offered::capacity::Available) -> Result<Available, Violation> {
    let optional = |what: &str, bytes: Option<u64>| bytes.map(|b| size(what, b)).transpose();
    Ok(Available {
        available_bytes: size("available-bytes", available.available_bytes)?,
        maximum_volume_bytes: optional("maximum-volume-bytes", available.maximum_volume_bytes)?,
        minimum_volume_bytes: optional("minimum-volume-bytes", available.minimum_volume_bytes)?,
    })
}

/// Expansion from the guest: at least what was asked for.
pub fn expanded(expanded: offered::expansion::Expanded, range: CapacityRange) -> Result<Expanded, Violation> {
    let capacity_bytes = size("capacity-bytes", expanded.capacity_bytes)?;
    if range.required().is_some_and(|required| capacity_bytes < required) {
        return Err(format!("capacity-bytes {capacity_bytes} after the call is less than what was asked for"));
    }
    Ok(Expanded { capacity_bytes, node_expansion_required: expanded.node_expansion_required })
}
