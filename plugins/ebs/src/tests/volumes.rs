use super::{made, mount, request, with};
use crate::fake::{Fault, asked_again, calls, fail, map, start, world};
use crate::{Ebs, refused};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

fn create(name: &str) -> Result<Volume> {
    Ebs::create_volume(request(name))
}

fn count() -> usize {
    world(|world| world.volumes.len())
}

#[test]
fn a_volume_has_what_was_asked_for_and_is_made_once() {
    start();
    let parameters = [("Type", "GP3"), ("iopsPerGB", "1000"), ("throughput", "250"), ("kmsKeyId", "arn:aws:kms:k")];
    let topology = |zone: &str| Topology { segments: map(&[("topology.ebs.csi.aws.com/zone", zone)]) };
    let requirement = TopologyRequirement {
        requisite: vec![topology("eu-central-1a"), topology("eu-central-1b")],
        preferred: vec![topology("eu-central-1b")],
    };
    let request = CreateVolumeRequest { topology: Some(requirement), ..with("pvc-1", &parameters) };
    let volume = made(&request);
    assert_eq!((volume.volume_id.as_str(), volume.capacity_bytes), ("vol-00000001", 4 * GIB));
    assert_eq!(volume.accessible_topology, [topology("eu-central-1b")]);
    assert_eq!((volume.request_digest.as_deref(), &volume.source), (Some(super::DIGEST), &None));
    assert!(volume.context.is_empty());
    world(|world| {
        let vol = &world.volumes["vol-00000001"];
        let field = |name: &str| vol.fields[name].clone();
        assert_eq!(
            (field("volumeType"), field("iops"), field("throughput")),
            ("gp3".into(), "3000".into(), "250".into())
        );
        assert_eq!((field("encrypted"), field("kmsKeyId")), ("true".into(), "arn:aws:kms:k".into()));
        assert_eq!(vol.tags["CSIVolumeName"], "pvc-1");
        assert_eq!(vol.tags["ebs.csi.aws.com/cluster"], "true");
        assert_eq!(vol.tags["kubernetes.io/cluster/one"], "owned");
    });
    assert_eq!(made(&request), volume);
    assert_eq!((count(), calls("CreateVolume")), (1, 1));
}

#[test]
fn whatever_gets_lost_there_is_one_volume() {
    let faults = [
        Fault::LostAfter,
        Fault::LostBefore,
        Fault::NotSent,
        Fault::Proxy(502),
        Fault::Refused(503, "RequestLimitExceeded"),
        Fault::Refused(500, "InternalError"),
    ];
    for (hidden, slow) in [(0, false), (3, true)] {
        for first in faults {
            for second in faults {
                start();
                world(|world| (world.hidden, world.slow) = (hidden, slow));
                fail("CreateVolume", first);
                fail("CreateVolume", second);
                fail("DescribeVolumes", second);
                let volume = made(&request("pvc-1"));
                assert_eq!(count(), 1, "{first:?} {second:?}");
                // The CO has forgotten, and so has the host.
                assert_eq!(made(&request("pvc-1")).volume_id, volume.volume_id);
                assert_eq!(count(), 1, "{first:?} {second:?}");
            }
        }
    }
}

#[test]
fn lost_hints_and_stolen_ones_do_no_harm() {
    start();
    let other = made(&request("pvc-other")).volume_id;
    for resume in [
        "",
        "x",
        "1",
        "1 vol-1",
        "0 vol-1 1",
        "1 vol-zz 1",
        "99999999999 vol-1 1",
        "1 vol-1 1 1",
        &format!("1 {other} 1"),
    ] {
        world(|world| (world.resume, world.slow) = (Some(resume.to_owned()), true));
        let _ = create("pvc-1");
        world(|world| world.resume = Some(resume.to_owned()));
        let volume = made(&request("pvc-1"));
        assert_ne!(volume.volume_id, other);
        assert_eq!(count(), 2, "{resume}");
    }
}

#[test]
fn tries_that_race_make_one_volume() {
    start();
    world(|world| world.hidden = 5);
    refused!(create("pvc-1"), Pending);
    refused!(create("pvc-1"), Pending);
    assert_eq!((count(), calls("CreateVolume")), (1, 2));
    made(&request("pvc-1"));
    assert_eq!(count(), 1);
}

