//! ControllerGetVolume.

use super::{ATTACH, EXPAND, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, refused, same, some},
    ensure,
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc};
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    const GET: Need = Need::Controller(Rpc::GetVolume);
    const NODES: Need = Need::Controller(Rpc::ListVolumesPublishedNodes);
    const CONDITION: Need = Need::Controller(Rpc::VolumeCondition);
    vec![
        case("get-volume/same", &["get.volume"], &[VOLUMES, GET], created),
        case("get-volume/unknown", &["get.unknown"], &[GET], unknown),
        case("get-volume/deleted", &["get.unknown", "delete.gone"], &[VOLUMES, GET], deleted),
        case("get-volume/expanded", &["get.after-expand"], &[VOLUMES, GET, EXPAND], expanded),
        case("get-volume/condition", &["get.condition"], &[VOLUMES, GET, CONDITION], condition),
        case(
            "get-volume/published-nodes",
            &["get.published-nodes"],
            &[VOLUMES, GET, ATTACH, NODES, Need::NodeService],
            published_nodes,
        ),
    ]
}

async fn get(cx: &Cx, id: &str) -> Outcome<v1::ControllerGetVolumeResponse> {
    let request = v1::ControllerGetVolumeRequest { volume_id: id.into() };
    ok(cx.controller_get_volume(request).await, "ControllerGetVolume")
}

/// A condition is there, and an abnormal one says why.
pub(super) fn sane(condition: Option<v1::VolumeCondition>) -> Outcome {
    let condition = some(condition, "volume_condition")?;
    ensure!(!condition.abnormal, "a new volume is abnormal: {}", condition.message);
    Ok(())
}

async fn created(cx: Cx) -> Outcome {
    let volume = cx.create("get").await?;
    let found = some(get(&cx, &volume.volume_id).await?.volume, "volume")?;
    same(&found.volume_id, &volume.volume_id, "volume_id")?;
    same(&found.capacity_bytes, &volume.capacity_bytes, "capacity_bytes")?;
    same(&found.volume_context, &volume.volume_context, "volume_context")?;
    same(&found.accessible_topology, &volume.accessible_topology, "accessible_topology")
}

async fn unknown(cx: Cx) -> Outcome {
    for id in [no_such_id(&cx), "..".into(), "../..".into(), "/".into()] {
        let request = v1::ControllerGetVolumeRequest { volume_id: id.clone() };
        let codes = [Code::NotFound, Code::InvalidArgument];
        let codes = if id.starts_with("contract") { &codes[..1] } else { &codes[..] };
        crate::check::refused_as(cx.controller_get_volume(request).await, codes, &format!("the id {id:?}"))?;
    }
    Ok(())
}

async fn deleted(cx: Cx) -> Outcome {
    let id = cx.create("get").await?.volume_id;
    cx.delete(&id).await?;
    let request = v1::ControllerGetVolumeRequest { volume_id: id };
    refused(cx.controller_get_volume(request).await, Code::NotFound, "a deleted volume").map(drop)
}

async fn expanded(cx: Cx) -> Outcome {
    let volume = cx.create("get").await?;
    let request = super::expand::request(&cx, &volume.volume_id, 2 * cx.bytes());
    let size = ok(cx.controller_expand_volume(request).await, "ControllerExpandVolume")?.capacity_bytes;
    let found = some(get(&cx, &volume.volume_id).await?.volume, "volume")?;
    same(&found.capacity_bytes, &size, "capacity_bytes after an expansion")
}

async fn condition(cx: Cx) -> Outcome {
    let volume = cx.create("get").await?;
    sane(get(&cx, &volume.volume_id).await?.status.and_then(|status| status.volume_condition))
}

async fn published_nodes(cx: Cx) -> Outcome {
    let volume = cx.create("get").await?;
    let nodes = async || {
        let status = get(&cx, &volume.volume_id).await?.status;
        Ok::<_, crate::Stop>(status.map(|status| status.published_node_ids).unwrap_or_default())
    };
    same(&nodes().await?, &vec![], "nodes of a volume that is attached nowhere")?;
    cx.attach(&volume).await?;
    same(&nodes().await?, &vec![cx.node_id()], "nodes of an attached volume")?;
    cx.detach(&volume.volume_id).await?;
    same(&nodes().await?, &vec![], "nodes of a detached volume")
}
