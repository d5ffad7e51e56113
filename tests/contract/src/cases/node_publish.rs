//! NodePublishVolume: targets, and what a second call may ask for.

use super::{
    VOLUMES, no_such_id,
    node::{BAD_PATHS, Held, MULTI_WRITER, MakePath, STAGED, USE, create_for, hold, hold_as, size, with_flags},
};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{ok, ok_or, refused, refused_as},
    ensure,
    kernel::{mounts_at, mounts_below, mounts_named, unmount},
};
use bulkhead_proto::v1::{self, volume_capability::access_mode::Mode};
use std::path::Path;
use tonic::Code;

/// What a second target must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    Works,
    Refused,
    /// The text says FAILED_PRECONDITION; orchestrators that don't know the alpha modes need it to work.
    Either,
}

const SECOND: &[(Mode, &str, &[Need], Second)] = &[
    (Mode::SingleNodeWriter, "publish.second-target-writer", &[], Second::Either),
    (Mode::SingleNodeReaderOnly, "publish.second-target-writer", &[], Second::Either),
    (Mode::SingleNodeSingleWriter, "publish.second-target-single", &[MULTI_WRITER], Second::Refused),
    (Mode::SingleNodeMultiWriter, "publish.second-target-multi", &[MULTI_WRITER], Second::Works),
    (Mode::MultiNodeReaderOnly, "publish.second-target-multi", &[], Second::Works),
    (Mode::MultiNodeSingleWriter, "publish.second-target-multi", &[], Second::Works),
    (Mode::MultiNodeMultiWriter, "publish.second-target-multi", &[], Second::Works),
];

type Change = fn(&Cx, &mut v1::NodePublishVolumeRequest);

const EXISTS: &[Code] = &[Code::AlreadyExists];
const EXISTS_OR_BAD: &[Code] = &[Code::AlreadyExists, Code::InvalidArgument, Code::FailedPrecondition];

/// The same target with a change.
const CHANGES: &[(&str, Change, &[Code])] = &[
    ("readonly", |_, r| r.readonly = !r.readonly, EXISTS),
    ("mode", |cx, r| r.volume_capability = Some(cx.capability_of(Mode::SingleNodeReaderOnly)), EXISTS),
    ("flags", |_, r| r.volume_capability = r.volume_capability.take().map(|c| with_flags(c, &["noatime"])), EXISTS),
    ("access-type", other_access, EXISTS_OR_BAD),
];

pub(super) fn cases() -> Vec<Case> {
    let multi = &[USE[0], USE[1], USE[2], MULTI_WRITER];
    let mut cases = vec![
        case("node-publish/repeat", &["publish.repeat", "publish.target-made"], USE, repeat).every_use(),
        case("node-publish/not-staged", &["publish.not-staged"], STAGED, not_staged).every_use(),
        case("node-publish/no-staging-path", &["publish.not-staged"], STAGED, no_staging_path).every_use(),
        case("node-publish/unknown-volume", &["publish.unknown-volume"], USE, unknown_volume).every_use(),
        case("node-publish/missing", &["publish.missing"], &[VOLUMES, Need::NodeService], missing),
        case("node-publish/size", &["publish.size"], USE, sizes).every_use(),
        case("node-publish/second-target-after", &["publish.second-target-after"], USE, second_after).every_use(),
        case("node-publish/others-stay", &["unpublish.others-stay"], multi, others_stay).every_use(),
        case("node-publish/target-exists", &["publish.target-exists"], USE, target_exists).every_use(),
        case("node-publish/unmounted-behind", &["publish.unmounted-behind"], USE, unmounted_behind).every_use(),
        case("node-publish/concurrent", &["publish.concurrent"], USE, concurrent).every_use(),
    ];
    for (mode, rule, needs, must) in SECOND {
        let name = mode.as_str_name().to_lowercase().replace('_', "-");
        let needs = [USE, needs].concat();
        let run = move |cx| second(cx, *mode, *must);
        cases.push(case(format!("node-publish/second-target/{name}"), &[rule], &needs, run).every_use());
    }
    for (what, change, codes) in CHANGES {
        let run = move |cx| other_arguments(cx, *change, codes);
        let name = format!("node-publish/other-arguments/{what}");
        cases.push(case(name, &["publish.other-arguments"], USE, run).every_use());
    }
    for (what, make) in BAD_PATHS {
        let run = move |cx| bad_path(cx, *make);
        cases.push(case(format!("node-publish/bad-path/{what}"), &["publish.bad-path"], USE, run));
    }
    cases
}

fn other_access(cx: &Cx, request: &mut v1::NodePublishVolumeRequest) {
    let usage = if cx.usage.is_block() { crate::Usage::Mount(String::new()) } else { crate::Usage::Block };
    request.volume_capability = Some(crate::cx::capability(&usage, Mode::SingleNodeWriter));
}

