//! States that take time, hidden volumes, pages.

use crate::ground::{Ground, LONG};
use bulkhead_ec2::{Rules, Settings};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn ground(name: &'static str, change: impl FnOnce(&mut Rules)) -> Option<Ground> {
    let mut rules = Rules::at_once();
    change(&mut rules);
    Ground::new(name, Settings { rules, ..Settings::default() })
}

#[test]
fn a_new_volume_is_creating_and_can_do_nothing_yet() {
    let Some(mut ground) = ground("creating", |rules| rules.creating_ms = LONG) else { return };
    let args = ground.volume(json!({}));
    let made = ground.boto.ok("create_volume", &args);
    let id = made["VolumeId"].as_str().unwrap().to_owned();
    assert_eq!((&made["State"], &ground.seen(&id)["State"]), (&json!("creating"), &json!("creating")));
    let way = json!({ "VolumeId": id, "InstanceId": ground.instance(0), "Device": "/dev/xvdfa" });
    let only = json!({ "VolumeId": id });
    for (call, args) in [
        ("attach_volume", &way),
        ("delete_volume", &only),
        ("create_snapshot", &only),
        ("modify_volume", &json!({ "VolumeId": id, "Size": 9 })),
    ] {
        assert_eq!(ground.boto.refused(call, args), "IncorrectState", "{call}");
    }
    // A filter sees what a description shows.
    let with = |state: &str| json!({ "Filters": [{ "Name": "status", "Values": [state] }, { "Name": "tag:test", "Values": ["creating"] }] });
    assert_eq!(ground.boto.ok("describe_volumes", &with("creating"))["Volumes"].as_array().unwrap().len(), 1);
    assert_eq!(ground.boto.ok("describe_volumes", &with("available"))["Volumes"], json!([]));
    ground.proxy.set(|settings| settings.rules.creating_ms = 0);
    ground.until(&id, "available");
    assert_eq!(ground.boto.ok("describe_volumes", &with("creating"))["Volumes"], json!([]));
    ground.boto.ok("delete_volume", &only);
}

#[test]
fn a_volume_can_fail_to_be_made() {
    let Some(mut ground) = ground("broken", |rules| (rules.creating_ms, rules.fail_creation) = (100, true)) else {
        return;
    };
    let args = ground.volume(json!({}));
    let id = ground.boto.ok("create_volume", &args)["VolumeId"].as_str().unwrap().to_owned();
    ground.until(&id, "error");
    let way = json!({ "VolumeId": id, "InstanceId": ground.instance(0), "Device": "/dev/xvdga" });
    assert_eq!(ground.boto.refused("attach_volume", &way), "IncorrectState");
    ground.boto.ok("delete_volume", &json!({ "VolumeId": id }));
}

#[test]
fn a_new_volume_can_not_be_seen_yet() {
    let Some(mut ground) = ground("hidden", |rules| rules.hidden_ms = LONG) else { return };
    let args = ground.volume(json!({ "ClientToken": "hidden" }));
    let id = ground.boto.ok("create_volume", &args)["VolumeId"].as_str().unwrap().to_owned();
    let by_id = json!({ "VolumeIds": [id] });
    let by_tag = json!({ "Filters": [{ "Name": "tag:test", "Values": ["hidden"] }] });
    assert_eq!(ground.boto.refused("describe_volumes", &by_id), "InvalidVolume.NotFound");
    assert_eq!(ground.boto.ok("describe_volumes", &by_tag)["Volumes"], json!([]));
    // Only the token finds it.
    assert_eq!(ground.boto.ok("create_volume", &args)["VolumeId"], json!(id));
    ground.proxy.set(|settings| settings.rules.hidden_ms = 0);
    assert_eq!(ground.boto.ok("describe_volumes", &by_tag)["Volumes"][0]["VolumeId"], json!(id));
    ground.boto.ok("describe_volumes", &by_id);
}

