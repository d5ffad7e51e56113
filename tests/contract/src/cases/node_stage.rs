//! NodeStageVolume.

use super::{
    no_such_id,
    node::{BAD_PATHS, MakePath, STAGED, create_for, hold, hold_as, with_flags},
};
use crate::{
    Case, Cx, Need, Outcome, Stop, Usage, case,
    check::{ok, ok_or, refused, refused_as},
    cx::capability,
    ensure,
    kernel::{mounts_at, mounts_below, mounts_named, unmount},
};
use bulkhead_proto::v1::{
    self,
    volume_capability::{AccessType, access_mode::Mode},
};
use std::path::Path;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("node-stage/repeat", &["stage.repeat"], STAGED, repeat).every_use(),
        case("node-stage/other-path", &["stage.other-path"], STAGED, other_path).every_use(),
        case("node-stage/unknown-volume", &["stage.unknown-volume"], STAGED, unknown_volume).every_use(),
        case("node-stage/missing", &["stage.missing"], STAGED, missing),
        case("node-stage/unsupported", &["stage.unsupported"], STAGED, unsupported).every_use(),
        case("node-stage/after-failure", &["stage.after-failure"], STAGED, after_failure).every_use(),
        case("node-stage/fs-type", &["stage.fs-type"], MOUNTED, fs_type).every_use(),
        case("node-stage/no-such-fs", &["stage.unsupported"], MOUNTED, no_such_fs),
        case("node-stage/unmounted-behind", &["stage.unmounted-behind"], MOUNTED, unmounted_behind).every_use(),
        case("node-stage/concurrent", &["stage.concurrent"], STAGED, concurrent).every_use(),
    ];
    for (what, change, codes) in CHANGES {
        let name = format!("node-stage/other-capability/{what}");
        let run = move |cx| other_capability(cx, *change, codes);
        cases.push(case(name, &["stage.other-capability"], STAGED, run).every_use());
    }
    for (what, make) in BAD_PATHS {
        let run = move |cx| bad_path(cx, *make);
        cases.push(case(format!("node-stage/bad-path/{what}"), &["stage.bad-path"], STAGED, run));
    }
    for flags in FLAGS {
        let name = format!("node-stage/mount-flags/{}", flags.join("-"));
        cases.push(case(name, &["stage.mount-flags"], MOUNTED, move |cx| mount_flags(cx, flags)).every_use());
    }
    cases
}

const MOUNTED: &[Need] = &[STAGED[0], STAGED[1], STAGED[2], STAGED[3], Need::Mount];

type Change = fn(&Cx, &mut v1::VolumeCapability);

const OTHER: &[Code] = &[Code::AlreadyExists];
/// As long as the volume may not have the other capability at all.
const OTHER_OR_UNSUPPORTED: &[Code] = &[Code::AlreadyExists, Code::FailedPrecondition, Code::InvalidArgument];

/// A volume is staged, and again at the same path with a change.
const CHANGES: &[(&str, Change, &[Code])] = &[
    ("mode", |cx, c| *c = cx.capability_of(Mode::SingleNodeReaderOnly), OTHER),
    ("flags", |_, c| *c = with_flags(c.clone(), &["noatime", "nodev"]), OTHER),
    ("fs-type", other_fs, OTHER_OR_UNSUPPORTED),
    ("access-type", other_access, OTHER_OR_UNSUPPORTED),
];

/// Flags that every file system takes, and that are seen in mountinfo.
const FLAGS: &[&[&str]] = &[&["noatime"], &["nodev", "nosuid"], &["noexec"], &["ro"]];

fn other_fs(_: &Cx, capability: &mut v1::VolumeCapability) {
    if let Some(AccessType::Mount(mount)) = &mut capability.access_type {
        mount.fs_type = if mount.fs_type == "xfs" { "ext4" } else { "xfs" }.into();
    }
}

fn other_access(cx: &Cx, other: &mut v1::VolumeCapability) {
    let usage = if cx.usage.is_block() { Usage::Mount(String::new()) } else { Usage::Block };
    *other = capability(&usage, Mode::SingleNodeWriter);
}

async fn repeat(cx: Cx) -> Outcome {
    let volume = cx.create("stage").await?;
    let context = cx.attach(&volume).await?;
    let request = cx.stage_request(&volume, &context)?;
    ok(cx.node_stage_volume(request.clone()).await, "NodeStageVolume")?;
    let mounts = mounts_below(&request.staging_target_path)?;
    for _ in 0..3 {
        ok(cx.node_stage_volume(request.clone()).await, "the same again")?;
        let again = mounts_below(&request.staging_target_path)?;
        ensure!(again == mounts, "{mounts} mounts at the staging path, {again} after the same again");
    }
    let target = cx.publish(&volume, &context, &request.staging_target_path).await?;
    cx.is_there(&target)?;
    ok(cx.node_stage_volume(request).await, "the same again while it is published")?;
    cx.unpublish(&volume.volume_id, &target).await
}