async fn repeat(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let request = held.publish(&cx)?;
    ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume")?;
    cx.is_there(&request.target_path)?;
    cx.fill(&request.target_path, 1).await?;
    let mounts = mounts_below(&request.target_path)?;
    for _ in 0..3 {
        ok(cx.node_publish_volume(request.clone()).await, "the same again")?;
        let again = mounts_below(&request.target_path)?;
        ensure!(again == mounts, "{mounts} mounts at the target, {again} after the same again");
    }
    // Secrets may change from one call to the next.
    let mut secrets = request.clone();
    secrets.secrets.insert("token".into(), "another".into());
    ok(cx.node_publish_volume(secrets).await, "the same again with other secrets")?;
    cx.is_there(&request.target_path)?;
    cx.holds(&request.target_path, 1, "the volume after repeats").await
}

/// A volume in this mode, at its first target, with data.
async fn first_target(cx: &Cx, mode: Mode, writes: bool) -> Outcome<(Held, String)> {
    let (writer, other) = (cx.capability(), cx.capability_of(mode));
    let mut held;
    if writes {
        held = hold(cx, mode).await?;
    } else {
        // What is only read must have been written before.
        let volume = create_for(cx, &[writer.clone(), other.clone()]).await?;
        held = hold_as(cx, &volume, writer).await?;
        let target = held.published(cx).await?;
        cx.fill(&target, 1).await?;
        cx.unpublish(held.id(), &target).await?;
        cx.unstage(held.id(), &held.staging).await?;
        cx.detach(held.id()).await?;
        held = hold_as(cx, &volume, other).await?;
    }
    let target = held.published(cx).await?;
    if writes {
        cx.fill(&target, 1).await?;
    }
    Ok((held, target))
}

async fn second(cx: Cx, mode: Mode, must: Second) -> Outcome {
    let writes = !matches!(mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly);
    let (held, first) = first_target(&cx, mode, writes).await?;
    let request = held.publish(&cx)?;
    let answer = cx.node_publish_volume(request.clone()).await;
    let what = format!("a second target of a volume in {}", mode.as_str_name());
    let there = match must {
        Second::Works => ok(answer, &what).map(|_| true)?,
        Second::Refused => refused(answer, Code::FailedPrecondition, &what).map(|_| false)?,
        Second::Either => ok_or(answer, &[Code::FailedPrecondition], &what)?.is_some(),
    };
    if there {
        cx.is_there(&request.target_path)?;
    } else {
        let left = std::fs::symlink_metadata(&request.target_path).is_ok();
        ensure!(!left, "the refused target was made, and left");
    }
    if there {
        cx.holds(&request.target_path, 1, "the second target").await?;
    }
    if there && writes {
        cx.fill(&request.target_path, 2).await?;
        cx.holds(&first, 2, "the first target, written to at the second").await?;
    }
    cx.is_there(&first)?;
    cx.unpublish(held.id(), &first).await?;
    if there && writes {
        cx.holds(&request.target_path, 2, "the second target, after the first is gone").await?;
    }
    Ok(())
}

async fn other_arguments(cx: Cx, change: Change, codes: &'static [Code]) -> Outcome {
    let modes = [cx.capability(), cx.capability_of(Mode::SingleNodeReaderOnly)];
    let volume = create_for(&cx, &modes).await?;
    let held = hold_as(&cx, &volume, cx.capability()).await?;
    let request = held.publish(&cx)?;
    ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume")?;
    let mut changed = request.clone();
    change(&cx, &mut changed);
    if changed == request {
        return Err(Stop::skip("a raw device has no such thing"));
    }
    refused_as(cx.node_publish_volume(changed).await, codes, "the same target with other arguments")?;
    ok(cx.node_publish_volume(request.clone()).await, "the first request once more")?;
    cx.is_there(&request.target_path)?;
    ensure!(cx.writable(&request.target_path)?, "the target can't be written to after a refused publish");
    Ok(())
}

async fn second_after(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    for seed in 0..3 {
        let target = held.published(&cx).await?;
        if seed > 0 {
            cx.holds(&target, seed - 1, "the volume at another target").await?;
        }
        cx.fill(&target, seed).await?;
        cx.unpublish(held.id(), &target).await?;
    }
    Ok(())
}

async fn others_stay(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeMultiWriter).await?;
    let mut targets = vec![];
    for _ in 0..4 {
        targets.push(held.published(&cx).await?);
    }
    cx.fill(&targets[0], 1).await?;
    while let Some(gone) = targets.pop() {
        cx.unpublish(held.id(), &gone).await?;
        for target in &targets {
            cx.is_there(target)?;
            cx.holds(target, 1, "a target that stays").await?;
        }
    }
    Ok(())
}

async fn not_staged(cx: Cx) -> Outcome {
    let volume = cx.create("publish").await?;
    let context = cx.attach(&volume).await?;
    let staging = cx.staging_path()?;
    let held = Held { volume, capability: cx.capability(), context, staging };
    let request = held.publish(&cx)?;
    let codes = [Code::FailedPrecondition, Code::InvalidArgument];
    refused_as(cx.node_publish_volume(request).await, &codes, "a staging path where the volume is not staged").map(drop)
}

