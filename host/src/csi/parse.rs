//! From protobuf to the domain. Pure. Every limit of the specification is checked here; what passes is typed.

mod node;
mod snapshot;

pub use node::{
    node_expand, node_health, node_publish, node_stage, node_stats, node_unpublish, node_unstage, storage_health,
};
pub use snapshot::{
    allocated, create_group_snapshot, create_snapshot, delete_group_snapshot, delete_snapshot, delta,
    get_group_snapshot, get_snapshot, list_snapshots,
};

use bulkhead_domain::{
    Error, Result, StringMap,
    capability::{AccessMode, AccessType, MountAccess, MountFlags, VolumeCapability},
    capacity::{CapacityRange, RangeError},
    limits::{self, Violation},
    request::{
        ControllerPublishVolume, ControllerUnpublishVolume, CreateVolume, DeleteVolume, ExpandVolume, GetCapacity,
        GetVolumeHealth, ListVolumeHealth, ListVolumes, ModifyVolume, Secrets, ValidateVolumeCapabilities,
    },
    topology::{Topology, TopologyRequirement},
    volume::{ContentSource, Name, NodeId, SnapshotId, VolumeId},
};
use bulkhead_proto::v1;
use std::path::PathBuf;

/// Largest map of secrets in bytes. The specification says 4 KiB for any map; certificates do not fit into that, and a
/// Kubernetes Secret may be larger, so secrets get more room.
const SECRETS_BYTES: usize = 64 << 10;
/// Most entries of a repeated field.
const ENTRIES: usize = limits::LIST_ENTRIES;

fn invalid(violation: Violation) -> Error {
    Error::invalid_argument(violation)
}

fn map(what: &str, map: StringMap) -> Result<StringMap> {
    limits::map(what, &map).map_err(invalid)?;
    Ok(map)
}

fn secrets(map: StringMap) -> Result<Secrets> {
    let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > SECRETS_BYTES || map.len() > ENTRIES {
        return Err(Error::invalid_argument(format_args!("secrets are larger than {SECRETS_BYTES} bytes")));
    }
    Ok(Secrets::new(map))
}

fn volume_id(id: String) -> Result<VolumeId> {
    VolumeId::parse(id).map_err(invalid)
}

fn entries<T>(what: &str, list: &[T]) -> Result<()> {
    if list.len() > ENTRIES {
        return Err(Error::invalid_argument(format_args!("{what} has more than {ENTRIES} entries")));
    }
    Ok(())
}

fn max_entries(wire: i32) -> Result<u32> {
    u32::try_from(wire).map_err(|_| Error::invalid_argument("max_entries is negative"))
}

fn access_mode(mode: Option<v1::volume_capability::AccessMode>) -> Result<AccessMode> {
    use v1::volume_capability::access_mode::Mode;
    let mode = mode.ok_or_else(|| Error::invalid_argument("volume_capability.access_mode is missing"))?;
    Ok(match Mode::try_from(mode.mode) {
        Ok(Mode::SingleNodeWriter) => AccessMode::SingleNodeWriter,
        Ok(Mode::SingleNodeReaderOnly) => AccessMode::SingleNodeReaderOnly,
        Ok(Mode::MultiNodeReaderOnly) => AccessMode::MultiNodeReaderOnly,
        Ok(Mode::MultiNodeSingleWriter) => AccessMode::MultiNodeSingleWriter,
        Ok(Mode::MultiNodeMultiWriter) => AccessMode::MultiNodeMultiWriter,
        Ok(Mode::SingleNodeSingleWriter) => AccessMode::SingleNodeSingleWriter,
        Ok(Mode::SingleNodeMultiWriter) => AccessMode::SingleNodeMultiWriter,
        Ok(Mode::Unknown) | Err(_) => {
            return Err(Error::invalid_argument("volume_capability.access_mode.mode is unknown"));
        }
    })
}

fn capability(capability: v1::VolumeCapability) -> Result<VolumeCapability> {
    use v1::volume_capability::AccessType as Wire;
    let access_type = match capability.access_type {
        None => return Err(Error::invalid_argument("volume_capability.access_type is missing")),
        Some(Wire::Block(_)) => AccessType::Block,
        Some(Wire::Mount(mount)) => {
            limits::text("fs_type", &mount.fs_type, limits::STRING_BYTES).map_err(invalid)?;
            limits::text("volume_mount_group", &mount.volume_mount_group, limits::STRING_BYTES).map_err(invalid)?;
            AccessType::Mount(MountAccess {
                fs_type: mount.fs_type,
                mount_flags: mount_flags(mount.mount_flags)?,
                volume_mount_group: mount.volume_mount_group,
            })
        }
    };
    Ok(VolumeCapability { access_type, access_mode: access_mode(capability.access_mode)? })
}

