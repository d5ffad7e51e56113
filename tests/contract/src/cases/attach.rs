//! ControllerPublishVolume and ControllerUnpublishVolume, on one node.

use super::{ATTACH, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, ok_or, refused, refused_as, same},
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc, volume_capability::access_mode::Mode};
use tonic::Code;

const NEEDS: &[Need] = &[VOLUMES, ATTACH, Need::NodeService];
const READONLY: &[Need] = &[VOLUMES, ATTACH, Need::NodeService, Need::Controller(Rpc::PublishReadonly)];

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("attach/repeat", &["attach.repeat"], NEEDS, repeat),
        case("attach/unknown-volume", &["attach.unknown-volume"], NEEDS, unknown_volume),
        case("attach/unknown-node", &["attach.unknown-node"], NEEDS, unknown_node),
        case("attach/other-capability", &["attach.other-capability"], NEEDS, other_capability),
        case("attach/other-readonly", &["attach.other-readonly", "attach.readonly"], READONLY, other_readonly),
        case("attach/unsupported", &["attach.unsupported-capability"], NEEDS, unsupported),
        case("detach/repeat", &["detach.repeat", "detach.reattach"], NEEDS, detach_repeat),
        case("detach/not-attached", &["detach.not-attached"], NEEDS, not_attached),
        case("detach/unknown-volume", &["detach.unknown-volume"], NEEDS, detach_unknown_volume),
        case("detach/unknown-node", &["detach.unknown-node"], NEEDS, detach_unknown_node),
        case("detach/all-nodes", &["detach.all-nodes"], NEEDS, all_nodes),
    ]
}

pub(super) fn detach_request(volume_id: &str, node_id: &str) -> v1::ControllerUnpublishVolumeRequest {
    v1::ControllerUnpublishVolumeRequest { volume_id: volume_id.into(), node_id: node_id.into(), ..Default::default() }
}

async fn repeat(cx: Cx) -> Outcome {
    let volume = cx.create("attach").await?;
    let context = cx.attach(&volume).await?;
    for _ in 0..3 {
        let again = ok(cx.controller_publish_volume(cx.attach_request(&volume)).await, "the same again")?;
        same(&again.publish_context, &context, "publish_context of the repeat")?;
    }
    Ok(())
}

async fn unknown_volume(cx: Cx) -> Outcome {
    let volume = v1::Volume { volume_id: no_such_id(&cx), ..Default::default() };
    let answer = cx.controller_publish_volume(cx.attach_request(&volume)).await;
    refused(answer, Code::NotFound, "a volume that isn't there").map(drop)
}

async fn unknown_node(cx: Cx) -> Outcome {
    let volume = cx.create("attach").await?;
    let mut request = cx.attach_request(&volume);
    request.node_id = no_such_id(&cx);
    refused(cx.controller_publish_volume(request).await, Code::NotFound, "a node that isn't there")?;
    // Nothing was half done.
    cx.attach(&volume).await.map(drop)
}

async fn other_capability(cx: Cx) -> Outcome {
    let mut create = cx.create_request("attach");
    create.volume_capabilities = vec![cx.capability(), cx.capability_of(Mode::SingleNodeReaderOnly)];
    let answer = cx.create_volume(create).await;
    let Some(answer) = ok_or(answer, &[Code::InvalidArgument], "SINGLE_NODE_READER_ONLY beside SINGLE_NODE_WRITER")?
    else {
        return Err(crate::Stop::skip("the driver has no second access mode"));
    };
    let volume = crate::check::some(answer.volume, "volume")?;
    let context = cx.attach(&volume).await?;
    let mut other = cx.attach_request(&volume);
    other.volume_capability = Some(cx.capability_of(Mode::SingleNodeReaderOnly));
    refused(cx.controller_publish_volume(other).await, Code::AlreadyExists, "attached with another capability")?;
    let again = ok(cx.controller_publish_volume(cx.attach_request(&volume)).await, "the first request once more")?;
    same(&again.publish_context, &context, "publish_context after a refused attachment")
}

