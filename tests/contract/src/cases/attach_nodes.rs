//! Attachment with several nodes, and to a full one.

use super::{ATTACH, VOLUMES, attach::detach_request};
use crate::{
    Case, Cx, Need, Outcome, Side, Stop, case,
    check::{ok, ok_or, refused, some},
    ensure,
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc, volume_capability::access_mode::Mode};
use tonic::Code;

/// A node that takes more is not filled: it would take too long.
const MOST: i64 = 64;

pub(super) fn cases() -> Vec<Case> {
    const TWO: &[Need] = &[VOLUMES, ATTACH, Need::NodeService, Need::SecondNode];
    vec![
        case("attach/other-node", &["attach.other-node", "detach.reattach"], TWO, other_node),
        case("attach/multi-node", &["attach.multi-node", "detach.all-nodes"], TWO, multi_node),
        case("attach/node-full", &["attach.node-full"], &[VOLUMES, ATTACH, Need::NodeService], full).alone(),
    ]
}

async fn other_node(cx: Cx) -> Outcome {
    let second = cx.on(Side::SecondNode);
    for mode in [Mode::SingleNodeWriter, Mode::SingleNodeReaderOnly] {
        let mut create = cx.create_request("attach");
        create.volume_capabilities = vec![cx.capability_of(mode)];
        let answer = cx.create_volume(create).await;
        let Some(answer) = ok_or(answer, &[Code::InvalidArgument], mode.as_str_name())? else { continue };
        let volume = some(answer.volume, "volume")?;
        let request = |cx: &Cx| {
            let mut request = cx.attach_request(&volume);
            request.volume_capability = Some(cx.capability_of(mode));
            request
        };
        ok(cx.controller_publish_volume(request(&cx)).await, "the first node")?;
        let answer = second.controller_publish_volume(request(&second)).await;
        let status = refused(answer, Code::FailedPrecondition, &format!("a second node with {}", mode.as_str_name()))?;
        let (node, message) = (cx.node_id(), status.message());
        ensure!(message.contains(&node), "the message must name the node {node} that has the volume, was: {message}");
        cx.detach(&volume.volume_id).await?;
        ok(second.controller_publish_volume(request(&second)).await, "the second node, after the first")?;
        second.detach(&volume.volume_id).await?;
        cx.delete(&volume.volume_id).await?;
    }
    Ok(())
}

async fn multi_node(cx: Cx) -> Outcome {
    let second = cx.on(Side::SecondNode);
    for mode in [Mode::MultiNodeReaderOnly, Mode::MultiNodeSingleWriter, Mode::MultiNodeMultiWriter] {
        let mut create = cx.create_request("attach");
        create.volume_capabilities = vec![cx.capability_of(mode)];
        let answer = cx.create_volume(create).await;
        let Some(answer) = ok_or(answer, &[Code::InvalidArgument], mode.as_str_name())? else { continue };
        let volume = some(answer.volume, "volume")?;
        for (n, cx) in [&cx, &second].into_iter().enumerate() {
            let mut request = cx.attach_request(&volume);
            request.volume_capability = Some(cx.capability_of(mode));
            // One node writes, the others read; a driver without a word for that can't be asked.
            let reads = n > 0 && mode == Mode::MultiNodeSingleWriter;
            request.readonly = reads && cx.driver.caps.has(Rpc::PublishReadonly);
            let allowed: &[Code] = if reads && !request.readonly { &[Code::FailedPrecondition] } else { &[] };
            let what = format!("{} on both nodes", mode.as_str_name());
            ok_or(cx.controller_publish_volume(request).await, allowed, &what)?;
        }
        cx.detach(&volume.volume_id).await?;
        let delete = v1::DeleteVolumeRequest { volume_id: volume.volume_id.clone(), ..Default::default() };
        refused(cx.delete_volume(delete).await, Code::FailedPrecondition, "a volume that one of two nodes still has")?;
        let answer = cx.controller_unpublish_volume(detach_request(&volume.volume_id, "")).await;
        ok(answer, "detaching from all nodes")?;
        cx.delete(&volume.volume_id).await?;
    }
    Ok(())
}

async fn full(cx: Cx) -> Outcome {
    let limit = cx.driver.node_info.as_ref().map_or(0, |info| info.max_volumes_per_node);
    if !(1..=MOST).contains(&limit) {
        return Err(Stop::skip(format!("max_volumes_per_node is {limit}: the suite fills nodes of 1 to {MOST}")));
    }
    let mut first = None;
    for n in 0..=limit {
        let volume = cx.create("full").await?;
        let answer = cx.controller_publish_volume(cx.attach_request(&volume)).await;
        if n < limit {
            ok(answer, &format!("volume {} of {limit} on the node", n + 1))?;
            first.get_or_insert(volume);
            continue;
        }
        refused(answer, Code::ResourceExhausted, &format!("volume {} on a node for {limit}", n + 1))?;
        let first = first.as_ref().map(|volume| volume.volume_id.clone()).unwrap_or_default();
        cx.detach(&first).await?;
        ok(cx.controller_publish_volume(cx.attach_request(&volume)).await, "once there is room again")?;
    }
    Ok(())
}
