//! Plans that no host may carry out, and plans that this one can't.

use super::ground::{Call, bad, is_proper, new_log, world};
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Sandbox,
    client::{Use, capability, create_request},
};
use tonic::Code;

/// A plan, its code, and what the client is told. Of another object than is there: `object` is an image in the pool.
const PLANS: [(&str, Code, &str); 24] = [
    ("pool-ungranted", Code::FailedPrecondition, "\"somebody-elses\" is not in grants.pools"),
    ("object-traversal", Code::Unavailable, "object name"),
    ("object-absolute", Code::Unavailable, "object name"),
    ("object-missing", Code::NotFound, "nobody-made-this"),
    ("mkfs-evil", Code::FailedPrecondition, "mkfs option"),
    ("mount-evil", Code::FailedPrecondition, "mount option"),
    ("fs-evil", Code::FailedPrecondition, "file system"),
    ("device-path-evil", Code::Unavailable, "'..' segment"),
    ("nfs-traversal", Code::Unavailable, "'..' segment"),
    ("nfs-no-server", Code::Unavailable, "servers is empty"),
    ("server-evil", Code::Unavailable, "has a port that is no number"),
    ("nfs-filesystem", Code::Unavailable, "usage filesystem needs a block device"),
    ("image-directory", Code::Unavailable, "usage directory needs a directory"),
    ("identity-empty", Code::Unavailable, "nothing by which it could be known"),
    ("size-max", Code::Unavailable, "2^63 - 1"),
    ("nfs", Code::FailedPrecondition, "nfs is not in grants.access"),
    ("smb", Code::FailedPrecondition, "smb is not in grants.access"),
    ("iscsi", Code::FailedPrecondition, "iscsi is not in grants.access"),
    ("nvme-of", Code::FailedPrecondition, "nvme-of is not in grants.access"),
    ("fibre-channel", Code::FailedPrecondition, "fibre-channel is not in grants.access"),
    ("local-device", Code::FailedPrecondition, "local-device is not in grants.access"),
    ("fuse-cluster", Code::FailedPrecondition, "fuse-cluster is not in grants.access"),
    ("rbd", Code::FailedPrecondition, "rbd is not in grants.access"),
    ("lvm", Code::FailedPrecondition, "lvm is not in grants.access"),
];

/// Makes an image called `object` in a pool, with the driver that can.
async fn make_object(sandbox: &Sandbox, pool: &str) {
    let driver = Driver { pools: vec![("bad".into(), sandbox.dir(pool))], ..Driver::local(sandbox) };
    let host = HostBuilder::new(sandbox, [driver]).start();
    host.client().await.create(create_request("object", 64 << 20, Use::Mount("ext4"), &[])).await.unwrap();
}

/// Everything a refused plan must not do.
async fn is_refused(sandbox: &Sandbox, client: &Client, plan: &str, code: Code, told: &str) {
    // Before the watch begins: the client makes the staging path.
    client.staging(&Call::Plan.subject(plan));
    let before = world(sandbox);
    let status = Call::Plan.run(client, plan).await.expect_err(plan);
    assert_eq!(status.code(), code, "{plan}: {status}");
    is_proper(&status, plan);
    assert!(status.message().contains(told), "{plan}: {status}");
    world(sandbox).assert_same(&before, plan);
    sandbox.assert_clean();
    assert!(sandbox.journal(&sandbox.path().join("state")).is_empty(), "{plan} is on record");
}

#[test]
fn a_plan_that_is_not_allowed_is_not_carried_out() {
    sandboxed(async |s| {
        make_object(&s, "pool-bad").await;
        // Time to make a file system.
        let host = HostBuilder::new(&s, [Driver { limits: String::new(), ..bad(&s, "bad", "") }]).start();
        let client = host.client().await;
        let mut at = 0;
        for (plan, code, told) in PLANS {
            is_refused(&s, &client, plan, code, told).await;
            new_log(&host, &mut at, &["bad.csi.bulkhead.dev", &told.replace('"', "\\\"")]).await;
        }
        // The same object, planned honestly, is mounted: it was the plans.
        let volume = v1::Volume { volume_id: Call::Plan.subject("pool-image"), ..Default::default() };
        client.stage(&volume, capability(Use::Mount("ext4"))).await.unwrap();
        assert_eq!(s.mounts().len(), 1);
        client.unstage(&volume.volume_id).await.unwrap();
        s.assert_clean();
    });
}

#[test]
fn access_that_is_granted_and_not_supported_yet_says_so() {
    sandboxed(async |s| {
        let access = ["smb", "iscsi", "nvme-of", "fibre-channel", "fuse-cluster", "rbd", "lvm"];
        let driver = Driver { access: access.into(), ..bad(&s, "all", "") };
        let host = HostBuilder::new(&s, [driver]).start();
        let client = host.client().await;
        for plan in access {
            is_refused(&s, &client, plan, Code::FailedPrecondition, "is not supported by this host yet").await;
        }
        is_refused(&s, &client, "pool-image", Code::FailedPrecondition, "pool-image is not in grants.access").await;
    });
}

#[test]
fn a_device_that_is_granted_and_not_there_is_waited_for_and_named() {
    sandboxed(async |s| {
        // Longer than the device is waited for.
        let driver = Driver { access: vec!["local-device", "nfs"], limits: String::new(), ..bad(&s, "all", "") };
        let host = HostBuilder::new(&s, [driver]).start();
        let client = host.client().await;
        is_refused(&s, &client, "local-device", Code::Unavailable, "did not appear within 1 s").await;
        is_refused(&s, &client, "device-path-evil", Code::Unavailable, "'..' segment").await;
        is_refused(&s, &client, "nfs-traversal", Code::Unavailable, "'..' segment").await;
        is_refused(&s, &client, "server-evil", Code::Unavailable, "has a port that is no number").await;
    });
}

#[test]
fn a_file_system_for_block_access_is_refused() {
    sandboxed(async |s| {
        let driver = Driver { access: vec!["nfs"], ..bad(&s, "all", "") };
        let host = HostBuilder::new(&s, [driver]).start();
        let client = host.client().await;
        let volume = v1::Volume { volume_id: Call::Plan.subject("nfs"), ..Default::default() };
        let refused = client.stage(&volume, capability(Use::Block)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("gives no block device: nfs is a directory"), "{refused}");
    });
}
