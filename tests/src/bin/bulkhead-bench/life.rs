//! Table `life`: volumes go through their whole life, each call for all of them before the next.

use crate::{CLIENT_CORE, SERVER_CORE, Times, null::Null, pin};
use anyhow::Result;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Sandbox,
    client::{Use, capability, create_request},
};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::Status;

const MIB: i64 = 1 << 20;
/// The second pass: how many calls at once.
const IN_FLIGHT: usize = 32;
const CALLS: [&str; 6] = [
    "CreateVolume",
    "NodeStageVolume",
    "NodePublishVolume",
    "NodeUnpublishVolume",
    "NodeUnstageVolume",
    "DeleteVolume",
];

/// What kind of volumes.
#[derive(Clone, Copy)]
enum Kind {
    Directory,
    Ext4,
}

impl Kind {
    fn capability(self) -> v1::VolumeCapability {
        capability(Use::Mount(if matches!(self, Self::Ext4) { "ext4" } else { "" }))
    }

    fn request(self, name: &str) -> v1::CreateVolumeRequest {
        match self {
            Self::Directory => create_request(name, MIB, Use::Mount(""), &[("type", "directory")]),
            Self::Ext4 => create_request(name, 32 * MIB, Use::Mount("ext4"), &[]),
        }
    }
}

/// One call of a volume's life; `n` is its number in [`CALLS`].
async fn call(client: Client, n: usize, kind: Kind, name: String) -> Result<Duration, Status> {
    let id = format!("fast/{name}");
    let context = [("type", if matches!(kind, Kind::Ext4) { "image" } else { "directory" }), ("fsType", "ext4")];
    let context = context.into_iter().filter(|(key, _)| *key == "type" || matches!(kind, Kind::Ext4));
    let volume = v1::Volume {
        volume_id: id.clone(),
        volume_context: context.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..Default::default()
    };
    // An orchestrator makes these; that is not the driver's time.
    let _ = (client.staging(&id), client.target("pod", &id));
    let start = Instant::now();
    match n {
        0 => client.create(kind.request(&name)).await.map(drop),
        1 => client.stage(&volume, kind.capability()).await,
        2 => client.publish(&volume, kind.capability(), "pod", false).await.map(drop),
        3 => client.unpublish(&id, "pod").await,
        4 => client.unstage(&id).await,
        _ => client.delete(&id).await,
    }?;
    Ok(start.elapsed())
}

/// Runs all of them, so many at a time.
async fn many<F: Future<Output = Result<Duration, Status>> + Send + 'static>(
    calls: impl Iterator<Item = F>,
    in_flight: usize,
) -> Result<(Times, f64)> {
    let (start, mut times) = (Instant::now(), Times::default());
    if in_flight == 1 {
        for call in calls {
            times.0.push(call.await?);
        }
    } else {
        let (places, mut running) = (Arc::new(Semaphore::new(in_flight)), JoinSet::new());
        for call in calls {
            let place = places.clone().acquire_owned().await?;
            running.spawn(async move {
                let done = call.await;
                drop(place);
                done
            });
        }
        for took in running.join_all().await {
            times.0.push(took?);
        }
    }
    let per_second = times.0.len() as f64 / start.elapsed().as_secs_f64();
    Ok((times, per_second))
}

/// Prints the table for so many volumes as directories, and a tenth of that as ext4 images.
pub async fn table(sandbox: &Sandbox, null: &Null, volumes: usize) -> Result<()> {
    pin(SERVER_CORE)?;
    let builder = HostBuilder::new(sandbox, [Driver::local(sandbox)]).env("BULKHEAD_LOG", "warn");
    let host = builder.apart("life").start();
    pin(CLIENT_CORE)?;
    let client = host.client().await;
    for (kind, what, count) in
        [(Kind::Directory, "directories", volumes), (Kind::Ext4, "ext4 images of 32 MiB", volumes / 10)]
    {
        println!("\n{count} volumes, {what}; one call in flight, then {IN_FLIGHT}");
        let at_once = format!("{IN_FLIGHT} at once/s");
        println!("{:<28} {:>9} {:>9} {:>8} {:>9} {:>15}", "", "p50 us", "p99 us", "/ null", "calls/s", at_once);
        let mut rows = Vec::new();
        for (n, _) in CALLS.iter().enumerate() {
            let null = null.p50().await?;
            let calls = (0..count).map(|number| call(client.clone(), n, kind, format!("one-{number}")));
            rows.push((many(calls, 1).await?, null));
        }
        for (n, (((mut times, per_second), null), name)) in rows.into_iter().zip(CALLS).enumerate() {
            let calls = (0..count).map(|number| call(client.clone(), n, kind, format!("many-{number}")));
            let (_, at_once) = many(calls, IN_FLIGHT).await?;
            let (p50, p99) = (times.at(0.5), times.at(0.99));
            println!("{name:<28} {p50:>9.1} {p99:>9.1} {:>8.2} {per_second:>9.0} {at_once:>15.0}", p50 / null);
        }
    }
    Ok(())
}
