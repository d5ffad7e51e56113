//! NodeGetVolumeStats, NodeGetVolumeHealth and NodeGetStorageHealth.

use super::{
    VOLUMES, no_such_id,
    node::{Held, STAGE, USE, hold, size},
};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{ok, ok_or, refused, same, some},
    data::aside,
    ensure,
    kernel::{mounts_at, unmount},
};
use bulkhead_proto::v1::{
    self, VolumeUsage, node_service_capability::rpc::Type as NodeRpc, volume_capability::access_mode::Mode,
    volume_usage::Unit,
};
use std::path::Path;
use tonic::Code;

const STATS: Need = Need::Node(NodeRpc::GetVolumeStats);
const HEALTH: Need = Need::Node(NodeRpc::GetVolumeHealth);

pub(super) fn cases() -> Vec<Case> {
    let stats = &[USE[0], USE[1], USE[2], STATS];
    let mounted = &[USE[0], USE[1], USE[2], STATS, Need::Mount];
    let staged = &[USE[0], USE[1], USE[2], STATS, STAGE];
    let condition = &[USE[0], USE[1], USE[2], STATS, Need::Node(NodeRpc::VolumeCondition)];
    let gone = &[USE[0], USE[1], USE[2], STATS, Need::Node(NodeRpc::VolumeCondition), Need::Mount];
    let health = &[USE[0], USE[1], USE[2], HEALTH];
    vec![
        case("node-stats/sensible", &["stats.mounted", "stats.block"], stats, sensible).every_use(),
        // Volumes may share a file system: nobody else is to use it meanwhile.
        case("node-stats/follows", &["stats.follows"], mounted, follows).every_use().alone(),
        case("node-stats/staging-path", &["stats.paths"], staged, paths).every_use(),
        case("node-stats/unknown-volume", &["stats.unknown-volume"], stats, unknown).every_use(),
        case("node-stats/wrong-path", &["stats.wrong-path"], stats, wrong_path).every_use(),
        case("node-stats/missing", &["stats.missing"], &[VOLUMES, STATS], missing),
        case("node-stats/condition", &["stats.condition"], condition, has_condition).every_use(),
        case("node-stats/condition-unmounted", &["stats.condition"], gone, condition_unmounted).every_use(),
        case("node-health/healthy", &["health.node-get"], health, healthy).every_use(),
        case("node-health/unknown", &["health.node-unknown"], health, health_unknown),
        case("node-health/missing", &["health.node-missing"], health, health_missing),
        case("node-health/unmounted-behind", &["health.node-abnormal"], health, unmounted_behind).every_use(),
        case("node-health/storage", &["health.storage"], &[Need::Node(NodeRpc::GetStorageHealth)], storage),
    ]
}

fn request(volume_id: &str, path: &str) -> v1::NodeGetVolumeStatsRequest {
    v1::NodeGetVolumeStatsRequest { volume_id: volume_id.into(), volume_path: path.into(), ..Default::default() }
}

async fn usage(cx: &Cx, volume_id: &str, path: &str) -> Outcome<Vec<VolumeUsage>> {
    let answer = ok(cx.node_get_volume_stats(request(volume_id, path)).await, "NodeGetVolumeStats")?;
    ensure!(!answer.usage.is_empty(), "NodeGetVolumeStats: the answer has no usage");
    Ok(answer.usage)
}

fn of(usage: &[VolumeUsage], unit: Unit) -> Outcome<VolumeUsage> {
    let found: Vec<_> = usage.iter().filter(|usage| usage.unit() == unit).collect();
    ensure!(found.len() == 1, "{} entries of usage in {}, must be one", found.len(), unit.as_str_name());
    Ok(*found[0])
}

