//! Who may use a volume where.

use super::{block, made, mount, publish, request, with};
use crate::Local;
use crate::fake::{map, start, world};
use crate::refused;
use AccessMode::{
    MultiNodeMultiWriter, MultiNodeReaderOnly, MultiNodeSingleWriter, SingleNodeMultiWriter, SingleNodeSingleWriter,
};
use bulkhead_sdk::prelude::*;

fn unpublish(volume_id: &str, node: Option<&str>) {
    Local::controller_unpublish_volume(volume_id.to_owned(), node.map(str::to_owned)).expect("detached");
}

fn published(volume_id: &str) -> Vec<String> {
    Local::get_volume(volume_id.to_owned()).expect("a volume").published_node_ids
}

#[test]
fn the_same_again_is_fine_and_another_way_is_not() {
    start(&["a"], &[]);
    let id = made(request("v"));
    let answer = map(&[("readOnly", "true")]);
    assert_eq!(publish(&id, "n1", mount(""), true), Ok(answer.clone()));
    assert_eq!(publish(&id, "n1", mount(""), true), Ok(answer));
    refused!(publish(&id, "n1", mount(""), false), AlreadyExists);
    refused!(publish(&id, "n1", block(), true), AlreadyExists);
    refused!(publish(&id, "n1", VolumeCapability::mount(SingleNodeMultiWriter, ""), true), AlreadyExists);
    assert!(refused!(publish(&id, "n2", mount(""), true), FailedPrecondition).contains("n1"));
    assert_eq!(published(&id), ["n1"]);
    unpublish(&id, Some("n2"));
    assert_eq!(published(&id), ["n1"]);
    unpublish(&id, Some("n1"));
    unpublish(&id, Some("n1"));
    assert_eq!(publish(&id, "n2", mount(""), false), Ok(map(&[("readOnly", "false")])));
    let page = Local::list_volumes(PageRequest { max_entries: 0, token: None }).expect("a page");
    assert_eq!(page.entries[0].published_node_ids, ["n2"]);
    unpublish(&id, None);
    assert!(published(&id).is_empty());
    let metadata = world(|world| world.pools["a"].objects["v"].object.spec.metadata.clone());
    assert_eq!(metadata, map(&[("csi-name", "v"), ("request-digest", super::DIGEST), ("fs-type", "ext4")]));
}

#[test]
fn what_is_unknown_or_impossible() {
    start(&["a"], &[]);
    let id = made(request("v"));
    refused!(publish("a/none", "n1", mount(""), false), NotFound);
    refused!(publish("nonsense", "n1", mount(""), false), NotFound);
    refused!(publish(&id, "n1", mount("xfs"), false), InvalidArgument);
    refused!(publish(&id, "n1", VolumeCapability::mount(MultiNodeMultiWriter, ""), false), InvalidArgument);
    let directory = made(with("d", &[("type", "directory")]));
    refused!(publish(&directory, "n1", block(), false), InvalidArgument);
    unpublish("a/none", Some("n1"));
    unpublish("nonsense", None);
}

#[test]
fn several_nodes_need_a_mode_for_it_on_both_sides() {
    start(&["s"], &[("pools.s.shared", "true")]);
    let id = made(with("d", &[("type", "directory")]));
    let way = |mode| VolumeCapability::mount(mode, "");
    publish(&id, "n1", way(MultiNodeMultiWriter), false).expect("attached");
    publish(&id, "n2", way(MultiNodeMultiWriter), false).expect("attached");
    let message = refused!(publish(&id, "n3", way(SingleNodeSingleWriter), false), FailedPrecondition);
    assert!(message.contains("n1"), "{message}");
    refused!(publish(&id, "n3", way(MultiNodeSingleWriter), false), FailedPrecondition);
    publish(&id, "n3", way(MultiNodeSingleWriter), true).expect("a reader");
    assert_eq!(published(&id), ["n1", "n2", "n3"]);
    unpublish(&id, None);
    publish(&id, "n1", way(MultiNodeSingleWriter), false).expect("the writer");
    refused!(publish(&id, "n2", way(MultiNodeSingleWriter), false), FailedPrecondition);
    publish(&id, "n2", way(MultiNodeReaderOnly), false).expect("a reader");
    unpublish(&id, Some("n1"));
    publish(&id, "n3", way(MultiNodeSingleWriter), false).expect("the next writer");
}

#[test]
fn a_node_has_so_many_slots() {
    start(&["a", "b"], &[("maxVolumesPerNode", "2"), ("defaultPool", "a")]);
    let [one, two, three] =
        [("1", "a"), ("2", "b"), ("3", "a")].map(|(name, pool)| made(with(name, &[("pool", pool)])));
    publish(&one, "n1", mount(""), false).expect("attached");
    publish(&two, "n1", mount(""), false).expect("attached");
    let lists = world(|world| world.lists);
    refused!(publish(&three, "n1", mount(""), false), ResourceExhausted);
    assert_eq!(world(|world| world.lists), lists + 2);
    publish(&two, "n1", mount(""), false).expect("it has its slot");
    assert_eq!(world(|world| world.lists), lists + 2, "no walk for what is attached");
    publish(&three, "n2", mount(""), false).expect("another node");
    unpublish(&one, Some("n1"));
    unpublish(&three, None);
    publish(&three, "n1", mount(""), false).expect("a slot is free");
}

#[test]
fn races_are_run_again() {
    start(&["a"], &[]);
    let id = made(request("v"));
    world(|world| world.conflicts = 2);
    publish(&id, "n1", mount(""), false).expect("attached");
    world(|world| world.conflicts = 2);
    unpublish(&id, None);
    world(|world| world.conflicts = 1000);
    refused!(publish(&id, "n1", mount(""), false), Pending);
    world(|world| world.conflicts = 0);
    assert!(published(&id).is_empty());
}

#[test]
fn metadata_has_an_end() {
    start(&["s"], &[("pools.s.shared", "true")]);
    let id = made(with("d", &[("type", "directory")]));
    let way = VolumeCapability::mount(MultiNodeMultiWriter, "");
    let name = |number: usize| format!("{number}{}", "n".repeat(200));
    let full = (0..100).map(|number| publish(&id, &name(number), way.clone(), false)).find(Result::is_err);
    refused!(full.expect("an end"), ResourceExhausted);
    let attached = published(&id);
    assert!(attached.len() > 10);
    unpublish(&id, Some(&attached[0]));
    publish(&id, &attached[0], way, false).expect("there is room again");
}
