//! What the local backend's driver says that it can do, in both generations of CSI: orchestrators act on every line of it.

use crate::sandboxed;
use bulkhead_proto::v1::{
    self, controller_service_capability as controller, group_controller_service_capability as group,
    node_service_capability as node, plugin_capability as plugin,
};
use bulkhead_tests::{Client, Driver, HostBuilder};
use std::{fmt::Write as _, fs, path::Path};

/// One capability a line, under the name of the call that gives it, in the order of the answer.
async fn capabilities(client: &Client) -> String {
    let mut text = String::new();
    let request = v1::GetPluginCapabilitiesRequest {};
    let answer = client.identity.clone().get_plugin_capabilities(request).await.unwrap().into_inner();
    text += "GetPluginCapabilities\n";
    for capability in answer.capabilities {
        let name = match capability.r#type.unwrap() {
            plugin::Type::Service(service) => format!("service {}", service.r#type().as_str_name()),
            plugin::Type::VolumeExpansion(expansion) => {
                format!("volume_expansion {}", expansion.r#type().as_str_name())
            }
        };
        let _ = writeln!(text, "  {name}");
    }
    let request = v1::ControllerGetCapabilitiesRequest {};
    let answer = client.controller.clone().controller_get_capabilities(request).await.unwrap().into_inner();
    text += "ControllerGetCapabilities\n";
    for capability in answer.capabilities {
        let controller::Type::Rpc(rpc) = capability.r#type.unwrap();
        let _ = writeln!(text, "  rpc {}", rpc.r#type().as_str_name());
    }
    let request = v1::GroupControllerGetCapabilitiesRequest {};
    let answer = client.groups().group_controller_get_capabilities(request).await.unwrap().into_inner();
    text += "GroupControllerGetCapabilities\n";
    for capability in answer.capabilities {
        let group::Type::Rpc(rpc) = capability.r#type.unwrap();
        let _ = writeln!(text, "  rpc {}", rpc.r#type().as_str_name());
    }
    let request = v1::NodeGetCapabilitiesRequest {};
    let answer = client.node.clone().node_get_capabilities(request).await.unwrap().into_inner();
    text += "NodeGetCapabilities\n";
    for capability in answer.capabilities {
        let node::Type::Rpc(rpc) = capability.r#type.unwrap();
        let _ = writeln!(text, "  rpc {}", rpc.r#type().as_str_name());
    }
    text
}

/// Fails when an answer is not what `tests/golden` has; BULKHEAD_BLESS=1 writes it there.
#[test]
fn the_local_backend_offers_what_the_golden_files_say() {
    sandboxed(async |s| {
        for csi in ["1.12", "1.13"] {
            // With places: topology is a capability too.
            let config = "topologyKeys: [topology.example.com/zone]".to_owned();
            let mut builder = HostBuilder::new(&s, [Driver { csi, config, ..Driver::local(&s) }]);
            builder.node = "labels: { topology.example.com/zone: z1 }".into();
            let host = builder.start();
            let found = capabilities(&host.client().await).await;
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/capabilities-{csi}.txt"));
            if std::env::var_os("BULKHEAD_BLESS").is_some() {
                fs::write(&file, &found).unwrap();
            }
            let golden = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(
                found,
                golden,
                "{} is out of date: BULKHEAD_BLESS=1 make tier NAME=api writes it",
                file.display()
            );
            assert!(host.stop().success());
        }
    });
}