#[test]
fn attaching_and_detaching_take_time() {
    let Some(mut ground) = ground("moving", |rules| (rules.attaching_ms, rules.detaching_ms) = (LONG, LONG)) else {
        return;
    };
    let (volume, here, there) = (ground.made(), ground.instance(0), ground.instance(1));
    let way = |instance: &str| json!({ "VolumeId": volume, "InstanceId": instance, "Device": "/dev/xvdha" });
    let state = |ground: &mut Ground| {
        let seen = ground.seen(&volume);
        let instances = ground.boto.ok("describe_instances", &json!({ "InstanceIds": [here] }));
        let mappings = instances["Reservations"][0]["Instances"][0]["BlockDeviceMappings"].as_array().unwrap().clone();
        let mapped = mappings.iter().find(|one| one["Ebs"]["VolumeId"] == json!(volume));
        let mapped = mapped.map_or(Value::Null, |one| one["Ebs"]["Status"].clone());
        (seen["State"].clone(), seen["Attachments"][0]["State"].clone(), mapped)
    };
    ground.boto.ok("attach_volume", &way(&here));
    assert_eq!(state(&mut ground), (json!("in-use"), json!("attaching"), json!("attaching")));
    ground.proxy.set(|settings| settings.rules.attaching_ms = 0);
    assert_eq!(state(&mut ground), (json!("in-use"), json!("attached"), json!("attached")));
    ground.boto.ok("detach_volume", &json!({ "VolumeId": volume }));
    assert_eq!(state(&mut ground), (json!("in-use"), json!("detaching"), json!("detaching")));
    assert_eq!(ground.boto.refused("attach_volume", &way(&there)), "VolumeInUse");
    assert_eq!(ground.boto.refused("detach_volume", &json!({ "VolumeId": volume })), "IncorrectState");
    assert_eq!(ground.boto.refused("delete_volume", &json!({ "VolumeId": volume })), "VolumeInUse");
    let filter = json!({ "Filters": [{ "Name": "attachment.instance-id", "Values": [here] }, { "Name": "tag:test", "Values": ["moving"] }] });
    assert_eq!(ground.boto.ok("describe_volumes", &filter)["Volumes"].as_array().unwrap().len(), 1);
    ground.proxy.set(|settings| settings.rules.detaching_ms = 0);
    assert_eq!(state(&mut ground), (json!("available"), Value::Null, Value::Null));
    ground.boto.ok("attach_volume", &way(&there));
}

#[test]
fn a_modification_takes_effect_optimizes_and_cools_down() {
    let change = |rules: &mut Rules| {
        (rules.modifying_ms, rules.optimizing_ms, rules.cooldown_ms) = (LONG, LONG, LONG);
    };
    let Some(mut ground) = ground("modify", change) else { return };
    let volume = ground.made();
    let modify = |size: u32| json!({ "VolumeId": volume, "Size": size, "Iops": 4_000 });
    let told = |ground: &mut Ground| {
        let all = ground.boto.ok("describe_volumes_modifications", &json!({ "VolumeIds": [volume] }));
        let all = all["VolumesModifications"].as_array().unwrap().clone();
        assert_eq!(all.len(), 1, "{all:?}");
        let seen = ground.seen(&volume);
        (
            all[0]["ModificationState"].clone(),
            all[0].get("EndTime").is_some(),
            seen["Size"].clone(),
            seen["Iops"].clone(),
        )
    };
    assert_eq!(ground.boto.ok("modify_volume", &modify(16))["VolumeModification"]["ModificationState"], "modifying");
    assert_eq!(told(&mut ground), (json!("modifying"), false, json!(8), json!(3000)));
    assert_eq!(ground.boto.refused("modify_volume", &modify(17)), "IncorrectModificationState");
    ground.proxy.set(|settings| settings.rules.modifying_ms = 0);
    assert_eq!(told(&mut ground), (json!("optimizing"), false, json!(16), json!(4000)));
    assert_eq!(ground.boto.refused("modify_volume", &modify(17)), "IncorrectModificationState");
    ground.proxy.set(|settings| settings.rules.optimizing_ms = 0);
    assert_eq!(told(&mut ground), (json!("completed"), true, json!(16), json!(4000)));
    assert_eq!(ground.boto.refused("modify_volume", &modify(17)), "VolumeModificationRateExceeded");
    ground.proxy.set(|settings| settings.rules.cooldown_ms = 0);
    ground.boto.ok("modify_volume", &modify(17));
    // EC2 tells the last one only.
    assert_eq!(told(&mut ground), (json!("completed"), true, json!(17), json!(4000)));
}

