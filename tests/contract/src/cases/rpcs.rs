//! All RPCs: what offers them, and a request that is right.

use super::{group, no_such_id};
use crate::{Cx, Need, Outcome, Stop, fields::reflect};
use bulkhead_proto::v1::{
    self, controller_service_capability::rpc::Type as C, node_service_capability::rpc::Type as N,
    plugin_capability::service::Type as P,
};
use prost_reflect::DynamicMessage;

/// What an RPC hangs on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gate {
    /// The Controller service.
    Service,
    /// A capability of the controller.
    Controller(C),
    /// A capability of the node.
    Node(N),
    /// The Node service.
    NodeService,
    /// Group snapshots.
    Groups,
    /// A capability of the plugin.
    Plugin(P),
}

impl Gate {
    /// It is offered.
    pub(super) fn offered(self) -> Vec<Need> {
        match self {
            Self::Service => vec![Need::Plugin(P::ControllerService)],
            Self::Controller(c) => vec![Need::Controller(c)],
            Self::Node(n) => vec![Need::Node(n)],
            Self::NodeService => vec![Need::NodeService],
            Self::Groups => vec![Need::Groups],
            Self::Plugin(p) => vec![Need::Plugin(p)],
        }
    }

    /// It is not; nothing if there is no telling whether it should be.
    pub(super) fn not_offered(self) -> Option<Vec<Need>> {
        match self {
            Self::Service => Some(vec![Need::NoPlugin(P::ControllerService)]),
            Self::Controller(c) => Some(vec![Need::NoController(c)]),
            Self::Node(n) => Some(vec![Need::NodeService, Need::NoNode(n)]),
            Self::NodeService => None,
            Self::Groups => Some(vec![Need::NoGroups]),
            Self::Plugin(p) => Some(vec![Need::NoPlugin(p)]),
        }
    }
}

/// Every RPC that takes arguments.
pub(super) const RPCS: &[(&str, Gate)] = &[
    ("CreateVolume", Gate::Controller(C::CreateDeleteVolume)),
    ("DeleteVolume", Gate::Controller(C::CreateDeleteVolume)),
    ("ControllerPublishVolume", Gate::Controller(C::PublishUnpublishVolume)),
    ("ControllerUnpublishVolume", Gate::Controller(C::PublishUnpublishVolume)),
    ("ValidateVolumeCapabilities", Gate::Service),
    ("ListVolumes", Gate::Controller(C::ListVolumes)),
    ("GetCapacity", Gate::Controller(C::GetCapacity)),
    ("CreateSnapshot", Gate::Controller(C::CreateDeleteSnapshot)),
    ("DeleteSnapshot", Gate::Controller(C::CreateDeleteSnapshot)),
    ("ListSnapshots", Gate::Controller(C::ListSnapshots)),
    ("GetSnapshot", Gate::Controller(C::GetSnapshot)),
    ("ControllerExpandVolume", Gate::Controller(C::ExpandVolume)),
    ("ControllerGetVolume", Gate::Controller(C::GetVolume)),
    ("ControllerModifyVolume", Gate::Controller(C::ModifyVolume)),
    ("ControllerGetVolumeHealth", Gate::Controller(C::GetVolumeHealth)),
    ("ControllerListVolumeHealth", Gate::Controller(C::ListVolumeHealth)),
    ("CreateVolumeGroupSnapshot", Gate::Groups),
    ("DeleteVolumeGroupSnapshot", Gate::Groups),
    ("GetVolumeGroupSnapshot", Gate::Groups),
    ("GetMetadataAllocated", Gate::Plugin(P::SnapshotMetadataService)),
    ("GetMetadataDelta", Gate::Plugin(P::SnapshotMetadataService)),
    ("NodeStageVolume", Gate::Node(N::StageUnstageVolume)),
    ("NodeUnstageVolume", Gate::Node(N::StageUnstageVolume)),
    ("NodePublishVolume", Gate::NodeService),
    ("NodeUnpublishVolume", Gate::NodeService),
    ("NodeGetVolumeStats", Gate::Node(N::GetVolumeStats)),
    ("NodeGetVolumeHealth", Gate::Node(N::GetVolumeHealth)),
    ("NodeGetStorageHealth", Gate::Node(N::GetStorageHealth)),
    ("NodeExpandVolume", Gate::Node(N::ExpandVolume)),
];

