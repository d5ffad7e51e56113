//! Ways in which a volume reaches a node as a block device of its own: over a network, or attached by the platform.

use super::{HostPort, SecretRef};
use serde::{Deserialize, Serialize};

/// Credentials of one direction of CHAP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chap {
    /// Account.
    pub username: SecretRef,
    /// Password.
    pub password: SecretRef,
}

/// Whether several paths to a device are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MultipathPolicy {
    /// One path.
    Off,
    /// If the node can.
    Preferred,
    /// Or fail.
    Required,
}

/// One way to a LUN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IscsiPortal {
    /// Where the portal is.
    pub address: HostPort,
    /// Target behind this portal.
    pub target_iqn: String,
}

/// What a device must say about itself; at least one field is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceIdentity {
    /// SCSI VPD 0x83 NAA or EUI designator, lower-case hexadecimal.
    pub wwid: Option<String>,
    /// SCSI VPD 0x80 or NVMe controller serial.
    pub serial: Option<String>,
    /// NVMe namespace UUID.
    pub uuid: Option<String>,
    /// NVMe namespace NGUID.
    pub nguid: Option<String>,
}

/// A LUN behind iSCSI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iscsi {
    /// At least one.
    pub portals: Vec<IscsiPortal>,
    /// Logical unit number.
    pub lun: u32,
    /// Checked before the device is touched.
    pub device: DeviceIdentity,
    /// Credentials towards the target.
    pub chap: Option<Chap>,
    /// Credentials of the target.
    pub mutual_chap: Option<Chap>,
    /// Whether paths are joined.
    pub multipath: MultipathPolicy,
    /// Paths that must be up; 0 = one.
    pub min_paths: u32,
    /// Other volumes share the target.
    pub shared_target: bool,
}

/// Transport of NVMe over fabrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NvmeTransport {
    /// TCP.
    Tcp,
    /// RDMA.
    Rdma,
    /// Fibre Channel.
    Fc,
}

/// A namespace behind NVMe over fabrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvmeOf {
    /// Transport of all addresses.
    pub transport: NvmeTransport,
    /// At least one: `host:port`, or the transport address of a Fibre Channel port.
    pub addresses: Vec<String>,
    /// NVMe qualified name of the subsystem.
    pub subsystem_nqn: String,
    /// Checked before the device is touched.
    pub device: DeviceIdentity,
    /// DH-HMAC-CHAP key of the host.
    pub dhchap: Option<SecretRef>,
    /// DH-HMAC-CHAP key of the controller.
    pub dhchap_controller: Option<SecretRef>,
    /// Seconds until the kernel gives a lost controller up.
    pub ctrl_loss_timeout_s: Option<u32>,
    /// Other volumes share the subsystem.
    pub shared_subsystem: bool,
}

/// A LUN behind Fibre Channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FibreChannel {
    /// Ports of the target.
    pub target_wwpns: Vec<String>,
    /// Logical unit number.
    pub lun: u32,
    /// Checked before the device is touched.
    pub device: DeviceIdentity,
    /// Whether paths are joined.
    pub multipath: MultipathPolicy,
    /// Paths that must be up; 0 = one.
    pub min_paths: u32,
}

/// How to find a disk that the platform attaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceMatch {
    /// A name in /dev/disk/by-id; a hint only.
    ById(String),
    /// Logical unit on the data-disk controller.
    ScsiLun(u32),
    /// Search by identity alone.
    Identity,
    /// Below a prefix that the operator allows.
    Path(String),
}

/// A disk that the platform attaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalDevice {
    /// Where to look.
    pub find: DeviceMatch,
    /// What it must say about itself.
    pub device: Option<DeviceIdentity>,
    /// 1-based; none = the whole device.
    pub partition: Option<u32>,
    /// Seconds to wait for the device.
    pub appear_timeout_s: u32,
}
