//! Attaching and detaching, modifying, deleting: what EC2 refuses and moto doesn't.

use crate::ground::Ground;
use bulkhead_ec2::{Boto, Change, Fault, Rules, Settings};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

fn ground(name: &'static str) -> Option<Ground> {
    Ground::new(name, Settings { rules: Rules::at_once(), ..Settings::default() })
}

fn attach(volume: &str, instance: &str, device: &str) -> Value {
    json!({ "VolumeId": volume, "InstanceId": instance, "Device": device })
}

#[test]
fn a_volume_is_attached_once() {
    let Some(mut ground) = ground("once") else { return };
    let (volume, here, there) = (ground.made(), ground.instance(0), ground.instance(1));
    let boto = &mut ground.boto;
    boto.ok("attach_volume", &attach(&volume, &here, "/dev/xvdca"));
    for (instance, device) in [(&there, "/dev/xvdca"), (&here, "/dev/xvdcb"), (&here, "/dev/xvdca")] {
        assert_eq!(boto.refused("attach_volume", &attach(&volume, instance, device)), "VolumeInUse");
    }
    assert_eq!(boto.refused("delete_volume", &json!({ "VolumeId": volume })), "VolumeInUse");
    let counted = ground.moto.direct().volumes_with("test", "once").unwrap();
    assert_eq!(counted[0].attached, Some((here, "/dev/xvdca".into())));
}

#[test]
fn what_was_attached_past_the_proxy_counts() {
    let Some(mut ground) = ground("past") else { return };
    let (volume, here, there) = (ground.made(), ground.instance(2), ground.instance(1));
    let way = [("VolumeId", volume.as_str()), ("InstanceId", here.as_str()), ("Device", "/dev/xvdpa")];
    ground.moto.direct().ask("AttachVolume", &way).unwrap();
    assert_eq!(ground.seen(&volume)["State"], "in-use");
    assert_eq!(ground.boto.refused("attach_volume", &attach(&volume, &there, "/dev/xvdpb")), "VolumeInUse");
    ground.boto.ok("detach_volume", &json!({ "VolumeId": volume }));
    assert_eq!(ground.seen(&volume)["State"], "available");
}

#[test]
fn of_many_that_attach_one_volume_one_succeeds() {
    let Some(mut ground) = ground("attach-race") else { return };
    let volume = ground.made();
    let call = |n: usize| attach(&volume, &ground.instance(n % 3), &format!("/dev/xvdr{}", (b'a' + n as u8) as char));
    let calls: Vec<_> = (0..12).map(|n| ("attach_volume", call(n))).collect();
    let all = ground.boto.parallel(&calls, 12);
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|one| **one == Err(("VolumeInUse".into(), 400))).count(), 11, "{all:?}");
}

#[test]
fn a_device_name_is_given_once_and_an_instance_has_a_limit() {
    let Some(mut ground) = ground("devices") else { return };
    let instance = ground.elsewhere();
    let zone = ground.moto.facts.instances.iter().find(|i| i.id == instance).unwrap().zone.clone();
    let mut volumes = vec![];
    for _ in 0..4 {
        let args = ground.volume(json!({ "AvailabilityZone": zone }));
        volumes.push(ground.boto.ok("create_volume", &args)["VolumeId"].as_str().unwrap().to_owned());
    }
    let boto = &mut ground.boto;
    boto.ok("attach_volume", &attach(&volumes[0], &instance, "/dev/xvdda"));
    for taken in ["/dev/xvdda", "/dev/sda1"] {
        assert_eq!(boto.refused("attach_volume", &attach(&volumes[1], &instance, taken)), "InvalidParameterValue");
    }
    // The one that it boots from, and two more.
    ground.proxy.set(|settings| settings.rules.attach_limit = 3);
    let calls: Vec<_> =
        (1..4).map(|n| ("attach_volume", attach(&volumes[n], &instance, &format!("/dev/xvdd{n}")))).collect();
    let all = boto.parallel(&calls, 3);
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|one| **one == Err(("AttachmentLimitExceeded".into(), 400))).count(), 2, "{all:?}");
}

