//! Group snapshots: taking them away, and members that are not theirs.

use super::{LIST_SNAPSHOTS, VOLUMES, group, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, ok_or, refused, some},
    ensure,
};
use bulkhead_proto::v1;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    const NEEDS: &[Need] = &[VOLUMES, Need::Groups];
    const LISTED: &[Need] = &[VOLUMES, Need::Groups, LIST_SNAPSHOTS];
    vec![
        case("group/delete", &["group.delete", "group.delete-repeat"], LISTED, delete),
        case("group/delete-unknown", &["group.delete-unknown"], NEEDS, delete_unknown),
        case("group/mismatch", &["group.get-mismatch", "group.delete-mismatch"], NEEDS, mismatch),
        case("group/delete-member", &["delete-snapshot.member"], NEEDS, delete_member),
    ]
}

fn request(group: &str, snapshot_ids: Vec<String>) -> v1::DeleteVolumeGroupSnapshotRequest {
    v1::DeleteVolumeGroupSnapshotRequest { group_snapshot_id: group.into(), snapshot_ids, ..Default::default() }
}

async fn delete(cx: Cx) -> Outcome {
    let (_, group) = group::group(&cx, 2).await?;
    let id = &group.group_snapshot_id;
    for _ in 0..3 {
        let answer = cx.delete_volume_group_snapshot(request(id, group::members(&group))).await;
        ok(answer, "DeleteVolumeGroupSnapshot")?;
    }
    for snapshot_id in group::members(&group) {
        let by_id = v1::ListSnapshotsRequest { snapshot_id, ..Default::default() };
        ensure!(super::list_snapshots::all(&cx, by_id).await?.is_empty(), "a member outlives its group");
    }
    let answer = cx.get_volume_group_snapshot(group::get_request(id, group::members(&group))).await;
    refused(answer, Code::NotFound, "a deleted group").map(drop)
}

async fn delete_unknown(cx: Cx) -> Outcome {
    for ids in [vec![], vec![no_such_id(&cx)]] {
        let answer = cx.delete_volume_group_snapshot(request(&no_such_id(&cx), ids)).await;
        ok(answer, "a group that isn't there")?;
    }
    Ok(())
}

async fn mismatch(cx: Cx) -> Outcome {
    let (create, one) = group::group(&cx, 2).await?;
    let (_, two) = group::group(&cx, 1).await?;
    let (id, own, others) = (&one.group_snapshot_id, group::members(&one), group::members(&two));
    for (what, ids) in [
        ("members of another group", others.clone()),
        ("one of another group besides", [&own[..], &others].concat()),
        ("one that isn't there", vec![own[0].clone(), no_such_id(&cx)]),
        ("not all of its members", vec![own[0].clone()]),
    ] {
        let get = cx.get_volume_group_snapshot(group::get_request(id, ids.clone())).await;
        refused(get, Code::InvalidArgument, &format!("Get with {what}"))?;
        let delete = cx.delete_volume_group_snapshot(request(id, ids)).await;
        refused(delete, Code::InvalidArgument, &format!("Delete with {what}"))?;
    }
    let again = ok(cx.create_volume_group_snapshot(create).await, "the group after refused deletions")?;
    group::same_group(&some(again.group_snapshot, "group_snapshot")?, &one, "the group after refused deletions")
}

async fn delete_member(cx: Cx) -> Outcome {
    let (_, group) = group::group(&cx, 2).await?;
    let member = &group::members(&group)[0];
    let answer = cx.delete_snapshot(super::snapshot::delete_request(member)).await;
    let codes = [Code::InvalidArgument, Code::FailedPrecondition];
    if ok_or(answer, &codes, "a member of a group")?.is_none() {
        let get = group::get_request(&group.group_snapshot_id, group::members(&group));
        let found = ok(cx.get_volume_group_snapshot(get).await, "the group after a member's refused deletion")?;
        group::same_group(&some(found.group_snapshot, "group_snapshot")?, &group, "the group")?;
    }
    Ok(())
}
