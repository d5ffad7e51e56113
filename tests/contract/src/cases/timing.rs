//! Calls at the same time, calls that are given up, and a driver that is killed.

use super::{CLONE, EXPAND, SNAPSHOTS, VOLUMES, settled};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{name, ok, ok_or, same, some},
    ensure,
};
use bulkhead_proto::v1;
use std::{collections::BTreeSet, time::Duration};
use tokio::task::JoinSet;
use tonic::{Code, Status};

/// How many calls are made at once.
const MANY: usize = 12;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("concurrent/create-volume", &["create.one-of-many", "calls.concurrent"], &[VOLUMES], creates),
        case("concurrent/create-copy", &["create.one-of-many", "calls.concurrent"], &[VOLUMES, CLONE], copies),
        case("concurrent/create-and-delete", &["calls.concurrent"], &[VOLUMES], create_and_delete),
        case("concurrent/delete-volume", &["calls.concurrent", "delete.repeat"], &[VOLUMES], deletes),
        case("concurrent/expand", &["calls.concurrent"], &[VOLUMES, EXPAND], expands),
        case("concurrent/snapshot", &["snapshot.one-of-many", "calls.concurrent"], &[VOLUMES, SNAPSHOTS], snapshots),
        case("concurrent/attach", &["calls.concurrent"], &[VOLUMES, super::ATTACH, Need::NodeService], attaches),
        case("deadline/create-volume", &["calls.deadline"], &[VOLUMES], deadline),
        case("cancelled/create-volume", &["calls.cancelled"], &[VOLUMES], cancelled),
        case("cancelled/snapshot", &["calls.cancelled"], &[VOLUMES, SNAPSHOTS], cancelled_snapshot),
        case("restart/volumes", &["calls.restart"], &[VOLUMES, Need::Restart], restart).alone(),
        case("restart/snapshots", &["calls.restart"], &[VOLUMES, SNAPSHOTS, Need::Restart], restart_snapshots).alone(),
        case("restart/midway", &["calls.restart-midway"], &[VOLUMES, Need::Restart], midway).alone(),
    ]
}

/// The same call many times at once: those that were OK. Others may only be ABORTED.
async fn at_once<T, F>(what: &str, call: impl Fn() -> F) -> Outcome<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Status>> + Send + 'static,
{
    let mut calls = JoinSet::new();
    (0..MANY).for_each(|_| _ = calls.spawn(call()));
    let mut answers = vec![];
    for answer in calls.join_all().await {
        answers.extend(ok_or(answer, &[Code::Aborted], &format!("{what}, {MANY} times at once"))?);
    }
    Ok(answers)
}

async fn one_volume(cx: &Cx, request: v1::CreateVolumeRequest) -> Outcome {
    let call = || {
        let (cx, request) = (cx.clone(), request.clone());
        async move { cx.create_volume(request).await }
    };
    let answers = at_once("CreateVolume", call).await?;
    let last = ok(settled(cx, call).await, "CreateVolume afterwards")?;
    let ids: BTreeSet<_> =
        answers.iter().chain([&last]).filter_map(|a| a.volume.as_ref()).map(|v| &v.volume_id).collect();
    ensure!(ids.len() == 1, "one name at once became the volumes {ids:?}");
    Ok(())
}

async fn creates(cx: Cx) -> Outcome {
    one_volume(&cx, cx.create_request("at-once")).await
}

async fn copies(cx: Cx) -> Outcome {
    let source = cx.create("source").await?;
    let mut request = cx.create_request("at-once");
    request.volume_content_source = Some(super::source::of_volume(&source.volume_id));
    one_volume(&cx, request).await
}