async fn no_staging_path(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let mut request = held.publish(&cx)?;
    request.staging_target_path.clear();
    // FAILED_PRECONDITION by the text; a required field that is missing is INVALID_ARGUMENT by the table of errors.
    let codes = [Code::FailedPrecondition, Code::InvalidArgument];
    refused_as(cx.node_publish_volume(request).await, &codes, "no staging path").map(drop)
}

async fn unknown_volume(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let mut request = held.publish(&cx)?;
    request.volume_id = no_such_id(&cx);
    // A node that knows what it has staged, and nothing else, can only say that this isn't.
    let codes: &[Code] =
        if held.staging.is_empty() { &[Code::NotFound] } else { &[Code::NotFound, Code::FailedPrecondition] };
    refused_as(cx.node_publish_volume(request.clone()).await, codes, "a volume that isn't there")?;
    ensure!(mounts_below(&request.target_path)? == 0, "something is mounted after a refused publish");
    Ok(())
}

async fn missing(cx: Cx) -> Outcome {
    let volume = cx.create("publish").await?;
    let context = cx.attach(&volume).await?;
    let staging = cx.stage(&volume, &context).await?;
    let right = cx.publish_request(&volume, &context, &staging)?;
    let no_type = v1::VolumeCapability { access_type: None, ..cx.capability() };
    for (what, request) in [
        ("volume_id", v1::NodePublishVolumeRequest { volume_id: String::new(), ..right.clone() }),
        ("target_path", v1::NodePublishVolumeRequest { target_path: String::new(), ..right.clone() }),
        ("volume_capability", v1::NodePublishVolumeRequest { volume_capability: None, ..right.clone() }),
        ("access_type", v1::NodePublishVolumeRequest { volume_capability: Some(no_type), ..right.clone() }),
    ] {
        refused(cx.node_publish_volume(request).await, Code::InvalidArgument, &format!("no {what}"))?;
    }
    ok(cx.node_publish_volume(right).await, "the right request").map(drop)
}

async fn bad_path(cx: Cx, make: MakePath) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let mut request = held.publish(&cx)?;
    let parent = Path::new(&request.target_path).parent().map(|path| path.to_string_lossy().into_owned());
    let (parent, name) = (parent.unwrap_or_default(), cx.name("bad-path"));
    request.target_path = make(&parent, &name);
    refused(cx.node_publish_volume(request).await, Code::InvalidArgument, "a target that is no absolute path")?;
    ensure!(mounts_named(&name)? == 0, "something is mounted after a refused publish");
    let beside = Path::new(&parent).with_file_name(&name);
    ensure!(!beside.exists(), "{} was made by a refused publish", beside.display());
    Ok(())
}

async fn sizes(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    let bytes = size(&cx, &held.volume);
    cx.has_room(&target, bytes)?;
    let told = u64::try_from(held.volume.capacity_bytes).unwrap_or_default();
    let room = cx.room(&target)?;
    if told > 0 && cx.usage.is_block() {
        ensure!(room == told, "the device has {room} bytes, capacity_bytes is {told}");
    } else if told > 0 && cx.own_file_system(&target)? {
        ensure!(room <= told, "the file system has {room} bytes, capacity_bytes is {told}");
    }
    Ok(())
}

/// Some orchestrators made the target themselves: a directory, or a file for a device.
async fn target_exists(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let request = held.publish(&cx)?;
    let target = &request.target_path;
    let made = if cx.usage.is_block() { std::fs::write(target, b"") } else { std::fs::create_dir(target) };
    made.map_err(|e| Stop::fail(format!("the suite can't make {target}: {e}")))?;
    ok(cx.node_publish_volume(request.clone()).await, "a target that is there already")?;
    cx.is_there(target)?;
    cx.unpublish(held.id(), target).await?;
    cx.is_gone(target)
}

async fn unmounted_behind(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let request = held.publish(&cx)?;
    ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume")?;
    cx.fill(&request.target_path, 1).await?;
    if mounts_at(&request.target_path)?.is_empty() {
        return Err(Stop::skip("the driver mounts nothing at the target"));
    }
    unmount(&request.target_path)?;
    ok(cx.node_publish_volume(request.clone()).await, "the same again, after somebody unmounted it")?;
    cx.is_there(&request.target_path)?;
    cx.holds(&request.target_path, 1, "the volume that was mounted again").await
}

async fn concurrent(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let request = held.publish(&cx)?;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (cx, request) = (cx.clone(), request.clone());
        calls.spawn(async move { cx.node_publish_volume(request).await });
    }
    while let Some(answer) = calls.join_next().await {
        let answer = answer.map_err(Stop::fail)?;
        ok_or(answer, &[Code::Aborted], "the same publish at once")?;
    }
    ok(cx.node_publish_volume(request.clone()).await, "the same once more")?;
    cx.is_there(&request.target_path)
}
