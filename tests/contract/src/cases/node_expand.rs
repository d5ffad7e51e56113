//! Expansion seen from the node: the device and the file system grow, and the data is still there.

use super::{
    EXPAND, no_such_id,
    node::{Held, STAGE, USE, hold, hold_as},
};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{ok, ok_or, refused, refused_as},
    ensure,
};
use bulkhead_proto::v1::{
    self, controller_service_capability::rpc::Type as Rpc, node_service_capability::rpc::Type as NodeRpc,
    plugin_capability::volume_expansion::Type as Expansion, volume_capability::access_mode::Mode,
};
use tonic::Code;

const GROW: Need = Need::Node(NodeRpc::ExpandVolume);

pub(super) fn cases() -> Vec<Case> {
    let online = &[USE[0], USE[1], USE[2], EXPAND, Need::Expansion(Expansion::Online)];
    let node = &[USE[0], USE[1], USE[2], GROW];
    let staged = &[USE[0], USE[1], USE[2], EXPAND, Need::Expansion(Expansion::Online), GROW, STAGE];
    let any = &[USE[0], USE[1], USE[2], EXPAND];
    let alone =
        &[USE[0], USE[1], USE[2], GROW, Need::NoController(Rpc::ExpandVolume), Need::Expansion(Expansion::Online)];
    let both = ["node-expand.grows", "node-expand.repeat"];
    vec![
        case("node-expand/online", &both, online, while_published).every_use(),
        case("node-expand/offline", &["node-expand.grows"], any, offline).every_use(),
        case("node-expand/twice", &["node-expand.grows"], online, twice).every_use(),
        case("node-expand/by-staging-path", &["node-expand.grows"], staged, by_staging_path).every_use(),
        case("node-expand/controller-only", &["node-expand.controller-only"], online, controller_only).every_use(),
        case("node-expand/unknown-volume", &["node-expand.unknown-volume"], node, unknown).every_use(),
        case("node-expand/wrong-path", &["node-expand.wrong-path"], node, wrong_path).every_use(),
        case("node-expand/missing", &["node-expand.missing"], node, missing),
        case("node-expand/bad-range", &["node-expand.bad-range"], node, bad_range).every_use(),
        case("node-expand/node-only", &["node-expand.node-only"], alone, node_only).every_use(),
        case("node-expand/too-large", &["node-expand.too-large"], alone, too_large).every_use(),
        case("node-expand/nothing-to-do", &["node-expand.repeat"], node, nothing_to_do).every_use(),
    ]
}

fn range(required_bytes: i64, limit_bytes: i64) -> Option<v1::CapacityRange> {
    Some(v1::CapacityRange { required_bytes, limit_bytes })
}

/// ControllerExpandVolume: the new size, and whether the node must do its part.
async fn controller(cx: &Cx, held: &Held, bytes: i64) -> Outcome<(i64, bool)> {
    let request = v1::ControllerExpandVolumeRequest {
        volume_id: held.id().into(),
        capacity_range: range(bytes, 0),
        volume_capability: Some(held.capability.clone()),
        ..Default::default()
    };
    let answer = ok(cx.controller_expand_volume(request).await, "ControllerExpandVolume")?;
    ensure!(answer.capacity_bytes >= bytes, "asked for {bytes} bytes, capacity_bytes is {}", answer.capacity_bytes);
    Ok((answer.capacity_bytes, answer.node_expansion_required))
}

fn request(held: &Held, path: &str, bytes: i64) -> v1::NodeExpandVolumeRequest {
    v1::NodeExpandVolumeRequest {
        volume_id: held.id().into(),
        volume_path: path.into(),
        capacity_range: range(bytes, 0),
        staging_target_path: held.staging.clone(),
        volume_capability: Some(held.capability.clone()),
        ..Default::default()
    }
}

