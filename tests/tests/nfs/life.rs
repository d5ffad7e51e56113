//! Volumes from the first call to the last, made by a controller on a share and mounted by nodes from its server.

use crate::rig::{DRIVER, MIB, Share, run, sandbox};
use bulkhead_proto::v1::{self, volume_capability::access_mode::Mode, volume_content_source as source};
use bulkhead_tests::{
    Client, HostBuilder,
    client::{Use, capability_with, create_request},
};
use bulkhead_vm::Squash;
use std::{fs, os::unix::process::CommandExt as _, path::Path, process::Command};
use tonic::{Code, Status};

fn shared() -> v1::VolumeCapability {
    capability_with(Use::Mount(""), Mode::MultiNodeMultiWriter, &[])
}

fn request(name: &str, parameters: &[(&str, &str)]) -> v1::CreateVolumeRequest {
    let request = create_request(name, 16 * MIB as i64, Use::Mount(""), parameters);
    v1::CreateVolumeRequest { volume_capabilities: vec![shared()], ..request }
}

fn made_of(name: &str, source: source::Type) -> v1::CreateVolumeRequest {
    let source = v1::VolumeContentSource { r#type: Some(source) };
    v1::CreateVolumeRequest { volume_content_source: Some(source), ..request(name, &[]) }
}

fn snapshot(id: &str) -> source::Type {
    source::Type::Snapshot(source::SnapshotSource { snapshot_id: id.to_owned() })
}

async fn attach(client: &Client, volume: &v1::Volume, node: &str) -> Result<(), Status> {
    let request = v1::ControllerPublishVolumeRequest {
        volume_id: volume.volume_id.clone(),
        node_id: node.to_owned(),
        volume_capability: Some(shared()),
        volume_context: volume.volume_context.clone(),
        ..Default::default()
    };
    client.controller.clone().controller_publish_volume(request).await.map(drop)
}

async fn detach(client: &Client, volume: &v1::Volume, node: &str) {
    let (volume_id, node_id) = (volume.volume_id.clone(), node.to_owned());
    let request = v1::ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
    client.controller.clone().controller_unpublish_volume(request).await.unwrap();
}

async fn cut(client: &Client, name: &str, volume: &v1::Volume) -> Result<v1::Snapshot, Status> {
    let (source_volume_id, name) = (volume.volume_id.clone(), name.to_owned());
    let request = v1::CreateSnapshotRequest { source_volume_id, name, ..Default::default() };
    Ok(client.controller.clone().create_snapshot(request).await?.into_inner().snapshot.unwrap())
}

/// Stages the volume, publishes it to a pod and gives the pod's path.
async fn mount(client: &Client, volume: &v1::Volume, pod: &str, read_only: bool) -> Result<String, Status> {
    // A plan has one second, which is little in an emulated machine beside builds. An orchestrator asks again.
    for _ in 0..10 {
        match client.stage(volume, shared()).await {
            Err(late) if late.code() == Code::DeadlineExceeded => {}
            staged => {
                staged?;
                break;
            }
        }
    }
    client.publish(volume, shared(), pod, read_only).await
}

async fn unmount(client: &Client, volume: &v1::Volume, pod: &str) {
    client.unpublish(&volume.volume_id, pod).await.unwrap();
    client.unstage(&volume.volume_id).await.unwrap();
}

/// A pod of a user who isn't root writes a file.
fn write_as_somebody(dir: &str, name: &str, text: &str) {
    let status = Command::new("sh")
        .args(["-c", "umask 000; printf %s \"$2\" > \"$1\"", "sh", &format!("{dir}/{name}"), text])
        .uid(1000)
        .gid(1000)
        .status();
    assert!(status.unwrap().success(), "{dir}/{name}");
}

fn read(dir: &str, name: &str) -> String {
    fs::read_to_string(Path::new(dir).join(name)).unwrap()
}

/// Create, attach, mount, write, take down, snapshot, mount again, read back, expand, restore, delete.
async fn whole_life(client: &Client, share: &Share, squash: Squash) {
    let volume = client.create(request("pvc-1", &[])).await.unwrap();
    assert_eq!(volume.volume_id, "fast/pvc-1");
    attach(client, &volume, "node-1").await.unwrap();
    let pod = mount(client, &volume, "pod-1", false).await.unwrap();
    fs::write(Path::new(&pod).join("of-root"), "by root").unwrap();
    if squash == Squash::None {
        write_as_somebody(&pod, "of-somebody", "by somebody");
    }
    assert_eq!(read(&pod, "of-root"), "by root");
    assert_eq!(fs::read_to_string(share.served().join("objects/pvc-1/data/of-root")).unwrap(), "by root");
    let live = cut(client, "live", &volume).await.unwrap_err();
    assert_eq!(
        (live.code(), live.message().contains("attached for writing to node-1")),
        (Code::FailedPrecondition, true)
    );
    assert_eq!(client.delete(&volume.volume_id).await.unwrap_err().code(), Code::FailedPrecondition);
    unmount(client, &volume, "pod-1").await;
    detach(client, &volume, "node-1").await;
    let taken = cut(client, "snap-1", &volume).await.unwrap();
    attach(client, &volume, "node-1").await.unwrap();
    let pod = mount(client, &volume, "pod-2", false).await.unwrap();
    assert_eq!(read(&pod, "of-root"), "by root");
    fs::write(Path::new(&pod).join("of-root"), "changed").unwrap();
    let grown = client.expand(&volume.volume_id, 64 * MIB as i64, shared()).await.unwrap();
    assert_eq!((grown.capacity_bytes, grown.node_expansion_required), (64 * MIB as i64, false));
    assert!(client.stats(&volume.volume_id, &pod).await.unwrap().iter().any(|usage| usage.total > 0));
    let restored = client.create(made_of("pvc-2", snapshot(&taken.snapshot_id))).await.unwrap();
    attach(client, &restored, "node-1").await.unwrap();
    let copy = mount(client, &restored, "pod-3", true).await.unwrap();
    assert_eq!((read(&copy, "of-root").as_str(), read(&pod, "of-root").as_str()), ("by root", "changed"));
    let refused = fs::write(Path::new(&copy).join("no"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    if squash == Squash::None {
        assert_eq!(read(&copy, "of-somebody"), "by somebody");
    }
    for (volume, pod) in [(&volume, "pod-2"), (&restored, "pod-3")] {
        unmount(client, volume, pod).await;
        detach(client, volume, "node-1").await;
    }
    let request = v1::DeleteSnapshotRequest { snapshot_id: taken.snapshot_id, ..Default::default() };
    client.controller.clone().delete_snapshot(request).await.unwrap();
    for volume in [volume, restored] {
        client.delete(&volume.volume_id).await.unwrap();
        client.delete(&volume.volume_id).await.unwrap();
    }
    share.assert_empty();
}

/// A directory that was there before the driver is mounted, and nothing of it is ever removed.
async fn was_there_before(client: &Client, share: &Share) {
    let old = share.served().join("projects/alpha");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("old"), "from before").unwrap();
    let volume = v1::Volume { volume_id: "fast/dir:projects/alpha".into(), ..Default::default() };
    let validate = v1::ValidateVolumeCapabilitiesRequest {
        volume_id: volume.volume_id.clone(),
        volume_capabilities: vec![shared()],
        ..Default::default()
    };
    let validated = client.controller.clone().validate_volume_capabilities(validate).await.unwrap().into_inner();
    assert!(validated.confirmed.is_some(), "{validated:?}");
    attach(client, &volume, "node-1").await.unwrap();
    let pod = mount(client, &volume, "pod-old", true).await.unwrap();
    assert_eq!(read(&pod, "old"), "from before");
    unmount(client, &volume, "pod-old").await;
    detach(client, &volume, "node-1").await;
    assert_eq!(client.delete(&volume.volume_id).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(fs::read_to_string(old.join("old")).unwrap(), "from before");
    let absent = v1::Volume { volume_id: "fast/dir:projects/beta".into(), ..Default::default() };
    let refused = mount(client, &absent, "pod-none", true).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("no such directory"), "{refused}");
    client.unstage(&absent.volume_id).await.unwrap();
}

fn in_one_process(squash: Squash) {
    let sandbox = sandbox();
    let share = Share::new(squash, "vers=4.2");
    let host = HostBuilder::new(&sandbox, [share.controller()]).start();
    run(async {
        let client = host.client().await;
        whole_life(&client, &share, squash).await;
        was_there_before(&client, &share).await;
        let block = client.create(create_request("raw", MIB as i64, Use::Block, &[])).await.unwrap_err();
        assert_eq!(block.code(), Code::InvalidArgument, "{block}");
    });
    assert!(host.stop().success());
    sandbox.assert_clean();
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_volume_s_whole_life() {
    in_one_process(Squash::None);
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_volume_s_whole_life_where_root_is_nobody() {
    in_one_process(Squash::Root);
}

/// A controller that has the pool, and two nodes that have none, each a process of its own.
#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn two_nodes_write_to_one_volume() {
    let sandbox = sandbox();
    let share = Share::new(Squash::Root, "vers=4.2");
    let folder = format!("directory: {}", sandbox.path().join("nodes").display());
    let start = |name: &str, mode: &'static str, driver| {
        let mut builder = HostBuilder::new(&sandbox, [driver]).apart(name).mode(mode);
        builder.node_id = name.to_owned();
        builder.node = folder.clone();
        builder.start()
    };
    let controller = start("controller", "controller", share.controller());
    let nodes = ["node-1", "node-2"].map(|name| start(name, "node", Share::node()));
    run(async {
        let client = controller.client_of(DRIVER).await;
        let volume = client.create(request("pvc-1", &[])).await.unwrap();
        let mut pods = Vec::new();
        for (host, node) in nodes.iter().zip(["node-1", "node-2"]) {
            attach(&client, &volume, node).await.unwrap();
            let node = host.client_of(DRIVER).await;
            let pod = mount(&node, &volume, "pod", false).await.unwrap();
            pods.push((node, pod));
        }
        for (number, (_, pod)) in pods.iter().enumerate() {
            write_as_somebody(pod, &format!("of-{number}"), "text");
        }
        for (_, pod) in &pods {
            assert_eq!((read(pod, "of-0").as_str(), read(pod, "of-1").as_str()), ("text", "text"));
        }
        for (node, _) in &pods {
            unmount(node, &volume, "pod").await;
        }
        for node in ["node-1", "node-2"] {
            detach(&client, &volume, node).await;
        }
        client.delete(&volume.volume_id).await.unwrap();
    });
    share.assert_empty();
    for host in nodes {
        assert!(host.stop().success());
    }
    assert!(controller.stop().success());
    sandbox.assert_clean();
}