async fn create_and_delete(cx: Cx) -> Outcome {
    let request = cx.create_request("churn");
    for _ in 0..5 {
        let id = some(ok(settled(&cx, || cx.create_volume(request.clone())).await, "CreateVolume")?.volume, "volume")?
            .volume_id;
        let delete = v1::DeleteVolumeRequest { volume_id: id.clone(), ..Default::default() };
        let (deleted, created) = tokio::join!(cx.delete_volume(delete), cx.create_volume(request.clone()));
        ok_or(deleted, &[Code::Aborted], "DeleteVolume beside a CreateVolume of the same name")?;
        let created = ok_or(created, &[Code::Aborted], "CreateVolume beside a DeleteVolume of the same name")?;
        // Whatever the order was, a volume that is asked for afterwards is there.
        if let Some(volume) = created.and_then(|answer| answer.volume).filter(|volume| volume.volume_id != id) {
            let validate = super::validate::request(&cx, &volume);
            ok(cx.validate_volume_capabilities(validate).await, "a new volume of the name")?;
        }
    }
    let volume = some(ok(settled(&cx, || cx.create_volume(request.clone())).await, "CreateVolume")?.volume, "volume")?;
    let validate = super::validate::request(&cx, &volume);
    ok(cx.validate_volume_capabilities(validate).await, "the volume after it all").map(drop)
}

async fn deletes(cx: Cx) -> Outcome {
    let id = cx.create("at-once").await?.volume_id;
    let call = || {
        let (cx, request) = (cx.clone(), v1::DeleteVolumeRequest { volume_id: id.clone(), ..Default::default() });
        async move { cx.delete_volume(request).await }
    };
    at_once("DeleteVolume", call).await?;
    ok(settled(&cx, call).await, "DeleteVolume afterwards").map(drop)
}

async fn expands(cx: Cx) -> Outcome {
    let id = cx.create("at-once").await?.volume_id;
    let request = super::expand::request(&cx, &id, 2 * cx.bytes());
    let call = || {
        let (cx, request) = (cx.clone(), request.clone());
        async move { cx.controller_expand_volume(request).await }
    };
    let answers = at_once("ControllerExpandVolume", call).await?;
    let last = ok(settled(&cx, call).await, "ControllerExpandVolume afterwards")?;
    for answer in answers {
        same(&answer.capacity_bytes, &last.capacity_bytes, "capacity_bytes of expansions at once")?;
    }
    Ok(())
}

async fn snapshots(cx: Cx) -> Outcome {
    let volume = cx.create("at-once").await?;
    let request = cx.snapshot_request(&volume.volume_id, "at-once");
    let call = || {
        let (cx, request) = (cx.clone(), request.clone());
        async move { cx.create_snapshot(request).await }
    };
    let answers = at_once("CreateSnapshot", call).await?;
    let last = cx.ready_snapshot(request.clone()).await?;
    let ids: BTreeSet<_> =
        answers.iter().filter_map(|a| a.snapshot.as_ref()).chain([&last]).map(|s| &s.snapshot_id).collect();
    ensure!(ids.len() == 1, "one name at once became the snapshots {ids:?}");
    Ok(())
}

async fn attaches(cx: Cx) -> Outcome {
    let volume = cx.create("at-once").await?;
    let call = || {
        let (cx, request) = (cx.clone(), cx.attach_request(&volume));
        async move { cx.controller_publish_volume(request).await }
    };
    let answers = at_once("ControllerPublishVolume", call).await?;
    let last = ok(settled(&cx, call).await, "ControllerPublishVolume afterwards")?;
    for answer in answers {
        same(&answer, &last, "publish_context of attachments at once")?;
    }
    Ok(())
}

async fn deadline(cx: Cx) -> Outcome {
    for milliseconds in [0, 1, 2, 5, 10, 20] {
        let request = cx.create_request("deadline");
        let limit = Duration::from_millis(milliseconds);
        let start = tokio::time::Instant::now();
        if let Err(status) = cx.within(limit).create_volume(request.clone()).await {
            // Cancelled is what some clients make of their own deadline.
            let codes = [Code::DeadlineExceeded, Code::Cancelled, Code::Aborted, Code::Unavailable];
            let code = status.code();
            ensure!(codes.contains(&code), "with {milliseconds} ms: was {} ({})", name(code), status.message());
        }
        let took = start.elapsed();
        ensure!(took < limit + Duration::from_secs(5), "with {milliseconds} ms: the answer took {took:?}");
        let first = ok(settled(&cx, || cx.create_volume(request.clone())).await, "the same again")?;
        let again = ok(cx.create_volume(request).await, "the same once more")?;
        same(&again, &first, "the volume")?;
    }
    Ok(())
}