/// The node's part: whether it is done. A file system that can't grow while it is used is FAILED_PRECONDITION.
async fn node(cx: &Cx, held: &Held, path: &str, bytes: i64) -> Outcome<bool> {
    let answer = cx.node_expand_volume(request(held, path, bytes)).await;
    let answer = ok_or(answer, &[Code::FailedPrecondition], "NodeExpandVolume")?;
    let told = answer.as_ref().map_or(0, |answer| answer.capacity_bytes);
    ensure!(told == 0 || told >= bytes, "NodeExpandVolume to {bytes} bytes: capacity_bytes is {told}");
    Ok(answer.is_some())
}

/// Takes the volume down and puts it to use again: what can't grow while it is used grows now.
async fn again(cx: &Cx, held: &Held, target: &str) -> Outcome<(Held, String)> {
    cx.unpublish(held.id(), target).await?;
    cx.unstage(held.id(), &held.staging).await?;
    cx.detach(held.id()).await?;
    let held = hold_as(cx, &held.volume, held.capability.clone()).await?;
    let target = held.published(cx).await?;
    Ok((held, target))
}

/// The volume that could not grow while it was used.
async fn grows_later(cx: &Cx, held: &Held, target: &str, bytes: i64) -> Outcome {
    cx.holds(target, 1, "a volume that could not grow while it was used").await?;
    let (held, target) = again(cx, held, target).await?;
    node(cx, &held, &target, bytes).await?;
    cx.has_room(&target, bytes)?;
    cx.holds(&target, 1, "a volume that grew when it was staged").await?;
    Err(Stop::skip("the node can't grow this file system while it is used (it grew when it was staged again)"))
}

async fn while_published(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    let before = cx.room(&target)?;
    let (bytes, required) = controller(&cx, &held, 2 * cx.bytes()).await?;
    for _ in 0..2 {
        if required && !node(&cx, &held, &target, bytes).await? {
            return grows_later(&cx, &held, &target, bytes).await;
        }
        cx.has_room(&target, bytes)?;
    }
    cx.holds(&target, 1, "the volume that was expanded").await?;
    // A directory of a large file system has room for everything, and can't grow.
    if cx.usage.is_block() || cx.own_file_system(&target)? {
        let after = cx.room(&target)?;
        ensure!(after > before, "the volume had {before} bytes of room and has {after}");
    }
    cx.unpublish(held.id(), &target).await?;
    let target = held.published(&cx).await?;
    cx.has_room(&target, bytes)?;
    cx.holds(&target, 1, "the volume that was expanded, published again").await
}

async fn offline(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    cx.unpublish(held.id(), &target).await?;
    cx.unstage(held.id(), &held.staging).await?;
    cx.detach(held.id()).await?;
    let (bytes, required) = controller(&cx, &held, 2 * cx.bytes()).await?;
    let held = hold_as(&cx, &held.volume, held.capability.clone()).await?;
    let target = held.published(&cx).await?;
    if required {
        node(&cx, &held, &target, bytes).await?;
    }
    cx.has_room(&target, bytes)?;
    cx.holds(&target, 1, "the volume that was expanded while it was not used").await
}

/// Step by step, by sizes that are no round numbers.
async fn twice(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    for step in 1..4 {
        let (bytes, required) = controller(&cx, &held, cx.bytes() + step * (cx.bytes() / 3 + 1)).await?;
        if required && !node(&cx, &held, &target, bytes).await? {
            return grows_later(&cx, &held, &target, bytes).await;
        }
        cx.has_room(&target, bytes)?;
        cx.holds(&target, 1, "the volume that was expanded again").await?;
    }
    Ok(())
}

async fn by_staging_path(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let (bytes, required) = controller(&cx, &held, 2 * cx.bytes()).await?;
    if !required {
        return Err(Stop::skip("the node has nothing to do"));
    }
    let grown = node(&cx, &held, &held.staging, bytes).await?;
    let target = held.published(&cx).await?;
    if !grown {
        cx.fill(&target, 1).await?;
        return grows_later(&cx, &held, &target, bytes).await;
    }
    cx.has_room(&target, bytes)
}