/// Mount flags: 4 KiB together. No message about them shows one.
fn mount_flags(flags: Vec<String>) -> Result<MountFlags> {
    let bytes: usize = flags.iter().map(String::len).sum();
    if bytes > limits::MAP_BYTES || flags.len() > ENTRIES {
        return Err(Error::invalid_argument(format_args!("mount_flags are larger than {} bytes", limits::MAP_BYTES)));
    }
    if flags.iter().any(|flag| flag.is_empty() || flag.chars().any(|c| c.is_control() || c == ',')) {
        return Err(Error::invalid_argument("a mount flag is empty or holds a comma or a control character"));
    }
    Ok(MountFlags::new(flags))
}

fn required_capability(wire: Option<v1::VolumeCapability>) -> Result<VolumeCapability> {
    capability(wire.ok_or_else(|| Error::invalid_argument("volume_capability is missing"))?)
}

fn capabilities(wire: Vec<v1::VolumeCapability>) -> Result<Vec<VolumeCapability>> {
    entries("volume_capabilities", &wire)?;
    wire.into_iter().map(capability).collect()
}

fn required_capabilities(wire: Vec<v1::VolumeCapability>) -> Result<Vec<VolumeCapability>> {
    if wire.is_empty() {
        return Err(Error::invalid_argument("volume_capabilities is missing"));
    }
    capabilities(wire)
}

fn range(wire: Option<v1::CapacityRange>) -> Result<Option<CapacityRange>> {
    let Some(wire) = wire else { return Ok(None) };
    CapacityRange::parse(wire.required_bytes, wire.limit_bytes).map_err(|e| match e {
        RangeError::Negative => Error::invalid_argument(e),
        RangeError::LimitBelowRequired { .. } => Error::out_of_range(e),
    })
}

fn topology(wire: v1::Topology) -> Result<Topology> {
    let place = Topology { segments: wire.segments };
    place.check().map_err(invalid)?;
    Ok(place)
}

fn requirement(wire: Option<v1::TopologyRequirement>) -> Result<Option<TopologyRequirement>> {
    let Some(wire) = wire else { return Ok(None) };
    entries("accessibility_requirements", &wire.requisite)?;
    entries("accessibility_requirements", &wire.preferred)?;
    Ok(Some(TopologyRequirement {
        requisite: wire.requisite.into_iter().map(topology).collect::<Result<_>>()?,
        preferred: wire.preferred.into_iter().map(topology).collect::<Result<_>>()?,
    }))
}

fn source(wire: Option<v1::VolumeContentSource>) -> Result<Option<ContentSource>> {
    use v1::volume_content_source::Type;
    let Some(wire) = wire else { return Ok(None) };
    Ok(Some(match wire.r#type {
        None => return Err(Error::invalid_argument("volume_content_source.type is missing")),
        Some(Type::Snapshot(s)) => ContentSource::Snapshot(SnapshotId::parse(s.snapshot_id).map_err(invalid)?),
        Some(Type::Volume(v)) => ContentSource::Volume(volume_id(v.volume_id)?),
    }))
}

/// An absolute path without `.` or `..`. Whether it lies where it may, the node engine's fence decides.
fn absolute_path(what: &str, path: String) -> Result<PathBuf> {
    limits::required_text(what, &path, limits::PATH_BYTES).map_err(invalid)?;
    if !path.starts_with('/') {
        return Err(Error::invalid_argument(format_args!("{what} is not an absolute path")));
    }
    without_dots(what, &path)?;
    Ok(PathBuf::from(path))
}

/// A path that is looked up among those on record: one that is not there, or is relative, is not found.
fn known_path(what: &str, path: String) -> Result<PathBuf> {
    limits::required_text(what, &path, limits::PATH_BYTES).map_err(invalid)?;
    without_dots(what, &path)?;
    Ok(PathBuf::from(path))
}

fn without_dots(what: &str, path: &str) -> Result<()> {
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(Error::invalid_argument(format_args!("{what} has a '.' or '..' segment")));
    }
    Ok(())
}

/// CreateVolume.
pub fn create_volume(r: v1::CreateVolumeRequest) -> Result<CreateVolume> {
    Ok(CreateVolume {
        name: Name::parse(r.name).map_err(invalid)?,
        capabilities: required_capabilities(r.volume_capabilities)?,
        parameters: map("parameters", r.parameters)?,
        mutable_parameters: map("mutable_parameters", r.mutable_parameters)?,
        topology: requirement(r.accessibility_requirements)?,
        source: source(r.volume_content_source)?,
        secrets: secrets(r.secrets)?,
        capacity: range(r.capacity_range)?,
    })
}

