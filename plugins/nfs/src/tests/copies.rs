//! Snapshots, restored volumes and clones.

use super::{ONE, TWO, gib, made, publish, request, shot, with};
use crate::Share;
use crate::fake::{map, names, start, world};
use crate::refused;
use AccessMode::{MultiNodeMultiWriter, MultiNodeReaderOnly};
use bulkhead_sdk::prelude::*;

fn write(share: &str, object: &str, files: &str) {
    world(|world| world.pools.get_mut(share).unwrap().objects.get_mut(object).unwrap().files = files.to_owned());
}

fn read(share: &str, object: &str) -> String {
    world(|world| world.pools[share].objects[object].files.clone())
}

fn ids(page: &SnapshotPage) -> Vec<&str> {
    page.entries.iter().map(|snapshot| snapshot.snapshot_id.as_str()).collect()
}

fn list(source: Option<&str>, snapshot: Option<&str>) -> Result<SnapshotPage> {
    let filter =
        SnapshotFilter { source_volume_id: source.map(str::to_owned), snapshot_id: snapshot.map(str::to_owned) };
    Share::list_snapshots(filter, PageRequest { max_entries: 0, token: None })
}

#[test]
fn a_snapshot_holds_what_was_there_and_is_restored() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    write("a", "v", "old");
    let cut = Share::create_snapshot(shot("s", &id)).expect("cut");
    assert_eq!((cut.snapshot_id.as_str(), cut.source_volume_id.as_str(), cut.ready_to_use), ("a/_s_s", "a/v", true));
    assert!(world(|world| world.pools["a"].objects["_s_s"].object.read_only));
    write("a", "v", "new");
    assert_eq!(Share::create_snapshot(shot("s", &id)), Ok(cut.clone()));
    let restored = Share::create_volume_from_snapshot(request("r"), cut.snapshot_id.clone()).expect("restored");
    assert_eq!((restored.volume_id.as_str(), read("a", "r").as_str()), ("a/r", "old"));
    assert_eq!(restored.source, Some(ContentSource::Snapshot(cut.snapshot_id.clone())));
    let clone = Share::create_volume_from_volume(request("c"), id.clone()).expect("cloned");
    assert_eq!((clone.source, read("a", "c").as_str()), (Some(ContentSource::Volume(id.clone())), "new"));
    Share::delete_volume(id).expect("snapshots don't need their source");
    assert_eq!(Share::get_snapshot(cut.snapshot_id.clone()), Ok(cut.clone()));
    for _ in 0..2 {
        assert_eq!(Share::delete_snapshot(cut.snapshot_id.clone()), Ok(()));
    }
    assert_eq!(names("a"), ["c", "r"]);
    assert_eq!(Share::delete_snapshot("a/c".to_owned()), Ok(()), "that is a volume");
    assert_eq!(names("a"), ["c", "r"]);
    refused!(Share::delete_snapshot("elsewhere/_s_x".to_owned()), FailedPrecondition);
}

#[test]
fn nothing_is_copied_while_somebody_may_write_to_it() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    publish(&id, "n1", MultiNodeReaderOnly, true).expect("attached");
    let cut = Share::create_snapshot(shot("quiet", &id)).expect("only read").snapshot_id;
    publish(&id, "n2", MultiNodeMultiWriter, false).expect("attached");
    let message = refused!(Share::create_snapshot(shot("s", &id)), FailedPrecondition);
    assert!(message.contains("to n2,") && message.contains("copyInUse"), "{message}");
    refused!(Share::create_volume_from_volume(request("c"), id.clone()), FailedPrecondition);
    assert!(Share::create_volume_from_snapshot(request("r"), cut).is_ok(), "nobody writes to a snapshot");
    world(|world| world.config.extend(map(&[("copyInUse", "true")])));
    assert!(Share::create_snapshot(shot("s", &id)).is_ok());
    assert!(Share::create_volume_from_volume(request("c"), id).is_ok());
}

#[test]
fn copies_are_where_their_source_is_and_as_large() {
    start(&["a", "b"], &TWO);
    let id = made(with("v", &[("share", "a")]));
    let copy = |request| Share::create_volume_from_volume(request, id.clone());
    refused!(copy(with("c", &[("share", "b")])), InvalidArgument);
    let sized =
        |required, limit| CreateVolumeRequest { capacity: Some(CapacityRange { required, limit }), ..request("c") };
    refused!(copy(sized(None, Some(gib(1) - 1))), OutOfRange);
    let made = copy(sized(Some(gib(3)), None)).expect("a larger copy");
    assert_eq!((made.volume_id.as_str(), made.capacity_bytes), ("a/c", gib(3)));
    refused!(Share::create_volume_from_volume(request("d"), "a/none".to_owned()), NotFound);
    refused!(Share::create_volume_from_snapshot(request("d"), "a/_s_none".to_owned()), NotFound);
    refused!(Share::create_snapshot(shot("s", "a/none")), NotFound);
}

#[test]
fn names_of_snapshots_are_of_one_source() {
    start(&["a", "b"], &TWO);
    let (one, two) = (made(with("1", &[("share", "a")])), made(with("2", &[("share", "b")])));
    Share::create_snapshot(shot("s", &one)).expect("cut");
    refused!(Share::create_snapshot(shot("s", &two)), AlreadyExists);
    Share::create_snapshot(shot("t", &two)).expect("cut");
    let bad = CreateSnapshotRequest { parameters: map(&[("share", "a")]), ..shot("u", &one) };
    refused!(Share::create_snapshot(bad), InvalidArgument);
    assert_eq!(ids(&list(None, None).unwrap()), ["a/_s_s", "b/_s_t"]);
    assert_eq!(ids(&list(Some(&two), None).unwrap()), ["b/_s_t"]);
    assert_eq!(ids(&list(None, Some("a/_s_s")).unwrap()), ["a/_s_s"]);
    for (source, snapshot) in [(Some("none"), None), (None, Some("a/_s_none")), (Some(two.as_str()), Some("a/_s_s"))] {
        assert!(list(source, snapshot).unwrap().entries.is_empty(), "{source:?} {snapshot:?}");
    }
}

#[test]
fn a_host_that_dies_leaves_all_or_nothing() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    world(|world| world.writes_left = Some(0));
    refused!(Share::create_snapshot(shot("s", &id)), UnknownOutcome);
    refused!(Share::create_volume(request("w")), UnknownOutcome);
    assert_eq!(names("a"), ["v"]);
    world(|world| world.writes_left = None);
    assert!(Share::create_snapshot(shot("s", &id)).is_ok() && Share::create_volume(request("w")).is_ok());
}
