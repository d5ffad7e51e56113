use super::{made, request, with};
use crate::fake::{map, start, world};
use crate::{Ebs, refused};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

fn refusal(parameters: &[(&str, &str)]) -> String {
    start();
    let text = refused!(Ebs::create_volume(with("pvc-1", parameters)), InvalidArgument);
    assert_eq!(world(|world| world.made), 0);
    text
}

#[test]
fn classes_of_the_public_driver_are_taken() {
    start();
    let parameters = [
        ("type", "gp3"),
        ("iops", "4000"),
        ("throughput", "200"),
        ("encrypted", "TRUE"),
        ("blockExpress", "true"),
        ("fsType", "ext4"),
        ("allowAutoIOPSPerGBIncrease", "true"),
        ("volumeInitializationRate", "100"),
        ("blockSize", "2048"),
        ("inodeSize", "512"),
        ("bytesPerInode", "8192"),
        ("numberOfInodes", "100"),
        ("tagSpecification_1", "team={{ .PVCNamespace | field \"-\" 1 | toUpper }}"),
        ("tagSpecification_2", "empty="),
        ("csi.storage.k8s.io/pvc/name", "claim"),
        ("csi.storage.k8s.io/pvc/namespace", "ns-prod"),
        ("csi.storage.k8s.io/pv/name", "pvc-1"),
    ];
    let volume = made(&with("pvc-1", &parameters));
    assert_eq!(
        volume.context,
        map(&[("blocksize", "2048"), ("inodesize", "512"), ("bytesperinode", "8192"), ("numberofinodes", "100")])
    );
    let tags = world(|world| world.volumes[&volume.volume_id].tags.clone());
    for (key, value) in [
        ("team", "PROD"),
        ("empty", ""),
        ("kubernetes.io/created-for/pvc/name", "claim"),
        ("Name", "one-dynamic-pvc-1"),
    ] {
        assert_eq!(tags.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(Ebs::get_volume(volume.volume_id.clone()).unwrap().volume, volume);
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    for (parameters, named) in [
        (&[("bogus", "1"), ("Zone", "a")][..], "`bogus`, `Zone`"),
        (&[("type", "gp9")], "`type`"),
        (&[("type", "gp3"), ("Type", "gp2")], "twice"),
        (&[("iops", "-1")], "`iops`"),
        (&[("iops", "3000"), ("iopsPerGB", "3")], "`iopsPerGB`"),
        (&[("type", "io1")], "`iops`"),
        (&[("type", "io1"), ("iopsPerGB", "3")], "`allowAutoIOPSPerGBIncrease`"),
        (&[("encrypted", "yes")], "`encrypted`"),
        (&[("ext4BigAlloc", "true")], "`ext4BigAlloc`"),
        (&[("outpostArn", "arn")], "`outpostArn`"),
        (&[("blockSize", "4k")], "`blockSize`"),
        (&[("tagSpecification_1", "novalue")], "`tagSpecification_1`"),
        (&[("tagSpecification_1", "a={{ .X }}")], "`tagSpecification_1`"),
        (&[("tagSpecification_1", "CSIVolumeName=x")], "`CSIVolumeName`"),
        (&[("tagSpecification_1", "kubernetes.io/cluster/two=owned")], "reserved"),
        (&[("tagDeletion_1", "x")], "`tagDeletion_1`"),
    ] {
        let text = refusal(parameters);
        assert!(text.contains(named), "{text}");
    }
    start();
    let xfs = CreateVolumeRequest { capabilities: vec![super::mount("xfs")], ..with("x", &[("numberOfInodes", "9")]) };
    assert!(refused!(Ebs::create_volume(xfs), InvalidArgument).contains("numberofinodes"));
    let many: Vec<(String, String)> = (0..50).map(|n| (format!("tagSpecification_{n}"), format!("k{n}=v"))).collect();
    refused!(Ebs::create_volume(CreateVolumeRequest { parameters: many, ..request("x") }), InvalidArgument);
}

#[test]
fn iops_follow_the_size_within_what_the_type_can_have() {
    let iops = |kind: &str, gib: u64, more: &[(&str, &str)]| {
        start();
        let mut request = with("pvc-1", &[("type", kind)]);
        request.parameters.extend(map(more));
        request.capacity = Some(CapacityRange { required: Some(gib * GIB), limit: None });
        let id = made(&request).volume_id;
        world(|world| world.volumes[&id].fields["iops"].clone())
    };
    assert_eq!(iops("io1", 10, &[("iopsPerGB", "20")]), "200");
    assert_eq!(iops("io1", 10, &[("iopsPerGB", "80")]), "500");
    assert_eq!(iops("io1", 4, &[("iopsPerGB", "2"), ("allowAutoIOPSPerGBIncrease", "true")]), "100");
    assert_eq!(iops("io1", 10_000, &[("iopsPerGB", "50")]), "64000");
    assert_eq!(iops("io2", 500, &[("iopsPerGB", "1000")]), "256000");
    assert_eq!(iops("gp2", 10, &[("iops", "500")]), "");
    assert_eq!(iops("gp3", 10, &[]), "3000");
}

#[test]
fn a_volume_attributes_class_wins_over_the_storage_class() {
    start();
    let mutable_parameters =
        map(&[("volumeType", "io2"), ("iops", "700"), ("tagSpecification_1", "a=new"), ("tagDeletion_1", "b")]);
    let class = with(
        "pvc-1",
        &[("type", "io1"), ("iopsPerGB", "50"), ("tagSpecification_1", "a=old"), ("tagSpecification_2", "b=x")],
    );
    let id = made(&CreateVolumeRequest { mutable_parameters, ..class }).volume_id;
    world(|world| {
        let volume = &world.volumes[&id];
        assert_eq!((volume.fields["volumeType"].as_str(), volume.fields["iops"].as_str()), ("io2", "700"));
        assert_eq!((volume.tags["a"].as_str(), volume.tags.get("b")), ("new", None));
    });
}

#[test]
fn places_without_a_choice_are_the_same_for_each_try() {
    start();
    world(|world| {
        world.config.extend(map(&[("zones.0", "eu-central-1a"), ("zones.1", "eu-central-1b"), ("extraTags.cost", "x")]))
    });
    let zones: Vec<_> = (0..16).map(|n| made(&request(&format!("pvc-{n}"))).accessible_topology).collect();
    assert!(zones.iter().any(|zone| *zone != zones[0]), "all in one zone");
    assert!(world(|world| world.volumes.values().all(|volume| volume.tags["cost"] == "x")));
    let unknown = Topology { segments: map(&[("other/zone", "a")]) };
    let topology = Some(TopologyRequirement { requisite: vec![unknown], preferred: Vec::new() });
    refused!(Ebs::create_volume(CreateVolumeRequest { topology, ..request("x") }), ResourceExhausted);
}