#[test]
fn a_snapshot_is_pending_and_can_not_be_restored_yet() {
    let Some(mut ground) = ground("snapshot", |rules| rules.snapshot_ms = LONG) else { return };
    let volume = ground.made();
    let only = json!({ "VolumeId": volume });
    let made = ground.boto.ok("create_snapshot", &only);
    let id = made["SnapshotId"].clone();
    let state = |ground: &mut Ground| {
        ground.boto.ok("describe_snapshots", &json!({ "SnapshotIds": [id] }))["Snapshots"][0].take()
    };
    assert_eq!((&made["State"], &state(&mut ground)["State"]), (&json!("pending"), &json!("pending")));
    let restore = |size: u32| json!({ "SnapshotId": id, "Size": size });
    let args = ground.volume(restore(8));
    assert_eq!(ground.boto.refused("create_volume", &args), "IncorrectState");
    // EC2 has what it needs: the volume may go, and so may a pending snapshot.
    let second = ground.boto.ok("create_snapshot", &only)["SnapshotId"].clone();
    ground.boto.ok("delete_snapshot", &json!({ "SnapshotId": second }));
    ground.boto.ok("delete_volume", &only);
    ground.proxy.set(|settings| settings.rules.snapshot_ms = 0);
    let done = state(&mut ground);
    assert_eq!((&done["State"], &done["Progress"]), (&json!("completed"), &json!("100%")));
    let small = ground.volume(restore(7));
    assert_eq!(ground.boto.refused("create_volume", &small), "InvalidParameterValue");
    assert_eq!(ground.boto.ok("create_volume", &args)["SnapshotId"], id);
    ground.proxy.set(|settings| settings.rules.snapshot_interval_ms = 60_000);
    let other = json!({ "VolumeId": ground.made() });
    ground.boto.ok("create_snapshot", &other);
    assert_eq!(ground.boto.refused("create_snapshot", &other), "SnapshotCreationPerVolumeRateExceeded");
}

#[test]
fn pages_have_every_volume_once_whatever_is_deleted_between_them() {
    let Some(mut ground) = ground("pages", |_| {}) else { return };
    let ids: BTreeSet<_> = (0..13).map(|_| ground.made()).collect();
    let filter = json!([{ "Name": "tag:test", "Values": ["pages"] }]);
    let ask = |token: &Value| {
        let mut args = json!({ "Filters": filter, "MaxResults": 5 });
        if !token.is_null() {
            args["NextToken"] = token.clone();
        }
        args
    };
    let (mut seen, mut token, mut pages) = (BTreeSet::new(), Value::Null, 0);
    loop {
        let page = ground.boto.ok("describe_volumes", &ask(&token));
        let here: Vec<_> =
            page["Volumes"].as_array().unwrap().iter().map(|v| v["VolumeId"].as_str().unwrap().to_owned()).collect();
        assert!(here.len() <= 5);
        // The last of the page goes before the next is asked for.
        ground.boto.ok("delete_volume", &json!({ "VolumeId": here.last().unwrap() }));
        for id in here {
            assert!(seen.insert(id), "twice");
        }
        (token, pages) = (page["NextToken"].clone(), pages + 1);
        if token.is_null() {
            break;
        }
    }
    assert_eq!((seen, pages), (ids, 3));
    for (wrong, code) in [
        (json!({ "MaxResults": 4 }), "InvalidParameterValue"),
        (json!({ "MaxResults": 5, "NextToken": "stolen" }), "InvalidParameterValue"),
        (json!({ "MaxResults": 5, "VolumeIds": ["vol-1"] }), "InvalidVolume.NotFound"),
    ] {
        assert_eq!(ground.boto.refused("describe_volumes", &wrong), code);
    }
    let id = ground.made();
    let both = json!({ "MaxResults": 5, "VolumeIds": [id] });
    assert_eq!(ground.boto.refused("describe_volumes", &both), "InvalidParameterCombination");
}

#[test]
fn only_ones_own_snapshots_are_listed_when_asked_for() {
    let Some(mut ground) = ground("owner", |_| {}) else { return };
    let volume = ground.made();
    ground.boto.ok("create_snapshot", &json!({ "VolumeId": volume }));
    let filter = json!([{ "Name": "volume-id", "Values": [volume] }]);
    let mut count = |owner: &str| {
        let args = json!({ "OwnerIds": [owner], "Filters": filter });
        ground.boto.ok("describe_snapshots", &args)["Snapshots"].as_array().unwrap().len()
    };
    assert_eq!((count("self"), count("999999999999")), (1, 0));
}
