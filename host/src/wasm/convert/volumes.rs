//! Volumes, pages, capacity, expansion.

use super::{MOST_ENTRIES, list, map, map_to_wit, topology};
use crate::{
    ops::{ports::CreateOrder, token::MAX_TOKEN_BYTES},
    wasm::bindings::{imports::types as wit, offered},
};
use bulkhead_domain::{
    capability::{AccessMode, AccessType, MountAccess, VolumeCapability},
    capacity::CapacityRange,
    limits::{self, Violation},
    request::{ExpandVolume, GetCapacity, ValidateVolumeCapabilities},
    topology::{Topology, TopologyRequirement},
    volume::{
        Available, ContentSource, Expanded, ListedVolume, NodeId, Page, PageRequest, SnapshotId, Volume, VolumeId,
    },
};

/// A capability, for the guest.
pub fn capability_to_wit(capability: VolumeCapability) -> wit::VolumeCapability {
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

/// A capability from the guest; it has no mount flags.
pub(super) fn capability_from_wit(capability: wit::VolumeCapability) -> Result<VolumeCapability, Violation> {
    Ok(VolumeCapability {
        access_type: match capability.access_type {
            wit::AccessType::Block => AccessType::Block,
            wit::AccessType::Mount(mount) => {
                limits::text("fs-type", &mount.fs_type, limits::STRING_BYTES)?;
                limits::text("volume-mount-group", &mount.volume_mount_group, limits::STRING_BYTES)?;
                AccessType::Mount(MountAccess {
                    fs_type: mount.fs_type,
                    volume_mount_group: mount.volume_mount_group,
                    ..MountAccess::default()
                })
            }
        },
        access_mode: match capability.access_mode {
            wit::AccessMode::SingleNodeWriter => AccessMode::SingleNodeWriter,
            wit::AccessMode::SingleNodeReaderOnly => AccessMode::SingleNodeReaderOnly,
            wit::AccessMode::MultiNodeReaderOnly => AccessMode::MultiNodeReaderOnly,
            wit::AccessMode::MultiNodeSingleWriter => AccessMode::MultiNodeSingleWriter,
            wit::AccessMode::MultiNodeMultiWriter => AccessMode::MultiNodeMultiWriter,
            wit::AccessMode::SingleNodeSingleWriter => AccessMode::SingleNodeSingleWriter,
            wit::AccessMode::SingleNodeMultiWriter => AccessMode::SingleNodeMultiWriter,
        },
    })
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

pub(super) fn requirement_to_wit(requirement: TopologyRequirement) -> wit::TopologyRequirement {
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
    wit::PageRequest { max_entries: page.max_entries.min(MOST_ENTRIES), token: page.token }
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

pub(super) fn size(what: &str, bytes: u64) -> Result<u64, Violation> {
    if bytes <= limits::MAX_BYTES { Ok(bytes) } else { Err(format!("{what} is larger than 2^63 - 1 bytes")) }
}

fn source(source: wit::ContentSource) -> Result<ContentSource, Violation> {
    Ok(match source {
        wit::ContentSource::Snapshot(id) => ContentSource::Snapshot(SnapshotId::from_backend(id)?),
        wit::ContentSource::Volume(id) => ContentSource::Volume(VolumeId::from_backend(id)?),
    })
}

/// A stored request digest from the guest.
pub(super) fn digest(digest: Option<String>) -> Result<Option<String>, Violation> {
    let ok = |digest: &String| digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digest.as_ref().is_none_or(ok) {
        Ok(digest)
    } else {
        Err("request-digest is not 64 lower-case hexadecimal digits".into())
    }
}

/// The token of a page from the guest that has `entries` entries: no more than were asked for, and a token that can
/// stand in a string field.
pub(super) fn page_token(entries: usize, max_entries: u32, token: Option<String>) -> Result<Option<String>, Violation> {
    if max_entries > 0 && entries > max_entries as usize {
        return Err(format!("a page of {entries} entries where {max_entries} were asked for"));
    }
    if let Some(token) = &token {
        limits::required_text("next-token", token, MAX_TOKEN_BYTES)?;
    }
    Ok(token)
}

/// A volume from the guest.
pub fn volume(volume: wit::Volume, topology_keys: &[String]) -> Result<Volume, Violation> {
    Ok(Volume {
        id: VolumeId::from_backend(volume.volume_id)?,
        capacity_bytes: size("capacity-bytes", volume.capacity_bytes)?,
        context: map("context", volume.context)?,
        accessible_topology: list("accessible-topology", volume.accessible_topology, |t| topology(t, topology_keys))?,
        source: volume.source.map(source).transpose()?,
        request_digest: digest(volume.request_digest)?,
    })
}

/// A volume and its nodes from the guest.
pub fn listed_volume(listed: wit::ListedVolume, topology_keys: &[String]) -> Result<ListedVolume, Violation> {
    Ok(ListedVolume {
        volume: volume(listed.volume, topology_keys)?,
        published_node_ids: list("published-node-ids", listed.published_node_ids, NodeId::parse)?,
        problems: None,
    })
}

/// A page from the guest.
pub fn volume_page(
    page: offered::listing::VolumePage,
    max_entries: u32,
    topology_keys: &[String],
) -> Result<Page<ListedVolume>, Violation> {
    Ok(Page {
        next_token: page_token(page.entries.len(), max_entries, page.next_token)?,
        entries: list("entries", page.entries, |v| listed_volume(v, topology_keys))?,
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