#[test]
fn another_zone_and_no_instance_are_refused() {
    let Some(mut ground) = ground("zone") else { return };
    let volume = ground.made();
    let elsewhere = ground.elsewhere();
    let boto = &mut ground.boto;
    assert_eq!(boto.refused("attach_volume", &attach(&volume, &elsewhere, "/dev/xvdz")), "InvalidVolume.ZoneMismatch");
    let nobody = attach(&volume, "i-00000000000000000", "/dev/xvdz");
    assert_eq!(boto.refused("attach_volume", &nobody), "InvalidInstanceID.NotFound");
    let nothing = attach("vol-00000000000000000", &elsewhere, "/dev/xvdz");
    assert_eq!(boto.refused("attach_volume", &nothing), "InvalidVolume.NotFound");
}

#[test]
fn detaching_needs_no_instance_and_not_the_wrong_one() {
    let Some(mut ground) = ground("detach") else { return };
    let (volume, here, there) = (ground.made(), ground.instance(0), ground.instance(1));
    let boto = &mut ground.boto;
    let detach = |more: Value| {
        let mut args = json!({ "VolumeId": volume });
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    };
    assert_eq!(boto.refused("detach_volume", &detach(json!({}))), "IncorrectState");
    boto.ok("attach_volume", &attach(&volume, &here, "/dev/xvdea"));
    for wrong in [json!({ "InstanceId": there }), json!({ "Device": "/dev/xvdeb" })] {
        assert_eq!(boto.refused("detach_volume", &detach(wrong)), "InvalidAttachment.NotFound");
    }
    // The proxy does what moto can't on its own account, but only for whom moto lets.
    let mut reader = Boto::new(&ground.proxy.url(), &ground.moto.facts.region, &ground.moto.key("reader"));
    assert_eq!(reader.refused("detach_volume", &detach(json!({}))), "UnauthorizedOperation");
    let gone = boto.ok("detach_volume", &detach(json!({})));
    assert_eq!((gone["InstanceId"].as_str(), gone["State"].as_str()), (Some(here.as_str()), Some("detaching")));
    boto.ok("attach_volume", &attach(&volume, &there, "/dev/xvdea"));
    boto.ok("detach_volume", &detach(json!({ "InstanceId": there })));
    assert_eq!(boto.refused("detach_volume", &detach(json!({ "InstanceId": there }))), "IncorrectState");
    boto.ok("delete_volume", &json!({ "VolumeId": volume }));
    assert_eq!(boto.refused("detach_volume", &detach(json!({}))), "InvalidVolume.NotFound");
    assert_eq!(ground.count(), 0);
}

#[test]
fn sizes_and_speeds_that_no_volume_has_are_refused() {
    let Some(mut ground) = ground("sizes") else { return };
    for wrong in [
        json!({ "Size": 0 }),
        json!({ "Size": 70_000 }),
        json!({ "VolumeType": "io2", "Size": 3, "Iops": 100 }),
        json!({ "VolumeType": "io1", "Size": 10, "Iops": 600 }),
        json!({ "Iops": 100 }),
        json!({ "Throughput": 2_500 }),
        json!({ "VolumeType": "st1", "Size": 100 }),
    ] {
        let args = ground.volume(wrong);
        assert_eq!(ground.boto.refused("create_volume", &args), "InvalidParameterValue");
    }
    assert_eq!(ground.count(), 0);
}

