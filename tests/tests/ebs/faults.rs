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
const VOLUMES: usize = 40;
/// Callers at a time.
const CALLERS: usize = 32;
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

async fn life(client: Client, index: usize) {
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
    // Every other one stays, to be counted.
    if index.is_multiple_of(2) {
        return;
    }
    until_done(&name, || {
        let request = v1::DeleteSnapshotRequest { snapshot_id: snapshot.snapshot_id.clone(), ..Default::default() };
        let mut controller = client.controller.clone();
        async move { controller.delete_snapshot(request).await.map(drop) }
    })
    .await;
    until_done(&name, || client.delete(&volume.volume_id)).await;
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
        let places = Arc::new(Semaphore::new(CALLERS));
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..VOLUMES {
            let (client, places) = (client.clone(), places.clone());
            tasks.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                life(client, index).await;
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
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
    assert_eq!(rig.made(), (VOLUMES / 2, VOLUMES / 2), "volumes and snapshots at EC2");
    rig.assert_sound();
}
