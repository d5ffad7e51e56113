//! CreateSnapshot and DeleteSnapshot.

use super::{LIST_SNAPSHOTS, SNAPSHOTS, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, ok_or, refused, refused_as, same, some},
    ensure,
};
use bulkhead_proto::v1::{
    self, controller_service_capability::rpc::Type as Rpc, plugin_capability::service::Type as Service,
};
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::Code;

/// How far the driver's clock may be from ours, in seconds.
const CLOCK: u64 = 600;

pub(super) fn cases() -> Vec<Case> {
    const NEEDS: &[Need] = &[VOLUMES, SNAPSHOTS];
    const TOPOLOGY: &[Need] =
        &[VOLUMES, SNAPSHOTS, Need::NodeService, Need::Plugin(Service::SnapshotAccessibilityConstraints)];
    vec![
        case("snapshot/repeat", &["snapshot.repeat", "snapshot.ready"], NEEDS, repeat),
        case("snapshot/facts", &["snapshot.time", "snapshot.size", "snapshot.not-grouped"], NEEDS, facts).every_use(),
        case("snapshot/other-source", &["snapshot.other-source"], NEEDS, other_source),
        case("snapshot/unknown-volume", &["snapshot.unknown-volume"], &[SNAPSHOTS], unknown_volume),
        case("snapshot/name-length", &["snapshot.name-limit"], NEEDS, lengths),
        case("snapshot/topology-impossible", &["snapshot.topology"], TOPOLOGY, nowhere),
        case("delete-snapshot/unknown", &["delete-snapshot.unknown"], &[SNAPSHOTS], delete_unknown),
        case("delete-snapshot/twice", &["delete-snapshot.repeat"], NEEDS, delete_twice),
        case("delete-snapshot/gone", &["delete-snapshot.gone"], NEEDS, gone),
        case(
            "delete-snapshot/gone-from-list",
            &["delete-snapshot.gone"],
            &[VOLUMES, SNAPSHOTS, LIST_SNAPSHOTS],
            unlisted,
        ),
        case("delete-snapshot/in-use", &["delete-snapshot.in-use"], NEEDS, in_use),
    ]
}

/// DeleteSnapshot of an id.
pub(super) fn delete_request(snapshot_id: &str) -> v1::DeleteSnapshotRequest {
    v1::DeleteSnapshotRequest { snapshot_id: snapshot_id.into(), ..Default::default() }
}

async fn repeat(cx: Cx) -> Outcome {
    let volume = cx.create("snapshot").await?;
    let request = cx.snapshot_request(&volume.volume_id, "repeat");
    let first = cx.ready_snapshot(request.clone()).await?;
    same(&first.source_volume_id, &volume.volume_id, "source_volume_id")?;
    for _ in 0..3 {
        let again = some(ok(cx.create_snapshot(request.clone()).await, "the same again")?.snapshot, "snapshot")?;
        ensure!(again.ready_to_use, "a snapshot that was ready is not any more");
        same(&again, &first, "the repeat's snapshot")?;
    }
    let second = cx.snapshot(&volume.volume_id, "second").await?;
    ensure!(second.snapshot_id != first.snapshot_id, "two names are one snapshot, {}", first.snapshot_id);
    Ok(())
}

async fn facts(cx: Cx) -> Outcome {
    let volume = cx.create("snapshot").await?;
    let snapshot = cx.snapshot(&volume.volume_id, "facts").await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = some(snapshot.creation_time, "creation_time")?;
    let off = u64::try_from(time.seconds).unwrap_or(0).abs_diff(now);
    ensure!(off <= CLOCK, "creation_time is {off} seconds from now");
    ensure!((0..1_000_000_000).contains(&time.nanos), "creation_time has {} nanoseconds", time.nanos);
    ensure!(snapshot.size_bytes >= 0, "size_bytes is {}", snapshot.size_bytes);
    same(&snapshot.group_snapshot_id, &String::new(), "group_snapshot_id of a snapshot of its own")?;
    let mut restore = cx.create_request("restored");
    restore.volume_content_source = Some(super::source::of_snapshot(&snapshot.snapshot_id));
    restore.capacity_range =
        (snapshot.size_bytes > 0).then_some(v1::CapacityRange { required_bytes: snapshot.size_bytes, limit_bytes: 0 });
    ok(cx.create_volume(restore).await, "a volume of the snapshot's size_bytes").map(drop)
}

async fn other_source(cx: Cx) -> Outcome {
    let (one, two) = (cx.create("snapshot").await?, cx.create("snapshot").await?);
    let request = cx.snapshot_request(&one.volume_id, "other-source");
    let first = cx.ready_snapshot(request.clone()).await?;
    let other = v1::CreateSnapshotRequest { source_volume_id: two.volume_id, ..request.clone() };
    refused(cx.create_snapshot(other).await, Code::AlreadyExists, "the same name for another volume")?;
    let again = some(ok(cx.create_snapshot(request).await, "the first request once more")?.snapshot, "snapshot")?;
    same(&again, &first, "the snapshot after a refused repeat")
}

