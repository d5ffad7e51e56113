//! A volume's whole life, for every kind of volume.

use crate::sandboxed;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Sandbox,
    client::{Use, capability, create_request},
};
use std::{fs, path::Path};
use tonic::Code;

const MIB: i64 = 1 << 20;

fn bytes_total(stats: &[bulkhead_proto::v1::VolumeUsage]) -> i64 {
    stats.iter().find(|u| u.unit == 1).expect("a line about bytes").total
}

async fn start(sandbox: &Sandbox) -> (bulkhead_tests::Host, Client) {
    let host = HostBuilder::new(sandbox, [Driver::local(sandbox)]).start();
    let client = host.client().await;
    (host, client)
}

/// Create, stage, publish, write, stats, expand, unpublish, publish read-only elsewhere, read back, delete.
async fn life(sandbox: &Sandbox, fs_type: &'static str, parameters: &[(&str, &str)]) {
    let (_host, client) = start(sandbox).await;
    let cap = || capability(Use::Mount(fs_type));
    let volume = client.create(create_request("pvc-life", 320 * MIB, Use::Mount(fs_type), parameters)).await.unwrap();
    let id = volume.volume_id.as_str();
    assert!(volume.capacity_bytes >= 320 * MIB);
    client.stage(&volume, cap()).await.unwrap();
    let target = client.publish(&volume, cap(), "pod-1", false).await.unwrap();
    let file = Path::new(&target).join("hello");
    fs::write(&file, "from the pod").unwrap();
    let before = bytes_total(&client.stats(id, &target).await.unwrap());
    let in_use = client.delete(id).await.unwrap_err();
    assert_eq!(in_use.code(), Code::FailedPrecondition, "{in_use}");
    let expanded = client.expand(id, 640 * MIB, cap()).await.unwrap();
    assert_eq!(expanded.capacity_bytes, 640 * MIB);
    if expanded.node_expansion_required {
        match client.node_expand(id, &target, 640 * MIB).await {
            Ok(bytes) => assert_eq!(bytes, 640 * MIB),
            // Growing ext4 while mounted wants CAP_SYS_RESOURCE; it is grown at the next stage then.
            Err(e) => assert_eq!((fs_type, e.code()), ("ext4", Code::FailedPrecondition), "{e}"),
        }
    }
    client.unpublish(id, "pod-1").await.unwrap();
    assert!(!Path::new(&target).exists(), "the target must be gone");
    client.unstage(id).await.unwrap();
    sandbox.assert_clean();
    client.stage(&volume, cap()).await.unwrap();
    let target = client.publish(&volume, cap(), "pod-2", true).await.unwrap();
    assert_eq!(fs::read_to_string(Path::new(&target).join("hello")).unwrap(), "from the pod");
    let refused = fs::write(Path::new(&target).join("no"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let after = bytes_total(&client.stats(id, &target).await.unwrap());
    if parameters.is_empty() {
        assert!(after > before + 250 * MIB, "the file system has grown: {before} -> {after}");
    }
    client.unpublish(id, "pod-2").await.unwrap();
    client.unstage(id).await.unwrap();
    client.delete(id).await.unwrap();
    client.delete(id).await.unwrap();
    sandbox.assert_clean();
    let left = fs::read_dir(sandbox.dir("pool").join("objects")).unwrap().count();
    assert_eq!(left, 0, "nothing is left in the pool");
}

#[test]
fn an_ext4_volume() {
    sandboxed(async |s| life(&s, "ext4", &[]).await);
}

#[test]
fn an_xfs_volume() {
    sandboxed(async |s| life(&s, "xfs", &[]).await);
}

#[test]
fn a_directory_volume() {
    sandboxed(async |s| life(&s, "", &[("type", "directory")]).await);
}

#[test]
fn a_raw_block_volume() {
    sandboxed(async |s| {
        use std::os::unix::fs::FileTypeExt;
        let (_host, client) = start(&s).await;
        let cap = || capability(Use::Block);
        let volume = client.create(create_request("pvc-raw", 64 * MIB, Use::Block, &[])).await.unwrap();
        let id = volume.volume_id.as_str();
        client.stage(&volume, cap()).await.unwrap();
        let target = client.publish(&volume, cap(), "pod-1", false).await.unwrap();
        assert!(fs::metadata(&target).unwrap().file_type().is_block_device());
        write_at(&target, b"raw bytes").unwrap();
        assert_eq!(bytes_total(&client.stats(id, &target).await.unwrap()), 64 * MIB);
        let expanded = client.expand(id, 128 * MIB, cap()).await.unwrap();
        if expanded.node_expansion_required {
            client.node_expand(id, &target, 128 * MIB).await.unwrap();
        }
        assert_eq!(bytes_total(&client.stats(id, &target).await.unwrap()), 128 * MIB);
        client.unpublish(id, "pod-1").await.unwrap();
        let target = client.publish(&volume, cap(), "pod-2", true).await.unwrap();
        assert_eq!(&fs::File::open(&target).and_then(|f| read_start(&f)).unwrap()[..9], b"raw bytes");
        assert!(write_at(&target, b"overwritten").is_err(), "a read-only block volume must refuse writes");
        client.unpublish(id, "pod-2").await.unwrap();
        client.unstage(id).await.unwrap();
        client.delete(id).await.unwrap();
        s.assert_clean();
    });
}

fn write_at(path: &str, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read_start(mut file: &fs::File) -> std::io::Result<[u8; 16]> {
    use std::io::Read;
    let mut bytes = [0; 16];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
