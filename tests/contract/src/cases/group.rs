//! Group snapshots: making and finding them.

use super::{LIST_SNAPSHOTS, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, refused, same, some},
    ensure,
};
use bulkhead_proto::v1;
use std::collections::BTreeSet;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    const NEEDS: &[Need] = &[VOLUMES, Need::Groups];
    const LISTED: &[Need] = &[VOLUMES, Need::Groups, LIST_SNAPSHOTS];
    vec![
        case("group/create", &["group.create", "group.ready"], NEEDS, create).every_use(),
        case("group/repeat", &["group.repeat"], NEEDS, repeat),
        case("group/other-sources", &["group.other-sources"], NEEDS, other_sources),
        case("group/other-parameters", &["group.other-parameters"], NEEDS, other_parameters),
        case("group/unknown-source", &["group.unknown-source"], LISTED, unknown_source),
        case("group/listed", &["group.listed"], LISTED, listed),
        case("group/get", &["group.get"], NEEDS, get),
        case("group/get-unknown", &["group.get-unknown"], NEEDS, get_unknown),
        case("group/restore", &["group.restore"], NEEDS, restore),
    ]
}

/// A group of new volumes, which is ready.
pub(super) async fn group(
    cx: &Cx,
    count: usize,
) -> Outcome<(v1::CreateVolumeGroupSnapshotRequest, v1::VolumeGroupSnapshot)> {
    let mut source_volume_ids = vec![];
    for _ in 0..count {
        source_volume_ids.push(cx.create("grouped").await?.volume_id);
    }
    let request = v1::CreateVolumeGroupSnapshotRequest {
        name: cx.name("group"),
        source_volume_ids,
        parameters: cx.driver.options.group_snapshot_parameters.clone().unwrap_or_default(),
        ..Default::default()
    };
    let group = ready(cx, &request).await?;
    Ok((request, group))
}

