//! How a host ends, and what clients that hang up, are in a hurry or do not read can do about it: nothing.

use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, Host, HostBuilder, Sandbox,
    client::{Use, capability, create_request},
};
use rustix::process::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tonic::{Code, Status};

const LOCAL: &str = "local.csi.bulkhead.dev";
const PATIENCE: Duration = Duration::from_secs(20);

fn cap() -> v1::VolumeCapability {
    capability(Use::Mount(""))
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A host that holds every stage just before it is done, and a volume.
struct Held {
    host: Host,
    client: Client,
    volume: v1::Volume,
    hold: PathBuf,
}

impl Held {
    async fn new(sandbox: &Sandbox) -> Self {
        let hold = sandbox.path().join("hold");
        let builder = HostBuilder::new(sandbox, [Driver::local(sandbox)]);
        let host = builder.failpoint(format!("stage.mounted=hold:{}", hold.display())).start();
        let client = host.client().await;
        let request = create_request("pvc-held", 1 << 20, Use::Mount(""), &[("type", "directory")]);
        let volume = client.create(request).await.unwrap();
        Self { host, client, volume, hold }
    }

    /// Starts to stage and comes back when that is held.
    async fn stage(&self) -> tokio::task::JoinHandle<Result<(), Status>> {
        let (client, volume) = (self.client.clone(), self.volume.clone());
        let call = tokio::spawn(async move { client.stage(&volume, cap()).await });
        self.is_held().await;
        call
    }

    async fn is_held(&self) {
        until("the call is held", || self.hold.with_extension("reached").exists()).await;
    }

    fn release(&self) {
        fs::remove_file(&self.hold).unwrap();
    }

    fn is_mounted(&self, sandbox: &Sandbox) -> bool {
        let staging = PathBuf::from(self.client.staging(&self.volume.volume_id));
        sandbox.mounts().iter().any(|(point, ..)| *point == staging)
    }
}

/// Waits without blocking this thread, on which the clients live.
async fn ends(host: &mut Host) -> (Duration, std::process::ExitStatus) {
    let start = Instant::now();
    let mut status = None;
    until("the end of the host", || {
        status = host.try_wait();
        status.is_some()
    })
    .await;
    (start.elapsed(), status.unwrap())
}

fn socket(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join(format!("{LOCAL}.sock"))
}

async fn ends_after(signal: Signal, sandbox: &Sandbox) {
    let mut held = Held::new(sandbox).await;
    let call = held.stage().await;
    held.host.signal(signal);
    until("the host stops to listen", || std::os::unix::net::UnixStream::connect(socket(sandbox)).is_err()).await;
    // On a connection that is still there. The client's library may know already that it will not be taken.
    let request = create_request("pvc-late", 1 << 20, Use::Mount(""), &[("type", "directory")]);
    let refused = held.client.create(request).await.unwrap_err();
    assert!([Code::Unavailable, Code::Cancelled].contains(&refused.code()), "{refused}");
    assert!(!sandbox.path().join("pool/objects/pvc-late").exists(), "a new call is not begun");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(held.host.try_wait().is_none() && !call.is_finished(), "it waits for the call");
    held.release();
    let (_, status) = ends(&mut held.host).await;
    assert!(status.success(), "{status}");
    call.await.unwrap().expect("the client of the held call gets its answer");
    assert!(!socket(sandbox).exists(), "the socket is removed");
    assert!(held.is_mounted(sandbox), "a volume stays staged when its host ends");
    // The next host knows it from the journal.
    let next = HostBuilder::new(sandbox, [Driver::local(sandbox)]).start();
    let client = next.client().await;
    client.stage(&held.volume, cap()).await.unwrap();
    client.unstage(&held.volume.volume_id).await.unwrap();
    client.delete(&held.volume.volume_id).await.unwrap();
    sandbox.assert_clean();
}

#[test]
fn sigterm_lets_a_call_run_to_its_end() {
    sandboxed(async |s| ends_after(Signal::TERM, &s).await);
}

#[test]
fn sigint_is_no_different() {
    sandboxed(async |s| ends_after(Signal::INT, &s).await);
}

#[test]
fn a_client_that_hangs_up_stops_nothing() {
    sandboxed(async |s| {
        let held = Held::new(&s).await;
        let own = held.host.client().await;
        let volume = held.volume.clone();
        let call = tokio::spawn(async move { own.stage(&volume, cap()).await });
        held.is_held().await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let busy = held.client.stage(&held.volume, cap()).await.unwrap_err();
        assert_eq!(busy.code(), Code::Aborted, "the work goes on and keeps its lock: {busy}");
        held.release();
        // The failpoint holds only once more if its file is made again: the repeat must not need to stage.
        until("the work is done", || !s.journal(&s.path().join("state")).is_empty() && held.is_mounted(&s)).await;
        let state = || fs::read_to_string(&s.journal(&s.path().join("state"))[0]).unwrap();
        until("the record says so", || state().contains("\"staged\"")).await;
        // The lock is released a moment after the record is written.
        let staged = loop {
            match held.client.stage(&held.volume, cap()).await {
                Err(busy) if busy.code() == Code::Aborted => tokio::time::sleep(Duration::from_millis(10)).await,
                answer => break answer,
            }
        };
        staged.unwrap();
        held.client.unstage(&held.volume.volume_id).await.unwrap();
        s.assert_clean();
    });
}

#[test]
fn a_client_in_a_hurry_is_told_and_the_volume_stays_locked_until_the_work_is_done() {
    sandboxed(async |s| {
        let held = Held::new(&s).await;
        let mut request = tonic::Request::new(v1::NodeStageVolumeRequest {
            volume_id: held.volume.volume_id.clone(),
            staging_target_path: held.client.staging(&held.volume.volume_id),
            volume_capability: Some(cap()),
            volume_context: held.volume.volume_context.clone(),
            ..Default::default()
        });
        request.set_timeout(Duration::from_millis(500));
        let late = held.client.node.clone().node_stage_volume(request).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
        held.is_held().await;
        for _ in 0..3 {
            let busy = held.client.stage(&held.volume, cap()).await.unwrap_err();
            assert_eq!(busy.code(), Code::Aborted, "{busy}");
            let busy = held.client.unstage(&held.volume.volume_id).await.unwrap_err();
            assert_eq!(busy.code(), Code::Aborted, "{busy}");
        }
        // Others are not concerned.
        let request = create_request("pvc-other", 1 << 20, Use::Mount(""), &[("type", "directory")]);
        held.client.create(request).await.unwrap();
        held.release();
        let start = Instant::now();
        while let Err(busy) = held.client.stage(&held.volume, cap()).await {
            assert_eq!(busy.code(), Code::Aborted, "{busy}");
            assert!(start.elapsed() < PATIENCE, "the lock is never given up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        held.client.unstage(&held.volume.volume_id).await.unwrap();
        s.assert_clean();
    });
}

#[test]
fn a_host_that_was_killed_is_followed_by_the_next_on_its_socket() {
    sandboxed(async |s| {
        let builder = HostBuilder::new(&s, [Driver::local(&s)]);
        let mut host = builder.start();
        host.client().await;
        host.signal(Signal::KILL);
        ends(&mut host).await;
        assert!(socket(&s).exists(), "nothing could remove it");
        let next = builder.start();
        next.client().await.create(create_request("pvc", 1 << 20, Use::Block, &[])).await.unwrap();
        assert!(next.log().contains("replaced a stale socket"));
    });
}

/// One that sent nothing at all, one that stopped reading in the middle.
#[test]
fn clients_that_do_not_close_cannot_keep_a_host() {
    sandboxed(async |s| {
        let mut host = HostBuilder::new(&s, [Driver::local(&s)]).start();
        let silent = std::os::unix::net::UnixStream::connect(socket(&s)).unwrap();
        let mut half = std::os::unix::net::UnixStream::connect(socket(&s)).unwrap();
        std::io::Write::write_all(&mut half, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        let client = host.client().await;
        client.identity.clone().get_plugin_info(v1::GetPluginInfoRequest {}).await.unwrap();
        host.signal(Signal::TERM);
        let start = Instant::now();
        // Blocks the thread that would answer for the client.
        let status = host.wait();
        assert!(status.success(), "{status}");
        assert!(start.elapsed() < Duration::from_secs(6), "it took {:?}", start.elapsed());
        assert!(host.log().contains("cutting off clients"), "{}", host.log());
        assert!(!Path::new(&socket(&s)).exists());
        drop((silent, half, client));
    });
}

#[test]
fn a_guest_that_never_ends_is_stopped_at_its_deadline_and_then_the_host_ends() {
    sandboxed(async |s| {
        let driver = Driver { limits: "callTimeout: 1s".into(), ..Driver::bad(&s) };
        let mut host = HostBuilder::new(&s, [driver]).start();
        let client = host.client().await;
        let call = tokio::spawn(async move { client.delete("delete.loop--1").await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        host.signal(Signal::TERM);
        let (took, status) = ends(&mut host).await;
        assert!(status.success(), "{status}");
        assert!(took > Duration::from_millis(400) && took < Duration::from_secs(6), "{took:?}");
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    });
}

/// What a backend has begun for a client that is gone is not cut off in the middle either.
#[test]
fn a_client_that_hangs_up_does_not_free_what_a_backend_works_on() {
    sandboxed(async |s| {
        let driver = Driver { limits: "callTimeout: 1s".into(), ..Driver::bad(&s) };
        let host = HostBuilder::new(&s, [driver]).start();
        let (own, client) = (host.client().await, host.client().await);
        let call = tokio::spawn(async move { own.delete("delete.loop--1").await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let busy = client.delete("delete.loop--1").await.unwrap_err();
        assert_eq!(busy.code(), Code::Aborted, "{busy}");
        until("the guest is stopped", || host.log().contains("did not answer in time and was stopped")).await;
    });
}
