//! Kills during what is not one step of one volume's life: snapshots of volumes in use and of idle ones, inline volumes, thick
//! volumes that become thin, and logs that are replayed for a reader.

use super::Bench;
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Host, Sandbox,
    client::{Use, capability, create_request},
};
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    time::{Duration, Instant},
};
use tonic::{Code, Status};

const MIB: i64 = 1 << 20;
const POD: &str = "pod";

/// Between the freeze of a file system and its thaw, both included.
const FROZEN: [&str; 4] = ["pool-copy.freezing", "pool-copy.frozen", "pool-copy.cut", "pool-copy.thawed"];
const CUT: [&str; 6] = [
    "pool-copy.made",
    "pool-copy.written",
    "pool-copy.committed",
    "pool-copy.placing",
    "pool-copy.placed",
    "pool-copy.done",
];
const INLINE: [&str; 6] = [
    "ephemeral.intent",
    "ephemeral.made",
    "ephemeral.noted",
    "ephemeral.marked",
    "ephemeral.target-made",
    "ephemeral.done",
];
const INLINE_UNDONE: [&str; 4] = ["ephemeral.undoing", "ephemeral.detached", "ephemeral.unmarked", "ephemeral.removed"];
const THIN: [&str; 2] = ["pool-thin.noted", "pool-thin.punched"];
const REPLAY: [&str; 2] = ["stage.replay-attached", "stage.replayed"];

/// All that is killed at here.
pub const FAILPOINTS: [&[&str]; 6] = [&FROZEN, &CUT, &INLINE, &INLINE_UNDONE, &THIN, &REPLAY];

/// Runs `act` on a host that dies at `failpoint`.
pub(super) async fn killed(bench: &Bench<'_>, failpoint: &str, act: impl AsyncFnOnce(&Client) -> Result<(), Status>) {
    let mut host = bench.builder.clone().failpoint(format!("{failpoint}=kill")).start();
    let answer = act(&host.client().await).await;
    let died = answer
        .as_ref()
        .is_err_and(|status| [Code::Unavailable, Code::Unknown, Code::Cancelled].contains(&status.code()));
    assert!(died, "it does not come by {failpoint}: {answer:?}");
    assert_eq!(host.wait().signal(), Some(9), "{answer:?}");
}

pub(super) async fn up(bench: &Bench<'_>) -> (Host, Client) {
    let host = bench.builder.start();
    let client = host.client().await;
    (host, client)
}

/// A write that is on disk when it returns; a frozen file system would hold it.
fn write_soon(target: &str, text: &str) {
    let (path, text) = (Path::new(target).join("data"), text.to_owned());
    let (done, written) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let answer = fs::write(&path, text).and_then(|()| fs::File::open(&path)?.sync_all());
        let _ = done.send(answer);
    });
    let answer = written.recv_timeout(Duration::from_secs(5)).expect("the file system is still frozen");
    answer.expect("the write");
}