/// The node's part is missing: the volume works on, and the next time it is staged the part can be done.
async fn controller_only(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    let (bytes, required) = controller(&cx, &held, 2 * cx.bytes()).await?;
    cx.holds(&target, 1, "a volume that only the controller has expanded").await?;
    cx.fill(&target, 2).await?;
    let (held, target) = again(&cx, &held, &target).await?;
    cx.holds(&target, 2, "a volume that only the controller has expanded, staged again").await?;
    if required {
        node(&cx, &held, &target, bytes).await?;
    }
    cx.has_room(&target, bytes)?;
    cx.holds(&target, 2, "the volume that was expanded late").await
}

async fn unknown(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let mut request = request(&held, &target, cx.bytes());
    request.volume_id = no_such_id(&cx);
    refused(cx.node_expand_volume(request).await, Code::NotFound, "a volume that isn't there").map(drop)
}

async fn wrong_path(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let other = hold(&cx, Mode::SingleNodeWriter).await?;
    let others = other.published(&cx).await?;
    for (what, path) in [("a path where nothing is", cx.target_path()?), ("a path where another volume is", others)] {
        let mut request = request(&held, &path, cx.bytes());
        request.staging_target_path.clear();
        refused(cx.node_expand_volume(request).await, Code::NotFound, what)?;
    }
    cx.unpublish(held.id(), &target).await?;
    let mut request = request(&held, &target, cx.bytes());
    request.staging_target_path.clear();
    refused(cx.node_expand_volume(request).await, Code::NotFound, "a path where the volume was").map(drop)
}

async fn missing(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let right = request(&held, &target, cx.bytes());
    for (what, request) in [
        ("volume_id", v1::NodeExpandVolumeRequest { volume_id: String::new(), ..right.clone() }),
        ("volume_path", v1::NodeExpandVolumeRequest { volume_path: String::new(), ..right.clone() }),
    ] {
        refused(cx.node_expand_volume(request).await, Code::InvalidArgument, &format!("no {what}"))?;
    }
    Ok(())
}

async fn bad_range(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    let before = cx.room(&target)?;
    for (what, range) in [
        ("a limit below required", range(2 * cx.bytes(), cx.bytes())),
        ("a negative size", range(-1, 0)),
        ("a negative limit", range(0, -1)),
        ("a limit below its size", range(0, cx.bytes() / 2)),
    ] {
        let request = v1::NodeExpandVolumeRequest { capacity_range: range, ..request(&held, &target, 0) };
        let codes = [Code::OutOfRange, Code::InvalidArgument];
        refused_as(cx.node_expand_volume(request).await, &codes, what)?;
    }
    ensure!(cx.room(&target)? == before, "the volume has another size after refused expansions");
    cx.holds(&target, 1, "the volume after refused expansions").await
}

/// A volume that has its size already, without a range too.
async fn nothing_to_do(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    for range in [range(cx.bytes(), 0), range(1, 0), None] {
        let request = v1::NodeExpandVolumeRequest { capacity_range: range, ..request(&held, &target, 0) };
        ok(cx.node_expand_volume(request).await, "NodeExpandVolume of a volume that has its size")?;
    }
    cx.holds(&target, 1, "the volume that has its size").await
}

/// No controller has grown it: the node grows all of it, and says so again.
async fn node_only(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    for step in 1..3 {
        let bytes = cx.bytes() + step * (cx.bytes() / 3 + 1);
        for _ in 0..2 {
            if !node(&cx, &held, &target, bytes).await? {
                return grows_later(&cx, &held, &target, bytes).await;
            }
            cx.has_room(&target, bytes)?;
        }
        cx.holds(&target, 1, "the volume that the node has grown").await?;
    }
    Ok(())
}

/// A CO that is told so lets its user ask for less.
async fn too_large(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    let before = cx.room(&target)?;
    let answer = cx.node_expand_volume(request(&held, &target, i64::MAX)).await;
    refused(answer, Code::OutOfRange, "a size that nobody has")?;
    ensure!(cx.room(&target)? == before, "the volume has another size after a refused expansion");
    cx.holds(&target, 1, "the volume after a refused expansion").await
}
