//! What the driver knows, and what all of its calls check.

use crate::{fields, options::Map};
use bulkhead_proto::v1::{self, volume_capability::AccessType};
use prost_reflect::prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;

/// Smallest and largest volume, in bytes.
pub(super) const SIZES: (i64, i64) = (4096, 1 << 40);
/// How many volumes a node takes.
pub(super) const MOST: usize = 16;
/// Blocks of a volume, whatever its size: a snapshot has one number for each.
pub(super) const BLOCKS: usize = 64;
/// The one key of topologies.
pub(super) const ZONE: &str = "memory.csi.bulkhead.dev/zone";

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) nodes: BTreeSet<String>,
    pub(super) volumes: BTreeMap<String, Volume>,
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    pub(super) groups: BTreeMap<String, Group>,
    counter: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) made_by: v1::CreateVolumeRequest,
    pub(super) volume: v1::Volume,
    pub(super) mutable: Map,
    pub(super) blocks: Vec<u64>,
    /// By node.
    pub(super) attached: BTreeMap<String, v1::ControllerPublishVolumeRequest>,
    /// By node and path.
    pub(super) staged: BTreeMap<(String, String), v1::VolumeCapability>,
    /// By node and path.
    pub(super) published: BTreeMap<(String, String), v1::NodePublishVolumeRequest>,
}

#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) snapshot: v1::Snapshot,
    pub(super) blocks: Vec<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) made_by: v1::CreateVolumeGroupSnapshotRequest,
    pub(super) group: v1::VolumeGroupSnapshot,
}

pub(super) type Answer<T> = Result<T, Status>;

pub(super) fn invalid(why: impl Into<String>) -> Status {
    Status::invalid_argument(why)
}

/// Required strings are there.
pub(super) fn given(fields: &[(&str, &str)]) -> Answer<()> {
    match fields.iter().find(|(_, value)| value.is_empty()) {
        Some((name, _)) => Err(invalid(format!("{name} is missing"))),
        None => Ok(()),
    }
}

/// The limits of the specification, for any request.
pub(super) fn limits<M: Message>(name: &str, request: &M) -> Answer<()> {
    let message = fields::reflect(name, request).ok_or_else(|| Status::internal("no such message"))?;
    match fields::over_limits(&message).into_iter().next() {
        Some(why) => Err(invalid(why)),
        None => Ok(()),
    }
}

/// The capability is one that volumes here can have. `Err` is a request without meaning, `Ok(Some)` what is not supported.
pub(super) fn capability(capability: Option<&v1::VolumeCapability>) -> Answer<Option<String>> {
    let capability = capability.ok_or_else(|| invalid("volume_capability is missing"))?;
    let mode =
        capability.access_mode.as_ref().map(|mode| mode.mode).ok_or_else(|| invalid("access_mode is missing"))?;
    let access = capability.access_type.as_ref().ok_or_else(|| invalid("access_type is missing"))?;
    if !(1..=7).contains(&mode) {
        return Err(invalid(format!("access_mode {mode} is unknown")));
    }
    Ok(match access {
        AccessType::Mount(mount) if !["", "ext4"].contains(&mount.fs_type.as_str()) => {
            Some(format!("there is no file system {}", mount.fs_type))
        }
        _ => None,
    })
}

/// As [`capability`], where what is not supported is INVALID_ARGUMENT.
pub(super) fn supported(one: Option<&v1::VolumeCapability>) -> Answer<()> {
    capability(one)?.map_or(Ok(()), |why| Err(invalid(why)))
}

/// A size for a range: `least` if it is enough.
pub(super) fn size(range: Option<&v1::CapacityRange>, least: i64) -> Answer<i64> {
    let v1::CapacityRange { required_bytes, limit_bytes } = range.copied().unwrap_or_default();
    if required_bytes < 0 || limit_bytes < 0 {
        return Err(invalid("sizes can't be negative"));
    }
    if limit_bytes != 0 && limit_bytes < required_bytes {
        return Err(invalid("limit_bytes is below required_bytes"));
    }
    let size = required_bytes.max(least).max(SIZES.0);
    if size > SIZES.1 || (limit_bytes != 0 && size > limit_bytes) {
        return Err(Status::out_of_range(format!("volumes have {} to {} bytes, this one {size}", SIZES.0, SIZES.1)));
    }
    Ok(size)
}

impl Store {
    pub(super) fn id(&mut self, kind: &str) -> String {
        self.counter += 1;
        format!("{kind}-{:08}", self.counter)
    }

    pub(super) fn volume(&mut self, id: &str) -> Answer<&mut Volume> {
        self.volumes.get_mut(id).ok_or_else(|| Status::not_found(format!("there is no volume {id}")))
    }

    pub(super) fn snapshot(&self, id: &str) -> Answer<&Snapshot> {
        self.snapshots.get(id).ok_or_else(|| Status::not_found(format!("there is no snapshot {id}")))
    }
}

impl Volume {
    /// Something has it: an attachment, a mount.
    pub(super) fn in_use(&self) -> bool {
        !(self.attached.is_empty() && self.staged.is_empty() && self.published.is_empty())
    }

    /// It was made with this capability. Mount flags are the moment's.
    pub(super) fn has(&self, one: &v1::VolumeCapability) -> bool {
        let bare = |capability: &v1::VolumeCapability| {
            let mut capability = capability.clone();
            if let Some(AccessType::Mount(mount)) = &mut capability.access_type {
                mount.mount_flags.clear();
                mount.volume_mount_group.clear();
            }
            capability
        };
        self.made_by.volume_capabilities.iter().any(|made| bare(made) == bare(one))
    }
}
