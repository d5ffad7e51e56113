//! Ids that name a node: what comes to another one, and what was made before.

use super::*;
use crate::fake::{names, start, world};
use crate::nodes::NODE;
use crate::refused;

/// Each node has a pool of its own, of the same name.
const HERE: [(&str, &str); 1] = [(NODE, "node-1")];

fn go_to(node: &str) {
    world(|world| world.config = map(&[(NODE, node)]));
}

/// Nothing here is of `id`, which is on node-1: every call says so, and none that it is gone.
fn all_refuse(volume: &str, snapshot: &str) {
    let names_node = |text: String| assert!(text.contains("is on node node-1"), "{text}");
    names_node(refused!(Local::delete_volume(volume.to_owned()), FailedPrecondition));
    let validate = ValidateRequest {
        volume_id: volume.to_owned(),
        context: Vec::new(),
        capabilities: vec![mount("")],
        parameters: Vec::new(),
        mutable_parameters: Vec::new(),
    };
    names_node(refused!(Local::validate_volume_capabilities(validate), FailedPrecondition));
    let capacity = CapacityRange { required: Some(gib(2)), limit: None };
    let expand = ExpandRequest { volume_id: volume.to_owned(), capacity, capability: None };
    names_node(refused!(Local::expand_volume(expand), FailedPrecondition));
    names_node(refused!(Local::modify_volume(volume.to_owned(), Vec::new()), FailedPrecondition));
    names_node(refused!(Local::get_volume(volume.to_owned()), FailedPrecondition));
    names_node(refused!(Local::get_volume_health(volume.to_owned()), FailedPrecondition));
    names_node(refused!(publish(volume, "node-2", mount(""), false), FailedPrecondition));
    names_node(refused!(Local::controller_unpublish_volume(volume.to_owned(), None), FailedPrecondition));
    names_node(refused!(Local::create_snapshot(shot("s2", volume)), FailedPrecondition));
    names_node(refused!(Local::delete_snapshot(snapshot.to_owned()), FailedPrecondition));
    names_node(refused!(Local::get_snapshot(snapshot.to_owned()), FailedPrecondition));
    let page = || PageRequest { max_entries: 0, token: None };
    for (source_volume_id, snapshot_id) in [(Some(volume.to_owned()), None), (None, Some(snapshot.to_owned()))] {
        let filter = SnapshotFilter { source_volume_id, snapshot_id };
        names_node(refused!(Local::list_snapshots(filter, page()), FailedPrecondition));
    }
    let plan = PlanRequest {
        volume_id: volume.to_owned(),
        context: map(&[("type", "image")]),
        publish_context: Vec::new(),
        capability: mount(""),
        node: node("node-2", &[]),
    };
    names_node(refused!(Local::plan_volume(plan), FailedPrecondition));
    // The CO may go where the source is.
    names_node(refused!(Local::create_volume_from_volume(request("c"), volume.to_owned()), ResourceExhausted));
    names_node(refused!(Local::create_volume_from_snapshot(request("r"), snapshot.to_owned()), ResourceExhausted));
}

#[test]
fn volumes_and_snapshots_say_where_they_are() {
    start(&["fast"], &HERE);
    let volume = made(request("v"));
    let snapshot = cut("s", &volume);
    assert_eq!((volume.as_str(), snapshot.as_str()), ("node-1/fast/v", "node-1/fast/_s_s"));
    let copy = Local::create_volume_from_snapshot(request("c"), snapshot.clone()).expect("a copy");
    assert_eq!(copy.volume_id, "node-1/fast/c");
    assert_eq!(copy.source, Some(ContentSource::Snapshot(snapshot.clone())));
    let listed = Local::list_volumes(PageRequest { max_entries: 1, token: None }).expect("a page");
    assert_eq!(listed.entries[0].volume.volume_id, "node-1/fast/c");
    let rest = Local::list_volumes(PageRequest { max_entries: 1, token: listed.next_token }).expect("a page");
    assert_eq!(rest.entries[0].volume.volume_id, volume);
    let filter = SnapshotFilter { source_volume_id: Some(volume.clone()), snapshot_id: None };
    let found = Local::list_snapshots(filter, PageRequest { max_entries: 0, token: None }).expect("a page");
    assert_eq!(found.entries[0].snapshot_id, snapshot);
    for _ in 0..2 {
        Local::delete_snapshot(snapshot.clone()).expect("gone");
        Local::delete_volume(volume.clone()).expect("gone");
    }
    assert_eq!(names("fast"), ["c"]);
}

#[test]
fn another_node_never_says_that_it_is_gone() {
    start(&["fast"], &HERE);
    let volume = made(request("v"));
    let snapshot = cut("s", &volume);
    go_to("node-2");
    all_refuse(&volume, &snapshot);
    // Nor does one whose ids name no node.
    world(|world| world.config = Vec::new());
    all_refuse(&volume, &snapshot);
    assert_eq!(names("fast"), ["_s_s", "v"]);
}

