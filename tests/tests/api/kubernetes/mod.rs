//! What a host does for Kubernetes without sidecars: registration with kubelet, health over HTTP, and going on without a
//! driver that can't be loaded.

mod health;
mod keep_going;
mod registration;

use bulkhead_tests::{
    Driver, HostBuilder, Sandbox,
    http::{Answer, free_port, get},
};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

const LOCAL: &str = "local.csi.bulkhead.dev";
const EXAMPLE: &str = "example.csi.bulkhead.dev";
const PATIENCE: Duration = Duration::from_secs(60);

/// A host that registers its drivers and tells its health.
fn builder(sandbox: &Sandbox, drivers: impl IntoIterator<Item = Driver>) -> HostBuilder {
    let mut builder = HostBuilder::new(sandbox, drivers);
    builder.node = "registration: true".to_owned();
    builder.health = Some(free_port());
    builder
}

/// A driver whose backend is ready.
fn example() -> Driver {
    Driver { config: "server: nfs.example.com\nexport: /volumes".into(), ..Driver::plain("example") }
}

fn registration_socket(builder: &HostBuilder, driver: &str) -> PathBuf {
    builder.kubelet().join("plugins_registry").join(format!("{driver}@reg.sock"))
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks until the answer has this status.
async fn answers(builder: &HostBuilder, path: &str, status: u16) -> Answer {
    let port = builder.health.expect("a port");
    let (start, mut answer) = (Instant::now(), get(port, path));
    while answer.status != status {
        assert!(start.elapsed() < PATIENCE, "{path} does not answer {status}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = get(port, path);
    }
    answer
}
