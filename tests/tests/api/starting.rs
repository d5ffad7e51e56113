//! While a backend is being compiled its socket is there already and says so; when it can't be loaded, nothing is left of it.

use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{Client, Driver, HostBuilder};
use std::{
    fs,
    time::{Duration, Instant},
};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_driver_whose_backend_is_being_compiled_is_not_ready_and_says_so() {
    sandboxed(async |s| {
        // A new state directory has no compiled code in it.
        let builder = HostBuilder::new(&s, [Driver::local(&s)]);
        let socket = builder.socket("local.csi.bulkhead.dev");
        let _host = builder.spawn();
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut client = Client::connect(&socket, &builder.kubelet()).await;
        let mut not_ready = 0;
        loop {
            // Never an error: that would be a plugin that is not healthy.
            let ready = client.identity.probe(v1::ProbeRequest {}).await.unwrap().into_inner().ready;
            if ready == Some(true) {
                break;
            }
            assert_eq!(ready, Some(false));
            not_ready += 1;
            for refused in [
                client.identity.get_plugin_info(v1::GetPluginInfoRequest {}).await.map(drop),
                client.delete("v").await,
                client.node.node_get_info(v1::NodeGetInfoRequest {}).await.map(drop),
            ] {
                // It may have come up in between.
                if let Err(status) = refused {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    assert!(status.message().contains("still starting"), "{status}");
                }
            }
            assert!(start.elapsed() < PATIENCE);
        }
        assert!(not_ready > 0, "it was ready at once: nothing was seen");
        println!("not ready {not_ready} times, ready after {:?}", start.elapsed());
        assert_eq!(client.delete("fast/v").await.map_err(|e| e.code()), Ok(()));
    });
}

#[test]
fn a_host_that_cannot_load_a_backend_takes_its_sockets_away() {
    sandboxed(async |s| {
        let bad = Driver { source: s.path().join("broken.wasm"), ..Driver::plain("example") };
        fs::write(&bad.source, b"\0asm nonsense").unwrap();
        let builder = HostBuilder::new(&s, [Driver::local(&s), bad]);
        let (status, _, stderr) = builder.run(&["serve", "--config"]);
        assert_eq!(status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("broken.wasm"), "{stderr}");
        for driver in &builder.drivers {
            assert!(!builder.socket(&driver.name).exists(), "{} is left", driver.name);
        }
    });
}

#[test]
fn a_host_that_is_told_to_stop_while_it_compiles_stops() {
    sandboxed(async |s| {
        let builder = HostBuilder::new(&s, [Driver::local(&s)]);
        let socket = builder.socket("local.csi.bulkhead.dev");
        let host = builder.spawn();
        let start = Instant::now();
        while !socket.exists() {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(host.stop().success());
        assert!(!socket.exists());
    });
}