async fn sensible(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let all = usage(&cx, held.id(), &target).await?;
    for usage in &all {
        let VolumeUsage { available, total, used, unit } = usage;
        ensure!((1..=2).contains(unit), "a usage in the unit {unit}, which nobody knows");
        ensure!(*available >= 0 && *total >= 0 && *used >= 0, "a negative number in {usage:?}");
        ensure!(*total == 0 || (used <= total && available <= total), "more than the total in {usage:?}");
    }
    let bytes = of(&all, Unit::Bytes)?;
    let room = i64::try_from(cx.room(&target)?).unwrap_or(i64::MAX);
    ensure!(bytes.total > 0, "the total is 0 bytes");
    if cx.usage.is_block() {
        ensure!(bytes.total == room, "the device has {room} bytes, the total is {}", bytes.total);
    } else {
        let asked = size(&cx, &held.volume);
        // A quota may be told instead of the file system's size.
        let fits = bytes.total <= room.max(asked) && bytes.total >= asked.min(room) / 10 * 7;
        ensure!(fits, "asked for {asked} bytes, the file system has {room}, the total is {}", bytes.total);
    }
    Ok(())
}

/// The statistics of the target, after what was written there lasts.
async fn follows(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let before = of(&usage(&cx, held.id(), &target).await?, Unit::Bytes)?;
    let inodes = |all: &[VolumeUsage]| all.iter().find(|usage| usage.unit() == Unit::Inodes).copied();
    let inodes_before = inodes(&usage(&cx, held.id(), &target).await?);
    let path = Path::new(&target).join("written");
    let bytes = usize::try_from(cx.bytes() / 4).unwrap_or_default();
    aside(move || {
        let tell = |e| format!("writing to the volume: {e}");
        for i in 0..20 {
            std::fs::write(path.with_file_name(format!("small-{i}")), b"x").map_err(tell)?;
        }
        std::fs::write(&path, crate::data::bytes(9, 0, bytes)).map_err(tell)?;
        std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(tell)
    })
    .await?;
    let all = usage(&cx, held.id(), &target).await?;
    let after = of(&all, Unit::Bytes)?;
    let grown = after.used - before.used;
    let least = i64::try_from(bytes).unwrap_or_default() / 10 * 9;
    ensure!(grown >= least, "{bytes} bytes were written, and used grew by {grown}");
    // File systems without a table of inodes count none.
    if let (Some(before), Some(after)) = (inodes_before.filter(|usage| usage.total > 0), inodes(&all)) {
        ensure!(
            after.used >= before.used + 20,
            "20 files were made, used inodes were {}, are {}",
            before.used,
            after.used
        );
    }
    Ok(())
}

async fn paths(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let by_target = of(&usage(&cx, held.id(), &target).await?, Unit::Bytes)?;
    let by_staging = of(&usage(&cx, held.id(), &held.staging).await?, Unit::Bytes)?;
    same(&by_staging.total, &by_target.total, "the total by staging path")?;
    let mut both = request(held.id(), &target);
    both.staging_target_path.clone_from(&held.staging);
    ok(cx.node_get_volume_stats(both).await, "with both paths").map(drop)
}

async fn unknown(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let answer = cx.node_get_volume_stats(request(&no_such_id(&cx), &target)).await;
    refused(answer, Code::NotFound, "a volume that isn't there").map(drop)
}

async fn wrong_path(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let nowhere = cx.target_path()?;
    let answer = cx.node_get_volume_stats(request(held.id(), &nowhere)).await;
    refused(answer, Code::NotFound, "a path that isn't there")?;
    let target = held.published(&cx).await?;
    cx.unpublish(held.id(), &target).await?;
    let answer = cx.node_get_volume_stats(request(held.id(), &target)).await;
    refused(answer, Code::NotFound, "a path where the volume was")?;
    // Another volume's target.
    let other = hold(&cx, Mode::SingleNodeWriter).await?;
    let others = other.published(&cx).await?;
    let answer = cx.node_get_volume_stats(request(held.id(), &others)).await;
    refused(answer, Code::NotFound, "a path where another volume is").map(drop)
}

