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
    /// At least one wants a file system mounted.
    pub mounted: bool,
    /// The file system that one of them names.
    pub named: Option<FsType>,
    /// A mode with several nodes that one of them wants; one that writes before one that doesn't.
    pub nodes: Option<AccessMode>,
}

impl Access {
    /// Joins what the capabilities ask for, or says why no volume can serve them all.
    pub fn of(capabilities: &[VolumeCapability]) -> std::result::Result<Self, String> {
        let mut access = Self::default();
        for capability in capabilities {
            let mode = capability.access_mode;
            if mode.is_multi_node() && access.nodes.is_none_or(AccessMode::is_reader_only) {
                access.nodes = Some(mode);
            }
            access.block |= capability.is_block();
            access.mounted |= !capability.is_block();
            if let Some(name) = capability.fs_type() {
                let fs_type =
                    FsType::parse(name).ok_or_else(|| format!("file system `{name}`: supported are ext4 and xfs"))?;
                if access.named.is_some_and(|other| other != fs_type) {
                    return Err("one volume can't be both ext4 and xfs".to_owned());
                }
                access.named = Some(fs_type);
            }
        }
        Ok(access)
    }

    /// As [`Access::of`], for one that must be served by a volume of `kind`, made for `made_for`, in a pool that is
    /// `shared` or not.
    pub fn served(
        capability: &VolumeCapability,
        kind: ObjectKind,
        made_for: Option<FsType>,
        shared: bool,
    ) -> std::result::Result<Self, String> {
        let access = Self::of(std::slice::from_ref(capability))?;
        match access.refused_by(kind, shared).or_else(|| access.other_fs(made_for)) {
            Some(reason) => Err(reason),
            None => Ok(access),
        }
    }

    /// The file system of what is mounted: named, that which the volume was made for, or the default. `None`: nothing is.
    pub fn fs_type(self, made_for: Option<FsType>) -> Option<FsType> {
        self.mounted.then(|| self.named.or(made_for).unwrap_or(FsType::DEFAULT))
    }

    /// Why a volume made for `made_for` can't serve this; `None` if it can.
    pub fn other_fs(self, made_for: Option<FsType>) -> Option<String> {
        match (made_for, self.named) {
            (Some(made_for), Some(named)) if made_for != named => {
                Some(format!("the volume was made for {}, not {}", made_for.name(), named.name()))
            }
            _ => None,
        }
    }

    /// Why an object of that kind, in a pool that is `shared` between nodes or not, can't serve this; `None` if it can.
    pub fn refused_by(self, kind: ObjectKind, shared: bool) -> Option<String> {
        if self.block && kind == ObjectKind::Directory {
            return Some("a directory can't be a block device: use `type: image`".to_owned());
        }
        let mode = self.nodes?;
        if !shared {
            return Some(format!("access mode {}: a local volume is reachable from one node", mode.name()));
        }
        // Each node's kernel has a cache of its own for an image, and no idea of the other's.
        (kind == ObjectKind::Image && !mode.is_reader_only())
            .then(|| format!("access mode {}: an image has one node that writes; use `type: directory`", mode.name()))
    }

    /// Smallest object that can serve this, if mounted as [`Access::fs_type`] says.
    pub fn min_bytes(self, kind: ObjectKind, made_for: Option<FsType>) -> u64 {
        match (kind, self.fs_type(made_for)) {
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
        let plain = Access::default();
        assert_eq!(Access::of(&[]), Ok(plain));
        assert_eq!(Access::of(std::slice::from_ref(&block)), Ok(Access { block: true, ..plain }));
        assert_eq!(Access::of(&[mount("")]), Ok(Access { mounted: true, ..plain }));
        let both = Access { block: true, mounted: true, named: Some(FsType::Xfs), nodes: None };
        assert_eq!(Access::of(&[block, mount(""), mount("xfs")]), Ok(both));
        assert!(Access::of(&[mount("btrfs")]).unwrap_err().contains("btrfs"));
        assert!(Access::of(&[mount("ext4"), mount("xfs")]).is_err());
    }

    #[test]
    fn file_systems_are_named_inherited_or_the_default() {
        let (open, xfs) = (Access::of(&[mount("")]).unwrap(), Access::of(&[mount("xfs")]).unwrap());
        assert_eq!((open.fs_type(None), open.fs_type(Some(FsType::Xfs))), (Some(FsType::Ext4), Some(FsType::Xfs)));
        assert_eq!((xfs.fs_type(None), Access::default().fs_type(Some(FsType::Xfs))), (Some(FsType::Xfs), None));
        assert_eq!(xfs.other_fs(Some(FsType::Xfs)), None);
        assert!(xfs.other_fs(Some(FsType::Ext4)).unwrap().contains("made for ext4"));
        assert_eq!(open.other_fs(Some(FsType::Ext4)), None);
    }

    #[test]
    fn several_nodes_need_a_shared_pool_and_writers_a_directory() {
        use ObjectKind::{Directory, Image};
        let of = |mode| Access::of(&[mount(""), VolumeCapability::mount(mode, "")]).unwrap();
        for mode in AccessMode::ALL {
            let local = of(mode).refused_by(Directory, false);
            assert_eq!(local.is_some(), mode.is_multi_node(), "{local:?}");
            assert_eq!(of(mode).refused_by(Directory, true), None);
            let writes = mode.is_multi_node() && !mode.is_reader_only();
            assert_eq!(of(mode).refused_by(Image, true).is_some(), writes, "{}", mode.name());
        }
        let mixed = [AccessMode::MultiNodeReaderOnly, AccessMode::MultiNodeMultiWriter];
        let mixed = Access::of(&mixed.map(VolumeCapability::block)).unwrap();
        assert!(mixed.refused_by(Image, true).unwrap().contains("MULTI_NODE_MULTI_WRITER"));
    }

    #[test]
    fn directories_are_no_devices_and_file_systems_need_room() {
        let block = Access { block: true, ..Access::default() };
        assert!(block.refused_by(ObjectKind::Directory, true).is_some());
        assert_eq!(block.refused_by(ObjectKind::Image, false), None);
        assert_eq!(block.min_bytes(ObjectKind::Image, Some(FsType::Xfs)), BLOCK);
        let open = Access { mounted: true, ..Access::default() };
        assert_eq!(open.min_bytes(ObjectKind::Image, Some(FsType::Xfs)), 300 * MIB);
        assert_eq!(open.min_bytes(ObjectKind::Image, None), 16 * MIB);
        assert_eq!(open.min_bytes(ObjectKind::Directory, None), BLOCK);
    }
}
