//! Ephemeral inline volumes: NodePublishVolume makes them, NodeUnpublishVolume takes them away, and there is no other call.

use super::{LIST, node::USE};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, refused_as},
    ensure,
    options::Map,
};
use bulkhead_proto::v1;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    // Orchestrators have inline volumes of mounted file systems only.
    const INLINE: [Need; 4] = [USE[1], USE[2], Need::Mount, Need::Option("ephemeral-attributes")];
    let [needs, listed, restart] =
        [&INLINE[..], &[&INLINE[..], &[LIST]].concat(), &[&INLINE[..], &[Need::Restart]].concat()];
    vec![
        case("ephemeral/life", &["publish.ephemeral"], needs, life),
        case("ephemeral/repeat", &["publish.ephemeral"], needs, repeat),
        case("ephemeral/apart", &["publish.ephemeral"], needs, apart),
        case("ephemeral/nothing-left", &["publish.ephemeral"], listed, nothing_left).alone(),
        case("ephemeral/crash", &["publish.ephemeral"], restart, crash).alone(),
    ]
}

/// What an orchestrator sends for a pod: the volume's attributes, and who the pod is.
fn request(cx: &Cx) -> Outcome<v1::NodePublishVolumeRequest> {
    let mut context = cx.driver.options.ephemeral_attributes.clone().unwrap_or_default();
    for (key, value) in [
        ("ephemeral", "true"),
        ("pod.name", "contract"),
        ("pod.namespace", "default"),
        ("pod.uid", "5c1f6f5e-0000-4000-8000-000000000001"),
        ("serviceAccount.name", "default"),
    ] {
        context.insert(format!("csi.storage.k8s.io/{key}"), value.into());
    }
    let volume = v1::Volume { volume_id: cx.name("inline"), volume_context: context, ..Default::default() };
    cx.publish_request(&volume, &Map::new(), "")
}

async fn life(cx: Cx) -> Outcome {
    let request = request(&cx)?;
    for seed in 0..3 {
        ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume of an inline volume")?;
        cx.is_there(&request.target_path)?;
        cx.is_empty(&request.target_path, "a new inline volume").await?;
        cx.fill(&request.target_path, seed).await?;
        cx.holds(&request.target_path, seed, "the inline volume").await?;
        cx.unpublish(&request.volume_id, &request.target_path).await?;
        cx.is_gone(&request.target_path)?;
    }
    Ok(())
}

async fn repeat(cx: Cx) -> Outcome {
    let request = request(&cx)?;
    ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume of an inline volume")?;
    cx.fill(&request.target_path, 1).await?;
    for _ in 0..3 {
        ok(cx.node_publish_volume(request.clone()).await, "the same again")?;
        cx.is_there(&request.target_path)?;
        cx.holds(&request.target_path, 1, "the inline volume").await?;
    }
    let changed = v1::NodePublishVolumeRequest { readonly: true, ..request.clone() };
    let codes = [Code::AlreadyExists, Code::InvalidArgument];
    refused_as(cx.node_publish_volume(changed).await, &codes, "the same target with readonly")?;
    for _ in 0..3 {
        cx.unpublish(&request.volume_id, &request.target_path).await?;
        cx.is_gone(&request.target_path)?;
    }
    Ok(())
}

async fn apart(cx: Cx) -> Outcome {
    let requests = [request(&cx)?, request(&cx)?];
    for (request, seed) in requests.iter().zip(1..) {
        ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume of an inline volume")?;
        cx.fill(&request.target_path, seed).await?;
    }
    for (request, seed) in requests.iter().zip(1..) {
        cx.holds(&request.target_path, seed, "an inline volume beside another").await?;
    }
    cx.unpublish(&requests[0].volume_id, &requests[0].target_path).await?;
    cx.holds(&requests[1].target_path, 2, "an inline volume after another is gone").await
}

async fn volumes(cx: &Cx) -> Outcome<usize> {
    let answer = ok(cx.list_volumes(v1::ListVolumesRequest::default()).await, "ListVolumes")?;
    Ok(answer.entries.len())
}

async fn nothing_left(cx: Cx) -> Outcome {
    let before = volumes(&cx).await?;
    let request = request(&cx)?;
    ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume of an inline volume")?;
    cx.unpublish(&request.volume_id, &request.target_path).await?;
    let after = volumes(&cx).await?;
    ensure!(after == before, "{before} volumes before an inline volume, {after} after it");
    Ok(())
}

async fn crash(cx: Cx) -> Outcome {
    let request = request(&cx)?;
    ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume of an inline volume")?;
    cx.fill(&request.target_path, 1).await?;
    cx.restart().await?;
    cx.is_there(&request.target_path)?;
    cx.holds(&request.target_path, 1, "an inline volume after a restart").await?;
    ok(cx.node_publish_volume(request.clone()).await, "the same again")?;
    cx.holds(&request.target_path, 1, "an inline volume after a repeat").await?;
    cx.unpublish(&request.volume_id, &request.target_path).await?;
    cx.restart().await?;
    cx.unpublish(&request.volume_id, &request.target_path).await?;
    cx.is_gone(&request.target_path)
}
