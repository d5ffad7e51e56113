//! Snapshots, their lists and their blocks.

use super::{ZONES, cut, gib, made, request, shot, with, zones};
use crate::Local;
use crate::fake::{UNIT, map, names, start, world, write};
use crate::refused;
use bulkhead_sdk::prelude::*;

fn list(source: Option<&str>, snapshot: Option<&str>, max_entries: u32, token: Option<String>) -> SnapshotPage {
    let filter =
        SnapshotFilter { source_volume_id: source.map(str::to_owned), snapshot_id: snapshot.map(str::to_owned) };
    Local::list_snapshots(filter, PageRequest { max_entries, token }).expect("a page")
}

fn ids(page: &SnapshotPage) -> Vec<&str> {
    page.entries.iter().map(|snapshot| snapshot.snapshot_id.as_str()).collect()
}

#[test]
fn the_same_name_and_source_are_the_same_snapshot() {
    start(&["a", "b"], &[]);
    let (one, two) = (made(with("1", &[("pool", "a")])), made(with("2", &[("pool", "b")])));
    let first = Local::create_snapshot(shot("s", &one)).expect("cut");
    assert_eq!((first.snapshot_id.as_str(), first.source_volume_id.as_str()), ("a/_s_s", "a/1"));
    assert_eq!((first.size_bytes, first.ready_to_use, first.created_at_ms), (gib(1), true, 3));
    assert_eq!((first.group_snapshot_id.clone(), first.request_digest.as_deref()), (None, Some(super::DIGEST)));
    assert!(world(|world| world.pools["a"].objects["_s_s"].object.read_only));
    assert_eq!(Local::create_snapshot(shot("s", &one)), Ok(first.clone()));
    refused!(Local::create_snapshot(shot("s", &two)), AlreadyExists);
    refused!(Local::create_snapshot(shot("t", "a/none")), NotFound);
    refused!(Local::create_snapshot(shot("t", &first.snapshot_id)), NotFound);
    let bad = CreateSnapshotRequest { parameters: map(&[("pool", "a")]), ..shot("t", &one) };
    refused!(Local::create_snapshot(bad), InvalidArgument);

    Local::delete_volume(one.clone()).expect("snapshots don't need their source");
    assert_eq!(Local::create_snapshot(shot("s", &one)), Ok(first.clone()));
    assert_eq!(Local::get_snapshot(first.snapshot_id.clone()), Ok(first.clone()));
    assert_eq!(Local::delete_snapshot(first.snapshot_id.clone()), Ok(()));
    assert_eq!(Local::delete_snapshot(first.snapshot_id.clone()), Ok(()));
    refused!(Local::get_snapshot(first.snapshot_id), NotFound);
    assert_eq!(Local::delete_snapshot("nonsense".to_owned()), Ok(()));
    assert_eq!(Local::delete_snapshot(two.clone()), Ok(()), "that is a volume");
    assert!(Local::get_volume(two).is_ok());
    refused!(Local::delete_snapshot("elsewhere/_s_x".to_owned()), FailedPrecondition);
}

#[test]
fn a_snapshot_is_where_its_source_is() {
    start(&["a", "b"], &ZONES);
    let id = made(with("v", &[("pool", "a")]));
    let at = |zone| CreateSnapshotRequest { topology: Some(zones(&[zone], true)), ..shot("s", &id) };
    refused!(Local::create_snapshot(at("2")), ResourceExhausted);
    assert_eq!(Local::create_snapshot(at("1")).expect("cut").accessible_topology, zones(&["1"], false).requisite);
}

#[test]
fn snapshots_are_listed_by_source_and_by_id() {
    start(&["a", "b"], &[]);
    let (one, two) = (made(with("1", &[("pool", "a")])), made(with("2", &[("pool", "b")])));
    for name in ["x", "y", "z"] {
        cut(&format!("one-{name}"), &one);
        cut(&format!("two-{name}"), &two);
    }
    assert_eq!(list(None, None, 0, None).entries.len(), 6);
    assert_eq!(ids(&list(Some(&two), None, 0, None)), ["b/_s_two-x", "b/_s_two-y", "b/_s_two-z"]);
    assert_eq!(ids(&list(None, Some("a/_s_one-y"), 0, None)), ["a/_s_one-y"]);
    assert_eq!(ids(&list(Some(&one), Some("a/_s_one-y"), 1, None)), ["a/_s_one-y"]);
    for (source, snapshot) in [
        (Some(two.as_str()), Some("a/_s_one-y")),
        (None, Some("a/1")),
        (None, Some("a/_s_none")),
        (None, Some("elsewhere/_s_x")),
        (Some("a/none"), None),
        (Some("nonsense"), None),
        (Some("elsewhere/v"), None),
    ] {
        assert_eq!(list(source, snapshot, 0, None).entries, [], "{source:?} {snapshot:?}");
    }
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page = list(Some(&one), None, 2, token);
        assert!(page.entries.len() <= 2);
        seen.extend(page.entries);
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 3);
    let bad = PageRequest { max_entries: 0, token: Some("a/1".to_owned()) };
    let none = SnapshotFilter { source_volume_id: None, snapshot_id: None };
    refused!(Local::list_snapshots(none, bad), InvalidArgument);
    let volumes = Local::list_volumes(PageRequest { max_entries: 0, token: None }).expect("a page");
    assert_eq!(volumes.entries.len(), 2);
}

