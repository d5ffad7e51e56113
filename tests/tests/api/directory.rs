//! A controller and a node in two processes that share nothing but a folder: what the node finds out about itself reaches the backend at
//! ControllerPublishVolume.

use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, Host, HostBuilder, Sandbox,
    client::{Use, capability},
    web::Web,
};
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};
use tonic::{Code, Status};

const PATIENCE: Duration = Duration::from_secs(60);
const IQN: &str = "iqn.2004-10.com.ubuntu:01:first";

fn nodes(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("nodes")
}

/// The root directory of a machine that has storage names.
fn machine(sandbox: &Sandbox) -> PathBuf {
    let root = sandbox.path().join("machine");
    for (path, text) in [
        ("etc/iscsi/initiatorname.iscsi", &format!("InitiatorName={IQN}\n")[..]),
        ("etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:1\n"),
        ("etc/nvme/hostid", "0ab5c1d2-0000-4000-8000-0123456789ab\n"),
        ("sys/class/fc_host/host0/port_name", "0x21000024ff3da5e2\n"),
        ("sys/module/nvme_tcp/refcnt", "0\n"),
        ("proc/filesystems", "nodev\tnfs4\n"),
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
    root
}

fn controller(sandbox: &Sandbox) -> HostBuilder {
    let mut builder = HostBuilder::new(sandbox, [Driver::plain("facts")]).apart("controller").mode("controller");
    builder.node_id = "controller-1".into();
    builder.node = format!("directory: {}", nodes(sandbox).display());
    builder
}

/// `facts`: more of `node.facts`.
fn node(sandbox: &Sandbox, facts: &str) -> HostBuilder {
    let mut builder = HostBuilder::new(sandbox, [Driver::plain("facts")]).apart("node").mode("node");
    let (directory, root) = (nodes(sandbox), machine(sandbox));
    builder.node_id = "node-1".into();
    builder.node = format!(
        "directory: {}\nfacts: {{ interval: 1s, root: {}, addresses: [192.0.2.7], {facts} }}",
        directory.display(),
        root.display()
    );
    builder
}

async fn publish(client: &Client, volume: &str, node: &str) -> Result<BTreeMap<String, String>, Status> {
    let request = v1::ControllerPublishVolumeRequest {
        volume_id: volume.into(),
        node_id: node.into(),
        volume_capability: Some(capability(Use::Mount(""))),
        ..Default::default()
    };
    client.controller.clone().controller_publish_volume(request).await.map(|r| r.into_inner().publish_context)
}

async fn unpublish(client: &Client, volume: &str, node: &str) -> Result<(), Status> {
    let (volume_id, node_id) = (volume.into(), node.into());
    let request = v1::ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
    client.controller.clone().controller_unpublish_volume(request).await.map(drop)
}

/// Publishes again and again until the answer is as wanted.
async fn until(client: &Client, volume: &str, wanted: impl Fn(&Result<BTreeMap<String, String>, Status>) -> bool) {
    let start = Instant::now();
    loop {
        let told = publish(client, volume, "node-1").await;
        if wanted(&told) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{told:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn entry(sandbox: &Sandbox) -> PathBuf {
    let mut files = fs::read_dir(nodes(sandbox)).unwrap().map(|file| file.unwrap().path());
    files.find(|file| file.extension().is_some_and(|e| e == "json")).expect("an entry")
}

fn text<'m>(told: &'m BTreeMap<String, String>, key: &str) -> &'m str {
    told.get(key).map_or("(none)", String::as_str)
}

#[test]
fn what_a_node_finds_out_reaches_the_backend() {
    sandboxed(async |s| {
        let controller: Host = controller(&s).start();
        let client = controller.client().await;
        let unknown = publish(&client, "v", "node-1").await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
        assert!(unknown.message().contains("no node node-1 has made itself known"), "{unknown}");
        let builder = node(&s, "");
        let host = builder.start();
        let told = publish(&client, "v", "node-1").await.unwrap();
        for (key, value) in [
            ("nodeId", "node-1"),
            ("addresses", "192.0.2.7"),
            ("iscsi", IQN),
            ("nqn", "nqn.2014-08.org.nvmexpress:uuid:1"),
            ("hostId", "0ab5c1d2-0000-4000-8000-0123456789ab"),
            ("wwpns", "21000024ff3da5e2"),
            ("transports", "fc,nfs,nvme-tcp"),
            ("cloud", "(none)"),
        ] {
            assert_eq!(text(&told, key), value, "{key}");
        }
        // What changes while it runs, and what changes while it doesn't.
        let file = s.path().join("machine/etc/iscsi/initiatorname.iscsi");
        fs::write(&file, "InitiatorName=iqn.2004-10.com.ubuntu:01:second\n").unwrap();
        until(&client, "v", |told| told.as_ref().is_ok_and(|told| text(told, "iscsi").ends_with(":second"))).await;
        assert!(host.stop().success());
        let host = node(&s, "iscsiInitiators: [iqn.2004-10.com.ubuntu:01:told]").start();
        let told = publish(&client, "v", "node-1").await.unwrap();
        assert_eq!(text(&told, "iscsi"), "iqn.2004-10.com.ubuntu:01:told");
        assert_eq!(publish(&client, "v", "node-2").await.unwrap_err().code(), Code::NotFound);
        assert!(host.stop().success());
    });
}

#[test]
fn a_node_that_is_gone_gets_old_and_is_let_go() {
    sandboxed(async |s| {
        let controller = controller(&s).start();
        let client = controller.client().await;
        let host = node(&s, "").start();
        let fresh = publish(&client, "refused", "node-1").await.unwrap_err();
        assert_eq!((fresh.code(), fresh.message().contains("old")), (Code::FailedPrecondition, false), "{fresh}");
        assert!(host.stop().success());
        // Its entry stays, for it may come back; after three intervals whoever fails is told.
        let old = "node node-1: its entry in the node directory is ";
        until(&client, "refused", |told| told.as_ref().is_err_and(|e| e.message().contains(old))).await;
        let stale = publish(&client, "refused", "node-1").await.unwrap_err();
        assert!(stale.message().ends_with("the array knows no such initiator"), "{stale}");
        assert_eq!(text(&publish(&client, "v", "node-1").await.unwrap(), "iscsi"), IQN);
        let said = controller.log().matches("the entry is old").count();
        assert_eq!(said, 1, "once, not at each call");
        // What an operator does with a node that doesn't.
        fs::remove_file(entry(&s)).unwrap();
        assert_eq!(publish(&client, "v", "node-1").await.unwrap_err().code(), Code::NotFound);
        unpublish(&client, "v", "node-1").await.unwrap();
        unpublish(&client, "v", "").await.unwrap();
    });
}

#[test]
fn entries_that_are_garbage_or_newer_are_named() {
    sandboxed(async |s| {
        let controller = controller(&s).start();
        let client = controller.client().await;
        assert!(node(&s, "").start().stop().success());
        let (file, whole) = (entry(&s), fs::read(entry(&s)).unwrap());
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        for _ in 0..3 {
            let garbage = publish(&client, "v", "node-1").await.unwrap_err();
            assert_eq!(garbage.code(), Code::NotFound, "{garbage}");
            assert!(garbage.message().contains(name), "{garbage}");
        }
        let lines = controller.log().lines().filter(|line| line.contains("WARN") && line.contains(name)).count();
        assert_eq!(lines, 1, "{}", controller.log());
        fs::write(&file, r#"{ "schema": 2, "more": "than this version knows" }"#).unwrap();
        let newer = publish(&client, "v", "node-1").await.unwrap_err();
        assert_eq!(newer.code(), Code::Unavailable, "{newer}");
        assert!(newer.message().contains("update this controller"), "{newer}");
        unpublish(&client, "v", "node-1").await.unwrap();
        // The node's host replaces whatever is there.
        let host = node(&s, "").start();
        assert_eq!(text(&publish(&client, "v", "node-1").await.unwrap(), "nodeId"), "node-1");
        drop(host);
    });
}

#[test]
fn a_node_that_is_killed_leaves_its_entry_whole() {
    sandboxed(async |s| {
        let controller = controller(&s).start();
        let client = controller.client().await;
        let mut known = false;
        for round in 0..8_u64 {
            let host = node(&s, "").spawn();
            let end = Instant::now() + Duration::from_millis(150 * round);
            while Instant::now() < end {
                match publish(&client, "v", "node-1").await {
                    Ok(told) => {
                        known = true;
                        assert_eq!(text(&told, "iscsi"), IQN);
                    }
                    Err(e) => assert!(!known && e.message().contains("no node node-1"), "{e}"),
                }
            }
            // SIGKILL.
            drop(host);
        }
        let _host = node(&s, "").start();
        assert_eq!(text(&publish(&client, "v", "node-1").await.unwrap(), "iscsi"), IQN);
        assert!(!controller.log().contains("is ignored"), "{}", controller.log());
    });
}

#[test]
fn a_metadata_service_that_comes_late_keeps_no_node_from_starting() {
    sandboxed(async |s| {
        let controller = controller(&s).start();
        let client = controller.client().await;
        // Takes connections and says nothing.
        let slow = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = slow.local_addr().unwrap().port();
        let facts = format!(
            "cloud: {{ provider: aws, metadata: true, metadataEndpoint: 'http://127.0.0.1:{port}', \
             instanceType: told, usedAttachmentSlots: 3 }}"
        );
        let host = node(&s, &facts).start();
        let told = publish(&client, "v", "node-1").await.unwrap();
        assert_eq!((text(&told, "cloud"), text(&told, "iscsi")), ("(none)", IQN), "half of a cloud is none");
        assert!(host.log().contains("/latest/api/token did not answer"), "{}", host.log());
        // Nobody at all, and then the real thing.
        drop(slow);
        let web = Web::plain_on(port).await;
        let cloud = "aws,i-0abc,told,eu-central-1,eu-central-1b,3";
        until(&client, "v", |told| told.as_ref().is_ok_and(|told| text(told, "cloud") == cloud)).await;
        let info = host.client().await.node.node_get_info(v1::NodeGetInfoRequest {}).await.unwrap().into_inner();
        assert_eq!((info.node_id.as_str(), info.max_volumes_per_node), ("node-1", 97));
        let asked = web.heads().len();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(web.heads().len(), asked, "who it is does not change: asked once");
        assert!(!fs::read_to_string(entry(&s)).unwrap().contains("a-session"), "no secret is in the entry");
        assert!(host.stop().success());
    });
}
