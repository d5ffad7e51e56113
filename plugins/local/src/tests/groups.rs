//! Groups of snapshots.

use super::{DIGEST, cut, made, shot, with};
use crate::Local;
use crate::fake::{map, names, start, world};
use crate::refused;
use bulkhead_sdk::prelude::*;

fn group(name: &str, sources: &[&str]) -> GroupRequest {
    GroupRequest {
        name: name.to_owned(),
        source_volume_ids: sources.iter().map(|id| (*id).to_owned()).collect(),
        parameters: Vec::new(),
        request_digest: DIGEST.to_owned(),
    }
}

fn create(name: &str, sources: &[&str]) -> Result<GroupSnapshot> {
    Local::create_volume_group_snapshot(group(name, sources))
}

fn three() -> [String; 3] {
    start(&["a", "b"], &[]);
    ["1", "2", "3"].map(|name| made(with(name, &[("pool", "a")])))
}

fn ids(group: &GroupSnapshot) -> Vec<String> {
    group.snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect()
}

fn delete(id: &str, members: &[String]) -> Result<()> {
    Local::delete_volume_group_snapshot(id.to_owned(), members.to_vec())
}

fn get(id: &str, members: &[String]) -> Result<GroupSnapshot> {
    Local::get_volume_group_snapshot(id.to_owned(), members.to_vec())
}

#[test]
fn one_cut_of_all_and_the_order_means_nothing() {
    let [one, two, three] = three();
    let made = create("g", &[&two, &one]).expect("cut");
    assert!(made.group_snapshot_id.starts_with("a/_m_") && made.ready_to_use);
    let sources: Vec<_> = made.snapshots.iter().map(|snapshot| snapshot.source_volume_id.as_str()).collect();
    assert_eq!(sources, [one.as_str(), two.as_str()]);
    for snapshot in &made.snapshots {
        assert_eq!(snapshot.group_snapshot_id.as_ref(), Some(&made.group_snapshot_id));
        assert_eq!((snapshot.created_at_ms, &snapshot.request_digest), (made.created_at_ms, &None));
        assert_eq!(Local::get_snapshot(snapshot.snapshot_id.clone()).as_ref(), Ok(snapshot));
    }
    assert_eq!(create("g", &[&one, &two]), Ok(made.clone()));
    assert_eq!(get(&made.group_snapshot_id, &[]), Ok(made.clone()));
    assert_eq!(get(&made.group_snapshot_id, &ids(&made)), Ok(made.clone()));
    refused!(create("g", &[&one]), AlreadyExists);
    refused!(create("g", &[&one, &three]), AlreadyExists);
    refused!(create("g", &[&one, &two, &three]), AlreadyExists);
    let other = GroupRequest { request_digest: "1".repeat(64), ..group("g", &[&one, &two]) };
    refused!(Local::create_volume_group_snapshot(other), AlreadyExists);
    let all = SnapshotFilter { source_volume_id: None, snapshot_id: None };
    let page = Local::list_snapshots(all, PageRequest { max_entries: 0, token: None }).expect("a page");
    assert_eq!(page.entries, made.snapshots);
}

#[test]
fn what_can_not_be_cut_together_is_refused() {
    let [one, two, _] = three();
    let far = made(with("far", &[("pool", "b")]));
    refused!(create("g", &[&one, &far]), FailedPrecondition);
    refused!(create("g", &[&one, "a/none"]), NotFound);
    refused!(create("g", &[&one, &one]), InvalidArgument);
    let bad = GroupRequest { parameters: map(&[("pool", "a")]), ..group("g", &[&one]) };
    refused!(Local::create_volume_group_snapshot(bad), InvalidArgument);
    assert_eq!(names("a"), ["1", "2", "3"]);
    create("g", &[&one, &two]).expect("cut");
    refused!(create("g", &[&far]), AlreadyExists);
}

