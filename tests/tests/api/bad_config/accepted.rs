//! What looks wrong and is not: an empty backend, a stale socket, a greedy component on a node.

use super::{Ground, ground::stale_socket};
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Driver, HostBuilder,
    client::{Use, capability},
    components as made, host,
};
use std::{fs, path::Path};
use tonic::Code;

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/components/v0.1-empty.wasm")
}

#[test]
fn the_golden_empty_component_is_checked_and_served() {
    let ground = Ground::component(&fs::read(golden()).unwrap());
    let (status, stderr) = ground.run("check", &[]);
    assert!(status.success() && stderr.is_empty(), "{stderr}");
    sandboxed(async |s| {
        let driver = Driver { source: golden(), ..Driver::plain("example") };
        let host = HostBuilder::new(&s, [driver]).start();
        let client = host.client().await;
        let info = client.identity.clone().get_plugin_info(v1::GetPluginInfoRequest {}).await.unwrap().into_inner();
        assert_eq!((info.name.as_str(), info.vendor_version.as_str()), ("example.csi.bulkhead.dev", "0.1.0"));
        let ready = client.identity.clone().probe(v1::ProbeRequest {}).await.unwrap().into_inner().ready;
        assert_eq!(ready, Some(true));
        let refused = client.delete("v").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    });
}

#[test]
fn a_stale_socket_is_replaced() {
    sandboxed(async |s| {
        let builder = HostBuilder::new(&s, [Driver::plain("example")]);
        let socket = builder.socket("example.csi.bulkhead.dev");
        stale_socket(&socket);
        let (status, _, stderr) = builder.run(&["check"]);
        assert!(status.success() && socket.exists(), "{stderr}");
        let host = builder.start();
        host.client().await.identity.clone().get_plugin_info(v1::GetPluginInfoRequest {}).await.unwrap();
        assert!(host.log().contains("replaced a stale socket"), "{}", host.log());
        assert!(host.stop().success());
        assert!(!socket.exists(), "the socket goes with its host");
    });
}

/// A component that imports more than a node grants is loaded there, for one component serves both halves. What it
/// imports is closed.
#[test]
fn a_greedy_component_loads_on_a_node() {
    let ground = Ground::component(&made::greedy().unwrap());
    // Made of traps, it comes as far as being asked what it is: its imports were linked.
    let says: &[&str] = &["failed to say what it is in identity.get-info", "unreachable"];
    ground.is_refused_with("a greedy component", &["--mode", "node"], &[says]);
    let ground = Ground::new(&[]);
    fs::copy(host::backend("local"), ground.path("one.wasm")).unwrap();
    assert!(!ground.run("check", &[]).0.success(), "a controller must have its pools");
    let (status, stderr) = ground.run("check", &["--mode", "node"]);
    assert!(status.success(), "{stderr}");
}

#[test]
fn pools_are_closed_on_a_node_even_if_they_are_granted() {
    sandboxed(async |s| {
        let volume = v1::Volume { volume_id: "plan.pools--1".into(), ..Default::default() };
        let cap = || capability(Use::Mount(""));
        for granted in [true, false] {
            let mut driver = Driver::bad(&s);
            driver.config = "probe: pools".into();
            if !granted {
                driver.pools.clear();
            }
            let host = HostBuilder::new(&s, [driver]).mode("node").start();
            let client = host.client().await;
            let refused = client.stage(&volume, cap()).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
            assert!(refused.message().contains("pools are closed"), "{refused}");
            // The backend isn't asked on a node, where it reaches nothing.
            let ready = client.identity.clone().probe(v1::ProbeRequest {}).await.unwrap().into_inner().ready;
            assert_eq!(ready, Some(true));
        }
        // The same calls of a controller go through: it is not the backend that refuses.
        let driver = Driver { config: "probe: pools".into(), ..Driver::bad(&s) };
        let host = HostBuilder::new(&s, [driver]).start();
        let ready = host.client().await.identity.clone().probe(v1::ProbeRequest {}).await.unwrap().into_inner().ready;
        assert_eq!(ready, Some(true));
    });
}

#[test]
fn what_the_config_withholds_is_not_offered() {
    sandboxed(async |s| {
        let whole = offered(&HostBuilder::new(&s, [Driver::local(&s)]).start()).await;
        let driver =
            Driver { offer: "{ listing: false, expansion: none, capacity: false }".into(), ..Driver::local(&s) };
        let host = HostBuilder::new(&s, [driver]).apart("less").start();
        let less = offered(&host).await;
        let gone: Vec<_> = whole.iter().filter(|name| !less.contains(name)).map(String::as_str).collect();
        assert_eq!(
            gone,
            [
                "LIST_VOLUMES",
                "GET_CAPACITY",
                "EXPAND_VOLUME",
                "LIST_VOLUMES_PUBLISHED_NODES",
                "EXPAND_VOLUME (node)",
                "expansion"
            ]
        );
        let client = host.client().await;
        let code = |answer: Result<(), tonic::Status>| answer.unwrap_err().code();
        let list = client.controller.clone().list_volumes(v1::ListVolumesRequest::default()).await.map(drop);
        assert_eq!(code(list), Code::Unimplemented);
        let expand = client.expand("fast/v", 1 << 30, capability(Use::Block)).await.map(drop);
        assert_eq!(code(expand), Code::Unimplemented);
        assert_eq!(code(client.node_expand("fast/v", "/nowhere", 1 << 30).await.map(drop)), Code::Unimplemented);
    });
}

/// Names of all capabilities.
async fn offered(host: &bulkhead_tests::Host) -> Vec<String> {
    let mut client = host.client().await;
    let controller = client.controller.controller_get_capabilities(v1::ControllerGetCapabilitiesRequest {});
    let node = client.node.node_get_capabilities(v1::NodeGetCapabilitiesRequest {});
    let plugin = client.identity.get_plugin_capabilities(v1::GetPluginCapabilitiesRequest {});
    let mut names = vec![];
    for capability in controller.await.unwrap().into_inner().capabilities {
        let Some(v1::controller_service_capability::Type::Rpc(rpc)) = capability.r#type else { continue };
        names.push(rpc.r#type().as_str_name().to_owned());
    }
    for capability in node.await.unwrap().into_inner().capabilities {
        let Some(v1::node_service_capability::Type::Rpc(rpc)) = capability.r#type else { continue };
        names.push(format!("{} (node)", rpc.r#type().as_str_name()));
    }
    for capability in plugin.await.unwrap().into_inner().capabilities {
        if let Some(v1::plugin_capability::Type::VolumeExpansion(_)) = capability.r#type {
            names.push("expansion".into());
        }
    }
    names
}
