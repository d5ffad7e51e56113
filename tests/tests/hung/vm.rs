//! The same with a hard mount of NFS, whose server is another kernel's for all that the host knows. In the test VM only: `make test-vm`.
//! What it costs others is measured elsewhere.

use crate::{
    process::Resources,
    rig::{self, BOTH, OTHER, Services, is_asked_again, mounted},
    sandboxed,
    tries::{self, Prepared},
};
use bulkhead_proto::v1;
use bulkhead_tests::{
    Driver, Host, HostBuilder, Sandbox,
    client::{Use, create_request},
    patient::{searched, within},
};
use bulkhead_vm::{Mounted, NfsServer, Squash, Version};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const TRIES: usize = 50;
const EXAMPLE: &str = "example.csi.bulkhead.dev";
/// An emulated machine takes its time, to compile a backend above all.
const PATIENCE: Duration = Duration::from_secs(240);
/// How much later than its deadline a call may end here.
const LATE: Duration = Duration::from_secs(5);

async fn started(builder: &HostBuilder) -> Host {
    let (mut host, start) = (builder.spawn(), Instant::now());
    for driver in &builder.drivers {
        while !bulkhead_tests::client::is_serving(&builder.socket(&driver.name)) {
            assert!(start.elapsed() < PATIENCE && host.try_wait().is_none(), "{}", host.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    host
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_pool_on_a_server_that_hangs() {
    sandboxed(async |s| {
        let mut server = NfsServer::start(&[Version::V4_1, Version::V4_2]);
        let share = server.export("data", Squash::None);
        // Whatever is asked is asked of the server.
        let pool = Mounted::mount("nfs4", &share, "vers=4.1,hard,noac,lookupcache=none");
        let builder = rig::builder_over(&s, pool.path());
        let host = started(&builder).await;
        let services = rig::Wires::to(&builder, BOTH).connect().await;
        let other = host.client_of(OTHER).await;
        let volumes = tries::prepare(&services).await;
        let before = Resources::of(&host);
        server.stop();
        let trying = tries::run(rig::Wires::to(&builder, BOTH), 0..TRIES, volumes, Duration::from_millis(8));
        while !trying.is_finished() {
            let made = other.create(rig::directory("b", "own")).await.unwrap();
            other.delete(&made.volume_id).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let outcome = trying.join().expect("tries");
        let (threads, late) = (Resources::of(&host).threads, outcome.late.iter().max().unwrap());
        println!("{:?}, at most {late:?} late, threads: {} and {threads}", outcome.codes, before.threads);
        assert!(outcome.codes["DeadlineExceeded"] > 5 && *late < LATE);
        assert!(threads <= before.threads + 52, "{threads}");
        server.resume();
        tries::converged(&services, PATIENCE).await;
        tries::clear(&services).await;
        Resources::settle(&host, before).await;
        for directory in ["objects", "tmp", "trash"] {
            assert_eq!(rig::names(&server.path().join("data"), directory), Vec::<String>::new(), "{directory}");
        }
        assert!(host.stop().success());
        s.assert_clean();
    });
}

/// Volumes that are exports.
struct Exports {
    services: Services,
    volumes: Vec<Prepared>,
}

impl Exports {
    async fn new(services: Services) -> Self {
        let (client, mut volumes) = (services.client.clone(), vec![]);
        for number in 0..4 {
            let volume = client.create(create_request(&format!("v{number}"), 1, Use::Mount(""), &[])).await.unwrap();
            client.stage(&volume, mounted()).await.unwrap();
            client.publish(&volume, mounted(), "pod", false).await.unwrap();
            volumes.push(Prepared::of(&client, volume));
        }
        std::fs::write(Path::new(&volumes[0].target).join("file"), "text").unwrap();
        Self { services, volumes }
    }

    /// One call, and how much later than its deadline it ended.
    async fn attempt(&self, number: usize) -> (Result<(), tonic::Status>, Duration) {
        let Prepared { volume, staging, target } = self.volumes[number % self.volumes.len()].clone();
        let (id, timeout, mut node) = (volume.volume_id.clone(), Duration::from_secs(1), self.services.node.clone());
        let start = Instant::now();
        let answer = match (number / self.volumes.len()) % 4 {
            0 => {
                let request =
                    v1::NodeGetVolumeStatsRequest { volume_id: id, volume_path: target, ..Default::default() };
                searched(node.node_get_volume_stats(within(timeout, request)).await).map(drop)
            }
            1 => {
                let request = v1::NodeStageVolumeRequest {
                    volume_id: id,
                    staging_target_path: staging,
                    volume_capability: Some(mounted()),
                    volume_context: volume.volume_context,
                    ..Default::default()
                };
                searched(node.node_stage_volume(within(timeout, request)).await).map(drop)
            }
            2 => {
                let request = v1::NodeUnpublishVolumeRequest { volume_id: id, target_path: target };
                searched(node.node_unpublish_volume(within(timeout, request)).await).map(drop)
            }
            _ => {
                let request = v1::NodeUnstageVolumeRequest { volume_id: id, staging_target_path: staging };
                searched(node.node_unstage_volume(within(timeout, request)).await).map(drop)
            }
        };
        (answer, start.elapsed().saturating_sub(timeout))
    }
}

fn exports(sandbox: &Sandbox) -> HostBuilder {
    let config = "server: 127.0.0.1\nexport: /data".into();
    HostBuilder::new(sandbox, [Driver { config, ..Driver::plain("example") }]).env("BULKHEAD_LOG", "warn")
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn volumes_of_a_server_that_hangs() {
    sandboxed(async |s| {
        let mut server = NfsServer::start(&[Version::V4_1, Version::V4_2]);
        server.export("data", Squash::None);
        let builder = exports(&s);
        let host = started(&builder).await;
        let exports = Exports::new(rig::Wires::to(&builder, EXAMPLE).connect().await).await;
        let before = Resources::of(&host);
        server.stop();
        let (mut most, mut ok) = (before, 0);
        for number in 0..TRIES {
            let (answer, late) = exports.attempt(number).await;
            assert!(late < LATE, "try {number} ended {late:?} after its deadline");
            match answer {
                // Taken down meanwhile, without the server; or not answering, says its condition.
                Ok(()) => ok += 1,
                Err(status) if status.code() == tonic::Code::NotFound => {}
                Err(status) => assert!(is_asked_again(&status), "try {number}: {status}"),
            }
            let now = Resources::of(&host);
            (most.threads, most.children) = (most.threads.max(now.threads), most.children.max(now.children));
        }
        println!("{ok} of {TRIES} succeeded; {before:?} before, at most {most:?}");
        assert!(most.children <= exports.volumes.len() * 2 && most.threads <= before.threads + 32, "{most:?}");
        server.resume();
        let client = &exports.services.client;
        for volume in &exports.volumes {
            converges(async || client.unpublish(&volume.volume.volume_id, "pod").await).await;
            converges(async || client.unstage(&volume.volume.volume_id).await).await;
        }
        let Prepared { volume, staging, .. } = &exports.volumes[0];
        converges(async || client.stage(volume, mounted()).await).await;
        assert_eq!(std::fs::read_to_string(Path::new(staging).join("file")).unwrap(), "text");
        client.unstage(&volume.volume_id).await.unwrap();
        Resources::settle(&host, before).await;
        assert!(host.stop().success());
        s.assert_clean();
        assert_eq!(s.journal(&builder.state()), Vec::<std::path::PathBuf>::new());
    });
}

/// Asks again as an orchestrator does.
async fn converges(call: impl AsyncFn() -> Result<(), tonic::Status>) {
    let start = Instant::now();
    while let Err(status) = call().await {
        assert!(is_asked_again(&status), "{status}");
        assert!(start.elapsed() < PATIENCE, "{status}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
