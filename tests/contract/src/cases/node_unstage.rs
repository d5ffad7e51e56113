//! NodeUnstageVolume and NodeUnpublishVolume: what is taken down is gone, and taking down is always possible.

use super::{
    VOLUMES, no_such_id,
    node::{STAGED, USE, hold},
};
use crate::{
    Case, Cx, Outcome, Stop, case,
    check::{ok, ok_or, refused},
    ensure,
    kernel::{mounts_below, unmount},
};
use bulkhead_proto::v1::{self, volume_capability::access_mode::Mode};
use std::path::Path;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    let node = &[VOLUMES, crate::Need::NodeService];
    let staged = &[VOLUMES, STAGED[3]];
    vec![
        case("node-unstage/repeat", &["unstage.repeat", "unstage.gone"], STAGED, unstage_repeat).every_use(),
        case("node-unstage/not-staged", &["unstage.not-staged"], STAGED, not_staged).every_use(),
        case("node-unstage/unknown-volume", &["unstage.unknown-volume"], staged, unstage_unknown),
        case("node-unstage/missing", &["unstage.missing"], staged, unstage_missing),
        case("node-unstage/while-published", &["unstage.while-published"], STAGED, while_published).every_use(),
        case("node-unpublish/repeat", &["unpublish.repeat", "unpublish.target-removed"], USE, repeat).every_use(),
        case("node-unpublish/unknown-volume", &["unpublish.unknown-volume"], node, unknown),
        case("node-unpublish/not-published", &["unpublish.not-published"], USE, not_published).every_use(),
        case("node-unpublish/missing", &["unpublish.missing"], node, missing),
        case("node-unpublish/unmounted-behind", &["unpublish.unmounted-behind"], USE, unmounted_behind).every_use(),
        case("node-unpublish/target-removed-behind", &["unpublish.unmounted-behind"], USE, removed_behind).every_use(),
    ]
}

fn unstage(volume_id: &str, path: &str) -> v1::NodeUnstageVolumeRequest {
    v1::NodeUnstageVolumeRequest { volume_id: volume_id.into(), staging_target_path: path.into() }
}

fn unpublish(volume_id: &str, path: &str) -> v1::NodeUnpublishVolumeRequest {
    v1::NodeUnpublishVolumeRequest { volume_id: volume_id.into(), target_path: path.into() }
}

async fn unstage_repeat(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    for _ in 0..3 {
        cx.unstage(held.id(), &held.staging).await?;
        ensure!(mounts_below(&held.staging)? == 0, "something is mounted after NodeUnstageVolume");
    }
    Ok(())
}

async fn not_staged(cx: Cx) -> Outcome {
    let volume = cx.create("unstage").await?;
    let nowhere = cx.staging_path()?;
    cx.unstage(&volume.volume_id, &nowhere).await?;
    // Staged, but elsewhere: that other path must not suffer.
    let context = cx.attach(&volume).await?;
    let staging = cx.stage(&volume, &context).await?;
    let mounts = mounts_below(&staging)?;
    cx.unstage(&volume.volume_id, &nowhere).await?;
    let left = mounts_below(&staging)?;
    ensure!(left == mounts, "{mounts} mounts where the volume is staged, {left} after unstaging another path");
    let target = cx.publish(&volume, &context, &staging).await?;
    cx.is_there(&target)
}

async fn unstage_unknown(cx: Cx) -> Outcome {
    let request = unstage(&no_such_id(&cx), &cx.staging_path()?);
    ok(cx.node_unstage_volume(request).await, "a volume that isn't there").map(drop)
}

async fn unstage_missing(cx: Cx) -> Outcome {
    let (id, path) = (cx.create("unstage").await?.volume_id, cx.staging_path()?);
    for (what, request) in [("volume_id", unstage("", &path)), ("staging_target_path", unstage(&id, ""))] {
        refused(cx.node_unstage_volume(request).await, Code::InvalidArgument, &format!("no {what}"))?;
    }
    Ok(())
}

async fn while_published(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    let answer = cx.node_unstage_volume(unstage(held.id(), &held.staging)).await;
    ok_or(answer, &[Code::FailedPrecondition], "NodeUnstageVolume with a target left")?;
    cx.is_there(&target)?;
    cx.holds(&target, 1, "a volume that is still published").await?;
    cx.fill(&target, 2).await?;
    cx.unpublish(held.id(), &target).await?;
    cx.unstage(held.id(), &held.staging).await?;
    ensure!(mounts_below(&held.staging)? == 0, "something is mounted after NodeUnstageVolume");
    Ok(())
}

async fn repeat(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.is_there(&target)?;
    for _ in 0..3 {
        cx.unpublish(held.id(), &target).await?;
        cx.is_gone(&target)?;
        let parent = Path::new(&target).parent().unwrap_or(Path::new("/"));
        ensure!(parent.is_dir(), "{} is the orchestrator's, and gone", parent.display());
    }
    Ok(())
}

async fn unknown(cx: Cx) -> Outcome {
    let request = unpublish(&no_such_id(&cx), &cx.target_path()?);
    ok(cx.node_unpublish_volume(request).await, "a volume that isn't there").map(drop)
}

async fn not_published(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let nowhere = cx.target_path()?;
    cx.unpublish(held.id(), &nowhere).await?;
    let target = held.published(&cx).await?;
    cx.unpublish(held.id(), &nowhere).await?;
    cx.is_there(&target)?;
    ensure!(cx.writable(&target)?, "the target can't be written to after unpublishing another");
    Ok(())
}

async fn missing(cx: Cx) -> Outcome {
    let (id, path) = (cx.create("unpublish").await?.volume_id, cx.target_path()?);
    for (what, request) in [("volume_id", unpublish("", &path)), ("target_path", unpublish(&id, ""))] {
        refused(cx.node_unpublish_volume(request).await, Code::InvalidArgument, &format!("no {what}"))?;
    }
    Ok(())
}

/// Takes away what was mounted at a target, if anything was.
fn take_away(target: &str) -> Outcome {
    if mounts_below(target)? == 0 {
        return Err(Stop::skip("the driver mounts nothing at the target"));
    }
    unmount(target)
}

async fn unmounted_behind(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    take_away(&target)?;
    ok(cx.node_unpublish_volume(unpublish(held.id(), &target)).await, "a target that somebody unmounted")?;
    cx.is_gone(&target)?;
    cx.unstage(held.id(), &held.staging).await
}

async fn removed_behind(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    take_away(&target)?;
    let removed = if cx.usage.is_block() { std::fs::remove_file(&target) } else { std::fs::remove_dir(&target) };
    removed.map_err(|e| Stop::fail(format!("the suite can't remove {target}: {e}")))?;
    ok(cx.node_unpublish_volume(unpublish(held.id(), &target)).await, "a target that somebody removed")?;
    cx.unstage(held.id(), &held.staging).await
}
