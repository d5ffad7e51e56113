//! What cases on the node share: needs, and volumes that are staged in one access mode or another.

use super::VOLUMES;
use crate::{
    Cx, Need, Outcome, Stop,
    check::{ok, ok_or, some},
    options::Map,
};
use bulkhead_proto::v1::{
    self, VolumeCapability,
    controller_service_capability::rpc::Type as ControllerRpc,
    node_service_capability::rpc::Type as NodeRpc,
    volume_capability::{AccessType, access_mode::Mode},
};
use tonic::Code;

pub(super) const STAGE: Need = Need::Node(NodeRpc::StageUnstageVolume);
pub(super) const MULTI_WRITER: Need = Need::Node(NodeRpc::SingleNodeMultiWriter);
/// Volumes that are made and used, and looked at by the suite itself.
pub(super) const USE: &[Need] = &[VOLUMES, Need::NodeService, Need::Root];
pub(super) const STAGED: &[Need] = &[VOLUMES, Need::NodeService, Need::Root, STAGE];

/// A volume that is attached and staged, as far as the driver has these.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) volume: v1::Volume,
    pub(super) capability: VolumeCapability,
    pub(super) context: Map,
    pub(super) staging: String,
}

impl Held {
    /// NodePublishVolume at a new target.
    pub(super) fn publish(&self, cx: &Cx) -> Outcome<v1::NodePublishVolumeRequest> {
        let request = cx.publish_request(&self.volume, &self.context, &self.staging)?;
        Ok(v1::NodePublishVolumeRequest { volume_capability: Some(self.capability.clone()), ..request })
    }

    /// Publishes at a new target.
    pub(super) async fn published(&self, cx: &Cx) -> Outcome<String> {
        let request = self.publish(cx)?;
        let target = request.target_path.clone();
        ok(cx.node_publish_volume(request).await, "NodePublishVolume")?;
        Ok(target)
    }

    pub(super) fn id(&self) -> &str {
        &self.volume.volume_id
    }
}

/// A new volume for these capabilities. Skips the case if the driver has none of that kind.
pub(super) async fn create_for(cx: &Cx, capabilities: &[VolumeCapability]) -> Outcome<v1::Volume> {
    let mut request = cx.create_request("volume");
    request.volume_capabilities = capabilities.to_vec();
    let answer = ok_or(cx.create_volume(request).await, &[Code::InvalidArgument], "CreateVolume")?;
    let Some(answer) = answer else {
        let modes: Vec<_> = capabilities.iter().map(mode_name).collect();
        return Err(Stop::skip(format!("the driver has no volumes of {}", modes.join(" and "))));
    };
    some(answer.volume, "volume")
}

pub(super) fn mode_name(capability: &VolumeCapability) -> &'static str {
    capability.access_mode.map_or("no mode", |mode| mode.mode().as_str_name())
}

/// Attaches and stages a volume in one of its capabilities.
pub(super) async fn hold_as(cx: &Cx, volume: &v1::Volume, capability: VolumeCapability) -> Outcome<Held> {
    let mut context = Map::new();
    if cx.driver.caps.has(ControllerRpc::PublishUnpublishVolume) {
        let mut request = cx.attach_request(volume);
        request.volume_capability = Some(capability.clone());
        context = ok(cx.controller_publish_volume(request).await, "ControllerPublishVolume")?.publish_context;
    }
    let mut held = Held { volume: volume.clone(), capability, context, staging: String::new() };
    if cx.driver.caps.node_has(NodeRpc::StageUnstageVolume) {
        let mut request = cx.stage_request(volume, &held.context)?;
        request.volume_capability = Some(held.capability.clone());
        held.staging.clone_from(&request.staging_target_path);
        ok(cx.node_stage_volume(request).await, "NodeStageVolume")?;
    }
    Ok(held)
}

/// A new volume of this mode that is attached and staged.
pub(super) async fn hold(cx: &Cx, mode: Mode) -> Outcome<Held> {
    let capability = cx.capability_of(mode);
    let volume = create_for(cx, std::slice::from_ref(&capability)).await?;
    hold_as(cx, &volume, capability).await
}

/// The capability with mount flags; as it is for a raw device.
pub(super) fn with_flags(mut capability: VolumeCapability, flags: &[&str]) -> VolumeCapability {
    if let Some(AccessType::Mount(mount)) = &mut capability.access_type {
        mount.mount_flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    }
    capability
}

/// The size that a volume was given, or was asked for if it is not told.
pub(super) fn size(cx: &Cx, volume: &v1::Volume) -> i64 {
    if volume.capacity_bytes > 0 { volume.capacity_bytes } else { cx.bytes() }
}

/// Makes a path from a directory that exists and a name of its own.
pub(super) type MakePath = fn(&str, &str) -> String;

/// Paths that no orchestrator sends, and what is wrong with them.
pub(super) const BAD_PATHS: &[(&str, MakePath)] = &[
    ("empty", |_, _| String::new()),
    ("relative", |_, name| name.to_owned()),
    ("dotted", |directory, name| format!("{directory}/../{name}")),
    ("too-long", |directory, name| format!("{directory}/{name}/{}", "x/".repeat(2100))),
    ("nul", |directory, name| format!("{directory}/{name}\0x")),
];
