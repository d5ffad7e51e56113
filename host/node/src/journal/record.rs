//! The record of one volume.

use super::source::{ObjectSource, Source};
use crate::error::Context;
use bulkhead_domain::capability::{AccessMode, AccessType, VolumeCapability};
use bulkhead_domain::plan::Plan;
use bulkhead_domain::volume::VolumeId;
use bulkhead_domain::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The format that this host writes and reads.
pub(super) const FORMAT: u32 = 1;

/// What every format has.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
}

/// How far staging is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StagePhase {
    /// Begun; any part of it may have happened.
    Staging,
    /// Done.
    Staged,
    /// Being undone; any part of it may be gone.
    Unstaging,
}

/// How far a publish is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PublishPhase {
    /// Begun; any part of it may have happened.
    Publishing,
    /// Done.
    Published,
    /// Being undone; any part of it may be gone.
    Unpublishing,
}

/// Whether the host made the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FormatState {
    /// Not by this host since the volume was staged.
    None,
    /// Begun. The image was proven empty before, so whatever is on it now comes from mkfs alone.
    Started,
    /// Done: the image must never again be taken for an empty one.
    Done,
}

/// What was made at a target path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TargetKind {
    /// For a file system.
    Directory,
    /// For a block device.
    File,
}

/// A capability without what may be sensitive in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CapabilityRecord {
    pub(crate) block: bool,
    pub(crate) mode: AccessMode,
    pub(crate) fs_type: String,
    pub(crate) group: String,
    /// SHA-256 over the record's salt and the mount flags.
    pub(crate) flags_digest: String,
}

/// One target path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishRecord {
    pub(crate) phase: PublishPhase,
    pub(crate) read_only: bool,
    pub(crate) capability: CapabilityRecord,
    pub(crate) kind: TargetKind,
    /// Number of the read-only loop device that was made for this target alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loop_number: Option<u32>,
}

/// All about one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    pub(crate) driver: String,
    pub(crate) node_id: String,
    pub(crate) volume_id: VolumeId,
    pub(crate) plan: Plan,
    pub(crate) capability: CapabilityRecord,
    /// Random, hexadecimal: digests of mount flags of two volumes can't be compared, nor looked up in a table.
    pub(crate) salt: String,
    /// Below the kubelet root, as the root is called canonically; empty of an inline ephemeral volume.
    pub(crate) staging_path: PathBuf,
    pub(crate) phase: StagePhase,
    pub(crate) source: Source,
    /// Of an inline ephemeral volume: its one target. The object is ours: it is made after this record and goes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ephemeral: Option<PathBuf>,
    /// Number of the loop device; a hint, checked before it is used.
    pub(crate) loop_number: Option<u32>,
    pub(crate) formatted: FormatState,
    /// By target path, as [`Record::staging_path`].
    pub(crate) publishes: BTreeMap<PathBuf, PublishRecord>,
}

impl Record {
    /// A record of the intent to stage.
    pub(crate) fn new(
        owner: (&str, &str),
        volume_id: &VolumeId,
        plan: &Plan,
        capability: &VolumeCapability,
        staging_path: PathBuf,
        source: Source,
    ) -> Result<Self> {
        let mut salt = [0u8; 16];
        crate::sys::random(&mut salt).during("cannot get random bytes")?;
        let salt = hex::encode(salt);
        Ok(Self {
            format: FORMAT,
            driver: owner.0.to_owned(),
            node_id: owner.1.to_owned(),
            volume_id: volume_id.clone(),
            plan: plan.clone(),
            capability: CapabilityRecord::new(capability, &salt),
            salt,
            staging_path,
            phase: StagePhase::Staging,
            source,
            ephemeral: None,
            loop_number: None,
            formatted: FormatState::None,
            publishes: BTreeMap::new(),
        })
    }

    /// As it would stand in this record.
    pub(crate) fn capability_record(&self, capability: &VolumeCapability) -> CapabilityRecord {
        CapabilityRecord::new(capability, &self.salt)
    }

    /// Used as a raw device.
    pub(crate) fn is_block(&self) -> bool {
        matches!(self.plan.usage, bulkhead_domain::plan::Usage::Block(_))
    }

    /// The volume reaches the node as a block device.
    pub(crate) fn has_device(&self) -> bool {
        self.plan.access.is_block_device()
    }

    /// The object behind it.
    ///
    /// # Errors
    /// Internal: it isn't on a pool.
    pub(crate) fn object(&self) -> Result<&ObjectSource> {
        match &self.source {
            Source::Object(object) => Ok(object),
            Source::Disk(_) | Source::Export(_) => {
                Err(Error::internal(format_args!("volume {} is not an object of a pool", self.volume_id)))
            }
        }
    }
}

impl CapabilityRecord {
    fn new(capability: &VolumeCapability, salt: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(salt.as_bytes());
        for flag in capability.mount_flags() {
            hash.update((flag.len() as u64).to_le_bytes());
            hash.update(flag.as_bytes());
        }
        let (fs_type, group) = match &capability.access_type {
            AccessType::Block => (String::new(), String::new()),
            AccessType::Mount(mount) => (mount.fs_type.clone(), mount.volume_mount_group.clone()),
        };
        Self {
            block: capability.is_block(),
            mode: capability.access_mode,
            fs_type,
            group,
            flags_digest: hex::encode(hash.finalize()),
        }
    }
}