/// DeleteVolume.
pub fn delete_volume(r: v1::DeleteVolumeRequest) -> Result<DeleteVolume> {
    Ok(DeleteVolume { volume_id: volume_id(r.volume_id)?, secrets: secrets(r.secrets)? })
}

/// ValidateVolumeCapabilities.
pub fn validate(r: v1::ValidateVolumeCapabilitiesRequest) -> Result<ValidateVolumeCapabilities> {
    Ok(ValidateVolumeCapabilities {
        volume_id: volume_id(r.volume_id)?,
        context: map("volume_context", r.volume_context)?,
        capabilities: required_capabilities(r.volume_capabilities)?,
        parameters: map("parameters", r.parameters)?,
        mutable_parameters: map("mutable_parameters", r.mutable_parameters)?,
        secrets: secrets(r.secrets)?,
    })
}

/// ListVolumes.
pub fn list_volumes(r: v1::ListVolumesRequest) -> Result<ListVolumes> {
    Ok(ListVolumes { max_entries: max_entries(r.max_entries)?, starting_token: r.starting_token })
}

/// ControllerGetVolume.
pub fn get_volume(r: v1::ControllerGetVolumeRequest) -> Result<VolumeId> {
    volume_id(r.volume_id)
}

/// GetCapacity.
pub fn get_capacity(r: v1::GetCapacityRequest) -> Result<GetCapacity> {
    Ok(GetCapacity {
        capabilities: capabilities(r.volume_capabilities)?,
        parameters: map("parameters", r.parameters)?,
        topology: r.accessible_topology.map(topology).transpose()?,
    })
}

/// ControllerExpandVolume.
pub fn expand_volume(r: v1::ControllerExpandVolumeRequest) -> Result<ExpandVolume> {
    let volume_id = volume_id(r.volume_id)?;
    let missing = || Error::invalid_argument("capacity_range is missing");
    Ok(ExpandVolume {
        volume_id,
        capacity: range(r.capacity_range)?.ok_or_else(missing)?,
        capability: r.volume_capability.map(capability).transpose()?,
        secrets: secrets(r.secrets)?,
    })
}

/// ControllerModifyVolume.
pub fn modify_volume(r: v1::ControllerModifyVolumeRequest) -> Result<ModifyVolume> {
    let volume_id = volume_id(r.volume_id)?;
    if r.mutable_parameters.is_empty() {
        return Err(Error::invalid_argument("mutable_parameters is missing"));
    }
    let mutable_parameters = map("mutable_parameters", r.mutable_parameters)?;
    Ok(ModifyVolume { volume_id, mutable_parameters, secrets: secrets(r.secrets)? })
}

/// ControllerPublishVolume.
pub fn controller_publish(r: v1::ControllerPublishVolumeRequest) -> Result<ControllerPublishVolume> {
    Ok(ControllerPublishVolume {
        volume_id: volume_id(r.volume_id)?,
        node_id: NodeId::parse(r.node_id).map_err(invalid)?,
        capability: required_capability(r.volume_capability)?,
        read_only: r.readonly,
        context: map("volume_context", r.volume_context)?,
        secrets: secrets(r.secrets)?,
    })
}

/// ControllerUnpublishVolume.
pub fn controller_unpublish(r: v1::ControllerUnpublishVolumeRequest) -> Result<ControllerUnpublishVolume> {
    let node_id = (!r.node_id.is_empty()).then_some(r.node_id);
    Ok(ControllerUnpublishVolume {
        volume_id: volume_id(r.volume_id)?,
        node_id: node_id.map(NodeId::parse).transpose().map_err(invalid)?,
        secrets: secrets(r.secrets)?,
    })
}

/// ControllerGetVolumeHealth.
pub fn volume_health(r: v1::ControllerGetVolumeHealthRequest) -> Result<GetVolumeHealth> {
    Ok(GetVolumeHealth { volume_id: volume_id(r.volume_id)?, secrets: secrets(r.secrets)? })
}

/// ControllerListVolumeHealth.
pub fn list_volume_health(r: v1::ControllerListVolumeHealthRequest) -> Result<ListVolumeHealth> {
    let max_entries = max_entries(r.max_entries)?;
    Ok(ListVolumeHealth { max_entries, starting_token: r.starting_token, secrets: secrets(r.secrets)? })
}
