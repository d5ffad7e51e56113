//! Questions about how a volume is going to be used.

use crate::types::{AccessMode, AccessType, MountAccess, VolumeCapability};

impl AccessMode {
    /// Several nodes at the same time.
    pub fn is_multi_node(self) -> bool {
        matches!(self, Self::MultiNodeReaderOnly | Self::MultiNodeSingleWriter | Self::MultiNodeMultiWriter)
    }

    /// Nobody writes.
    pub fn is_reader_only(self) -> bool {
        matches!(self, Self::SingleNodeReaderOnly | Self::MultiNodeReaderOnly)
    }

    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SingleNodeWriter,
        Self::SingleNodeReaderOnly,
        Self::MultiNodeReaderOnly,
        Self::MultiNodeSingleWriter,
        Self::MultiNodeMultiWriter,
        Self::SingleNodeSingleWriter,
        Self::SingleNodeMultiWriter,
    ];

    /// The mode of that CSI name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// CSI's name, for messages and metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleNodeWriter => "SINGLE_NODE_WRITER",
            Self::SingleNodeReaderOnly => "SINGLE_NODE_READER_ONLY",
            Self::MultiNodeReaderOnly => "MULTI_NODE_READER_ONLY",
            Self::MultiNodeSingleWriter => "MULTI_NODE_SINGLE_WRITER",
            Self::MultiNodeMultiWriter => "MULTI_NODE_MULTI_WRITER",
            Self::SingleNodeSingleWriter => "SINGLE_NODE_SINGLE_WRITER",
            Self::SingleNodeMultiWriter => "SINGLE_NODE_MULTI_WRITER",
        }
    }
}

impl VolumeCapability {
    /// Raw block access.
    pub fn block(access_mode: AccessMode) -> Self {
        Self { access_type: AccessType::Block, access_mode }
    }

    /// A mounted file system; empty `fs_type`: the default.
    pub fn mount(access_mode: AccessMode, fs_type: impl Into<String>) -> Self {
        let mount = MountAccess { fs_type: fs_type.into(), volume_mount_group: String::new() };
        Self { access_type: AccessType::Mount(mount), access_mode }
    }

    /// Raw block access is asked for.
    pub fn is_block(&self) -> bool {
        matches!(self.access_type, AccessType::Block)
    }

    /// The file system that is asked for; `None` for block access and where the client leaves the choice to others.
    pub fn fs_type(&self) -> Option<&str> {
        match &self.access_type {
            AccessType::Mount(mount) if !mount.fs_type.is_empty() => Some(&mount.fs_type),
            _ => None,
        }
    }

    /// The group that the mount must grant (VOLUME_MOUNT_GROUP), if any.
    pub fn mount_group(&self) -> Option<&str> {
        match &self.access_type {
            AccessType::Mount(mount) if !mount.volume_mount_group.is_empty() => Some(&mount.volume_mount_group),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_by_their_names() {
        for mode in AccessMode::ALL {
            assert_eq!(AccessMode::parse(mode.name()), Some(mode));
        }
        assert_eq!(AccessMode::parse("UNKNOWN"), None);
    }

    #[test]
    fn capabilities_answer_questions() {
        let block = VolumeCapability::block(AccessMode::MultiNodeReaderOnly);
        assert!(block.is_block() && block.access_mode.is_multi_node() && block.access_mode.is_reader_only());
        assert_eq!((block.fs_type(), block.mount_group()), (None, None));

        let xfs = VolumeCapability::mount(AccessMode::SingleNodeWriter, "xfs");
        assert!(!xfs.is_block() && !xfs.access_mode.is_multi_node() && !xfs.access_mode.is_reader_only());
        assert_eq!((xfs.fs_type(), xfs.mount_group()), (Some("xfs"), None));
        assert_eq!(VolumeCapability::mount(AccessMode::SingleNodeWriter, "").fs_type(), None);
        assert_eq!(AccessMode::SingleNodeSingleWriter.name(), "SINGLE_NODE_SINGLE_WRITER");
    }
}