#[test]
fn a_volume_does_not_shrink() {
    let Some(mut ground) = ground("shrink") else { return };
    let volume = ground.made();
    let modify = |size: u32| json!({ "VolumeId": volume, "Size": size });
    assert_eq!(ground.boto.refused("modify_volume", &modify(7)), "InvalidParameterValue");
    let nothing = ground.boto.refused("describe_volumes_modifications", &json!({ "VolumeIds": [volume] }));
    assert_eq!(nothing, "InvalidVolumeModification.NotFound");
    let done = ground.boto.ok("modify_volume", &modify(9));
    let done = &done["VolumeModification"];
    assert_eq!((&done["OriginalSize"], &done["TargetSize"]), (&json!(8), &json!(9)));
    // moto leaves out what was not asked for, EC2 tells it.
    assert_eq!((&done["OriginalIops"], &done["TargetVolumeType"]), (&json!(3000), &json!("gp3")));
    assert_eq!(ground.seen(&volume)["Size"], 9);
}

#[test]
fn whoever_has_the_disks_is_told_of_each_change_once() {
    let Some(mut ground) = ground("disks") else { return };
    let told = Arc::new(Mutex::new(vec![]));
    let seen = told.clone();
    ground.proxy.on_change(move |change| seen.lock().unwrap().push(change));
    let next = |what: &str| {
        let mut all = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!(all.len(), 1, "{what}: {all:?}");
        all.remove(0)
    };
    let token = json!({ "ClientToken": "disks" });
    let mut args = ground.volume(token);
    // The answer is lost, the change is not; asked again, nothing changes.
    ground.proxy.plan("CreateVolume", Fault::LostReply);
    ground.boto.call("create_volume", &args).unwrap_err();
    let Change::Created { volume, bytes, snapshot: None } = next("made") else { panic!() };
    assert_eq!((ground.boto.ok("create_volume", &args)["VolumeId"].as_str(), bytes), (Some(volume.as_str()), 8 << 30));
    let instance = ground.instance(0);
    ground.boto.ok("attach_volume", &attach(&volume, &instance, "/dev/xvdga"));
    let device = "/dev/xvdga".to_owned();
    assert_eq!(next("attached"), Change::Attached { volume: volume.clone(), instance: instance.clone(), device });
    ground.boto.refused("attach_volume", &attach(&volume, &instance, "/dev/xvdgb"));
    ground.boto.ok("modify_volume", &json!({ "VolumeId": volume, "Size": 9 }));
    assert_eq!(next("grown"), Change::Grown { volume: volume.clone(), bytes: 9 << 30 });
    ground.proxy.set(|settings| settings.rules.cooldown_ms = 0);
    ground.boto.ok("modify_volume", &json!({ "VolumeId": volume, "Iops": 4000 }));
    let cut = ground.boto.ok("create_snapshot", &json!({ "VolumeId": volume }));
    let snapshot = cut["SnapshotId"].as_str().unwrap().to_owned();
    assert_eq!(next("cut"), Change::Cut { snapshot: snapshot.clone(), volume: volume.clone() });
    args["SnapshotId"] = json!(snapshot);
    args["Size"] = json!(10);
    args["ClientToken"] = json!("disks again");
    let restored = ground.boto.ok("create_volume", &args)["VolumeId"].as_str().unwrap().to_owned();
    let from = Some(snapshot.clone());
    assert_eq!(next("restored"), Change::Created { volume: restored.clone(), bytes: 10 << 30, snapshot: from });
    ground.boto.ok("delete_snapshot", &json!({ "SnapshotId": snapshot }));
    assert_eq!(next("dropped"), Change::Dropped { snapshot });
    ground.boto.ok("delete_volume", &json!({ "VolumeId": restored }));
    assert_eq!(next("deleted"), Change::Deleted { volume: restored });
    ground.boto.ok("detach_volume", &json!({ "VolumeId": volume }));
    assert_eq!(next("detached"), Change::Detached { volume: volume.clone() });
    // What goes wrong there is nothing that a client takes for success.
    ground.proxy.on_change(|change| panic!("{change:?} can't be done"));
    assert_eq!(ground.boto.refused("attach_volume", &attach(&volume, &instance, "/dev/xvdga")), "InternalError");
}
