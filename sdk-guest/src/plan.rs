//! How a volume reaches a node and what is done with it: the types of a plan and short ways to make one.

pub use crate::bindings::imports::bulkhead::backend::plan_types::{
    Access, BlockUsage, Chap, ClusterKind, DeviceIdentity, DeviceMatch, Directory, Encryption, FibreChannel,
    Filesystem, FormatPolicy, FsckPolicy, FuseCluster, HostPort, Iscsi, IscsiPortal, LocalDevice, Lvm, MultipathPolicy,
    Nfs, NvmeOf, NvmeTransport, Plan, PoolObject, Rbd, SecretRef, Smb, Usage,
};
use crate::types::{Error, Result, VolumeCapability};

impl Plan {
    /// Without encryption, and of a size that nobody checks.
    pub fn new(access: Access, usage: Usage) -> Self {
        Self { access, usage, encryption: None, expected_size_bytes: None }
    }
}

impl Usage {
    /// What the capability asks of a block device: the device itself, or a file system: the client's choice, or `default_fs`.
    /// Read-only if the access mode has only readers.
    pub fn of(capability: &VolumeCapability, default_fs: &str) -> Self {
        let read_only = capability.access_mode.is_reader_only();
        if capability.is_block() {
            return Self::Block(BlockUsage { read_only });
        }
        let filesystem = Filesystem::new(capability.fs_type().unwrap_or(default_fs));
        Self::Filesystem(Filesystem { read_only, ..filesystem })
    }

    /// Of what is a directory by itself (an export, a share, a pool's directory): mounted with no options, read-only if the
    /// capability's access mode has only readers.
    ///
    /// # Errors
    /// `failed-precondition`: the capability asks for a block device.
    pub fn directory(capability: &VolumeCapability) -> Result<Self> {
        if capability.is_block() {
            return Err(Error::precondition("a directory can't be a block device"));
        }
        Ok(Self::Directory(Directory { mount_options: Vec::new(), read_only: capability.access_mode.is_reader_only() }))
    }
}

impl Filesystem {
    /// Formatted if the device is provably empty, grown to the device's size, writable, with no options. ext2, ext3 and
    /// ext4 are checked before they are mounted (`fsck -p`), others replay their journal at mount.
    pub fn new(fs_type: impl Into<String>) -> Self {
        let fs_type = fs_type.into();
        let fsck = if fs_type.starts_with("ext") { FsckPolicy::Preen } else { FsckPolicy::None };
        Self {
            fs_type,
            format: FormatPolicy::IfEmpty,
            mkfs_options: Vec::new(),
            mount_options: Vec::new(),
            fsck,
            grow: true,
            read_only: false,
        }
    }
}

impl Nfs {
    /// An export of one server (`host` or `host:port`), version as the host negotiates it.
    pub fn new(server: impl Into<String>, export_path: impl Into<String>) -> Self {
        Self { servers: vec![server.into()], export_path: export_path.into(), version: None }
    }
}

impl DeviceIdentity {
    /// By SCSI WWID.
    pub fn wwid(wwid: impl Into<String>) -> Self {
        Self { wwid: Some(wwid.into()), ..Self::unset() }
    }

    /// By SCSI or NVMe serial.
    pub fn serial(serial: impl Into<String>) -> Self {
        Self { serial: Some(serial.into()), ..Self::unset() }
    }

    /// By NVMe namespace UUID.
    pub fn uuid(uuid: impl Into<String>) -> Self {
        Self { uuid: Some(uuid.into()), ..Self::unset() }
    }

    fn unset() -> Self {
        Self { wwid: None, serial: None, uuid: None, nguid: None }
    }
}

impl SecretRef {
    /// The secret of that name.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::AccessMode;

    #[test]
    fn usage_follows_the_capability() {
        let reader = VolumeCapability::block(AccessMode::SingleNodeReaderOnly);
        assert_eq!(Usage::of(&reader, "ext4"), Usage::Block(BlockUsage { read_only: true }));
        let writer = VolumeCapability::mount(AccessMode::SingleNodeWriter, "");
        assert_eq!(Usage::of(&writer, "ext4"), Usage::Filesystem(Filesystem::new("ext4")));
        let xfs = VolumeCapability::mount(AccessMode::SingleNodeReaderOnly, "xfs");
        let Usage::Filesystem(filesystem) = Usage::of(&xfs, "ext4") else { panic!("not a file system") };
        assert_eq!(
            (filesystem.fs_type.as_str(), filesystem.read_only, filesystem.fsck),
            ("xfs", true, FsckPolicy::None)
        );
        assert_eq!(Filesystem::new("ext4").fsck, FsckPolicy::Preen);
        assert!(matches!(Usage::directory(&reader), Err(Error::FailedPrecondition(_))));
        let bound = Directory { mount_options: Vec::new(), read_only: true };
        assert_eq!(Usage::directory(&xfs), Ok(Usage::Directory(bound)));
    }
}