#[test]
fn what_was_made_before_is_served_where_it_is_and_unknown_nowhere() {
    start(&["fast"], &[]);
    let (volume, snapshot) = (made(request("v")), cut("s", "fast/v"));
    go_to("node-1");
    let found = Local::get_volume(volume.clone()).expect("the volume").volume;
    assert_eq!(found.volume_id, "fast/v");
    assert_eq!(made(request("v")), "node-1/fast/v");
    let copy = Local::create_volume_from_snapshot(request("c"), snapshot.clone()).expect("a copy");
    assert_eq!(copy.volume_id, "node-1/fast/c");
    Local::delete_snapshot(snapshot.clone()).expect("gone");
    Local::delete_volume(volume.clone()).expect("gone");
    assert_eq!(names("fast"), ["c"]);
    let text = refused!(Local::delete_volume(volume.clone()), FailedPrecondition);
    assert!(text.contains("names no node"), "{text}");
    refused!(Local::delete_snapshot(snapshot), FailedPrecondition);
    refused!(Local::get_volume(volume.clone()), FailedPrecondition);
    refused!(Local::get_volume_health(volume), FailedPrecondition);
    // Nobody has ever made these.
    Local::delete_volume("no-such-volume".to_owned()).expect("fine");
    refused!(Local::get_volume("node-1/fast/gone".to_owned()), NotFound);
}

#[test]
fn a_long_name_is_cut_and_still_told() {
    let long = "worker-17.".repeat(12) + "example.com";
    start(&["fast"], &[(NODE, &long)]);
    let volume = made(request("pvc-5f0c1e9a-7a44-4a37-9d4a-7d4ab1d6f1f0"));
    assert!(volume.starts_with("worker-17.worker-17.") && volume.len() <= 128, "{volume}");
    assert!(volume.ends_with("/fast/pvc-5f0c1e9a-7a44-4a37-9d4a-7d4ab1d6f1f0"), "{volume}");
    let part = volume.split('/').next().expect("a node").to_owned();
    go_to("node-2");
    let text = refused!(Local::delete_volume(volume), FailedPrecondition);
    assert!(text.contains(&part), "{text}");
}

#[test]
fn each_node_has_its_own_capacity() {
    const KEY: &str = "topology.local.csi.bulkhead.dev/node";
    let config = [
        (NODE, "node-1"),
        ("topologyKeys.0", KEY),
        ("pools.fast.accessibleFrom.0.topology.local.csi.bulkhead.dev/node", "node-1"),
    ];
    start(&["fast"], &config);
    let place = |node: &str| Topology { segments: map(&[(KEY, node)]) };
    let capacity = |node: &str| {
        let request = CapacityRequest { capabilities: Vec::new(), parameters: Vec::new(), topology: Some(place(node)) };
        Local::get_capacity(request).expect("a capacity").available_bytes
    };
    assert_eq!((capacity("node-1"), capacity("node-2")), (gib(100), 0));
    let volume = Local::create_volume(request("v")).expect("a volume");
    assert_eq!(volume.accessible_topology, [place("node-1")]);
    let elsewhere = TopologyRequirement { requisite: vec![place("node-2")], preferred: vec![place("node-2")] };
    let there = CreateVolumeRequest { topology: Some(elsewhere), ..request("w") };
    refused!(Local::create_volume(there), ResourceExhausted);
}

#[test]
fn what_kubelet_adds_to_a_context_does_no_harm() {
    start(&["fast"], &HERE);
    let context = [
        ("type", "image"),
        ("fsType", "xfs"),
        ("csi.storage.k8s.io/pod.name", "web-0"),
        ("csi.storage.k8s.io/ephemeral", "false"),
        ("csi.storage.k8s.io/serviceAccount.tokens", "{}"),
        ("storage.kubernetes.io/csiProvisionerIdentity", "1-2-local"),
    ];
    let plan = PlanRequest {
        volume_id: "node-1/fast/v".to_owned(),
        context: map(&context),
        publish_context: Vec::new(),
        capability: mount(""),
        node: node("node-1", &[]),
    };
    assert!(Local::plan_volume(plan).is_ok());
    let attributes = [
        ("pool", "fast"),
        ("csi.storage.k8s.io/ephemeral", "true"),
        ("csi.storage.k8s.io/pod.uid", "u"),
        ("csi.storage.k8s.io/serviceAccount.tokens", "{}"),
    ];
    assert!(Local::plan_ephemeral_volume("csi-1".to_owned(), map(&attributes), mount("")).is_ok());
    let extra = [("csi.storage.k8s.io/pv/name", "pv"), ("csi.storage.k8s.io/pvc/namespace", "default")];
    let volume = made(with("v", &extra));
    let extra = map(&[("csi.storage.k8s.io/volumesnapshotcontent/name", "c")]);
    Local::create_snapshot(CreateSnapshotRequest { parameters: extra, ..shot("s", &volume) }).expect("a snapshot");
}