pub(super) fn gate(rpc: &str) -> Option<Gate> {
    RPCS.iter().find(|(name, _)| *name == rpc).map(|(_, gate)| *gate)
}

/// What requests are about. Made once for a case.
pub(super) struct Ground {
    volume: v1::Volume,
    snapshot: String,
    group: v1::VolumeGroupSnapshot,
    staging: String,
    target: String,
}

impl Ground {
    /// A volume, a snapshot and a group, as far as there can be. Nothing is attached, staged or published.
    pub(super) async fn new(cx: &Cx) -> Outcome<Self> {
        let caps = &cx.driver.caps;
        let nothing = v1::Volume { volume_id: no_such_id(cx), ..Default::default() };
        let there = caps.has(C::CreateDeleteVolume);
        let volume = if there { cx.create("ground").await? } else { nothing };
        let snapshot = if there && caps.has(C::CreateDeleteSnapshot) {
            cx.snapshot(&volume.volume_id, "ground").await?.snapshot_id
        } else {
            no_such_id(cx)
        };
        let group =
            if there && caps.groups() { group::group(cx, 1).await?.1 } else { v1::VolumeGroupSnapshot::default() };
        let node = cx.driver.node_info.is_some();
        let staging = if node { cx.staging_path()? } else { "/nowhere".into() };
        let target = if node { cx.target_path()? } else { "/nowhere/mount".into() };
        Ok(Self { volume, snapshot, group, staging, target })
    }

    /// A request of that RPC that is right, or would be after the calls that come before it.
    pub(super) fn good(&self, cx: &Cx, rpc: &str) -> Outcome<DynamicMessage> {
        let controller = self.controller(cx, rpc).or_else(|| self.snapshots(cx, rpc));
        controller
            .or_else(|| self.node(cx, rpc))
            .ok_or_else(|| Stop::fail(format!("the suite has no request for {rpc}")))
    }

    fn controller(&self, cx: &Cx, rpc: &str) -> Option<DynamicMessage> {
        let volume_id = self.volume.volume_id.clone();
        let name = format!("{rpc}Request");
        match rpc {
            "CreateVolume" => {
                let mut request = cx.create_request("good");
                // A requirement of its own could not be met everywhere; it is there so that its fields can be spoiled.
                request.accessibility_requirements = cx.driver.node_info.as_ref().and_then(|info| {
                    let here = info.accessible_topology.clone()?;
                    Some(v1::TopologyRequirement { requisite: vec![here.clone()], preferred: vec![here] })
                });
                reflect(&name, &request)
            }
            "DeleteVolume" => reflect(&name, &v1::DeleteVolumeRequest { volume_id, ..Default::default() }),
            "ControllerPublishVolume" => reflect(&name, &cx.attach_request(&self.volume)),
            "ControllerUnpublishVolume" => reflect(&name, &super::attach::detach_request(&volume_id, &cx.node_id())),
            "ValidateVolumeCapabilities" => reflect(&name, &super::validate::request(cx, &self.volume)),
            "ListVolumes" => reflect(&name, &v1::ListVolumesRequest::default()),
            "GetCapacity" => {
                let volume_capabilities = vec![cx.capability()];
                reflect(&name, &v1::GetCapacityRequest { volume_capabilities, ..Default::default() })
            }
            "ControllerExpandVolume" => reflect(&name, &super::expand::request(cx, &volume_id, 2 * cx.bytes())),
            "ControllerGetVolume" => reflect(&name, &v1::ControllerGetVolumeRequest { volume_id }),
            "ControllerModifyVolume" => {
                let mutable_parameters = cx.driver.options.mutable_parameters.clone().unwrap_or_default();
                let rest = v1::ControllerModifyVolumeRequest::default();
                reflect(&name, &v1::ControllerModifyVolumeRequest { volume_id, mutable_parameters, ..rest })
            }
            "ControllerGetVolumeHealth" => {
                reflect(&name, &v1::ControllerGetVolumeHealthRequest { volume_id, ..Default::default() })
            }
            "ControllerListVolumeHealth" => reflect(&name, &v1::ControllerListVolumeHealthRequest::default()),
            _ => None,
        }
    }