async fn other_capability(cx: Cx, change: Change, codes: &'static [Code]) -> Outcome {
    let first = cx.capability();
    let mut other = first.clone();
    change(&cx, &mut other);
    if other == first {
        return Err(Stop::skip("a raw device has no such thing"));
    }
    // A mode that the volume was not made for could be refused as such.
    let both =
        if other.access_mode == first.access_mode { vec![first.clone()] } else { vec![first.clone(), other.clone()] };
    let volume = create_for(&cx, &both).await?;
    let held = hold_as(&cx, &volume, first).await?;
    let mut request = cx.stage_request(&volume, &held.context)?;
    request.staging_target_path.clone_from(&held.staging);
    let again = v1::NodeStageVolumeRequest { volume_capability: Some(held.capability.clone()), ..request.clone() };
    request.volume_capability = Some(other);
    refused_as(cx.node_stage_volume(request).await, codes, "staged at this path with another capability")?;
    ok(cx.node_stage_volume(again).await, "the first request once more")?;
    let target = held.published(&cx).await?;
    cx.is_there(&target)?;
    ensure!(cx.writable(&target)?, "the volume can't be written to after a refused stage");
    cx.unpublish(held.id(), &target).await
}

async fn other_path(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let first = held.published(&cx).await?;
    cx.fill(&first, 1).await?;
    let second = cx.stage_request(&held.volume, &held.context)?;
    let codes = [Code::FailedPrecondition, Code::AlreadyExists, Code::InvalidArgument];
    let staged = ok_or(cx.node_stage_volume(second.clone()).await, &codes, "staged at another path too")?;
    cx.holds(&first, 1, "the first path").await?;
    if staged.is_some() {
        cx.unstage(held.id(), &second.staging_target_path).await?;
    }
    cx.is_there(&first)?;
    cx.holds(&first, 1, "the first path after the second is gone").await
}

async fn unknown_volume(cx: Cx) -> Outcome {
    let volume = v1::Volume { volume_id: no_such_id(&cx), ..Default::default() };
    let request = cx.stage_request(&volume, &crate::options::Map::new())?;
    let staging = request.staging_target_path.clone();
    refused(cx.node_stage_volume(request).await, Code::NotFound, "a volume that isn't there")?;
    ensure!(mounts_below(&staging)? == 0, "something is mounted after a refused stage");
    Ok(())
}

async fn missing(cx: Cx) -> Outcome {
    let volume = cx.create("stage").await?;
    let context = cx.attach(&volume).await?;
    let right = cx.stage_request(&volume, &context)?;
    let no_type = v1::VolumeCapability { access_type: None, ..cx.capability() };
    for (what, request) in [
        ("volume_id", v1::NodeStageVolumeRequest { volume_id: String::new(), ..right.clone() }),
        ("staging_target_path", v1::NodeStageVolumeRequest { staging_target_path: String::new(), ..right.clone() }),
        ("volume_capability", v1::NodeStageVolumeRequest { volume_capability: None, ..right.clone() }),
        ("access_type", v1::NodeStageVolumeRequest { volume_capability: Some(no_type), ..right.clone() }),
    ] {
        refused(cx.node_stage_volume(request).await, Code::InvalidArgument, &format!("no {what}"))?;
    }
    ok(cx.node_stage_volume(right).await, "the right request").map(drop)
}

async fn bad_path(cx: Cx, make: MakePath) -> Outcome {
    let volume = cx.create("stage").await?;
    let context = cx.attach(&volume).await?;
    let mut request = cx.stage_request(&volume, &context)?;
    let (good, name) = (request.staging_target_path.clone(), cx.name("bad-path"));
    request.staging_target_path = make(&good, &name);
    refused(cx.node_stage_volume(request).await, Code::InvalidArgument, "a path that is no absolute path")?;
    ensure!(mounts_named(&name)? == 0, "something is mounted after a refused stage");
    let beside = Path::new(&good).with_file_name(&name);
    ensure!(!beside.exists(), "{} was made by a refused stage", beside.display());
    Ok(())
}

async fn unsupported(cx: Cx) -> Outcome {
    let volume = cx.create("stage").await?;
    let context = cx.attach(&volume).await?;
    let mut request = cx.stage_request(&volume, &context)?;
    let mut other = cx.capability();
    other_access(&cx, &mut other);
    let mut validate = super::validate::request(&cx, &volume);
    validate.volume_capabilities = vec![other.clone()];
    if ok(cx.validate_volume_capabilities(validate).await, "ValidateVolumeCapabilities")?.confirmed.is_some() {
        return Err(Stop::skip("the volume can be both mounted and raw"));
    }
    request.volume_capability = Some(other);
    let staging = request.staging_target_path.clone();
    let codes = [Code::FailedPrecondition, Code::InvalidArgument];
    refused_as(cx.node_stage_volume(request).await, &codes, "an access type that the volume hasn't")?;
    ensure!(mounts_below(&staging)? == 0, "something is mounted after a refused stage");
    Ok(())
}

