//! Traps, endless loops, memory without end, floods of log lines: what it is for the client, for the log, for the disk.

use super::ground::{Call, TIMEOUT, bad, has_line, is_proper, new_log, timed, world};
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{Client, Host, HostBuilder};
use std::time::Duration;
use tonic::{Code, Status};

/// How much later than the deadline an answer may come: an epoch of 5 ms, and a machine that is busy with other tests.
const SLACK: Duration = Duration::from_millis(1500);

/// What a guest does, and what the log must say of it.
const FAULTS: [(&str, &str); 4] = [
    ("trap", "unreachable"),
    ("panic", "unreachable"),
    ("stack", "call stack exhausted"),
    ("memory", "more memory than it may have"),
];

fn ended_at_the_deadline(took: Duration, what: &str) {
    assert!(took >= TIMEOUT - Duration::from_millis(50) && took < TIMEOUT + SLACK, "{what} took {took:?}");
}

#[test]
fn a_fault_costs_one_call_and_is_explained_in_the_log() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        let (mut at, before) = (0, world(&s));
        for call in Call::ALL {
            for (harm, reason) in FAULTS {
                let what = format!("{harm} in {call:?}");
                let status = call.run(&client, harm).await.expect_err(&what);
                assert_eq!(status.code(), call.code_of_a_fault(), "{what}: {status}");
                is_proper(&status, &what);
                new_log(&host, &mut at, &["bad.csi.bulkhead.dev", call.function(), reason]).await;
            }
        }
        world(&s).assert_same(&before, "a fault");
        // The next call of the same function is a fresh one.
        for call in [Call::Delete, Call::Validate, Call::Expand] {
            let fine = call.run(&client, "error-not-found").await.unwrap_err();
            assert_eq!(fine.code(), Code::NotFound, "{fine}");
        }
        client
            .create(bulkhead_tests::client::create_request("pvc-1", 1 << 30, bulkhead_tests::client::Use::Block, &[]))
            .await
            .unwrap();
    });
}

#[test]
fn a_call_that_never_ends_is_stopped_at_its_deadline() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        let (mut at, before) = (0, world(&s));
        for call in Call::ALL {
            for harm in ["loop", "log"] {
                let what = format!("{harm} in {call:?}");
                let (took, answer) = timed(call.run(&client, harm)).await;
                let status = answer.expect_err(&what);
                assert_eq!(status.code(), Code::DeadlineExceeded, "{what}: {status}");
                ended_at_the_deadline(took, &what);
                is_proper(&status, &what);
                let parts = ["bad.csi.bulkhead.dev", call.function(), "did not answer in time and was stopped"];
                let log = new_log(&host, &mut at, &parts).await;
                if harm == "log" {
                    assert!(log.lines().count() < 210, "{what} logged {} lines", log.lines().count());
                    assert!(
                        has_line(&log, &["bad.csi.bulkhead.dev", "dropped=", "logged more than a call may"]),
                        "{what}"
                    );
                }
            }
        }
        world(&s).assert_same(&before, "an endless call");
    });
}

#[test]
fn the_clients_deadline_counts_if_it_is_the_shorter_one() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        let mut request = tonic::Request::new(v1::DeleteVolumeRequest {
            volume_id: Call::Delete.subject("loop"),
            ..Default::default()
        });
        request.set_timeout(Duration::from_millis(300));
        let (took, answer) = timed(client.controller.clone().delete_volume(request)).await;
        // The host's own answer, not what the gRPC library makes of it when the time is over.
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert!(took >= Duration::from_millis(250) && took < TIMEOUT, "took {took:?}");
    });
}

