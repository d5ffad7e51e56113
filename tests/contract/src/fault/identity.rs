//! Faults of what a driver and its nodes say about themselves.

use super::{Fault, fault};
use bulkhead_proto::v1::{self, controller_service_capability as controller, plugin_capability as plugin};

/// Whether the suite has begun: it asks who the driver is when Probe was ready everywhere.
#[derive(Default)]
struct Asked(bool);

/// How often something was asked.
#[derive(Default)]
struct Times(u32);

pub(super) const FAULTS: &[Fault] = &[
    fault("probe-unready", "Probe says ready, and later not ready any more", &["identity/probe"], |hooks| {
        hooks.get_plugin_info(|call, request| async move {
            call.with(|asked: &mut Asked| asked.0 = true);
            call.get_plugin_info(request).await
        });
        hooks.probe(|call, request| async move {
            let answer = call.probe(request).await?;
            let asked = call.with(|asked: &mut Asked| asked.0);
            Ok(if asked { v1::ProbeResponse { ready: Some(false) } } else { answer })
        });
    }),
    fault("name-not-dns", "the driver's name has an underscore", &["identity/name"], |hooks| {
        hooks.get_plugin_info(|call, request| async move {
            let mut info = call.get_plugin_info(request).await?;
            info.name = info.name.replace('.', "_") + "_driver";
            Ok(info)
        });
    }),
    fault("version-empty", "there is no vendor_version", &["identity/version"], |hooks| {
        hooks.get_plugin_info(|call, request| async move {
            let info = call.get_plugin_info(request).await?;
            Ok(v1::GetPluginInfoResponse { vendor_version: String::new(), ..info })
        });
    }),
    fault("version-changes", "vendor_version is another one each time", &["identity/repeat"], |hooks| {
        hooks.get_plugin_info(|call, request| async move {
            let mut info = call.get_plugin_info(request).await?;
            let times = call.with(|times: &mut Times| {
                times.0 += 1;
                times.0
            });
            info.vendor_version += &format!("+{times}");
            Ok(info)
        });
    }),
    fault("capability-unheard-of", "the plugin has a capability that no CSI knows", &["identity/known"], |hooks| {
        hooks.get_plugin_capabilities(|call, request| async move {
            let mut answer = call.get_plugin_capabilities(request).await?;
            let service = plugin::Type::Service(plugin::Service { r#type: 99 });
            answer.capabilities.push(v1::PluginCapability { r#type: Some(service) });
            Ok(answer)
        });
    }),
    fault(
        "capabilities-contradict",
        "the controller has LIST_VOLUME_HEALTH without GET_VOLUME_HEALTH",
        &["identity/dependent"],
        |hooks| {
            hooks.controller_get_capabilities(|call, request| async move {
                use controller::{Rpc, Type, rpc::Type as Is};
                let mut answer = call.controller_get_capabilities(request).await?;
                let of = |is: Is| Some(Type::Rpc(Rpc { r#type: is.into() }));
                answer.capabilities.retain(|capability| capability.r#type != of(Is::GetVolumeHealth));
                answer.capabilities.push(v1::ControllerServiceCapability { r#type: of(Is::ListVolumeHealth) });
                Ok(answer)
            });
        },
    ),
    fault("no-topology", "volumes have a topology, the node has none", &["identity/topology"], |hooks| {
        hooks.node_get_info(|call, request| async move {
            let info = call.node_get_info(request).await?;
            Ok(v1::NodeGetInfoResponse { accessible_topology: None, ..info })
        });
    }),
    fault("node-id-changes", "the node has another id each time it is asked", &["node-info/id"], |hooks| {
        hooks.node_get_info(|call, request| async move {
            let mut info = call.node_get_info(request).await?;
            let times = call.with(|times: &mut Times| {
                times.0 += 1;
                times.0
            });
            info.node_id += &format!("-{times}");
            Ok(info)
        });
    }),
    fault("node-id-shared", "all nodes have the same id", &["node-info/two-nodes"], |hooks| {
        hooks.node_get_info(|call, request| async move {
            let info = call.node_get_info(request).await?;
            Ok(v1::NodeGetInfoResponse { node_id: "localhost".into(), ..info })
        });
    }),
    fault("node-volumes-below-zero", "max_volumes_per_node is negative", &["node-info/max-volumes"], |hooks| {
        hooks.node_get_info(|call, request| async move {
            let info = call.node_get_info(request).await?;
            Ok(v1::NodeGetInfoResponse { max_volumes_per_node: -1, ..info })
        });
    }),
    fault("topology-of-two-prefixes", "topology keys have different prefixes", &["node-info/topology"], |hooks| {
        hooks.node_get_info(|call, request| async move {
            let mut info = call.node_get_info(request).await?;
            let segments = &mut info.accessible_topology.get_or_insert_default().segments;
            segments.insert("topology.example.com/rack".into(), "r1".into());
            segments.insert("example.net/room".into(), "1".into());
            Ok(info)
        });
    }),
];
