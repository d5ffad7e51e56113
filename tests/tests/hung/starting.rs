//! A host starts, and ends, beside a pool that does not answer.

use crate::{
    rig::{self, BOTH, OTHER, Rig, directory, mounted},
    sandboxed,
};
use bulkhead_tests::{Client, HostBuilder, patient::within};
use std::time::{Duration, Instant};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(60);

async fn served(builder: &HostBuilder, driver: &str) -> Client {
    let (socket, start) = (builder.socket(driver), Instant::now());
    while !bulkhead_tests::client::is_serving(&socket) {
        assert!(start.elapsed() < PATIENCE, "{driver} is not served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Client::connect(&socket, &builder.kubelet()).await
}

#[test]
fn the_other_drivers_are_served_and_the_log_names_the_pool() {
    sandboxed(async |s| {
        let Rig { slow, host, mut builder } = Rig::new(&s);
        let client = host.client_of(BOTH).await;
        let volume = client.create(directory("v", "slow")).await.unwrap();
        client.stage(&volume, mounted()).await.unwrap();
        assert!(host.stop().success());
        slow.hang();
        builder.keep_going = true;
        let mut slot = Rig { slow, host: builder.spawn(), builder: builder.clone() };
        let other = served(&builder, OTHER).await;
        let made = other.create(directory("v", "own")).await.unwrap();
        other.delete(&made.volume_id).await.unwrap();
        let path = s.path().join("slow").display().to_string();
        let start = Instant::now();
        while !slot.host.log().contains(&format!("{path} does not answer")) {
            assert!(start.elapsed() < PATIENCE, "{}", slot.host.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(slot.host.try_wait().is_none());
        // It is tried again, and each try costs no further thread.
        let threads = crate::process::Resources::of(&slot.host).threads;
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert!(crate::process::Resources::of(&slot.host).threads <= threads, "tries cost threads");
        slot.slow.resume();
        let client = served(&builder, BOTH).await;
        client.stage(&volume, mounted()).await.unwrap();
        client.unstage(&volume.volume_id).await.unwrap();
        client.delete(&volume.volume_id).await.unwrap();
        assert!(slot.host.stop().success());
    });
}

/// Without `--keep-going` all drivers come up or none: it ends, and says why.
#[test]
fn a_host_that_serves_all_or_nothing_ends_and_names_the_pool() {
    sandboxed(async |s| {
        let slow = rig::mount_slow(&s);
        let builder = rig::builder(&s);
        slow.hang();
        let mut rig = Rig { slow, host: builder.spawn(), builder };
        let path = s.path().join("slow").display().to_string();
        let start = Instant::now();
        while !rig.host.log().contains(&format!("{path} does not answer")) {
            assert!(start.elapsed() < PATIENCE, "{}", rig.host.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A thread that waits for a request which was taken can't even be killed.
        drop(rig.slow);
        assert_eq!(rig.host.wait().code(), Some(2));
    });
}

/// What hangs keeps the host for as long as a call may take, and not longer.
#[test]
fn a_host_ends_beside_calls_that_hang() {
    sandboxed(async |s| {
        let slow = rig::mount_slow(&s);
        let mut builder = rig::builder(&s);
        for driver in &mut builder.drivers {
            driver.limits = "callTimeout: 2s".into();
        }
        let mut rig = Rig { slow, host: builder.start(), builder };
        let mut services = rig.wires().connect().await;
        rig.slow.hang();
        let late = services.controller.create_volume(within(Duration::from_millis(300), directory("v", "slow"))).await;
        assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
        rig.host.signal(rustix::process::Signal::TERM);
        let start = Instant::now();
        while !rig.host.log().contains("operations that did not end in time are left to the journal") {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", rig.host.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // All of it ends but for the thread that can't be ended.
        tokio::time::sleep(Duration::from_secs(4)).await;
        let state = std::fs::read_to_string(format!("/proc/{}/stat", rig.host.pid())).unwrap();
        drop(rig.slow);
        let status = rig.host.wait();
        assert!(state.contains(") Z ") || state.contains(") D "), "it has not ended: {state}");
        assert!(status.success(), "{status}");
    });
}
