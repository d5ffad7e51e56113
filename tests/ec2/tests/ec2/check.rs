//! botocore's model over recordings: nothing is found where boto3 asks, and what was planted is found.

use crate::ground::Ground;
use bulkhead_ec2::{Form, Rules, Settings, checker::check};
use serde_json::{Value, json};
use std::fs;

#[test]
fn what_boto3_asks_and_the_proxy_answers_is_without_offence() {
    let rules = Rules { creating_ms: 100, attaching_ms: 100, detaching_ms: 100, snapshot_ms: 100, ..Rules::default() };
    let Some(mut ground) = Ground::new("check", Settings { rules, ..Settings::default() }) else { return };
    let volume = ground.made();
    let only = json!({ "VolumeId": volume });
    let way = json!({ "VolumeId": volume, "InstanceId": ground.instance(0), "Device": "/dev/xvdka" });
    ground.boto.ok("attach_volume", &way);
    let instance = json!({ "InstanceIds": [ground.instance(0)] });
    ground.boto.ok("describe_instances", &instance);
    ground.boto.ok("detach_volume", &only);
    ground.boto.ok("describe_instances", &instance);
    ground.until(&volume, "available");
    ground.boto.ok("modify_volume", &json!({ "VolumeId": volume, "Size": 9, "VolumeType": "gp3", "Throughput": 200 }));
    ground.boto.ok("describe_volumes_modifications", &json!({ "VolumeIds": [volume] }));
    let snapshot = ground.boto.ok("create_snapshot", &only)["SnapshotId"].clone();
    ground.boto.ok("describe_snapshots", &json!({ "OwnerIds": ["self"], "MaxResults": 5 }));
    ground.boto.ok("create_tags", &json!({ "Resources": [volume], "Tags": [{ "Key": "a", "Value": "b&<" }] }));
    let filters = json!({ "Filters": [{ "Name": "tag:a", "Values": ["b&<", "c"] }], "MaxResults": 5 });
    assert_eq!(ground.boto.ok("describe_volumes", &filters)["Volumes"][0]["VolumeId"], json!(volume));
    ground.boto.refused("describe_volumes", &json!({ "VolumeIds": ["vol-00000000000000000"] }));
    ground.boto.ok("delete_snapshot", &json!({ "SnapshotId": snapshot }));
    ground.boto.ok("describe_availability_zones", &json!({}));
    ground.boto.ok("delete_volume", &only);
    let said = check(ground.record.path()).unwrap_or_else(|e| panic!("{e}"));
    assert!(said.contains(" 0 offences") && !said.starts_with("0 "), "{said}");
}

#[test]
fn planted_parameters_are_found() {
    let Some(ground) = Ground::new("planted", Settings::default()) else { return };
    let client = ground.raw("driver");
    for (action, parameters, word) in [
        ("DescribeVolumes", &[("VolumeIds.1", "vol-1")][..], "VolumeIds: unknown"),
        ("DescribeVolumes", &[("VolumeId", "vol-1")], "VolumeId.1"),
        ("DescribeVolumes", &[("VolumeId.2", "vol-1")], "numbered from 1"),
        ("DescribeVolumes", &[("VolumeId.0", "vol-1")], "numbered from 1"),
        ("DescribeVolumes", &[("Filter.1.Names", "a")], "Filter.1.Names: unknown"),
        ("DescribeVolumes", &[("MaxResults", "many")], "no integer"),
        ("CreateVolume", &[("Size", "8"), ("AvailabilityZone", "a"), ("VolumeType", "gp9")], "none of"),
        ("CreateVolume", &[("Size", "8"), ("Encrypted", "yes"), ("AvailabilityZone", "a")], "no boolean"),
        ("CreateVolume", &[("Tag.1.Key", "a")], "Tag: unknown"),
        ("AttachVolume", &[("VolumeId", "vol-1"), ("Device", "a")], "InstanceId: required"),
        ("DeleteVolume", &[("VolumeId", "vol-1"), ("VolumeId", "vol-2")], "twice"),
        ("DescribeVolume", &[], "no such action"),
    ] {
        fs::write(ground.record.path(), "").unwrap();
        client.send(&Form::action(action, parameters)).unwrap();
        let found = check(ground.record.path()).unwrap_err();
        assert!(found.contains("request: ") && found.contains(word), "{action} {parameters:?}: {found}");
    }
    fs::write(ground.record.path(), "").unwrap();
    let old = Form::parse(b"Action=DescribeVolumes&Version=2014-01-01");
    client.send(&old).unwrap();
    assert!(check(ground.record.path()).unwrap_err().contains("Version is 2016-11-15"));
}

#[test]
fn planted_replies_are_found() {
    let Some(mut ground) = Ground::new("replies", Settings::default()) else { return };
    ground.made();
    ground.boto.ok("describe_volumes", &json!({ "Filters": [{ "Name": "tag:test", "Values": ["replies"] }] }));
    let record = fs::read_to_string(ground.record.path()).unwrap();
    let line: Value = serde_json::from_str(record.lines().last().unwrap()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let judge = |change: &dyn Fn(&str) -> String, status: u16| {
        let mut line = line.clone();
        line["reply"] = json!(change(line["reply"].as_str().unwrap()));
        line["status"] = json!(status);
        fs::write(file.path(), format!("{line}\n")).unwrap();
        check(file.path())
    };
    judge(&|reply| reply.to_owned(), 200).unwrap();
    for (from, to) in [
        ("<size>8</size>", "<size>much</size>"),
        ("<size>8</size>", "<sise>8</sise>"),
        ("<volumeType>gp3<", "<volumeType>gp33<"),
        ("DescribeVolumesResponse", "DescribeVolumeResponse"),
        ("</volumeSet>", ""),
        ("<status>available<", "<status>there<"),
    ] {
        let found = judge(
            &|reply| {
                assert!(reply.contains(from));
                reply.replace(from, to)
            },
            200,
        )
        .unwrap_err();
        assert!(found.contains("reply: "), "{from} {to}: {found}");
    }
    assert!(judge(&|reply| reply.to_owned(), 500).unwrap_err().contains("without a code"));
    fs::write(file.path(), "").unwrap();
    assert!(check(file.path()).unwrap_err().contains("nothing was recorded"));
}