async fn other_readonly(cx: Cx) -> Outcome {
    for first in [false, true] {
        let volume = cx.create("attach").await?;
        let mut request = cx.attach_request(&volume);
        request.readonly = first;
        let context = ok(cx.controller_publish_volume(request.clone()).await, &format!("readonly={first}"))?;
        let other = v1::ControllerPublishVolumeRequest { readonly: !first, ..request.clone() };
        let what = format!("readonly={} after readonly={first}", !first);
        refused(cx.controller_publish_volume(other).await, Code::AlreadyExists, &what)?;
        let again = ok(cx.controller_publish_volume(request).await, "the first request once more")?;
        same(&again, &context, "publish_context after a refused attachment")?;
        cx.detach(&volume.volume_id).await?;
    }
    Ok(())
}

async fn unsupported(cx: Cx) -> Outcome {
    let volume = cx.create("attach").await?;
    let mut request = cx.attach_request(&volume);
    let other = if cx.usage.is_block() { crate::Usage::Mount(String::new()) } else { crate::Usage::Block };
    let capability = crate::cx::capability(&other, Mode::SingleNodeWriter);
    let mut validate = super::validate::request(&cx, &volume);
    validate.volume_capabilities = vec![capability.clone()];
    let confirmed = ok(cx.validate_volume_capabilities(validate).await, "ValidateVolumeCapabilities")?.confirmed;
    if confirmed.is_some() {
        return Err(crate::Stop::skip("the volume can be both mounted and raw"));
    }
    request.volume_capability = Some(capability);
    let codes = [Code::InvalidArgument, Code::FailedPrecondition];
    refused_as(cx.controller_publish_volume(request).await, &codes, "a capability that the volume hasn't").map(drop)
}

async fn detach_repeat(cx: Cx) -> Outcome {
    let volume = cx.create("detach").await?;
    for _ in 0..2 {
        cx.attach(&volume).await?;
        for _ in 0..3 {
            cx.detach(&volume.volume_id).await?;
        }
    }
    Ok(())
}

async fn not_attached(cx: Cx) -> Outcome {
    let volume = cx.create("detach").await?;
    cx.detach(&volume.volume_id).await?;
    let answer = cx.controller_unpublish_volume(detach_request(&volume.volume_id, "")).await;
    ok(answer, "a volume that was never attached, all nodes").map(drop)
}

async fn detach_unknown_volume(cx: Cx) -> Outcome {
    for node in [cx.node_id(), String::new()] {
        let answer = cx.controller_unpublish_volume(detach_request(&no_such_id(&cx), &node)).await;
        ok_or(answer, &[Code::NotFound], "a volume that isn't there")?;
    }
    Ok(())
}

async fn detach_unknown_node(cx: Cx) -> Outcome {
    let volume = cx.create("detach").await?;
    let context = cx.attach(&volume).await?;
    let answer = cx.controller_unpublish_volume(detach_request(&volume.volume_id, &no_such_id(&cx))).await;
    ok_or(answer, &[Code::NotFound], "a node that isn't there")?;
    still_attached(&cx, &volume).await?;
    let again = ok(cx.controller_publish_volume(cx.attach_request(&volume)).await, "the node that has it")?;
    same(&again.publish_context, &context, "publish_context after another node was detached")
}

/// DeleteVolume refuses what is attached: that tells without a list of nodes.
async fn still_attached(cx: &Cx, volume: &v1::Volume) -> Outcome {
    let delete = v1::DeleteVolumeRequest { volume_id: volume.volume_id.clone(), ..Default::default() };
    let answer = cx.delete_volume(delete).await;
    refused(answer, Code::FailedPrecondition, "DeleteVolume of a volume that must still be attached").map(drop)
}

async fn all_nodes(cx: Cx) -> Outcome {
    let volume = cx.create("detach").await?;
    cx.attach(&volume).await?;
    let answer = cx.controller_unpublish_volume(detach_request(&volume.volume_id, "")).await;
    ok(answer, "detaching from all nodes")?;
    cx.delete(&volume.volume_id).await
}
