//! Backends that say "not yet".

use super::ground::{Call, bad, timed};
use crate::sandboxed;
use bulkhead_tests::{
    HostBuilder, Sandbox,
    client::{Use, create_request},
};
use std::time::{Duration, Instant};
use tonic::Code;

/// A host with the bad backend, with these limits.
fn host(sandbox: &Sandbox, limits: &str) -> HostBuilder {
    let mut driver = bad(sandbox, "bad", "");
    driver.limits = limits.into();
    HostBuilder::new(sandbox, [driver])
}

#[test]
fn what_is_pending_is_done_within_one_call() {
    sandboxed(async |s| {
        let host = host(&s, "callTimeout: 20s\n").start();
        let client = host.client().await;
        for what in ["pending-once", "pending-steps"] {
            let name = Call::Create.subject(what);
            let (took, volume) = timed(client.create(create_request(&name, 1 << 30, Use::Mount(""), &[]))).await;
            assert_eq!(volume.expect(what).volume_id, name);
            let steps = if what == "pending-once" { 1 } else { 5 };
            assert!(took >= Duration::from_millis(20 * steps), "{what}: {took:?}");
        }
    });
}

#[test]
fn what_stays_pending_is_aborted_in_time_and_resumed_by_the_client() {
    sandboxed(async |s| {
        let host = host(&s, "callTimeout: 300ms\n").start();
        let client = host.client().await;
        let delete = async |id: &str| {
            let (took, status) = timed(client.delete(id)).await;
            let status = status.expect_err("pending");
            assert_eq!(status.code(), Code::Aborted, "{status}");
            assert!(took < Duration::from_millis(300), "{took:?}");
            status.message().to_owned()
        };
        let (one, other) = ("delete.pending-resumed--1", "delete.pending-resumed--2");
        assert_eq!(delete(one).await, "resumed with nothing");
        // Before its time the backend isn't even asked.
        assert_eq!(delete(one).await, "resumed with nothing");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(delete(one).await, "resumed with what was left");
        assert_eq!(delete(other).await, "resumed with nothing", "it is another volume's");
        // A text that is too long, or no text, is as good as none.
        for what in ["delete.error-pending-large--1", "delete.error-pending-control--1"] {
            delete(what).await;
        }
    });
}

#[test]
fn who_waits_takes_no_place() {
    sandboxed(async |s| {
        let host = host(&s, "callTimeout: 3s\nconcurrency: 4\n").start();
        let client = host.client().await;
        let one = |n: usize| {
            let (client, id) = (client.clone(), format!("delete.error-pending--{n}"));
            tokio::spawn(async move { client.delete(&id).await })
        };
        let waiting: Vec<_> = (0..16).map(one).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..10 {
            let (took, status) = timed(Call::Delete.run(&client, "error-not-found")).await;
            assert_eq!(status.unwrap_err().code(), Code::NotFound);
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
        assert!(waiting.iter().all(|call| !call.is_finished()), "they ended early: nothing was shown");
        for call in waiting {
            assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Aborted);
        }
    });
}

#[test]
fn what_is_unavailable_for_a_while_is_asked_again() {
    sandboxed(async |s| {
        let host = host(&s, "callTimeout: 1s\n").start();
        let client = host.client().await;
        let (took, status) = timed(Call::Delete.run(&client, "error-unavailable")).await;
        assert_eq!(status.unwrap_err().code(), Code::Unavailable);
        assert!((Duration::from_millis(100)..Duration::from_secs(1)).contains(&took), "{took:?}");
    });
}

#[test]
fn a_host_that_stops_does_not_wait_for_what_is_pending() {
    sandboxed(async |s| {
        let mut host = host(&s, "callTimeout: 60s\n").start();
        let client = host.client().await;
        let call = tokio::spawn(async move { Call::Delete.run(&client, "error-pending").await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!call.is_finished());
        let start = Instant::now();
        host.signal(rustix::process::Signal::TERM);
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Aborted);
        while host.try_wait().is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}
