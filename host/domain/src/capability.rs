//! How a volume is used: CSI `VolumeCapability`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// CSI `VolumeCapability.AccessMode`; UNKNOWN is refused at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessMode {
    /// Read-write on one node.
    SingleNodeWriter,
    /// Read-only on one node.
    SingleNodeReaderOnly,
    /// Read-only on many nodes.
    MultiNodeReaderOnly,
    /// Read-write on one of many nodes.
    MultiNodeSingleWriter,
    /// Read-write on many nodes.
    MultiNodeMultiWriter,
    /// Read-write for one workload on one node.
    SingleNodeSingleWriter,
    /// Read-write for many workloads on one node.
    SingleNodeMultiWriter,
}

impl AccessMode {
    /// The volume may be published on more than one node.
    pub fn is_multi_node(self) -> bool {
        matches!(self, Self::MultiNodeReaderOnly | Self::MultiNodeSingleWriter | Self::MultiNodeMultiWriter)
    }

    /// Nobody may write.
    pub fn is_reader_only(self) -> bool {
        matches!(self, Self::SingleNodeReaderOnly | Self::MultiNodeReaderOnly)
    }

    /// A second target path on the same node is allowed (the matrix of NodePublishVolume in the specification).
    ///
    /// SINGLE_NODE_WRITER allows it too where the driver does not know SINGLE_NODE_MULTI_WRITER: Kubernetes then sends
    /// that mode for every ReadWriteOnce volume and publishes it for several pods.
    pub fn allows_second_target(self, single_node_multi_writer_offered: bool) -> bool {
        match self {
            Self::SingleNodeSingleWriter => false,
            Self::SingleNodeWriter | Self::SingleNodeReaderOnly => !single_node_multi_writer_offered,
            Self::SingleNodeMultiWriter
            | Self::MultiNodeReaderOnly
            | Self::MultiNodeSingleWriter
            | Self::MultiNodeMultiWriter => true,
        }
    }
}

/// Mount flags of a client. The specification lets them hold sensitive text, so they never show in Debug, and only the
/// node engine reads them.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct MountFlags(Vec<String>);

impl MountFlags {
    /// Wraps flags that are already checked for length and charset.
    pub fn new(flags: Vec<String>) -> Self {
        Self(flags)
    }

    /// The flags, in the client's order.
    pub fn expose(&self) -> &[String] {
        &self.0
    }

    /// No flag at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for MountFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} redacted>", self.0.len())
    }
}

/// CSI `VolumeCapability.MountVolume`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct MountAccess {
    /// Empty: the backend's or the host's default.
    pub fs_type: String,
    /// Never crosses to a backend.
    pub mount_flags: MountFlags,
    /// Group that the mount must grant; empty otherwise.
    pub volume_mount_group: String,
}

/// Raw device or mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccessType {
    /// Raw block device.
    Block,
    /// Mounted file system.
    Mount(MountAccess),
}

/// CSI `VolumeCapability`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeCapability {
    /// Raw device or mounted file system.
    pub access_type: AccessType,
    /// Who may use it, and how.
    pub access_mode: AccessMode,
}

impl VolumeCapability {
    /// Raw block access.
    pub fn is_block(&self) -> bool {
        matches!(self.access_type, AccessType::Block)
    }

    /// Mount flags; none for block.
    pub fn mount_flags(&self) -> &[String] {
        match &self.access_type {
            AccessType::Block => &[],
            AccessType::Mount(mount) => mount.mount_flags.expose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_flags_never_show() {
        let mount = MountAccess { mount_flags: MountFlags::new(vec!["password=hunter2".into()]), ..Default::default() };
        let shown = format!("{:?} {:#?}", AccessType::Mount(mount.clone()), mount);
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn second_target() {
        use AccessMode::*;
        assert!(!SingleNodeSingleWriter.allows_second_target(false));
        assert!(SingleNodeWriter.allows_second_target(false) && !SingleNodeWriter.allows_second_target(true));
        assert!(SingleNodeMultiWriter.allows_second_target(true) && MultiNodeMultiWriter.allows_second_target(true));
    }
}
