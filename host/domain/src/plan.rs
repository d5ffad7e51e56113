//! How a volume reaches a node and what is done with it: the mount plan, mirror of `plan-types` in the WIT.
//!
//! Facts only: no target path, no command, no value of a secret. A plan is written to the node's journal as it is.
//! The enum [`Access`] is closed and whole; what the node engine of this version can't carry out yet it refuses by name.

mod device;
mod server;
pub mod storage;

pub use device::{
    Chap, DeviceIdentity, DeviceMatch, FibreChannel, Iscsi, IscsiPortal, LocalDevice, MultipathPolicy, NvmeOf,
    NvmeTransport,
};
pub use server::HostPort;

use crate::limits::Violation;
use serde::{Deserialize, Serialize};

/// Names an entry of the call's or the driver's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Key in the secrets map; never its value.
    pub key: String,
}

/// An NFS export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nfs {
    /// Alternatives for one export, best first.
    pub servers: Vec<HostPort>,
    /// Absolute path on the server.
    pub export_path: String,
    /// `3`, `4`, `4.1`, `4.2`; none = negotiated.
    pub version: Option<String>,
}

/// An SMB share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smb {
    /// Where it is served.
    pub server: HostPort,
    /// Name of the share.
    pub share: String,
    /// Directory in the share.
    pub subdirectory: Option<String>,
    /// Domain of the account.
    pub domain: Option<String>,
    /// Account.
    pub username: Option<SecretRef>,
    /// Password.
    pub password: Option<SecretRef>,
}

/// Kinds of cluster file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterKind {
    /// GlusterFS.
    Glusterfs,
    /// CephFS.
    Cephfs,
}

/// A cluster file system mounted through FUSE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuseCluster {
    /// Which one.
    pub kind: ClusterKind,
    /// Alternatives, best first.
    pub servers: Vec<HostPort>,
    /// Volume or file system.
    pub volume: String,
    /// Directory in it.
    pub subdirectory: Option<String>,
    /// Account.
    pub username: Option<String>,
    /// Its key.
    pub credential: Option<SecretRef>,
}

/// A directory or image of a pool named in the host's config.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolObject {
    /// Name of the pool.
    pub pool: String,
    /// Name of the object in it.
    pub name: String,
}

/// A Ceph RBD image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rbd {
    /// At least one.
    pub monitors: Vec<HostPort>,
    /// Ceph pool.
    pub pool: String,
    /// Namespace in the pool.
    pub namespace: Option<String>,
    /// Image.
    pub image: String,
    /// Account.
    pub username: String,
    /// Its key.
    pub credential: SecretRef,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lvm {
    /// Volume group.
    pub volume_group: String,
    /// Logical volume.
    pub logical_volume: String,
}

/// How the volume reaches the node. Closed: each case is a state machine of the node engine with its own tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// NFS export.
    Nfs(Nfs),
    /// SMB share.
    Smb(Smb),
    /// iSCSI LUN.
    Iscsi(Iscsi),
    /// NVMe-oF namespace.
    NvmeOf(NvmeOf),
    /// Fibre Channel LUN.
    FibreChannel(FibreChannel),
    /// Disk attached by the platform.
    LocalDevice(LocalDevice),
    /// Cluster file system through FUSE.
    FuseCluster(FuseCluster),
    /// Directory of a pool.
    PoolDirectory(PoolObject),
    /// Image file of a pool.
    PoolImage(PoolObject),
    /// Ceph RBD image.
    Rbd(Rbd),
    /// Logical volume.
    Lvm(Lvm),
}

impl Access {
    /// Every name that [`Access::name`] can give, as used in `grants.access`.
    pub const NAMES: [&'static str; 11] = [
        "nfs",
        "smb",
        "iscsi",
        "nvme-of",
        "fibre-channel",
        "local-device",
        "fuse-cluster",
        "pool-directory",
        "pool-image",
        "rbd",
        "lvm",
    ];

    /// The case's name in the WIT and in `grants.access`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nfs(_) => "nfs",
            Self::Smb(_) => "smb",
            Self::Iscsi(_) => "iscsi",
            Self::NvmeOf(_) => "nvme-of",
            Self::FibreChannel(_) => "fibre-channel",
            Self::LocalDevice(_) => "local-device",
            Self::FuseCluster(_) => "fuse-cluster",
            Self::PoolDirectory(_) => "pool-directory",
            Self::PoolImage(_) => "pool-image",
            Self::Rbd(_) => "rbd",
            Self::Lvm(_) => "lvm",
        }
    }

    /// The volume reaches the node as a block device.
    pub fn is_block_device(&self) -> bool {
        matches!(
            self,
            Self::Iscsi(_)
                | Self::NvmeOf(_)
                | Self::FibreChannel(_)
                | Self::LocalDevice(_)
                | Self::PoolImage(_)
                | Self::Rbd(_)
                | Self::Lvm(_)
        )
    }
}

/// When the host may make a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormatPolicy {
    /// Only where the device is proven empty and no earlier format is on record.
    IfEmpty,
    /// A device that looks empty is an error.
    Never,
}

/// Whether the file system is checked before it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FsckPolicy {
    /// No check.
    None,
    /// Safe repairs.
    Preen,
    /// Check, repair nothing.
    CheckOnly,
}

