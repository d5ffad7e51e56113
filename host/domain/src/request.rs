//! What a client asked for, parsed: every value here has passed the limits of [`crate::limits`].

mod snapshot;
mod volume;

pub use snapshot::{
    Blocks, CreateGroupSnapshot, CreateSnapshot, ListSnapshots, OneGroupSnapshot, OneSnapshot, SnapshotFilter,
    WalkBlocks,
};
pub use volume::{
    ControllerPublishVolume, ControllerUnpublishVolume, GetVolumeHealth, InlineVolume, ListVolumeHealth, ModifyVolume,
    NodePublishVolume, NodeStageVolume,
};

use crate::{
    StringMap,
    capability::VolumeCapability,
    capacity::CapacityRange,
    topology::{Topology, TopologyRequirement},
    volume::{ContentSource, Name, VolumeId},
};
use std::{
    fmt,
    hash::{Hash, Hasher},
};
use zeroize::Zeroize;

/// The secrets of one call. Shows keys only, never values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(StringMap);

impl Secrets {
    /// Takes the map of a request.
    pub fn new(map: StringMap) -> Self {
        Self(map)
    }

    /// The value of one secret.
    pub fn expose(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Names of all secrets.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The values of all secrets.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().map(String::as_bytes)
    }

    /// Replaces every occurrence of a secret's value in `text`, also where it is encoded: see [`crate::mask`]. Values shorter
    /// than four bytes are left alone.
    pub fn mask(&self, text: &str) -> String {
        crate::mask::mask(text, self.values())
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

/// Not a part of what a request is: with other secrets, new ones perhaps, it is the same request.
impl Hash for Secrets {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} redacted>", self.0.len())
    }
}

/// CreateVolume.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CreateVolume {
    /// The idempotency key.
    pub name: Name,
    /// None: any size.
    pub capacity: Option<CapacityRange>,
    /// At least one.
    pub capabilities: Vec<VolumeCapability>,
    /// StorageClass parameters.
    pub parameters: StringMap,
    /// VolumeAttributesClass parameters.
    pub mutable_parameters: StringMap,
    /// Where it must be reachable.
    pub topology: Option<TopologyRequirement>,
    /// What it is made from.
    pub source: Option<ContentSource>,
    /// Of this call.
    pub secrets: Secrets,
}

/// DeleteVolume.
#[derive(Debug, Clone, Hash)]
pub struct DeleteVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// Of this call.
    pub secrets: Secrets,
}

/// ValidateVolumeCapabilities.
#[derive(Debug, Clone)]
pub struct ValidateVolumeCapabilities {
    /// The volume.
    pub volume_id: VolumeId,
    /// As CreateVolume returned it.
    pub context: StringMap,
    /// At least one.
    pub capabilities: Vec<VolumeCapability>,
    /// StorageClass parameters.
    pub parameters: StringMap,
    /// VolumeAttributesClass parameters.
    pub mutable_parameters: StringMap,
    /// Of this call.
    pub secrets: Secrets,
}

/// ListVolumes, with the client's own token.
#[derive(Debug, Clone)]
pub struct ListVolumes {
    /// 0 = as many as we like.
    pub max_entries: u32,
    /// Empty = from the start.
    pub starting_token: String,
}

/// GetCapacity.
#[derive(Debug, Clone)]
pub struct GetCapacity {
    /// Empty = any.
    pub capabilities: Vec<VolumeCapability>,
    /// StorageClass parameters.
    pub parameters: StringMap,
    /// None = anywhere.
    pub topology: Option<Topology>,
}

/// ControllerExpandVolume.
#[derive(Debug, Clone, Hash)]
pub struct ExpandVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// The new size.
    pub capacity: CapacityRange,
    /// How it is used; none = not known.
    pub capability: Option<VolumeCapability>,
    /// Of this call.
    pub secrets: Secrets,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_show_and_are_masked() {
        let secrets = Secrets::new([("password".to_owned(), "hunter2".to_owned()), ("pin".into(), "1".into())].into());
        assert!(!format!("{secrets:?} {secrets:#?}").contains("hunter2"));
        assert_eq!(secrets.mask("login 1 with hunter2 failed"), "login 1 with <redacted> failed");
    }
}