#[test]
fn a_volume_that_is_gone_is_made_anew() {
    start();
    world(|world| world.key = Some("0123456789abcdef0123456789abcdef".to_owned()));
    let first = made(&request("pvc-1")).volume_id;
    Ebs::delete_volume(first.clone()).unwrap();
    world(|world| world.now += 60);
    assert_ne!(made(&request("pvc-1")).volume_id, first);
    assert_eq!(count(), 1);
}

#[test]
fn ec2_giving_up_each_volume_ends() {
    start();
    let outcome = asked_again(|| {
        let outcome = create("pvc-1");
        world(|world| {
            world.volumes.clear();
            world.now += 20;
        });
        outcome
    });
    assert!(refused!(outcome, FailedPrecondition).contains("KMS"));
    assert_eq!(world(|world| world.made), 8);
}

#[test]
fn another_request_of_that_name_gets_the_volume_and_the_host_compares() {
    start();
    let first = made(&request("pvc-1"));
    let other = CreateVolumeRequest { request_digest: "ee".repeat(32), ..with("pvc-1", &[("type", "gp2")]) };
    assert_eq!(made(&other), first);
    // Also if it isn't visible yet, so that all that EC2 says is that the token is another's.
    start();
    world(|world| world.hidden = 5);
    refused!(create("pvc-1"), Pending);
    assert_eq!(made(&other).request_digest.as_deref(), Some(super::DIGEST));
    assert_eq!(count(), 1);
}

#[test]
fn at_the_limit_what_is_there_is_found() {
    start();
    world(|world| world.quota = 0);
    refused!(create("pvc-1"), ResourceExhausted);
    start();
    let id = made(&request("pvc-1")).volume_id;
    // Its tag can't be found at first, and EC2 has forgotten the token.
    world(|world| (world.quota, world.blind) = (1, 1));
    world(|world| world.tokens.clear());
    assert_eq!(create("pvc-1").unwrap().volume_id, id);
    assert_eq!((count(), calls("CreateVolume")), (1, 2));
}

#[test]
fn of_doubles_the_oldest_counts() {
    start();
    let first = made(&request("pvc-1")).volume_id;
    world(|world| {
        let mut double = world.volumes[&first].clone();
        double.fields.insert("createTime", "2026-11-23T09:00:00.000Z".to_owned());
        world.volumes.insert("vol-ff".to_owned(), double);
    });
    assert_eq!(made(&request("pvc-1")).volume_id, "vol-ff");
}

#[test]
fn names_with_wildcards_are_just_names() {
    start();
    let plain = made(&request("pvc-1")).volume_id;
    for name in ["pvc-?", "pvc-*", "pvc\\1", "pvc-\u{fc} <&>"] {
        let volume = made(&request(name)).volume_id;
        assert_ne!(volume, plain, "{name}");
        assert_eq!(made(&request(name)).volume_id, volume, "{name}");
    }
    assert_eq!(count(), 5);
}

#[test]
fn two_clusters_in_one_account_do_not_see_each_other() {
    start();
    let ours = made(&request("pvc-1")).volume_id;
    world(|world| world.config = map(&[("region", "eu-central-1"), ("clusterId", "two")]));
    let theirs = made(&request("pvc-1")).volume_id;
    assert_ne!(ours, theirs);
    Ebs::delete_volume(ours.clone()).unwrap();
    assert_eq!(count(), 2);
    refused!(Ebs::get_volume(ours.clone()), NotFound);
    refused!(Ebs::modify_volume(ours.clone(), Vec::new()), NotFound);
    let attached = ("i-0a".to_owned(), "/dev/xvdaa".to_owned(), "attached");
    world(|world| world.volumes.get_mut(&ours).unwrap().attachments.push(attached));
    Ebs::controller_unpublish_volume(ours.clone(), None).unwrap();
    assert_eq!(calls("DetachVolume"), 0);
    world(|world| world.volumes.get_mut(&ours).unwrap().attachments.clear());
    let listed = Ebs::list_volumes(PageRequest { max_entries: 0, token: None }).unwrap().entries;
    assert_eq!(listed.iter().map(|entry| entry.volume.volume_id.as_str()).collect::<Vec<_>>(), [theirs.as_str()]);
    // Made by hand: usable, never deleted.
    world(|world| world.volumes.get_mut(&ours).unwrap().tags.clear());
    Ebs::get_volume(ours.clone()).unwrap();
    Ebs::delete_volume(ours).unwrap();
    assert_eq!(count(), 2);
}

