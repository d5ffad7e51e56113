//! Read-only is enforced; the mount group can write.

use super::node::{MULTI_WRITER, USE, create_for, hold, hold_as, with_flags};
use crate::{Case, Cx, Need, Outcome, Stop, case, check::ok, ensure, kernel::mounts_at};
use bulkhead_proto::v1::{
    node_service_capability::rpc::Type as NodeRpc,
    volume_capability::{AccessType, access_mode::Mode},
};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

pub(super) fn cases() -> Vec<Case> {
    let beside = &[USE[0], USE[1], USE[2], MULTI_WRITER, Need::Mount];
    let group = &[USE[0], USE[1], USE[2], Need::Mount, Need::Node(NodeRpc::VolumeMountGroup)];
    let mount = &[USE[0], USE[1], USE[2], Need::Mount];
    let mut cases = vec![
        case("node-publish/read-only-is-enforced", &["publish.readonly"], USE, by_flag).every_use(),
        case("node-publish/read-only-beside-writable", &["publish.readonly"], beside, beside_writable).every_use(),
        case("node-publish/mount-flags", &["publish.mount-flags"], mount, mount_flags).every_use(),
        case("node-publish/mount-group", &["publish.mount-group"], group, mount_group).every_use(),
    ];
    for mode in [Mode::SingleNodeReaderOnly, Mode::MultiNodeReaderOnly] {
        let name = mode.as_str_name().to_lowercase().replace('_', "-");
        let run = move |cx| by_mode(cx, mode);
        cases.push(case(format!("node-publish/read-only-by-mode/{name}"), &["publish.readonly"], USE, run).every_use());
    }
    cases
}

async fn by_flag(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    cx.unpublish(held.id(), &target).await?;
    let mut request = held.publish(&cx)?;
    request.readonly = true;
    let target = request.target_path.clone();
    ok(cx.node_publish_volume(request.clone()).await, "NodePublishVolume with readonly")?;
    cx.is_there(&target)?;
    ensure!(!cx.writable(&target)?, "published with readonly, and yet it can be written to");
    ok(cx.node_publish_volume(request).await, "the same again")?;
    ensure!(!cx.writable(&target)?, "published with readonly twice, and yet it can be written to");
    cx.holds(&target, 1, "the read-only target").await?;
    cx.unpublish(held.id(), &target).await?;
    // It was this target only.
    let target = held.published(&cx).await?;
    ensure!(cx.writable(&target)?, "after a read-only target is gone, another can't be written to");
    cx.fill(&target, 2).await
}

async fn by_mode(cx: Cx, mode: Mode) -> Outcome {
    let volume = create_for(&cx, &[cx.capability(), cx.capability_of(mode)]).await?;
    let held = hold_as(&cx, &volume, cx.capability()).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 1).await?;
    cx.unpublish(held.id(), &target).await?;
    cx.unstage(held.id(), &held.staging).await?;
    cx.detach(held.id()).await?;
    let held = hold_as(&cx, &volume, cx.capability_of(mode)).await?;
    let target = held.published(&cx).await?;
    cx.is_there(&target)?;
    ensure!(!cx.writable(&target)?, "published in {}, and yet it can be written to", mode.as_str_name());
    cx.holds(&target, 1, "the read-only volume").await
}

async fn beside_writable(cx: Cx) -> Outcome {
    for readonly_first in [false, true] {
        let held = hold(&cx, Mode::SingleNodeMultiWriter).await?;
        let mut targets = vec![];
        for readonly in [readonly_first, !readonly_first] {
            let mut request = held.publish(&cx)?;
            request.readonly = readonly;
            ok(cx.node_publish_volume(request.clone()).await, &format!("NodePublishVolume, readonly={readonly}"))?;
            targets.push((request.target_path, readonly));
        }
        for (target, readonly) in &targets {
            let writable = cx.writable(target)?;
            ensure!(writable != *readonly, "readonly={readonly}, and yet writable={writable}, beside another target");
        }
        let find = |is| targets.iter().find(|(_, readonly)| *readonly == is).map(|(target, _)| target.clone());
        let (Some(writable), Some(readonly)) = (find(false), find(true)) else { continue };
        cx.fill(&writable, 3).await?;
        cx.holds(&readonly, 3, "the read-only target").await?;
        cx.unpublish(held.id(), &readonly).await?;
        ensure!(cx.writable(&writable)?, "after a read-only target is gone, the other can't be written to");
    }
    Ok(())
}

async fn mount_flags(cx: Cx) -> Outcome {
    let capability = with_flags(cx.capability(), &["noexec", "nosuid"]);
    let volume = create_for(&cx, std::slice::from_ref(&capability)).await?;
    let held = hold_as(&cx, &volume, capability).await?;
    let target = held.published(&cx).await?;
    let program = std::path::Path::new(&target).join("program");
    let tell = |e| Stop::fail(format!("{}: {e}", program.display()));
    std::fs::write(&program, "#!/bin/sh\nexit 0\n").map_err(tell)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).map_err(tell)?;
    let ran = std::process::Command::new(&program).status();
    ensure!(ran.is_err(), "mounted with noexec, and yet a program runs from it");
    let options = mounts_at(&target)?.pop().map(|mount| mount.options).unwrap_or_default();
    ensure!(options.contains("nosuid"), "the target must be mounted with nosuid, has {options:?}");
    Ok(())
}

async fn mount_group(cx: Cx) -> Outcome {
    const GROUP: u32 = 4711;
    let mut capability = cx.capability();
    if let Some(AccessType::Mount(mount)) = &mut capability.access_type {
        mount.volume_mount_group = GROUP.to_string();
    }
    let volume = create_for(&cx, std::slice::from_ref(&capability)).await?;
    let held = hold_as(&cx, &volume, capability).await?;
    let target = held.published(&cx).await?;
    let root = std::fs::metadata(&target).map_err(|e| Stop::fail(format!("{target}: {e}")))?;
    ensure!(root.gid() == GROUP, "the root directory has the group {}, must have {GROUP}", root.gid());
    ensure!(
        root.mode() & 0o070 == 0o070,
        "the root directory has the mode {:o}: the group must have all rights",
        root.mode()
    );
    // Files are the group's as well, whoever makes them.
    let file = std::path::Path::new(&target).join("file");
    let made = std::fs::write(&file, "x").and_then(|()| std::fs::metadata(&file));
    let made = made.map_err(|e| Stop::fail(format!("{}: {e}", file.display())))?;
    ensure!(made.gid() == GROUP, "a new file has the group {}, must have {GROUP}", made.gid());
    Ok(())
}