async fn no_such_fs(cx: Cx) -> Outcome {
    let volume = cx.create("stage").await?;
    let context = cx.attach(&volume).await?;
    let mut request = cx.stage_request(&volume, &context)?;
    request.volume_capability = Some(capability(&Usage::Mount("no-such-fs".into()), Mode::SingleNodeWriter));
    let codes = [Code::FailedPrecondition, Code::InvalidArgument];
    refused_as(cx.node_stage_volume(request).await, &codes, "a file system that nobody has").map(drop)
}

async fn after_failure(cx: Cx) -> Outcome {
    let volume = cx.create("stage").await?;
    let context = cx.attach(&volume).await?;
    let right = cx.stage_request(&volume, &context)?;
    let mut wrong = right.clone();
    let mut other = cx.capability_of(Mode::SingleNodeWriter);
    match &mut other.access_type {
        Some(AccessType::Mount(mount)) => mount.mount_flags = vec!["no-such-flag-of-any-file-system".into()],
        _ => other.access_mode = None,
    }
    wrong.volume_capability = Some(other);
    if cx.node_stage_volume(wrong).await.is_ok() {
        return Err(Stop::skip("the driver takes mount flags that no file system has"));
    }
    ok(cx.node_stage_volume(right.clone()).await, "the right request after a failed one")?;
    let target = cx.publish(&volume, &context, &right.staging_target_path).await?;
    cx.is_there(&target)?;
    cx.unpublish(&volume.volume_id, &target).await?;
    cx.unstage(&volume.volume_id, &right.staging_target_path).await?;
    ensure!(mounts_below(&right.staging_target_path)? == 0, "something is mounted after NodeUnstageVolume");
    Ok(())
}

async fn fs_type(cx: Cx) -> Outcome {
    let Usage::Mount(fs) = &cx.usage else { return Err(Stop::skip("the volume is a raw device")) };
    if fs.is_empty() {
        return Err(Stop::skip("no --fs-type"));
    }
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    for path in [&held.staging, &target] {
        // A driver may mount at the staging path, or not before it publishes.
        let Some(mount) = mounts_at(path)?.pop() else { continue };
        ensure!(mount.fs_type == *fs, "{path} is a file system {}, must be {fs}", mount.fs_type);
    }
    cx.is_there(&target)
}

/// Flags of the capability go to both calls; what counts is the target.
async fn mount_flags(cx: Cx, flags: &'static [&'static str]) -> Outcome {
    let volume = create_for(&cx, &[with_flags(cx.capability(), flags)]).await?;
    let held = hold_as(&cx, &volume, with_flags(cx.capability(), flags)).await?;
    let target = held.published(&cx).await?;
    let Some(mount) = mounts_at(&target)?.pop() else {
        return Err(Stop::fail(format!("{target} is not mounted")));
    };
    for &flag in flags {
        ensure!(mount.options.contains(flag), "the target must be mounted with {flag}, has {:?}", mount.options);
    }
    ensure!(!flags.contains(&"ro") || !cx.writable(&target)?, "mounted with ro, and yet it can be written to");
    Ok(())
}

async fn unmounted_behind(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    cx.unpublish(held.id(), &target).await?;
    if mounts_at(&held.staging)?.is_empty() {
        return Err(Stop::skip("the driver mounts nothing at the staging path"));
    }
    unmount(&held.staging)?;
    let mut request = cx.stage_request(&held.volume, &held.context)?;
    request.staging_target_path.clone_from(&held.staging);
    ok(cx.node_stage_volume(request).await, "the same again, after somebody unmounted it")?;
    let mounts = mounts_at(&held.staging)?.len();
    ensure!(mounts == 1, "{mounts} mounts at the staging path, must be one");
    let target = held.published(&cx).await?;
    cx.holds(&target, 1, "the volume that was mounted again").await
}

async fn concurrent(cx: Cx) -> Outcome {
    let volume = cx.create("stage").await?;
    let context = cx.attach(&volume).await?;
    let request = cx.stage_request(&volume, &context)?;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (cx, request) = (cx.clone(), request.clone());
        calls.spawn(async move { cx.node_stage_volume(request).await });
    }
    while let Some(answer) = calls.join_next().await {
        let answer = answer.map_err(Stop::fail)?;
        ok_or(answer, &[Code::Aborted], "the same stage at once")?;
    }
    ok(cx.node_stage_volume(request.clone()).await, "the same once more")?;
    let mounts = mounts_at(&request.staging_target_path)?.len();
    ensure!(mounts <= 1, "{mounts} mounts at the staging path, must be one at most");
    let target = cx.publish(&volume, &context, &request.staging_target_path).await?;
    cx.is_there(&target)
}