#[test]
fn members_go_with_their_group_only() {
    let [one, two, _] = three();
    let made = create("g", &[&one, &two]).expect("cut");
    let (id, members) = (&made.group_snapshot_id, ids(&made));
    let message = refused!(Local::delete_snapshot(members[0].clone()), InvalidArgument);
    assert!(message.contains(id.as_str()), "{message}");
    let single = cut("s", &one);
    let strange = [members[0].clone(), single.clone()];
    refused!(delete(id, &strange), InvalidArgument);
    refused!(get(id, &strange), InvalidArgument);
    refused!(get(id, &[members[0].replace("_000", "_002")]), InvalidArgument);
    assert_eq!(get(id, &[]), Ok(made.clone()));

    let mut request = super::request("r");
    request.capacity = None;
    let restored = Local::create_volume_from_snapshot(request, members[1].clone()).expect("restored");
    assert_eq!(restored.source, Some(ContentSource::Snapshot(members[1].clone())));
    Local::delete_volume(one).expect("snapshots don't need their source");
    assert_eq!(delete(id, &members), Ok(()));
    assert_eq!(names("a"), ["2", "3", "_s_s", "r"]);
    assert_eq!(delete(id, &members), Ok(()));
    assert_eq!(delete("nonsense", &[]), Ok(()));
    refused!(get(id, &members), NotFound);
    refused!(get("nonsense", &[]), NotFound);
    refused!(delete("elsewhere/_m_00000000000000000000000000000000", &[]), FailedPrecondition);
    assert_eq!(Local::delete_snapshot(members[0].clone()), Ok(()));
}

#[test]
fn a_removal_that_was_cut_short_goes_on() {
    for done in 0..3 {
        let [one, two, three] = three();
        let sources = [one.as_str(), two.as_str(), three.as_str()];
        let first = create("g", &sources).expect("cut");
        let (id, members) = (&first.group_snapshot_id, ids(&first));
        world(|world| world.writes_left = Some(done));
        refused!(delete(id, &members), UnknownOutcome);
        world(|world| world.writes_left = None);
        if done > 0 {
            refused!(get(id, &[]), Pending);
        }
        assert_eq!(delete(id, &members), Ok(()), "after {done}");
        assert_eq!(names("a"), ["1", "2", "3"]);
    }
}

#[test]
fn a_new_group_waits_until_the_old_one_is_gone() {
    let [one, two, three] = three();
    let sources = [one.as_str(), two.as_str(), three.as_str()];
    let first = create("g", &sources).expect("cut");
    world(|world| world.writes_left = Some(1));
    refused!(delete(&first.group_snapshot_id, &[]), UnknownOutcome);
    world(|world| world.writes_left = None);
    refused!(create("g", &sources), Pending);
    let second = create("g", &sources).expect("cut");
    assert_eq!(ids(&second), ids(&first));
    assert!(second.created_at_ms > first.created_at_ms);
}

#[test]
fn a_cut_that_fails_leaves_no_member() {
    let [one, two, _] = three();
    world(|world| world.writes_left = Some(0));
    refused!(create("g", &[&one, &two]), UnknownOutcome);
    world(|world| world.writes_left = None);
    assert_eq!(names("a"), ["1", "2", "3"]);
    // A snapshot of the name of a group is something else.
    create("g", &[&one]).expect("cut");
    Local::create_snapshot(shot("g", &one)).expect("cut");
}

#[test]
fn the_largest_group_has_a_thousand_members() {
    start(&["a"], &[]);
    let sources: Vec<String> = (0..1000).map(|number| made(super::request(&format!("v{number}")))).collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let made = create("g", &sources).expect("cut");
    assert_eq!(made.snapshots.len(), 1000);
    assert_eq!(get(&made.group_snapshot_id, &ids(&made)), Ok(made.clone()));
    assert_eq!(delete(&made.group_snapshot_id, &ids(&made)), Ok(()));
    assert_eq!(names("a").len(), 1000);
}