async fn missing(cx: Cx) -> Outcome {
    let volume = cx.create("stats").await?;
    let nowhere = cx.target_path()?;
    for (what, request) in [("volume_id", request("", &nowhere)), ("volume_path", request(&volume.volume_id, ""))] {
        refused(cx.node_get_volume_stats(request).await, Code::InvalidArgument, &format!("no {what}"))?;
    }
    Ok(())
}

async fn has_condition(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let answer = ok(cx.node_get_volume_stats(request(held.id(), &target)).await, "NodeGetVolumeStats")?;
    let condition = some(answer.volume_condition, "volume_condition")?;
    ensure!(!condition.abnormal, "a healthy volume is abnormal: {}", condition.message);
    ensure!(!condition.message.is_empty(), "the condition has no message");
    Ok(())
}

/// A target that somebody unmounted: abnormal, or not found any more.
async fn condition_unmounted(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    unmount(&target)?;
    let answer = cx.node_get_volume_stats(request(held.id(), &target)).await;
    let Some(answer) = ok_or(answer, &[Code::NotFound], "a target that somebody unmounted")? else { return Ok(()) };
    let condition = some(answer.volume_condition, "volume_condition")?;
    ensure!(condition.abnormal, "a volume that somebody unmounted is normal");
    ensure!(!condition.message.is_empty(), "the condition has no message");
    Ok(())
}

fn health_request(held: &Held, target: &str) -> v1::NodeGetVolumeHealthRequest {
    v1::NodeGetVolumeHealthRequest {
        volume_id: held.id().into(),
        volume_publish_path: target.into(),
        staging_target_path: held.staging.clone(),
    }
}

async fn healthy(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    for _ in 0..2 {
        let answer = ok(cx.node_get_volume_health(health_request(&held, &target)).await, "NodeGetVolumeHealth")?;
        let health = some(answer.volume_health, "volume_health")?;
        same(&health.volume_id.as_str(), &held.id(), "volume_id of the health")?;
        super::health::sane(&health)?;
        ensure!(health.health_statuses.is_empty(), "a healthy volume has {:?}", health.health_statuses);
    }
    Ok(())
}

async fn health_unknown(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let request = v1::NodeGetVolumeHealthRequest { volume_id: no_such_id(&cx), ..health_request(&held, &target) };
    refused(cx.node_get_volume_health(request).await, Code::NotFound, "a volume that isn't there").map(drop)
}

/// Only the id is required: which of the paths there are depends on the volume's use.
async fn health_missing(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let request = v1::NodeGetVolumeHealthRequest { volume_id: String::new(), ..health_request(&held, &target) };
    refused(cx.node_get_volume_health(request).await, Code::InvalidArgument, "no volume_id").map(drop)
}

async fn unmounted_behind(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let request = held.publish(&cx)?;
    let target = request.target_path.clone();
    ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume")?;
    if mounts_at(&target)?.is_empty() {
        return Err(Stop::skip("the driver mounts nothing at the target"));
    }
    unmount(&target)?;
    let answer = ok(cx.node_get_volume_health(health_request(&held, &target)).await, "health of an unmounted volume")?;
    let health = some(answer.volume_health, "volume_health")?;
    super::health::sane(&health)?;
    ensure!(!health.health_statuses.is_empty(), "a volume that somebody unmounted is healthy");
    // And it gets well.
    ok(cx.node_publish_volume(request).await, "the same publish again")?;
    let answer = ok(cx.node_get_volume_health(health_request(&held, &target)).await, "health of a mounted volume")?;
    let health = some(answer.volume_health, "volume_health")?;
    ensure!(health.health_statuses.is_empty(), "a volume that is mounted again has {:?}", health.health_statuses);
    Ok(())
}

async fn storage(cx: Cx) -> Outcome {
    let request = v1::NodeGetStorageHealthRequest::default();
    let answer = ok(cx.node_get_storage_health(request).await, "NodeGetStorageHealth")?;
    for entry in &answer.backend_health {
        ensure!((1..=2).contains(&entry.status), "status {} is not known", entry.status);
        ensure!(!entry.reason.is_empty(), "the status {} has no reason", entry.status);
    }
    Ok(())
}
