//! What is wrong with volumes and with storage: the health messages of CSI 1.13.

use crate::{capability::VolumeCapability, volume::VolumeId};

/// CSI `VolumeHealthErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VolumeHealth {
    /// Works, but slower or with less redundancy than it should.
    Degraded,
    /// Can't be read or written now; the data is believed to be there.
    Inaccessible,
    /// Data is lost, at least in part.
    DataLoss,
}

/// One thing that is wrong with a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeProblem {
    /// How bad it is.
    pub status: VolumeHealth,
    /// CamelCase, for machines, at most 128 bytes. (status, reason) is unique for a volume.
    pub reason: String,
    /// For people, at most 1 KiB.
    pub message: String,
}

/// A volume that has problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnhealthyVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// At least one.
    pub problems: Vec<VolumeProblem>,
}

/// CSI `StorageHealthErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StorageHealth {
    /// Works, but slower or with less redundancy than it should.
    Degraded,
    /// Does not answer.
    Unreachable,
}

/// One thing that is wrong with the storage system as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageProblem {
    /// How bad it is.
    pub status: StorageHealth,
    /// CamelCase, for machines, at most 128 bytes.
    pub reason: String,
    /// For people, at most 1 KiB.
    pub message: String,
    /// Only volumes used in this way are concerned; none: all.
    pub capability: Option<VolumeCapability>,
}
