use super::{made, request};
use crate::fake::{Fault, asked_again, calls, fail, map, start, world};
use crate::{Ebs, refused};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

fn shot(name: &str, source: &str, parameters: &[(&str, &str)]) -> CreateSnapshotRequest {
    CreateSnapshotRequest {
        name: name.to_owned(),
        source_volume_id: source.to_owned(),
        parameters: map(parameters),
        topology: None,
        request_digest: super::DIGEST.to_owned(),
    }
}

fn cut(name: &str, source: &str) -> Snapshot {
    asked_again(|| Ebs::create_snapshot(shot(name, source, &[]))).unwrap()
}

fn count() -> usize {
    world(|world| world.snapshots.len())
}

#[test]
fn a_snapshot_is_cut_once_whatever_gets_lost() {
    for fault in [
        Fault::LostAfter,
        Fault::LostBefore,
        Fault::Proxy(502),
        Fault::NotSent,
        Fault::Refused(500, "InternalError"),
        Fault::Refused(503, "RequestLimitExceeded"),
    ] {
        start();
        let source = made(&request("pvc-1")).volume_id;
        fail("CreateSnapshot", fault);
        fail("DescribeSnapshots", fault);
        let snapshot = cut("snap", &source);
        assert_eq!((count(), snapshot.ready_to_use, snapshot.size_bytes), (1, true, 4 * GIB), "{fault:?}");
        assert_eq!((snapshot.source_volume_id.as_str(), snapshot.created_at_ms > 0), (source.as_str(), true));
        assert_eq!(cut("snap", &source), snapshot);
        assert_eq!(snapshot.request_digest.as_deref(), Some(super::DIGEST));
    }
}

#[test]
fn a_snapshot_is_named_and_used_by_one_volume_only() {
    start();
    let (a, b) = (made(&request("a")).volume_id, made(&request("b")).volume_id);
    cut("snap", &a);
    refused!(Ebs::create_snapshot(shot("snap", &b, &[])), AlreadyExists);
    refused!(Ebs::create_snapshot(shot("new", "vol-dead", &[])), NotFound);
    assert!(refused!(Ebs::create_snapshot(shot("new", &a, &[("bogus", "x")])), InvalidArgument).contains("bogus"));
}

#[test]
fn snapshots_become_ready_and_volumes() {
    start();
    world(|world| world.slow = true);
    let source = made(&request("pvc-1")).volume_id;
    let pending = cut("snap", &source);
    assert!(!pending.ready_to_use);
    world(|world| world.snapshots.get_mut(&pending.snapshot_id).unwrap().status = "pending");
    let restore = |required: Option<u64>, limit| {
        let capacity = Some(CapacityRange { required, limit });
        let request =
            CreateVolumeRequest { capacity, ..super::with("restored", &[("volumeInitializationRate", "200")]) };
        Ebs::create_volume_from_snapshot(request, pending.snapshot_id.clone())
    };
    refused!(restore(None, None), Pending);
    refused!(restore(None, Some(GIB)), OutOfRange);
    let volume = asked_again(|| restore(Some(GIB), None)).unwrap();
    assert_eq!(
        (volume.capacity_bytes, volume.source.clone()),
        (4 * GIB, Some(ContentSource::Snapshot(pending.snapshot_id.clone())))
    );
    assert_eq!(volume.context, map(&[("content", "snapshot")]));
    refused!(Ebs::create_volume_from_snapshot(request("x"), "snap-dead".to_owned()), NotFound);
    assert!(cut("snap", &source).ready_to_use);
    // The answer was lost, and the snapshot is gone when it is asked again.
    Ebs::delete_snapshot(pending.snapshot_id.clone()).unwrap();
    assert_eq!(asked_again(|| restore(Some(GIB), None)), Ok(volume));
}

#[test]
fn snapshots_of_others_are_left_alone() {
    start();
    let source = made(&request("pvc-1")).volume_id;
    let id = cut("snap", &source).snapshot_id;
    world(|world| world.snapshots.get_mut(&id).unwrap().tags.remove("kubernetes.io/cluster/one"));
    Ebs::delete_snapshot(id.clone()).unwrap();
    assert_eq!(count(), 1);
    refused!(Ebs::create_volume_from_snapshot(request("x"), id.clone()), NotFound);
    refused!(Ebs::get_snapshot(id), NotFound);
    let own = cut("snap-2", &source).snapshot_id;
    for fault in [Fault::LostAfter, Fault::LostBefore] {
        fail("DeleteSnapshot", fault);
    }
    for id in [own.as_str(), own.as_str(), "snap-dead", "", "vol-1", "snap-../x"] {
        asked_again(|| Ebs::delete_snapshot(id.to_owned())).unwrap();
    }
    assert_eq!(count(), 1);
}

#[test]
fn a_failed_snapshot_is_removed_and_cut_again() {
    start();
    let source = made(&request("pvc-1")).volume_id;
    let failed = cut("snap", &source).snapshot_id;
    world(|world| world.snapshots.get_mut(&failed).unwrap().status = "error");
    assert_ne!(cut("snap", &source).snapshot_id, failed);
    assert_eq!(count(), 1);
}

#[test]
fn fast_restore_is_had_in_all_zones_or_costs_the_snapshot() {
    start();
    let source = made(&request("pvc-1")).volume_id;
    let shot =
        |zones: &str| Ebs::create_snapshot(shot("snap", &source, &[("fastSnapshotRestoreAvailabilityZones", zones)]));
    shot("eu-central-1a, eu-central-1b").unwrap();
    assert_eq!((count(), calls("EnableFastSnapshotRestores")), (1, 1));
    assert!(refused!(shot("eu-central-1a,us-east-1a"), InvalidArgument).contains("us-east-1a"));
    assert_eq!(count(), 0);
}
