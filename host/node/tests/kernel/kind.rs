//! What a volume is in a test.

use crate::env::{MIB, XFS_MIN};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
    Block,
    Directory,
    /// The same on a disk of the platform, see `platform`.
    DiskExt4,
    DiskXfs,
    DiskBlock,
}

impl Kind {
    /// On objects of a pool.
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Block, Self::Directory];
    /// On disks of the platform.
    pub const DISKS: [Self; 3] = [Self::DiskExt4, Self::DiskXfs, Self::DiskBlock];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Block => "block",
            Self::Directory => "directory",
            Self::DiskExt4 => "disk-ext4",
            Self::DiskXfs => "disk-xfs",
            Self::DiskBlock => "disk-block",
        }
    }

    pub fn parse(name: &str) -> Self {
        Self::ALL.into_iter().chain(Self::DISKS).find(|kind| kind.name() == name).unwrap()
    }

    pub fn size(self) -> u64 {
        if self.is_xfs() { XFS_MIN } else { 64 * MIB }
    }

    pub fn is_xfs(self) -> bool {
        matches!(self, Self::Xfs | Self::DiskXfs)
    }

    pub fn is_ext4(self) -> bool {
        matches!(self, Self::Ext4 | Self::DiskExt4)
    }

    pub fn is_block(self) -> bool {
        matches!(self, Self::Block | Self::DiskBlock)
    }

    pub fn on_disk(self) -> bool {
        Self::DISKS.contains(&self)
    }
}