#[test]
fn blocks_are_told_exactly() {
    start(&["a"], &[]);
    let id = made(request("v"));
    for unit in [0, 1, 5, 9] {
        write("a", "v", unit, 1);
    }
    let base = cut("base", &id);
    write("a", "v", 5, 2);
    write("a", "v", 100, 2);
    let target = cut("target", &id);
    let ranges = |page: &BlockPage| {
        page.ranges.iter().map(|range| (range.byte_offset / UNIT, range.size_bytes / UNIT)).collect::<Vec<_>>()
    };
    let allocated = |offset, max| Local::get_metadata_allocated(base.clone(), offset, max);
    let all = allocated(0, 0).expect("a page");
    assert_eq!((ranges(&all), all.next_offset), (vec![(0, 2), (5, 1), (9, 1)], None));
    assert_eq!(all.volume_capacity_bytes, gib(1));
    let first = allocated(0, 1).expect("a page");
    assert_eq!((ranges(&first), first.next_offset), (vec![(0, 2)], Some(5 * UNIT)));
    assert_eq!(ranges(&allocated(UNIT, 0).expect("a page")), [(1, 1), (5, 1), (9, 1)]);
    refused!(allocated(gib(1), 0), OutOfRange);
    refused!(allocated(u64::MAX, 0), OutOfRange);

    let delta = |offset| Local::get_metadata_delta(base.clone(), target.clone(), offset, 0);
    assert_eq!(ranges(&delta(0).expect("a page")), [(5, 1), (100, 1)]);
    assert_eq!(ranges(&delta(6 * UNIT).expect("a page")), [(100, 1)]);
    let same = Local::get_metadata_delta(base.clone(), base.clone(), 0, 0).expect("a page");
    assert_eq!((same.ranges.len(), same.next_offset), (0, None));
    refused!(delta(gib(1)), OutOfRange);

    let other = cut("other", &made(request("w")));
    refused!(Local::get_metadata_delta(base.clone(), other, 0, 0), InvalidArgument);
    refused!(Local::get_metadata_delta(base.clone(), "a/_s_none".to_owned(), 0, 0), NotFound);
    refused!(Local::get_metadata_allocated(id, 0, 0), NotFound);
    let directory = cut("dir", &made(with("d", &[("type", "directory")])));
    refused!(Local::get_metadata_allocated(directory, 0, 0), FailedPrecondition);
}

#[test]
fn a_walk_over_blocks_joins_up() {
    start(&["a"], &[]);
    let id = made(request("v"));
    for unit in (0..5000).step_by(2) {
        write("a", "v", unit, 1);
    }
    let snapshot = cut("s", &id);
    for max in [0, 7, 1000, 2000] {
        let (mut offset, mut found) = (Some(0), Vec::new());
        while let Some(from) = offset {
            let page = Local::get_metadata_allocated(snapshot.clone(), from, max).expect("a page");
            assert!(max == 0 || page.ranges.len() <= max as usize);
            assert!(page.next_offset.is_none_or(|next| next > from), "no progress");
            found.extend(page.ranges.iter().map(|range| range.byte_offset / UNIT));
            offset = page.next_offset;
        }
        assert_eq!(found, (0..5000).step_by(2).collect::<Vec<_>>(), "max {max}");
    }
}

#[test]
fn nothing_is_left_of_a_cut_that_fails() {
    start(&["a"], &[]);
    let id = made(request("v"));
    world(|world| world.writes_left = Some(0));
    refused!(Local::create_snapshot(shot("s", &id)), UnknownOutcome);
    world(|world| world.writes_left = None);
    assert_eq!(names("a"), ["v"]);
    cut("s", &id);
}
