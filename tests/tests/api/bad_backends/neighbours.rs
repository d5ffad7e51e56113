//! While one backend misbehaves, its neighbours in the same host keep answering.

use super::ground::{Call, bad, new_log, timed};
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder,
    client::{Use, capability, create_request},
};
use std::time::Duration;
use tonic::{Code, Status};

/// A neighbour's call may take this long, on a machine of two cores that other tests use as well.
const PROMPT: Duration = Duration::from_secs(1);
const LOCAL: &str = "local.csi.bulkhead.dev";
const BAD: &str = "bad.csi.bulkhead.dev";

/// So many calls at once that misbehave.
fn attack(client: &Client, harm: &'static str, count: usize) -> Vec<tokio::task::JoinHandle<Result<(), Status>>> {
    let one = |n: usize| {
        let (client, id) = (client.clone(), Call::Delete.subject(harm).replace("--1", &format!("--{n}")));
        tokio::spawn(async move { client.delete(&id).await })
    };
    (0..count).map(one).collect()
}

async fn life(client: &Client, name: &str) -> Vec<(&'static str, Duration)> {
    let request = create_request(name, 1 << 20, Use::Mount(""), &[("type", "directory")]);
    let cap = || capability(Use::Mount(""));
    let (create, volume) = timed(client.create(request)).await;
    let volume = volume.unwrap();
    let id = &volume.volume_id;
    let (capacity, answer) = timed(client.controller.clone().get_capacity(v1::GetCapacityRequest::default())).await;
    answer.unwrap();
    let (stage, answer) = timed(client.stage(&volume, cap())).await;
    answer.unwrap();
    let (publish, target) = timed(client.publish(&volume, cap(), "pod", false)).await;
    let target = target.unwrap();
    let (stats, answer) = timed(client.stats(id, &target)).await;
    answer.unwrap();
    let (unpublish, answer) = timed(client.unpublish(id, "pod")).await;
    answer.unwrap();
    let (unstage, answer) = timed(client.unstage(id)).await;
    answer.unwrap();
    let (delete, answer) = timed(client.delete(id)).await;
    answer.unwrap();
    vec![
        ("create", create),
        ("capacity", capacity),
        ("stage", stage),
        ("publish", publish),
        ("stats", stats),
        ("unpublish", unpublish),
        ("unstage", unstage),
        ("delete", delete),
    ]
}

#[test]
fn neighbours_of_misbehaving_guests_keep_answering() {
    sandboxed(async |s| {
        let mut driver = bad(&s, "bad", "");
        driver.limits = "callTimeout: 3s\nmemory: 32MiB\n".into();
        let host = HostBuilder::new(&s, [driver, Driver::local(&s)]).start();
        let (bad, local) = (host.client_of(BAD).await, host.client_of(LOCAL).await);
        life(&local, "warm").await;
        for (harm, code) in
            [("loop", Code::DeadlineExceeded), ("memory", Code::Unavailable), ("log", Code::DeadlineExceeded)]
        {
            let calls = attack(&bad, harm, 8);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let slow: Vec<_> = life(&local, "volume").await.into_iter().filter(|(_, took)| *took > PROMPT).collect();
            assert!(slow.is_empty(), "while 8 guests do {harm}: {slow:?}");
            if harm != "memory" {
                assert!(calls.iter().all(|call| !call.is_finished()), "{harm} ended early: nothing was shown");
            }
            for call in calls {
                assert_eq!(call.await.unwrap().unwrap_err().code(), code, "{harm}");
            }
        }
    });
}

/// A backend has so many places for calls: what finds none is not called at all, and says so.
#[test]
fn calls_above_the_limit_are_refused_and_others_have_their_own() {
    sandboxed(async |s| {
        let mut driver = bad(&s, "bad", "");
        driver.limits = "callTimeout: 1s\nconcurrency: 2\n".into();
        let host = HostBuilder::new(&s, [driver, Driver::local(&s)]).start();
        let (bad, local) = (host.client_of(BAD).await, host.client_of(LOCAL).await);
        let calls = attack(&bad, "loop", 6);
        tokio::time::sleep(Duration::from_millis(100)).await;
        life(&local, "volume").await;
        let mut codes = vec![];
        for call in calls {
            codes.push(call.await.unwrap().unwrap_err().code());
        }
        let stopped = codes.iter().filter(|code| **code == Code::DeadlineExceeded).count();
        assert!(codes.iter().all(|code| [Code::DeadlineExceeded, Code::Unavailable].contains(code)), "{codes:?}");
        assert!(stopped >= 2, "{codes:?}");
        new_log(&host, &mut 0, &[BAD, "volumes.delete-volume", "limits.concurrency"]).await;
        // The places are free again.
        let fine = Call::Delete.run(&bad, "error-not-found").await.unwrap_err();
        assert_eq!(fine.code(), Code::NotFound, "{fine}");
    });
}
