//! Which uses of a volume are possible.

use bulkhead_sdk::pools::ObjectKind;
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::MIB;

/// Images are made of whole blocks of this size, the page size of the machines that use them.
pub const BLOCK: u64 = 4096;

/// File systems that an image can get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsType {
    Ext4,
    Xfs,
}

impl FsType {
    /// What an image gets if the client leaves it open.
    pub const DEFAULT: Self = Self::Ext4;

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "ext4" => Some(Self::Ext4),
            "xfs" => Some(Self::Xfs),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// Below this, mkfs refuses (mkfs.xfs since xfsprogs 5.19: 300 MiB) or leaves no room for a journal (ext4).
    fn min_bytes(self) -> u64 {
        match self {
            Self::Ext4 => 16 * MIB,
            Self::Xfs => 300 * MIB,
        }
    }
}

/// How a volume is going to be used, from all capabilities of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// At least one capability wants the raw device.
    pub block: bool,
    /// The file system of those that want one mounted: named, or the default. `None`: nobody does.
    pub fs_type: Option<FsType>,
}

impl Access {
    /// Joins what the capabilities ask for, or says why no volume can serve them all.
    pub fn of(capabilities: &[VolumeCapability]) -> std::result::Result<Self, String> {
        let mut access = Self::default();
        let mut named = None;
        for capability in capabilities {
            if capability.access_mode.is_multi_node() {
                return Err(format!(
                    "access mode {}: a local volume is reachable from one node",
                    capability.access_mode.name()
                ));
            }
            access.block |= capability.is_block();
            if let Some(name) = capability.fs_type() {
                let fs_type =
                    FsType::parse(name).ok_or_else(|| format!("file system `{name}`: supported are ext4 and xfs"))?;
                if named.is_some_and(|other| other != fs_type) {
                    return Err("one volume can't be both ext4 and xfs".to_owned());
                }
                named = Some(fs_type);
            }
        }
        let mounted = capabilities.iter().any(|capability| !capability.is_block());
        access.fs_type = mounted.then(|| named.unwrap_or(FsType::DEFAULT));
        Ok(access)
    }

    /// Why an object of that kind can't serve this; `None` if it can.
    pub fn refused_by(self, kind: ObjectKind) -> Option<String> {
        let refused = self.block && kind == ObjectKind::Directory;
        refused.then(|| "a directory can't be a block device: use `type: image`".to_owned())
    }

    /// Smallest object that can serve this.
    pub fn min_bytes(self, kind: ObjectKind) -> u64 {
        match (kind, self.fs_type) {
            (ObjectKind::Image, Some(fs_type)) => fs_type.min_bytes(),
            _ => BLOCK,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str) -> VolumeCapability {
        VolumeCapability::mount(AccessMode::SingleNodeWriter, fs_type)
    }

    #[test]
    fn all_capabilities_count() {
        let block = VolumeCapability::block(AccessMode::SingleNodeMultiWriter);
        assert_eq!(Access::of(&[]), Ok(Access { block: false, fs_type: None }));
        assert_eq!(Access::of(std::slice::from_ref(&block)), Ok(Access { block: true, fs_type: None }));
        assert_eq!(Access::of(&[mount("")]), Ok(Access { block: false, fs_type: Some(FsType::Ext4) }));
        assert_eq!(
            Access::of(&[block, mount(""), mount("xfs")]),
            Ok(Access { block: true, fs_type: Some(FsType::Xfs) })
        );
    }

    #[test]
    fn what_one_node_and_one_file_system_cannot_do_is_refused() {
        let shared = VolumeCapability::mount(AccessMode::MultiNodeMultiWriter, "");
        let reason = Access::of(&[mount(""), shared]).unwrap_err();
        assert!(reason.contains("MULTI_NODE_MULTI_WRITER"), "{reason}");
        assert!(Access::of(&[mount("btrfs")]).unwrap_err().contains("btrfs"));
        assert!(Access::of(&[mount("ext4"), mount("xfs")]).is_err());
    }

    #[test]
    fn directories_are_no_devices_and_file_systems_need_room() {
        let block = Access { block: true, fs_type: None };
        assert!(block.refused_by(ObjectKind::Directory).is_some());
        assert_eq!(block.refused_by(ObjectKind::Image), None);
        assert_eq!(block.min_bytes(ObjectKind::Image), BLOCK);
        let xfs = Access { block: false, fs_type: Some(FsType::Xfs) };
        assert_eq!(xfs.min_bytes(ObjectKind::Image), 300 * MIB);
        assert_eq!(xfs.min_bytes(ObjectKind::Directory), BLOCK);
    }
}