/// Use of a block device as a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// `ext4`, `xfs`, `btrfs`; empty: what the client names.
    pub fs_type: String,
    /// When to make a file system.
    pub format: FormatPolicy,
    /// Allow-listed by the host.
    pub mkfs_options: Vec<String>,
    /// Allow-listed by the host.
    pub mount_options: Vec<String>,
    /// Check before mount.
    pub fsck: FsckPolicy,
    /// Grow to the device's size at stage.
    pub grow: bool,
    /// No writes.
    pub read_only: bool,
}

/// Use of what is a directory by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Directory {
    /// Allow-listed by the host.
    pub mount_options: Vec<String>,
    /// No writes.
    pub read_only: bool,
}

/// Use as a raw device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockUsage {
    /// No writes.
    pub read_only: bool,
}

/// What is done with the volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// A block device's file system, mounted.
    Filesystem(Filesystem),
    /// A directory, mounted.
    Directory(Directory),
    /// Raw.
    Block(BlockUsage),
}

impl Usage {
    /// No writes.
    pub fn read_only(&self) -> bool {
        match self {
            Self::Filesystem(fs) => fs.read_only,
            Self::Directory(directory) => directory.read_only,
            Self::Block(block) => block.read_only,
        }
    }

    /// Options of the mount; empty for a raw device.
    pub fn mount_options(&self) -> &[String] {
        match self {
            Self::Filesystem(fs) => &fs.mount_options,
            Self::Directory(directory) => &directory.mount_options,
            Self::Block(_) => &[],
        }
    }
}

/// LUKS2 between device and use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Passphrase.
    pub passphrase: SecretRef,
    /// Cipher; none = the host's default.
    pub cipher: Option<String>,
}

/// The whole plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How the volume reaches the node.
    pub access: Access,
    /// What is done with it.
    pub usage: Usage,
    /// Encryption between the two.
    pub encryption: Option<Encryption>,
    /// Bytes the device must have at least.
    pub expected_size_bytes: Option<u64>,
}

impl Plan {
    /// Usage and encryption are such as the access can have. A raw device of what is none is the node engine's to refuse: it may be
    /// the client that asked for one.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn check(&self) -> Result<(), Violation> {
        let (name, is_device) = (self.access.name(), self.access.is_block_device());
        match &self.usage {
            Usage::Filesystem(_) if !is_device => {
                Err(format!("usage filesystem needs a block device, and {name} is none"))
            }
            Usage::Directory(_) if is_device => Err(format!("usage directory needs a directory, and {name} is none")),
            _ if self.encryption.is_some() && !is_device => {
                Err(format!("encryption needs a block device, and {name} is none"))
            }
            _ => Ok(()),
        }
    }
}

/// What the node engine makes for a scratch volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scratch {
    /// An image, and this file system on it.
    Image(Filesystem),
    /// A directory.
    Directory(Directory),
}

impl Scratch {
    /// How an object of that kind reaches the node.
    pub fn access(&self, object: PoolObject) -> Access {
        match self {
            Self::Image(_) => Access::PoolImage(object),
            Self::Directory(_) => Access::PoolDirectory(object),
        }
    }

    /// What is done with it.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Image(filesystem) => Usage::Filesystem(filesystem.clone()),
            Self::Directory(directory) => Usage::Directory(directory.clone()),
        }
    }
}

/// A scratch volume that lives as long as its pod. The node engine makes the pool object when it publishes and removes
/// it when it unpublishes, both from its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EphemeralPlan {
    /// Name of the pool.
    pub pool: String,
    /// Bytes, at least 1.
    pub size_bytes: u64,
    /// What is made, and how it is mounted.
    pub scratch: Scratch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_fits_its_access() {
        let object = || PoolObject { pool: "p".into(), name: "o".into() };
        let block = Usage::Block(BlockUsage { read_only: true });
        let filesystem = Usage::Filesystem(Filesystem {
            fs_type: "ext4".into(),
            format: FormatPolicy::IfEmpty,
            mkfs_options: vec![],
            mount_options: vec!["noatime".into()],
            fsck: FsckPolicy::None,
            grow: false,
            read_only: false,
        });
        let directory = Usage::Directory(Directory::default());
        assert!(block.read_only() && block.mount_options().is_empty() && filesystem.mount_options() == ["noatime"]);
        let encryption = || Some(Encryption { passphrase: SecretRef { key: "k".into() }, cipher: None });
        for (access, usage, encryption, fits) in [
            (Access::PoolImage(object()), &filesystem, None, true),
            (Access::PoolImage(object()), &filesystem, encryption(), true),
            (Access::PoolImage(object()), &block, None, true),
            (Access::PoolImage(object()), &directory, None, false),
            (Access::PoolDirectory(object()), &directory, None, true),
            (Access::PoolDirectory(object()), &directory, encryption(), false),
            (Access::PoolDirectory(object()), &filesystem, None, false),
        ] {
            let plan = Plan { access, usage: usage.clone(), encryption, expected_size_bytes: None };
            assert_eq!(plan.check().is_ok(), fits, "{plan:?}");
        }
    }
}
