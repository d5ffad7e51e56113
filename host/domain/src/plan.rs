//! How a volume reaches a node and what is done with it: the mount plan, mirror of `plan-types` in the WIT.
//!
//! Facts only: no target path, no command, no value of a secret. A plan is written to the node's journal as it is.
//! The enum [`Access`] is closed and whole; what the node engine of this version can't carry out yet it refuses by name.

mod device;

pub use device::{
    Chap, DeviceIdentity, DeviceMatch, FibreChannel, Iscsi, IscsiPortal, LocalDevice, MultipathPolicy, NvmeOf,
    NvmeTransport,
};

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
    pub servers: Vec<String>,
    /// Absolute path on the server.
    pub export_path: String,
    /// `3`, `4`, `4.1`, `4.2`; none = negotiated.
    pub version: Option<String>,
    /// Allow-listed by the host.
    pub options: Vec<String>,
}

/// An SMB share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smb {
    /// Host name or address.
    pub server: String,
    /// Name of the share.
    pub share: String,
    /// Directory in the share.
    pub subdirectory: Option<String>,
    /// Allow-listed by the host.
    pub options: Vec<String>,
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
    pub servers: Vec<String>,
    /// Volume or file system.
    pub volume: String,
    /// Directory in it.
    pub subdirectory: Option<String>,
    /// Allow-listed by the host.
    pub options: Vec<String>,
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
    /// `host:port`.
    pub monitors: Vec<String>,
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

/// Use as a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// `ext4`, `xfs`, `btrfs`; ignored where the access is a file system already.
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
    /// Mounted.
    Filesystem(Filesystem),
    /// Raw.
    Block(BlockUsage),
}

impl Usage {
    /// No writes.
    pub fn read_only(&self) -> bool {
        match self {
            Self::Filesystem(fs) => fs.read_only,
            Self::Block(block) => block.read_only,
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

/// A scratch volume that lives as long as its pod. The node engine makes the pool object when it publishes and removes
/// it when it unpublishes, both from its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EphemeralPlan {
    /// Name of the pool.
    pub pool: String,
    /// Bytes, at least 1.
    pub size_bytes: u64,
    /// True: an image with `filesystem` on it; false: a directory.
    pub image: bool,
    /// How it is mounted.
    pub filesystem: Filesystem,
}
