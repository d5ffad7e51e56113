//! Facts about a node, and what the node engine is asked and answers.

use crate::{
    StringMap,
    capability::VolumeCapability,
    plan::{EphemeralPlan, Plan},
    topology::Topology,
    volume::VolumeId,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// What a node knows about itself; mirror of `node-facts` in the WIT.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeFacts {
    /// CSI node_id.
    pub node_id: String,
    /// What the orchestrator calls the node.
    pub name: String,
    /// IP addresses, best first.
    pub addresses: Vec<String>,
    /// iSCSI qualified names.
    pub iscsi_initiators: Vec<String>,
    /// NVMe qualified name of the host.
    pub nvme_host_nqn: Option<String>,
    /// NVMe host id.
    pub nvme_host_id: Option<String>,
    /// Fibre Channel port names.
    pub fc_wwpns: Vec<String>,
    /// Where the node runs, if in a cloud.
    pub cloud: Option<CloudFacts>,
    /// What the node can do now (`nfs`, `loop`, ...).
    pub transports: Vec<String>,
    /// Set by the operator.
    pub labels: StringMap,
}

/// What a cloud says about an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudFacts {
    /// `aws`, `azure`, ...
    pub provider: String,
    /// The cloud's id of the instance.
    pub instance_id: String,
    /// The cloud's type of the instance.
    pub instance_type: String,
    /// Region.
    pub region: String,
    /// Zone.
    pub zone: String,
    /// Slots in use by other things.
    pub used_attachment_slots: Option<u32>,
}

/// What a backend says about a node: CSI NodeGetInfo without the id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeInfo {
    /// Volumes that can be attached; none = no limit known.
    pub max_volumes: Option<u32>,
    /// Where the node is.
    pub topology: Option<Topology>,
}

/// NodeStageVolume, with the backend's plan.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The volume.
    pub volume_id: VolumeId,
    /// Absolute path below the kubelet root; the directory exists.
    pub staging_path: PathBuf,
    /// What it will be used as.
    pub capability: VolumeCapability,
    /// How it gets here. Already checked against what the operator allows this backend.
    pub plan: Plan,
    /// Longest time to wait for a disk or a server.
    pub timeout: Duration,
}

/// NodeUnstageVolume.
#[derive(Debug, Clone)]
pub struct Unstage {
    /// The volume.
    pub volume_id: VolumeId,
    /// As at stage.
    pub staging_path: PathBuf,
}

/// NodePublishVolume.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The volume.
    pub volume_id: VolumeId,
    /// As at stage.
    pub staging_path: PathBuf,
    /// Absolute path below the kubelet root; its parent exists, the engine makes and removes the last component.
    pub target_path: PathBuf,
    /// What it will be used as.
    pub capability: VolumeCapability,
    /// No writes through this target.
    pub read_only: bool,
}

/// NodePublishVolume of an inline ephemeral volume, with the backend's plan. It is not staged.
#[derive(Debug, Clone)]
pub struct PublishEphemeral {
    /// The volume.
    pub volume_id: VolumeId,
    /// As in [`Publish`].
    pub target_path: PathBuf,
    /// What it will be used as: a mount.
    pub capability: VolumeCapability,
    /// No writes through this target.
    pub read_only: bool,
    /// What is made. Already checked against what the operator allows this backend.
    pub plan: EphemeralPlan,
}

/// NodeUnpublishVolume.
#[derive(Debug, Clone)]
pub struct Unpublish {
    /// The volume.
    pub volume_id: VolumeId,
    /// As at publish.
    pub target_path: PathBuf,
}

/// NodeGetVolumeStats.
#[derive(Debug, Clone)]
pub struct Stats {
    /// The volume.
    pub volume_id: VolumeId,
    /// A path at which it is staged or published. Not checked for shape: an unknown one is not found.
    pub volume_path: PathBuf,
}

/// NodeGetVolumeHealth.
#[derive(Debug, Clone)]
pub struct NodeHealth {
    /// The volume.
    pub volume_id: VolumeId,
    /// A path at which it is staged or published; none: wherever it is. Not checked for shape: an unknown one is not
    /// found.
    pub volume_path: Option<PathBuf>,
}

/// NodeExpandVolume.
#[derive(Debug, Clone)]
pub struct NodeExpand {
    /// The volume.
    pub volume_id: VolumeId,
    /// A path at which it is staged or published. Not checked for shape: an unknown one is not found.
    pub volume_path: PathBuf,
    /// Bytes the client wants at least; none = the device's size.
    pub required_bytes: Option<u64>,
    /// Bytes the client wants at most.
    pub limit_bytes: Option<u64>,
}

/// Unit of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageUnit {
    /// Bytes.
    Bytes,
    /// Inodes.
    Inodes,
}

/// One line of NodeGetVolumeStats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What is counted.
    pub unit: UsageUnit,
    /// All there is.
    pub total: u64,
    /// In use; none where it can't be known (raw block).
    pub used: Option<u64>,
    /// Free for an ordinary user; none where it can't be known.
    pub available: Option<u64>,
}
