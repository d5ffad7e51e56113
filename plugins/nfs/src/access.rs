//! Which uses of a volume are possible: mounted, on any number of nodes.

use bulkhead_sdk::prelude::*;

/// What a capability may call the file system of a share; nothing at all is as good.
const FS_TYPES: [&str; 3] = ["nfs", "nfs3", "nfs4"];

/// Why a volume can't serve all of these; `None` if it can.
pub fn refused(capabilities: &[VolumeCapability]) -> Option<String> {
    capabilities.iter().find_map(|capability| {
        if capability.is_block() {
            return Some("a directory of a share can't be a block device".to_owned());
        }
        let named = capability.fs_type().filter(|name| !FS_TYPES.contains(name))?;
        Some(format!("file system `{named}`: the server has chosen it already; leave it out"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_is_all_that_a_share_can_be() {
        for mode in AccessMode::ALL {
            assert_eq!(refused(&[VolumeCapability::mount(mode, ""), VolumeCapability::mount(mode, "nfs")]), None);
            assert!(refused(&[VolumeCapability::mount(mode, ""), VolumeCapability::block(mode)]).is_some());
        }
        let ext4 = refused(&[VolumeCapability::mount(AccessMode::SingleNodeWriter, "ext4")]);
        assert!(ext4.unwrap().contains("`ext4`"));
        assert_eq!(refused(&[]), None);
    }
}
