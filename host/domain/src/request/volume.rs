//! What is done with a volume once it is there.

use super::Secrets;
use crate::{
    StringMap,
    capability::VolumeCapability,
    volume::{NodeId, VolumeId},
};
use std::path::PathBuf;

/// ControllerPublishVolume.
#[derive(Debug, Clone, Hash)]
pub struct ControllerPublishVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// The node.
    pub node_id: NodeId,
    /// How it will be used.
    pub capability: VolumeCapability,
    /// No writes from that node.
    pub read_only: bool,
    /// As CreateVolume returned it.
    pub context: StringMap,
    /// Of this call.
    pub secrets: Secrets,
}

/// ControllerUnpublishVolume.
#[derive(Debug, Clone, Hash)]
pub struct ControllerUnpublishVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// None: from all nodes.
    pub node_id: Option<NodeId>,
    /// Of this call.
    pub secrets: Secrets,
}

/// ControllerModifyVolume.
#[derive(Debug, Clone, Hash)]
pub struct ModifyVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// VolumeAttributesClass parameters, at least one.
    pub mutable_parameters: StringMap,
    /// Of this call.
    pub secrets: Secrets,
}

/// ControllerGetVolumeHealth.
#[derive(Debug, Clone)]
pub struct GetVolumeHealth {
    /// The volume.
    pub volume_id: VolumeId,
    /// Of this call.
    pub secrets: Secrets,
}

/// ControllerListVolumeHealth, with the client's own token.
#[derive(Debug, Clone)]
pub struct ListVolumeHealth {
    /// 0 = as many as we like.
    pub max_entries: u32,
    /// Empty = from the start.
    pub starting_token: String,
    /// Of this call.
    pub secrets: Secrets,
}

/// What NodeStageVolume brings besides paths.
#[derive(Debug, Clone)]
pub struct NodeStageVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// As CreateVolume returned it.
    pub context: StringMap,
    /// As ControllerPublishVolume returned it.
    pub publish_context: StringMap,
    /// Below the kubelet root; checked by the node engine.
    pub staging_path: PathBuf,
    /// How it will be used.
    pub capability: VolumeCapability,
    /// Of this call.
    pub secrets: Secrets,
}

/// NodePublishVolume.
#[derive(Debug, Clone)]
pub enum NodePublishVolume {
    /// Of a volume that is staged.
    Staged(crate::node::Publish),
    /// Of a volume that is described in the pod itself and lives as long.
    Inline(InlineVolume),
}

/// NodePublishVolume of an inline ephemeral volume.
#[derive(Debug, Clone)]
pub struct InlineVolume {
    /// Made by the CO.
    pub volume_id: VolumeId,
    /// The attributes that the pod's author wrote, and what the CO adds.
    pub context: StringMap,
    /// Below the kubelet root; checked by the node engine.
    pub target_path: PathBuf,
    /// How it will be used.
    pub capability: VolumeCapability,
    /// No writes through this target.
    pub read_only: bool,
    /// Of this call.
    pub secrets: Secrets,
}