async fn snapshots(sandbox: &Sandbox, fs_type: &'static str, in_use: bool) {
    let bench = Bench::new(sandbox);
    let cap = || capability(Use::Mount(fs_type));
    let size = if fs_type == "xfs" { 300 * MIB } else { 16 * MIB };
    let frozen: &[&str] = if in_use { &FROZEN } else { &[] };
    for (n, name) in frozen.iter().chain(&CUT).enumerate() {
        let (volume, snapshot) = (format!("v-{n}"), format!("s-{n}"));
        let (host, client) = up(&bench).await;
        let volume = client.create(create_request(&volume, size, Use::Mount(fs_type), &[])).await.unwrap();
        client.stage(&volume, cap()).await.unwrap();
        let target = client.publish(&volume, cap(), POD, false).await.unwrap();
        write_soon(&target, name);
        if !in_use {
            client.unpublish(&volume.volume_id, POD).await.unwrap();
            client.unstage(&volume.volume_id).await.unwrap();
        }
        drop(host);
        killed(&bench, name, async |client| client.create_snapshot(&snapshot, &volume.volume_id).await.map(drop)).await;
        let (_host, client) = up(&bench).await;
        if in_use {
            let start = Instant::now();
            write_soon(&target, &format!("{name} and on"));
            println!("{fs_type}, killed at {name}: written after {:?}", start.elapsed());
        }
        // Every other time it is repeated; otherwise undone, which is right whether it was made or not.
        if n % 2 == 0 {
            let made = client.create_snapshot(&snapshot, &volume.volume_id).await.unwrap();
            let again = client.create_snapshot(&snapshot, &volume.volume_id).await.unwrap();
            assert_eq!(made, again);
            let request = create_request(&format!("r-{n}"), size, Use::Mount(fs_type), &[]);
            let restored = client.restore(request, &made.snapshot_id).await.unwrap();
            client.stage(&restored, cap()).await.unwrap();
            let target = client.publish(&restored, cap(), POD, false).await.unwrap();
            let data = fs::read_to_string(Path::new(&target).join("data")).unwrap();
            assert!(data.starts_with(name), "{data}");
            client.unpublish(&restored.volume_id, POD).await.unwrap();
            client.unstage(&restored.volume_id).await.unwrap();
            client.delete(&restored.volume_id).await.unwrap();
        }
        client.delete_snapshot(&format!("fast/_s_{snapshot}")).await.unwrap();
        client.unpublish(&volume.volume_id, POD).await.unwrap();
        client.unstage(&volume.volume_id).await.unwrap();
        client.delete(&volume.volume_id).await.unwrap();
        bench.places.assert_empty(sandbox);
    }
}

#[test]
fn a_snapshot_of_an_ext4_volume_in_use_is_there_or_not_and_the_volume_thawed() {
    sandboxed(async |s| snapshots(&s, "ext4", true).await);
}

#[test]
fn a_snapshot_of_an_xfs_volume_in_use_is_there_or_not_and_the_volume_thawed() {
    sandboxed(async |s| snapshots(&s, "xfs", true).await);
}

#[test]
fn a_snapshot_of_an_idle_volume_is_there_or_not() {
    sandboxed(async |s| snapshots(&s, "ext4", false).await);
}

#[test]
fn an_inline_volume_is_made_once_more_or_goes_without_a_trace() {
    sandboxed(async |s| {
        let bench = Bench::new(&s);
        let cap = || capability(Use::Mount("ext4"));
        let attributes = [("pool", "fast"), ("size", "32Mi")];
        let publish = async |client: &Client, id: &str| client.publish_inline(id, &attributes, cap(), POD).await;
        for (n, name) in INLINE.iter().chain(&INLINE_UNDONE).enumerate() {
            for repeat in [true, false] {
                let id = format!("csi-{n}-{repeat}");
                if INLINE_UNDONE.contains(name) {
                    publish(&up(&bench).await.1, &id).await.unwrap();
                    killed(&bench, name, async |client| client.unpublish(&id, POD).await).await;
                } else {
                    killed(&bench, name, async |client| publish(client, &id).await.map(drop)).await;
                }
                let (_host, client) = up(&bench).await;
                if repeat {
                    let target = publish(&client, &id).await.unwrap();
                    write_soon(&target, name);
                    assert_eq!(publish(&client, &id).await.unwrap(), target);
                }
                for _ in 0..2 {
                    client.unpublish(&id, POD).await.unwrap();
                }
                bench.places.assert_empty(&s);
            }
        }
    });
}