    fn snapshots(&self, cx: &Cx, rpc: &str) -> Option<DynamicMessage> {
        let (volume_id, snapshot_id) = (self.volume.volume_id.clone(), self.snapshot.clone());
        let name = format!("{rpc}Request");
        let members = group::members(&self.group);
        match rpc {
            "CreateSnapshot" => reflect(&name, &cx.snapshot_request(&volume_id, "good")),
            "DeleteSnapshot" => reflect(&name, &super::snapshot::delete_request(&snapshot_id)),
            "ListSnapshots" => reflect(&name, &v1::ListSnapshotsRequest { snapshot_id, ..Default::default() }),
            "GetSnapshot" => reflect(&name, &v1::GetSnapshotRequest { snapshot_id, ..Default::default() }),
            "CreateVolumeGroupSnapshot" => {
                let source_volume_ids = vec![volume_id];
                let request = v1::CreateVolumeGroupSnapshotRequest { source_volume_ids, ..Default::default() };
                reflect(&name, &v1::CreateVolumeGroupSnapshotRequest { name: cx.name("good"), ..request })
            }
            "DeleteVolumeGroupSnapshot" => {
                let group_snapshot_id = self.group.group_snapshot_id.clone();
                let request = v1::DeleteVolumeGroupSnapshotRequest { group_snapshot_id, ..Default::default() };
                reflect(&name, &v1::DeleteVolumeGroupSnapshotRequest { snapshot_ids: members, ..request })
            }
            "GetVolumeGroupSnapshot" => reflect(&name, &group::get_request(&self.group.group_snapshot_id, members)),
            "GetMetadataAllocated" => {
                reflect(&name, &v1::GetMetadataAllocatedRequest { snapshot_id, ..Default::default() })
            }
            "GetMetadataDelta" => {
                let request = v1::GetMetadataDeltaRequest { base_snapshot_id: snapshot_id, ..Default::default() };
                let target_snapshot_id = self.snapshot.clone();
                reflect(&name, &v1::GetMetadataDeltaRequest { target_snapshot_id, ..request })
            }
            _ => None,
        }
    }

    fn node(&self, cx: &Cx, rpc: &str) -> Option<DynamicMessage> {
        let (volume_id, volume_path) = (self.volume.volume_id.clone(), self.target.clone());
        let (staging_target_path, target_path) = (self.staging.clone(), self.target.clone());
        let volume_context = self.volume.volume_context.clone();
        let volume_capability = Some(cx.capability());
        let name = format!("{rpc}Request");
        match rpc {
            "NodeStageVolume" => {
                let request = v1::NodeStageVolumeRequest { volume_id, staging_target_path, ..Default::default() };
                reflect(&name, &v1::NodeStageVolumeRequest { volume_capability, volume_context, ..request })
            }
            "NodeUnstageVolume" => reflect(&name, &v1::NodeUnstageVolumeRequest { volume_id, staging_target_path }),
            "NodePublishVolume" => {
                let request = v1::NodePublishVolumeRequest { volume_id, staging_target_path, ..Default::default() };
                let request = v1::NodePublishVolumeRequest { target_path, volume_capability, ..request };
                reflect(&name, &v1::NodePublishVolumeRequest { volume_context, ..request })
            }
            "NodeUnpublishVolume" => reflect(&name, &v1::NodeUnpublishVolumeRequest { volume_id, target_path }),
            "NodeGetVolumeStats" => {
                reflect(&name, &v1::NodeGetVolumeStatsRequest { volume_id, volume_path, ..Default::default() })
            }
            "NodeGetVolumeHealth" => {
                let request = v1::NodeGetVolumeHealthRequest { volume_id, ..Default::default() };
                reflect(&name, &v1::NodeGetVolumeHealthRequest { volume_publish_path: volume_path, ..request })
            }
            "NodeGetStorageHealth" => reflect(&name, &v1::NodeGetStorageHealthRequest::default()),
            "NodeExpandVolume" => {
                let request = v1::NodeExpandVolumeRequest { volume_id, volume_path, ..Default::default() };
                reflect(&name, &v1::NodeExpandVolumeRequest { volume_capability, ..request })
            }
            _ => None,
        }
    }
}