/// Repeats the request until the group is ready.
async fn ready(cx: &Cx, request: &v1::CreateVolumeGroupSnapshotRequest) -> Outcome<v1::VolumeGroupSnapshot> {
    let start = tokio::time::Instant::now();
    loop {
        let answer = super::settled(cx, || cx.create_volume_group_snapshot(request.clone())).await;
        let group = some(ok(answer, "CreateVolumeGroupSnapshot")?.group_snapshot, "group_snapshot")?;
        let members = group.snapshots.iter().all(|snapshot| snapshot.ready_to_use);
        ensure!(members || !group.ready_to_use, "the group is ready, and not all of its members are");
        if group.ready_to_use {
            return Ok(group);
        }
        ensure!(start.elapsed() < cx.driver.options.timeout, "the group is not ready in time");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The same group, members in any order.
pub(super) fn same_group(is: &v1::VolumeGroupSnapshot, must: &v1::VolumeGroupSnapshot, what: &str) -> Outcome {
    let sorted = |group: &v1::VolumeGroupSnapshot| {
        let mut group = group.clone();
        group.snapshots.sort_by(|a, b| a.snapshot_id.cmp(&b.snapshot_id));
        group
    };
    same(&sorted(is), &sorted(must), what)
}

pub(super) fn members(group: &v1::VolumeGroupSnapshot) -> Vec<String> {
    group.snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect()
}

async fn create(cx: Cx) -> Outcome {
    let (request, group) = group(&cx, 3).await?;
    ensure!(group.creation_time.is_some(), "the group has no creation_time");
    let sources: BTreeSet<_> = group.snapshots.iter().map(|snapshot| snapshot.source_volume_id.clone()).collect();
    same(&sources, &request.source_volume_ids.iter().cloned().collect(), "sources of the members")?;
    same(&group.snapshots.len(), &request.source_volume_ids.len(), "how many members there are")?;
    let ids: BTreeSet<_> = members(&group).into_iter().collect();
    ensure!(ids.len() == 3 && !ids.contains(""), "the members' ids are {ids:?}");
    for snapshot in &group.snapshots {
        same(&snapshot.group_snapshot_id, &group.group_snapshot_id, "group_snapshot_id of a member")?;
    }
    Ok(())
}

async fn repeat(cx: Cx) -> Outcome {
    let (mut request, group) = group(&cx, 3).await?;
    for what in ["the same again", "sources in reverse", "once more"] {
        let again = ok(cx.create_volume_group_snapshot(request.clone()).await, what)?;
        same_group(&some(again.group_snapshot, "group_snapshot")?, &group, what)?;
        request.source_volume_ids.reverse();
    }
    Ok(())
}

async fn other_sources(cx: Cx) -> Outcome {
    let (request, group) = group(&cx, 2).await?;
    let other = cx.create("grouped").await?.volume_id;
    let [one, two] = [request.source_volume_ids[0].clone(), request.source_volume_ids[1].clone()];
    for (what, sources) in [
        ("one more", vec![one.clone(), two, other.clone()]),
        ("one less", vec![one.clone()]),
        ("another", vec![one, other]),
    ] {
        let changed = v1::CreateVolumeGroupSnapshotRequest { source_volume_ids: sources, ..request.clone() };
        let answer = cx.create_volume_group_snapshot(changed).await;
        refused(answer, Code::AlreadyExists, &format!("the same name with {what} source"))?;
    }
    let again = ok(cx.create_volume_group_snapshot(request).await, "the first request once more")?;
    same_group(&some(again.group_snapshot, "group_snapshot")?, &group, "the group after refused repeats")
}

async fn other_parameters(cx: Cx) -> Outcome {
    let (mut request, _) = group(&cx, 1).await?;
    request.parameters.insert("example.invalid/no-such-key".into(), "1".into());
    let codes = [Code::AlreadyExists, Code::InvalidArgument];
    let answer = cx.create_volume_group_snapshot(request).await;
    crate::check::refused_as(answer, &codes, "the same name with other parameters").map(drop)
}

async fn unknown_source(cx: Cx) -> Outcome {
    let good = cx.create("grouped").await?.volume_id;
    let request = v1::CreateVolumeGroupSnapshotRequest {
        name: cx.name("group"),
        source_volume_ids: vec![good.clone(), no_such_id(&cx)],
        parameters: cx.driver.options.group_snapshot_parameters.clone().unwrap_or_default(),
        ..Default::default()
    };
    refused(cx.create_volume_group_snapshot(request).await, Code::NotFound, "one source that isn't there")?;
    let by_source = v1::ListSnapshotsRequest { source_volume_id: good, ..Default::default() };
    let left = super::list_snapshots::all(&cx, by_source).await?;
    ensure!(left.is_empty(), "the refused group has left the member {}", left[0].snapshot_id);
    Ok(())
}

async fn listed(cx: Cx) -> Outcome {
    let (_, group) = group(&cx, 2).await?;
    for snapshot in &group.snapshots {
        let by_id = v1::ListSnapshotsRequest { snapshot_id: snapshot.snapshot_id.clone(), ..Default::default() };
        same(&super::list_snapshots::all(&cx, by_id).await?, &vec![snapshot.clone()], "a member by its id")?;
    }
    Ok(())
}

pub(super) fn get_request(group_snapshot_id: &str, snapshot_ids: Vec<String>) -> v1::GetVolumeGroupSnapshotRequest {
    v1::GetVolumeGroupSnapshotRequest {
        group_snapshot_id: group_snapshot_id.into(),
        snapshot_ids,
        ..Default::default()
    }
}

async fn get(cx: Cx) -> Outcome {
    let (_, group) = group(&cx, 2).await?;
    let mut ids = members(&group);
    for what in ["with its members", "with its members in reverse"] {
        let request = get_request(&group.group_snapshot_id, ids.clone());
        let found = ok(cx.get_volume_group_snapshot(request).await, what)?;
        same_group(&some(found.group_snapshot, "group_snapshot")?, &group, what)?;
        ids.reverse();
    }
    Ok(())
}

async fn get_unknown(cx: Cx) -> Outcome {
    for ids in [vec![], vec![no_such_id(&cx)]] {
        let answer = cx.get_volume_group_snapshot(get_request(&no_such_id(&cx), ids)).await;
        refused(answer, Code::NotFound, "a group that isn't there")?;
    }
    Ok(())
}

async fn restore(cx: Cx) -> Outcome {
    let (_, group) = group(&cx, 2).await?;
    for snapshot in &group.snapshots {
        let mut request = cx.create_request("restored");
        request.volume_content_source = Some(super::source::of_snapshot(&snapshot.snapshot_id));
        ok(cx.create_volume(request).await, "a volume from a member")?;
    }
    Ok(())
}