#[test]
fn a_volume_that_becomes_thin_keeps_its_data_and_is_thawed() {
    sandboxed(async |s| {
        let bench = Bench::new(&s);
        let cap = || capability(Use::Mount("ext4"));
        for name in THIN {
            let (host, client) = up(&bench).await;
            let request = create_request("v", 64 * MIB, Use::Mount("ext4"), &[("provisioning", "thick")]);
            let volume = client.create(request).await.unwrap();
            client.stage(&volume, cap()).await.unwrap();
            let target = client.publish(&volume, cap(), POD, false).await.unwrap();
            write_soon(&target, name);
            drop(host);
            let thin = [("provisioning", "thin")];
            killed(&bench, name, async |client| client.modify(&volume.volume_id, &thin).await).await;
            let (_host, client) = up(&bench).await;
            assert_eq!(fs::read_to_string(Path::new(&target).join("data")).unwrap(), name);
            write_soon(&target, "on");
            for _ in 0..2 {
                client.modify(&volume.volume_id, &thin).await.unwrap();
            }
            client.unpublish(&volume.volume_id, POD).await.unwrap();
            client.unstage(&volume.volume_id).await.unwrap();
            client.stage(&volume, cap()).await.unwrap();
            let target = client.publish(&volume, cap(), POD, false).await.unwrap();
            assert_eq!(fs::read_to_string(Path::new(&target).join("data")).unwrap(), "on");
            client.unpublish(&volume.volume_id, POD).await.unwrap();
            client.unstage(&volume.volume_id).await.unwrap();
            client.delete(&volume.volume_id).await.unwrap();
            bench.places.assert_empty(&s);
        }
    });
}

/// A copy of an xfs volume in use has a log that was not replayed (ext4's is empty after a freeze). Whoever only reads it must
/// see what the log holds.
#[test]
fn a_log_that_is_replayed_for_a_reader_is_replayed_again() {
    sandboxed(async |s| {
        let bench = Bench::new(&s);
        let (fs_type, size) = ("xfs", 300 * MIB);
        let cap = || capability(Use::Mount(fs_type));
        let (host, client) = up(&bench).await;
        let volume = client.create(create_request("v", size, Use::Mount(fs_type), &[])).await.unwrap();
        client.stage(&volume, cap()).await.unwrap();
        let target = client.publish(&volume, cap(), POD, false).await.unwrap();
        write_soon(&target, "kept");
        let snapshot = client.create_snapshot("s", &volume.volume_id).await.unwrap();
        let mut replayed = vec![];
        for (n, name) in REPLAY.iter().enumerate() {
            let request = create_request(&format!("r-{n}"), size, Use::Mount(fs_type), &[]);
            replayed.push((client.restore(request, &snapshot.snapshot_id).await.unwrap(), *name));
        }
        client.unpublish(&volume.volume_id, POD).await.unwrap();
        client.unstage(&volume.volume_id).await.unwrap();
        drop(host);
        for (restored, name) in &replayed {
            killed(&bench, name, async |client| stage_read_only(client, restored, fs_type).await).await;
            let (_host, client) = up(&bench).await;
            stage_read_only(&client, restored, fs_type).await.unwrap();
            let target = client.publish(restored, cap(), POD, true).await.unwrap();
            assert_eq!(fs::read_to_string(Path::new(&target).join("data")).unwrap(), "kept", "{fs_type}");
            client.unpublish(&restored.volume_id, POD).await.unwrap();
            client.unstage(&restored.volume_id).await.unwrap();
            client.delete(&restored.volume_id).await.unwrap();
        }
        let (_host, client) = up(&bench).await;
        client.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
        client.delete(&volume.volume_id).await.unwrap();
        bench.places.assert_empty(&s);
    });
}

/// NodeStageVolume after a read-only attach.
async fn stage_read_only(client: &Client, volume: &v1::Volume, fs_type: &'static str) -> Result<(), Status> {
    let request = v1::NodeStageVolumeRequest {
        volume_id: volume.volume_id.clone(),
        staging_target_path: client.staging(&volume.volume_id),
        volume_capability: Some(capability(Use::Mount(fs_type))),
        volume_context: volume.volume_context.clone(),
        publish_context: [("readOnly".to_owned(), "true".to_owned())].into(),
        ..Default::default()
    };
    client.node.clone().node_stage_volume(request).await.map(drop)
}