#[test]
fn deleting_is_repeatable_and_spares_what_is_attached() {
    start();
    let id = made(&request("pvc-1")).volume_id;
    let attachment = ("i-0a".to_owned(), "/dev/xvdaa".to_owned(), "attached");
    world(|world| world.volumes.get_mut(&id).unwrap().attachments.push(attachment));
    assert!(refused!(Ebs::delete_volume(id.clone()), FailedPrecondition).contains("i-0a"));
    world(|world| world.volumes.get_mut(&id).unwrap().attachments.clear());
    for fault in [Fault::LostAfter, Fault::Refused(503, "Throttling"), Fault::Proxy(504)] {
        fail("DeleteVolume", fault);
    }
    asked_again(|| Ebs::delete_volume(id.clone())).unwrap();
    assert_eq!(count(), 0);
    for unknown in [id.as_str(), "vol-1", "pool/volume", "", "vol-../x", "snap-1"] {
        Ebs::delete_volume(unknown.to_owned()).unwrap();
    }
}

#[test]
fn refusals_are_final_and_leave_nothing() {
    for (code, case) in [
        ("UnauthorizedOperation", "PermissionDenied"),
        ("AuthFailure", "Unauthenticated"),
        ("RequestExpired", "Unauthenticated"),
        ("InvalidParameterCombination", "InvalidArgument"),
        ("InsufficientVolumeCapacity", "ResourceExhausted"),
        ("BrandNewCode", "FailedPrecondition"),
    ] {
        start();
        fail("CreateVolume", Fault::Refused(400, code));
        let error = create("pvc-1").unwrap_err();
        assert!(format!("{error:?}").contains(case) && error.message().contains(code), "{error:?}");
        assert_eq!(count(), 0);
    }
}

#[test]
fn sizes_fit_the_type() {
    start();
    let sized = |kind: &str, required, limit| {
        let capacity = Some(CapacityRange { required, limit });
        CreateVolumeRequest { capacity, ..with(&format!("{kind}-{required:?}-{limit:?}"), &[("type", kind)]) }
    };
    assert_eq!(made(&sized("st1", Some(1), None)).capacity_bytes, 125 * GIB);
    assert_eq!(made(&sized("gp3", Some(GIB + 1), None)).capacity_bytes, 2 * GIB);
    assert_eq!(made(&CreateVolumeRequest { capacity: None, ..request("d") }).capacity_bytes, 100 * GIB);
    refused!(Ebs::create_volume(sized("st1", Some(1), Some(GIB))), OutOfRange);
    refused!(Ebs::create_volume(sized("standard", Some(1025 * GIB), None)), OutOfRange);
}

#[test]
fn capabilities_are_validated() {
    start();
    let id = made(&with("pvc-1", &[("blockSize", "1024")])).volume_id;
    let ask = |capability: VolumeCapability, context: &[(&str, &str)], parameters: &[(&str, &str)]| {
        let (context, parameters) = (map(context), map(parameters));
        let request = ValidateRequest {
            volume_id: id.clone(),
            context,
            capabilities: vec![capability],
            parameters,
            mutable_parameters: Vec::new(),
        };
        Ebs::validate_volume_capabilities(request).unwrap()
    };
    assert_eq!(ask(mount("xfs"), &[("blocksize", "1024")], &[("type", "gp3")]), None);
    assert!(ask(mount("ntfs"), &[], &[]).unwrap().contains("ntfs"));
    assert!(ask(VolumeCapability::block(AccessMode::MultiNodeMultiWriter), &[], &[]).is_some());
    assert!(ask(mount(""), &[("blocksize", "4096")], &[]).is_some());
    assert!(ask(mount(""), &[], &[("type", "io1"), ("iops", "100")]).unwrap().contains("gp3"));
    assert!(ask(mount(""), &[], &[("bogus", "1")]).unwrap().contains("bogus"));
}
