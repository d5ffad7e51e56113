//! Volumes and snapshots while requests and replies are lost, throttled and refused: every one is made once, and goes.

use crate::rig::{Kind, Rig, at_once};
use bulkhead_ec2::Fault;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client,
    client::{Use, create_request},
};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

const GIB: i64 = 1 << 30;
/// Volumes, each with a snapshot.
const VOLUMES: usize = 1000;
/// Callers at a time.
const CALLERS: usize = 64;
/// Longest for one object.
const PATIENCE: Duration = Duration::from_secs(300);

/// Asks until it is done, as a CO does: only codes that leave the outcome open are asked again.
async fn until_done<T, F: Future<Output = Result<T, Status>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(status) => {
                let open = matches!(status.code(), Code::Aborted | Code::Unavailable | Code::DeadlineExceeded);
                assert!(open && start.elapsed() < PATIENCE, "{what}: {status}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Makes a volume and a snapshot of it: their ids.
async fn make(client: &Client, index: usize) -> (String, String) {
    let name = format!("pvc-{index}");
    let volume = until_done(&name, || client.create(create_request(&name, GIB, Use::Block, &[]))).await;
    let again = until_done(&name, || client.create(create_request(&name, GIB, Use::Block, &[]))).await;
    assert_eq!(volume.volume_id, again.volume_id, "{name} was made twice");
    let snapshot = until_done(&name, || {
        let request = v1::CreateSnapshotRequest {
            source_volume_id: volume.volume_id.clone(),
            name: format!("snapshot-{index}"),
            ..Default::default()
        };
        let mut controller = client.controller.clone();
        async move { Ok(controller.create_snapshot(request).await?.into_inner().snapshot.unwrap()) }
    })
    .await;
    (volume.volume_id, snapshot.snapshot_id)
}

async fn delete(client: &Client, (volume, snapshot): &(String, String)) {
    until_done(snapshot, || {
        let request = v1::DeleteSnapshotRequest { snapshot_id: snapshot.clone(), ..Default::default() };
        let mut controller = client.controller.clone();
        async move { controller.delete_snapshot(request).await.map(drop) }
    })
    .await;
    until_done(volume, || client.delete(volume)).await;
}

/// Does it for each of `items`, [`CALLERS`] at a time; the results come in any order.
async fn all<I, T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    items: impl IntoIterator<Item = I>,
    each: impl Fn(I) -> F,
) -> Vec<T> {
    let places = Arc::new(Semaphore::new(CALLERS));
    let mut tasks = tokio::task::JoinSet::new();
    for item in items {
        let (task, places) = (each(item), places.clone());
        tasks.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            task.await
        });
    }
    tasks.join_all().await
}

#[test]
fn all_converge_under_faults() {
    let settings = at_once().with_faults(&[
        (Fault::LostReply, 0.1),
        (Fault::Throttle, 0.1),
        (Fault::ErrorBefore, 0.025),
        (Fault::ErrorAfter, 0.025),
    ]);
    let Some(rig) = Rig::new(Kind { settings, ..Kind::default() }) else { return };
    let start = Instant::now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = rig.client().await;
        let made = all(0..VOLUMES, |index| {
            let client = client.clone();
            async move { make(&client, index).await }
        })
        .await;
        assert_eq!(rig.made(), (VOLUMES, VOLUMES), "volumes and snapshots at EC2");
        rig.assert_sound();
        all(made, |ids| {
            let client = client.clone();
            async move { delete(&client, &ids).await }
        })
        .await;
    });
    let stats = rig.proxy.stats();
    println!(
        "{VOLUMES} volumes and snapshots in {:?}: {} requests, faults {:?}",
        start.elapsed(),
        stats.requests(),
        stats.faults
    );
    for fault in [Fault::LostReply, Fault::Throttle, Fault::ErrorBefore, Fault::ErrorAfter] {
        assert!(stats.met(fault) > 2, "{fault:?} was hardly met");
    }
    rig.assert_empty();
    rig.assert_sound();
}