#[test]
fn what_a_backend_logs_is_escaped_cut_and_counted() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        let mut at = host.log().len();
        Call::Delete.run(&client, "log-many").await.unwrap();
        let log = new_log(&host, &mut at, &["dropped=9800", "bad.csi.bulkhead.dev"]).await;
        assert_eq!(log.lines().filter(|line| line.contains(" line ")).count(), 200);
        Call::Delete.run(&client, "log-long").await.unwrap();
        let log = new_log(&host, &mut at, &["forged"]).await;
        let line = log.lines().find(|line| line.contains("forged")).unwrap();
        assert!(line.len() < 1400 && line.contains("\\u{1b}[31mforged\\r\\n"), "{line}");
        assert!(log.lines().count() < 3, "{log}");
    });
}

#[test]
fn calls_without_a_volume_are_no_exception() {
    type Ask = fn(Client) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Status>>>>;
    let list: Ask = |c| {
        Box::pin(async move { c.controller.clone().list_volumes(v1::ListVolumesRequest::default()).await.map(drop) })
    };
    let probe: Ask = |c| Box::pin(async move { c.identity.clone().probe(v1::ProbeRequest {}).await.map(drop) });
    let node: Ask =
        |c| Box::pin(async move { c.node.clone().node_get_info(v1::NodeGetInfoRequest {}).await.map(drop) });
    sandboxed(async |s| {
        let harms = ["trap", "stack", "memory", "loop"];
        let calls: [(&str, &str, Ask); 3] = [
            ("list", "listing.list-volumes", list),
            ("probe", "identity.probe", probe),
            ("node", "node.get-node-info", node),
        ];
        let name = |call: &str, harm: &str| format!("{call}-{harm}");
        let drivers = calls
            .iter()
            .flat_map(|(call, ..)| harms.map(|harm| bad(&s, &name(call, harm), &format!("{call}: {harm}"))));
        let host = HostBuilder::new(&s, drivers.collect::<Vec<_>>()).start();
        let mut at = 0;
        for (call, function, ask) in calls {
            for harm in harms {
                let what = name(call, harm);
                let driver = format!("{what}.csi.bulkhead.dev");
                let (took, answer) = timed(ask(host.client_of(&driver).await)).await;
                let status = answer.expect_err(&what);
                let code = match (call, harm) {
                    // Not healthy, says the specification, whatever the reason.
                    ("probe", _) => Code::FailedPrecondition,
                    (_, "loop") => Code::DeadlineExceeded,
                    _ => Code::Internal,
                };
                assert_eq!(status.code(), code, "{what}: {status}");
                is_proper(&status, &what);
                if harm == "loop" {
                    ended_at_the_deadline(took, &what);
                }
                new_log(&host, &mut at, &[&driver, function]).await;
            }
        }
    });
}

/// Peak or present size of the host's memory, in bytes.
fn memory(host: &Host, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    let kib: u64 = found.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    kib << 10
}

#[test]
fn memory_of_all_calls_together_is_bounded() {
    sandboxed(async |s| {
        const MIB: u64 = 1 << 20;
        let mut driver = bad(&s, "bad", "");
        driver.limits = "callTimeout: 10s\nmemory: 64MiB\n".into();
        let host = HostBuilder::new(&s, [driver]).total_memory("128MiB").start();
        let client = host.client().await;
        Call::Delete.run(&client, "error-not-found").await.unwrap_err();
        let before = memory(&host, "VmRSS:");
        let bombs: Vec<_> = (0..8)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move { client.delete(&format!("delete.memory--{n}")).await })
            })
            .collect();
        for bomb in bombs {
            assert_eq!(bomb.await.unwrap().unwrap_err().code(), Code::Unavailable);
        }
        let (peak, after) = (memory(&host, "VmHWM:"), memory(&host, "VmRSS:"));
        assert!(peak < before + (128 + 64) * MIB, "grew from {before} to {peak} bytes");
        assert!(peak > before + 32 * MIB, "the bombs did not go off: {before} to {peak} bytes");
        assert!(after < before + 64 * MIB, "keeps {after} bytes after {before}");
        // What was taken has been given back: all of it is there for the next call.
        for _ in 0..3 {
            Call::Delete.run(&client, "error-not-found").await.unwrap_err();
        }
    });
}