async fn unknown_volume(cx: Cx) -> Outcome {
    let request = cx.snapshot_request(&no_such_id(&cx), "nothing");
    refused(cx.create_snapshot(request).await, Code::NotFound, "a volume that isn't there").map(drop)
}

async fn lengths(cx: Cx) -> Outcome {
    let volume = cx.create("snapshot").await?;
    let mut request = cx.snapshot_request(&volume.volume_id, "");
    request.name = cx.name_of(128);
    let first = cx.ready_snapshot(request.clone()).await?;
    request.name.push('y');
    let answer = cx.create_snapshot(request.clone()).await;
    refused(answer, Code::InvalidArgument, "a name of 129 bytes")?;
    request.name.truncate(127);
    request.name.push('z');
    let other = cx.ready_snapshot(request).await?;
    ensure!(other.snapshot_id != first.snapshot_id, "two names that differ in byte 128 are one snapshot");
    Ok(())
}

async fn nowhere(cx: Cx) -> Outcome {
    let nowhere = super::create_topology::nowhere(&super::create_topology::known(&cx)?[0]);
    let volume = cx.create("snapshot").await?;
    let mut request = cx.snapshot_request(&volume.volume_id, "nowhere");
    let preferred = vec![nowhere.clone()];
    request.accessibility_requirements = Some(v1::TopologyRequirement { requisite: vec![nowhere], preferred });
    let codes = [Code::ResourceExhausted, Code::InvalidArgument, Code::FailedPrecondition];
    refused_as(cx.create_snapshot(request).await, &codes, "a requisite topology that nobody has").map(drop)
}

async fn delete_unknown(cx: Cx) -> Outcome {
    ok(cx.delete_snapshot(delete_request(&no_such_id(&cx))).await, "a snapshot that isn't there")?;
    for id in ["..", "../..", "/", "/etc", "."] {
        let answer = cx.delete_snapshot(delete_request(id)).await;
        ok_or(answer, &[Code::InvalidArgument, Code::NotFound], &format!("the id {id:?}"))?;
    }
    super::alive(&cx, "ids like paths").await
}

async fn delete_twice(cx: Cx) -> Outcome {
    let volume = cx.create("snapshot").await?;
    let id = cx.snapshot(&volume.volume_id, "twice").await?.snapshot_id;
    for _ in 0..3 {
        ok(cx.delete_snapshot(delete_request(&id)).await, "DeleteSnapshot")?;
    }
    Ok(())
}

async fn gone(cx: Cx) -> Outcome {
    let (one, two) = (cx.create("snapshot").await?, cx.create("snapshot").await?);
    let request = cx.snapshot_request(&one.volume_id, "gone");
    let id = cx.ready_snapshot(request.clone()).await?.snapshot_id;
    ok(cx.delete_snapshot(delete_request(&id)).await, "DeleteSnapshot")?;
    if cx.driver.caps.has(Rpc::GetSnapshot) {
        let request = v1::GetSnapshotRequest { snapshot_id: id.clone(), ..Default::default() };
        refused(cx.get_snapshot(request).await, Code::NotFound, "a deleted snapshot")?;
    }
    // The name is free: for another volume, too.
    let other = v1::CreateSnapshotRequest { source_volume_id: two.volume_id, ..request };
    cx.ready_snapshot(other).await.map(drop)
}

async fn unlisted(cx: Cx) -> Outcome {
    let volume = cx.create("snapshot").await?;
    let id = cx.snapshot(&volume.volume_id, "gone").await?.snapshot_id;
    ok(cx.delete_snapshot(delete_request(&id)).await, "DeleteSnapshot")?;
    let request = v1::ListSnapshotsRequest { snapshot_id: id, ..Default::default() };
    let listed = ok(cx.list_snapshots(request).await, "ListSnapshots")?.entries;
    ensure!(listed.is_empty(), "a deleted snapshot is still listed");
    Ok(())
}

async fn in_use(cx: Cx) -> Outcome {
    let volume = cx.create("snapshot").await?;
    let id = cx.snapshot(&volume.volume_id, "in-use").await?.snapshot_id;
    let mut restore = cx.create_request("restored");
    restore.volume_content_source = Some(super::source::of_snapshot(&id));
    let restored = some(ok(cx.create_volume(restore).await, "a volume from the snapshot")?.volume, "volume")?;
    let answer = cx.delete_snapshot(delete_request(&id)).await;
    let refused = ok_or(answer, &[Code::FailedPrecondition], "a snapshot that a volume was made from")?.is_none();
    let validate = super::validate::request(&cx, &restored);
    ok(cx.validate_volume_capabilities(validate).await, "the volume, after its snapshot's deletion")?;
    cx.delete(&restored.volume_id).await?;
    if refused {
        ok(cx.delete_snapshot(delete_request(&id)).await, "the snapshot, once nothing uses it")?;
    }
    Ok(())
}
