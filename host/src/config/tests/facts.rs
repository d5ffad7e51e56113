//! What the operator says about a node.

use super::super::types::*;
use super::*;
use std::time::Duration;

fn facts(facts: &str) -> String {
    format!("node:\n  facts: {{ {facts} }}\n{MINIMAL}")
}

fn loaded(text: &str) -> FactsConfig {
    load(&facts(text)).expect("facts").node.facts
}

#[test]
fn where_a_node_runs() {
    let text = "cloud: { provider: aws, instanceId: i-1, instanceType: m6i.large, region: r, usedAttachmentSlots: 2 }";
    let cloud = loaded(text).cloud.expect("a cloud");
    assert_eq!((cloud.instance_id.as_deref(), cloud.zone, cloud.used_attachment_slots), (Some("i-1"), None, Some(2)));
    assert_eq!(cloud.metadata, None);
    one(
        &facts("cloud: { provider: aws, instanceType: t, region: r }"),
        "2:31: node.facts.cloud.instanceId: is missing: add it, or metadata: true",
    );
    one(
        &facts("cloud: { provider: gcp, instanceId: i, instanceType: t }"),
        "2:31: node.facts.cloud.region: is missing: add it",
    );
}

#[test]
fn where_a_node_asks_who_it_is() {
    let cloud = loaded("cloud: { provider: aws, metadata: true, zone: z }").cloud.expect("a cloud");
    assert_eq!(cloud.metadata.as_deref(), Some("http://169.254.169.254"));
    assert_eq!((cloud.instance_id, cloud.zone.as_deref()), (None, Some("z")));
    let there = "cloud: { provider: aws, metadata: true, metadataEndpoint: 'http://[fd00:ec2::254]/' }";
    assert_eq!(loaded(there).cloud.and_then(|cloud| cloud.metadata).as_deref(), Some("http://[fd00:ec2::254]"));
    one(
        &facts("cloud: { provider: azure, metadata: true }"),
        "2:48: node.facts.cloud.metadata: the metadata service of azure is not known here, only that of aws: leave it out",
    );
    let far = errors_with(
        &facts("cloud: { provider: aws, metadata: true, metadataEndpoint: 'http://elsewhere.example.com' }"),
        &[],
    );
    assert!(far[0].contains("metadataEndpoint: \"http://elsewhere.example.com\" would send keys"), "{far:?}");
    one(
        &facts("cloud: { provider: a, instanceId: i, instanceType: t, region: r, metadataEndpoint: 'https://a' }"),
        "2:95: node.facts.cloud.metadataEndpoint: is not asked: write metadata: true",
    );
}

#[test]
fn what_is_told_is_checked() {
    let told = loaded(
        "root: host, interval: 5s, addresses: ['2001:DB8::7', 10.0.0.7], iscsiInitiators: [iqn.2004-10.com.x:1], \
         nvmeHostNqn: nqn.2014-08.org.x, nvmeHostId: 0AB5C1D2-0000-4000-8000-0123456789ab, \
         fcWwpns: ['21:00:00:24:FF:3D:A5:E2', 0x21000024ff3da5e3], transports: []",
    );
    assert_eq!((told.root.as_os_str(), told.interval), ("/etc/bulkhead/host".as_ref(), Duration::from_secs(5)));
    assert_eq!(told.addresses.as_deref(), Some(&["2001:db8::7".to_owned(), "10.0.0.7".to_owned()][..]));
    assert_eq!(told.nvme_host_id.as_deref(), Some("0ab5c1d2-0000-4000-8000-0123456789ab"));
    let ports = ["21000024ff3da5e2", "21000024ff3da5e3"].map(str::to_owned);
    assert_eq!((told.fc_wwpns.as_deref(), told.transports.as_deref()), (Some(&ports[..]), Some(&[][..])));
    for (wrong, problem) in [
        (
            "addresses: [10.0.0.7/24]",
            "2:24: node.facts.addresses[0]: \"10.0.0.7/24\" is not an IP address: write one without port and prefix",
        ),
        (
            "iscsiInitiators: [host]",
            "2:30: node.facts.iscsiInitiators[0]: \"host\" is not a qualified name: write iqn. or eui. or naa. and more, at most 223 bytes",
        ),
        (
            "nvmeHostNqn: iqn.1",
            "2:25: node.facts.nvmeHostNqn: \"iqn.1\" is not a qualified name: write nqn. and more, at most 223 bytes",
        ),
        ("nvmeHostId: '1'", "2:24: node.facts.nvmeHostId: \"1\" is not a UUID: write it as in /etc/nvme/hostid"),
        ("fcWwpns: ['21']", "2:22: node.facts.fcWwpns[0]: \"21\" is not a port name: write 16 hexadecimal digits"),
        ("interval: 10ms", "2:22: node.facts.interval: \"10ms\" is out of range: write 1s to 1h"),
    ] {
        one(&facts(wrong), problem);
    }
}
