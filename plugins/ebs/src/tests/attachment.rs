use super::{made, mount, node, request, with};
use crate::fake::{Fault, asked_again, calls, fail, start, world};
use crate::{Ebs, refused};
use bulkhead_sdk::prelude::*;

fn publish_as(volume: &str, node: NodeFacts, capability: VolumeCapability) -> Result<StringMap> {
    let volume_id = volume.to_owned();
    Ebs::controller_publish_volume(PublishRequest {
        volume_id,
        node,
        capability,
        read_only: false,
        context: Vec::new(),
    })
}

fn publish(volume: &str, instance: &str) -> Result<StringMap> {
    asked_again(|| publish_as(volume, node(instance), mount("")))
}

fn unpublish(volume: &str, node: Option<&str>) -> Result<()> {
    asked_again(|| Ebs::controller_unpublish_volume(volume.to_owned(), node.map(str::to_owned)))
}

fn attached(volume: &str) -> Vec<(String, String, &'static str)> {
    world(|world| world.volumes[volume].attachments.clone())
}

#[test]
fn a_volume_is_attached_once_whatever_gets_lost() {
    for (slow, fault) in
        [Fault::LostAfter, Fault::LostBefore, Fault::Proxy(502), Fault::NotSent, Fault::Refused(400, "IncorrectState")]
            .into_iter()
            .enumerate()
    {
        start();
        world(|world| world.slow = slow % 2 == 0);
        let id = made(&request("pvc-1")).volume_id;
        for action in ["AttachVolume", "DescribeInstances", "DescribeVolumes", "DetachVolume"] {
            fail(action, fault);
        }
        let context = publish(&id, "i-0a").unwrap();
        assert_eq!(
            (lookup(&context, "devicePath"), lookup(&context, "sizeBytes")),
            (Some("/dev/xvdaa"), Some("4294967296"))
        );
        assert_eq!(publish(&id, "i-0a"), Ok(context));
        assert_eq!(attached(&id).len(), 1, "{fault:?}");
        unpublish(&id, Some("i-0a")).unwrap();
        assert_eq!(attached(&id).len(), 0, "{fault:?}");
        unpublish(&id, Some("i-0a")).unwrap();
    }
}

#[test]
fn it_is_pending_until_ec2_is_done() {
    start();
    world(|world| world.slow = true);
    let id = made(&request("pvc-1")).volume_id;
    refused!(publish_as(&id, node("i-0a"), mount("")), Pending);
    refused!(publish_as(&id, node("i-0a"), mount("")), Pending);
    publish_as(&id, node("i-0a"), mount("")).unwrap();
    assert_eq!(calls("AttachVolume"), 1);
    refused!(Ebs::controller_unpublish_volume(id.clone(), None), Pending);
    // Not attached to another node before it has left this one.
    refused!(publish_as(&id, node("i-0b"), mount("")), Pending);
    unpublish(&id, None).unwrap();
    publish(&id, "i-0b").unwrap();
}

#[test]
fn another_node_is_named_and_unknown_ones_are_not_found() {
    start();
    let id = made(&request("pvc-1")).volume_id;
    publish(&id, "i-0a").unwrap();
    assert!(refused!(publish(&id, "i-0b"), FailedPrecondition).contains("node i-0a"));
    unpublish(&id, Some("i-0b")).unwrap();
    assert_eq!(attached(&id).len(), 1);
    unpublish(&id, None).unwrap();
    refused!(publish(&id, "i-0dead"), NotFound);
    refused!(publish("vol-dead", "i-0a"), NotFound);
    let nobody = NodeFacts { cloud: None, ..node("node-1") };
    refused!(publish_as(&id, nobody, mount("")), NotFound);
    for (volume, node) in
        [("vol-dead", None), ("vol-dead", Some("i-0a")), ("x", Some("y")), (id.as_str(), Some("gone"))]
    {
        unpublish(volume, node).unwrap();
    }
}

#[test]
fn device_names_are_free_ones_also_if_ec2_hides_some() {
    start();
    world(|world| world.instances.get_mut("i-0a").unwrap().0.push("/dev/xvdaa".to_owned()));
    world(|world| world.instances.get_mut("i-0a").unwrap().1.extend(["/dev/xvdab", "/dev/xvdac"].map(str::to_owned)));
    let ids = ["a", "b"].map(|name| made(&request(name)).volume_id);
    let devices = ids.map(|id| lookup(&publish(&id, "i-0a").unwrap(), "devicePath").map(str::to_owned));
    assert_eq!(devices, [Some("/dev/xvdad".to_owned()), Some("/dev/xvdae".to_owned())]);
}

#[test]
fn no_room_is_resource_exhausted() {
    start();
    let id = made(&request("pvc-1")).volume_id;
    fail("AttachVolume", Fault::Refused(400, "AttachmentLimitExceeded"));
    refused!(publish(&id, "i-0a"), ResourceExhausted);
}

#[test]
fn nodes_with_other_ids_than_their_instances_are_remembered() {
    start();
    let id = made(&request("pvc-1")).volume_id;
    let named = || NodeFacts { node_id: "worker-1".to_owned(), ..node("i-0a") };
    asked_again(|| publish_as(&id, named(), mount(""))).unwrap();
    assert_eq!(Ebs::get_volume(id.clone()).unwrap().published_node_ids, ["worker-1"]);
    assert!(refused!(publish(&id, "i-0b"), FailedPrecondition).contains("worker-1"));
    unpublish(&id, Some("worker-2")).unwrap();
    assert_eq!(attached(&id).len(), 1);
    unpublish(&id, Some("worker-1")).unwrap();
    assert_eq!(attached(&id).len(), 0);
    assert!(world(|world| world.volumes[&id].tags.keys().all(|key| !key.contains("node/"))));
}

#[test]
fn io2_is_shared_raw_and_nothing_else_is() {
    start();
    let many = VolumeCapability::block(AccessMode::MultiNodeMultiWriter);
    let shared = |kind: &str| CreateVolumeRequest {
        capabilities: vec![many.clone()],
        ..with("pvc-1", &[("type", kind), ("iops", "100")])
    };
    refused!(Ebs::create_volume(shared("io1")), InvalidArgument);
    let id = made(&shared("io2")).volume_id;
    for instance in ["i-0a", "i-0b"] {
        asked_again(|| publish_as(&id, node(instance), many.clone())).unwrap();
    }
    assert_eq!(Ebs::get_volume(id.clone()).unwrap().published_node_ids, ["i-0a", "i-0b"]);
    unpublish(&id, None).unwrap();
    let single = made(&request("pvc-2")).volume_id;
    refused!(publish_as(&single, node("i-0a"), many), InvalidArgument);
    let files = CreateVolumeRequest {
        capabilities: vec![VolumeCapability::mount(AccessMode::MultiNodeMultiWriter, "")],
        ..request("x")
    };
    refused!(Ebs::create_volume(files), InvalidArgument);
}