async fn cancelled(cx: Cx) -> Outcome {
    for milliseconds in [0, 1, 2, 5, 10, 20] {
        let request = cx.create_request("cancelled");
        let call = cx.create_volume(request.clone());
        // Dropping the call resets its stream: the driver sees a client that has gone.
        let answered = tokio::time::timeout(Duration::from_millis(milliseconds), call).await;
        let before = answered.ok().and_then(Result::ok);
        let first = ok(settled(&cx, || cx.create_volume(request.clone())).await, "the same again")?;
        let again = ok(cx.create_volume(request).await, "the same once more")?;
        same(&again, before.as_ref().unwrap_or(&first), "the volume")?;
        same(&again, &first, "the volume")?;
    }
    Ok(())
}

async fn cancelled_snapshot(cx: Cx) -> Outcome {
    let volume = cx.create("cancelled").await?;
    for milliseconds in [0, 1, 5, 20] {
        let request = cx.snapshot_request(&volume.volume_id, "cancelled");
        let call = cx.create_snapshot(request.clone());
        _ = tokio::time::timeout(Duration::from_millis(milliseconds), call).await;
        let first = cx.ready_snapshot(request.clone()).await?;
        same(&cx.ready_snapshot(request).await?, &first, "the snapshot")?;
    }
    Ok(())
}

async fn restart(cx: Cx) -> Outcome {
    let requests: Vec<_> = (0..3).map(|_| cx.create_request("restart")).collect();
    let mut volumes = vec![];
    for request in &requests {
        volumes.push(some(ok(cx.create_volume(request.clone()).await, "CreateVolume")?.volume, "volume")?);
    }
    cx.restart().await?;
    for (request, volume) in requests.iter().zip(&volumes) {
        let validate = super::validate::request(&cx, volume);
        ok(cx.validate_volume_capabilities(validate).await, "a volume after a restart")?;
        let again = ok(cx.create_volume(request.clone()).await, "its request after a restart")?;
        same(&some(again.volume, "volume")?, volume, "the volume after a restart")?;
    }
    Ok(())
}

async fn restart_snapshots(cx: Cx) -> Outcome {
    let volume = cx.create("restart").await?;
    let request = cx.snapshot_request(&volume.volume_id, "restart");
    let snapshot = cx.ready_snapshot(request.clone()).await?;
    cx.restart().await?;
    same(&cx.ready_snapshot(request).await?, &snapshot, "the snapshot after a restart")
}

async fn midway(cx: Cx) -> Outcome {
    for milliseconds in [0, 2, 5, 10, 20, 50] {
        let requests: Vec<_> = (0..4).map(|_| cx.create_request("midway")).collect();
        let mut calls = JoinSet::new();
        for request in requests.clone() {
            let cx = cx.clone();
            calls.spawn(async move { cx.create_volume(request).await });
        }
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        cx.restart().await?;
        let before: Vec<_> =
            calls.join_all().await.into_iter().filter_map(Result::ok).filter_map(|a| a.volume).collect();
        let mut after = vec![];
        for request in requests {
            let answer = settled(&cx, || cx.create_volume(request.clone())).await;
            after.push(some(ok(answer, "the interrupted call again")?.volume, "volume")?);
        }
        ensure!(before.iter().all(|volume| after.contains(volume)), "a volume that was answered is another one now");
        for volume in after {
            cx.delete(&volume.volume_id).await?;
        }
    }
    Ok(())
}
