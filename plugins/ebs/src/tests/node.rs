use super::{mount, node};
use crate::fake::{map, start, world};
use crate::{Ebs, refused};
use bulkhead_sdk::prelude::*;

fn info(kind: &str, used: Option<u32>, config: &[(&str, &str)]) -> NodeInfo {
    start();
    world(|world| world.config.extend(map(config)));
    let mut facts = node("i-0a");
    let cloud = facts.cloud.as_mut().unwrap();
    (cloud.instance_type, cloud.used_attachment_slots) = (kind.to_owned(), used);
    Ebs::get_node_info(facts).unwrap()
}

#[test]
fn nodes_have_room_and_a_zone() {
    let room = |kind: &str, used, config: &[(&str, &str)]| info(kind, used, config).max_volumes;
    assert_eq!(room("m6i.large", Some(3), &[]), Some(24));
    assert_eq!(room("m6i.large", None, &[]), Some(25));
    assert_eq!(room("m6i.large", Some(1), &[]), Some(25), "its interface takes one too");
    assert_eq!(room("m7i.large", None, &[]), Some(31));
    assert_eq!(room("d3.8xlarge", Some(9), &[]), Some(1));
    assert_eq!(room("m6i.large", Some(3), &[("reservedVolumeAttachments", "5")]), Some(22));
    assert_eq!(room("m6i.large", Some(3), &[("volumeAttachLimit", "7")]), Some(7));
    let zone = map(&[("topology.kubernetes.io/zone", "eu-central-1b")]);
    let config = [("topologyKey", "topology.kubernetes.io/zone")];
    assert_eq!(info("t3.nano", None, &config).topology, Some(Topology { segments: zone }));
    assert_eq!(Ebs::get_info().unwrap().topology_keys, ["topology.kubernetes.io/zone"]);
    refused!(Ebs::get_node_info(NodeFacts { cloud: None, ..node("n") }), FailedPrecondition);
}

fn plan(kind: &str, capability: VolumeCapability, context: &[(&str, &str)]) -> Result<Plan> {
    let mut facts = node("i-0a");
    facts.cloud.as_mut().unwrap().instance_type = kind.to_owned();
    Ebs::plan_volume(PlanRequest {
        volume_id: "vol-0123abcd".to_owned(),
        context: map(context),
        publish_context: map(&[("devicePath", "/dev/xvdaa"), ("sizeBytes", "4096")]),
        capability,
        node: facts,
    })
}

#[test]
fn volumes_are_found_by_their_serial() {
    let plan = plan("m6i.large", mount("xfs"), &[("blocksize", "1024"), ("partition", "2")]).unwrap();
    let Access::LocalDevice(device) = plan.access else { panic!("{:?}", plan.access) };
    assert_eq!(device.device, Some(DeviceIdentity::serial("vol0123abcd")));
    assert_eq!(device.find, DeviceMatch::ById("nvme-Amazon_Elastic_Block_Store_vol0123abcd".to_owned()));
    assert_eq!((device.partition, plan.expected_size_bytes), (Some(2), Some(4096)));
    let Usage::Filesystem(filesystem) = plan.usage else { panic!("{:?}", plan.usage) };
    assert_eq!(
        (filesystem.mkfs_options, filesystem.mount_options),
        (vec!["-b size=1024".to_owned()], vec!["nouuid".to_owned()])
    );
    assert_eq!(filesystem.format, FormatPolicy::IfEmpty);
}

#[test]
fn older_instances_have_names_only_and_content_is_never_formatted() {
    let plan = plan("t2.micro", mount(""), &[("content", "snapshot")]).unwrap();
    let Access::LocalDevice(device) = plan.access else { panic!("{:?}", plan.access) };
    assert_eq!((device.find, device.device), (DeviceMatch::Path("/dev/xvdaa".to_owned()), None));
    let Usage::Filesystem(filesystem) = plan.usage else { panic!("{:?}", plan.usage) };
    assert_eq!((filesystem.format, filesystem.fs_type.as_str()), (FormatPolicy::Never, "ext4"));
}

#[test]
fn plans_refuse_what_cannot_be() {
    refused!(plan("m6i.large", mount("ntfs"), &[]), FailedPrecondition);
    refused!(plan("m6i.large", mount("xfs"), &[("bytesperinode", "4096")]), FailedPrecondition);
    refused!(plan("m6i.large", mount(""), &[("blocksize", "-1")]), FailedPrecondition);
    refused!(plan("m6i.large", mount(""), &[("partition", "x")]), InvalidArgument);
}

#[test]
fn a_config_that_is_wrong_is_refused_and_the_probe_asks_ec2() {
    start();
    assert_eq!(Ebs::probe(), Ok(true));
    Ebs::get_info().unwrap();
    assert_eq!(world(|world| world.calls.len()), 1);
    for (config, wrong) in [
        (&[("region", "eu-central-1")][..], "clusterId"),
        (&[("clusterId", "one")], "region"),
        (&[("clusterId", "a b"), ("region", "x")], "clusterId"),
        (&[("clusterId", "a"), ("region", "x"), ("endpoint", "ftp://x")], "endpoint"),
        (&[("clusterId", "a"), ("region", "x"), ("Region", "y")], "Region"),
        (&[("clusterId", "a"), ("region", "x"), ("zones", "y")], "zones"),
        (&[("clusterId", "a"), ("region", "x"), ("volumeAttachLimit", "0")], "volumeAttachLimit"),
        (&[("clusterId", "a"), ("region", "x"), ("extraTags.aws:x", "y")], "aws:x"),
    ] {
        world(|world| world.config = map(config));
        let text = refused!(Ebs::get_info(), FailedPrecondition);
        assert!(text.contains(wrong), "{text}");
    }
}
