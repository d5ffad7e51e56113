//! Who the driver is and what it says it can do.

use crate::{
    Case, Cx, Need, Outcome, Side, case,
    check::{ok, same},
    ensure,
};
use bulkhead_proto::v1::{
    self, controller_service_capability::rpc::Type as C, node_service_capability::rpc::Type as N,
    plugin_capability::service::Type as P,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("identity/probe", &["probe.ready"], &[], probe),
        case("identity/name", &["info.name"], &[], name),
        case("identity/version", &["info.version"], &[], version),
        case("identity/repeat", &["info.stable", "plugin-capabilities.stable"], &[], repeat),
        case("identity/known", &["plugin-capabilities.known"], &[], known),
        case("identity/services", &["plugin-capabilities.controller", "plugin-capabilities.groups"], &[], services),
        case("identity/topology", &["plugin-capabilities.topology"], &[super::TOPOLOGY, Need::NodeService], topology),
        case("identity/same-on-all", &["info.same-on-all", "plugin-capabilities.same-on-all"], &[], same_on_all),
        case("identity/dependent", DEPENDENT, &[], dependent),
        case("identity/both-halves", &["capabilities.multi-writer"], &[Need::NodeService], both_halves),
    ]
}

const DEPENDENT: &[&str] = &[
    "capabilities.expansion",
    "capabilities.published-nodes",
    "capabilities.readonly",
    "capabilities.health",
    "capabilities.one-generation",
    "capabilities.snapshot-metadata",
];

async fn probe(cx: Cx) -> Outcome {
    let answer = ok(cx.probe(v1::ProbeRequest {}).await, "Probe")?;
    ensure!(answer.ready != Some(false), "Probe: was ready when the suite started, and now it is not");
    Ok(())
}

async fn name(cx: Cx) -> Outcome {
    let name = ok(cx.get_plugin_info(v1::GetPluginInfoRequest {}).await, "GetPluginInfo")?.name;
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    ensure!((1..=63).contains(&name.len()), "the name has {} bytes, 1 to 63 are allowed", name.len());
    ensure!(name.chars().all(inner), "the name {name:?} has other characters than letters, digits, '-' and '.'");
    ensure!(
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.ends_with(|c: char| c.is_ascii_alphanumeric()),
        "the name {name:?} must begin and end with a letter or digit"
    );
    Ok(())
}

async fn version(cx: Cx) -> Outcome {
    let info = ok(cx.get_plugin_info(v1::GetPluginInfoRequest {}).await, "GetPluginInfo")?;
    ensure!(!info.vendor_version.is_empty(), "vendor_version is empty");
    ensure!(info.manifest.keys().all(|key| !key.is_empty()), "the manifest has an empty key");
    Ok(())
}

async fn repeat(cx: Cx) -> Outcome {
    let ask = async || ok(cx.get_plugin_info(v1::GetPluginInfoRequest {}).await, "GetPluginInfo");
    same(&ask().await?, &ask().await?, "GetPluginInfo asked twice")?;
    let ask = async || {
        let answer = cx.get_plugin_capabilities(v1::GetPluginCapabilitiesRequest {}).await;
        ok(answer, "GetPluginCapabilities")
    };
    same(&ask().await?, &ask().await?, "GetPluginCapabilities asked twice")
}

async fn known(cx: Cx) -> Outcome {
    let caps = &cx.driver.caps;
    let sets = [("plugin", &caps.plugin, 5), ("expansion", &caps.expansion, 2), ("controller", &caps.controller, 17)];
    let more = [("group", &caps.group, 1), ("node", &caps.node, 8)];
    for (what, set, last) in sets.into_iter().chain(more) {
        let unknown: Vec<_> = set.iter().filter(|number| !(1..=last).contains(*number)).collect();
        ensure!(
            unknown.is_empty(),
            "the {what} capabilities have the values {unknown:?}, which CSI 1.13 does not know"
        );
    }
    Ok(())
}

async fn services(cx: Cx) -> Outcome {
    let caps = &cx.driver.caps;
    let there = caps.plugin_has(P::ControllerService);
    ensure!(there || caps.controller.is_empty(), "no CONTROLLER_SERVICE, but the controller has {:?}", caps.controller);
    let answer = cx.controller_get_capabilities(v1::ControllerGetCapabilitiesRequest {}).await;
    if there {
        ok(answer, "ControllerGetCapabilities with CONTROLLER_SERVICE")?;
    }
    let groups = caps.plugin_has(P::GroupControllerService);
    ensure!(groups || caps.group.is_empty(), "no GROUP_CONTROLLER_SERVICE, but it has {:?}", caps.group);
    let answer = cx.group_controller_get_capabilities(v1::GroupControllerGetCapabilitiesRequest {}).await;
    if groups {
        ok(answer, "GroupControllerGetCapabilities with GROUP_CONTROLLER_SERVICE")?;
    }
    Ok(())
}

async fn topology(cx: Cx) -> Outcome {
    let info = ok(cx.node_get_info(v1::NodeGetInfoRequest {}).await, "NodeGetInfo")?;
    let there = info.accessible_topology.is_some_and(|topology| !topology.segments.is_empty());
    ensure!(there, "VOLUME_ACCESSIBILITY_CONSTRAINTS, but NodeGetInfo has no topology");
    Ok(())
}

async fn same_on_all(cx: Cx) -> Outcome {
    let (mut infos, mut caps) = (vec![], vec![]);
    for side in [Side::Controller, Side::Node, Side::SecondNode] {
        let cx = cx.on(side);
        infos.push(ok(cx.get_plugin_info(v1::GetPluginInfoRequest {}).await, "GetPluginInfo")?);
        let answer = cx.get_plugin_capabilities(v1::GetPluginCapabilitiesRequest {}).await;
        caps.push(ok(answer, "GetPluginCapabilities")?);
    }
    for at in 1..infos.len() {
        same(&infos[at].name, &infos[0].name, "the name at another endpoint")?;
        if infos[at].vendor_version == infos[0].vendor_version {
            same(&caps[at], &caps[0], "plugin capabilities of the same version at another endpoint")?;
        }
    }
    Ok(())
}

async fn dependent(cx: Cx) -> Outcome {
    let caps = &cx.driver.caps;
    let implied = |has: bool, also: bool, what: &str| {
        ensure!(!has || also, "{what}");
        Ok(())
    };
    let expands = caps.has(C::ExpandVolume) || caps.node_has(N::ExpandVolume);
    let metadata = caps.plugin_has(P::SnapshotMetadataService);
    let old = caps.has(C::VolumeCondition) || caps.node_has(N::VolumeCondition);
    let new = caps.has(C::GetVolumeHealth) || caps.has(C::ListVolumeHealth) || caps.node_has(N::GetVolumeHealth);
    let nodes = caps.has(C::ListVolumesPublishedNodes);
    let lists = caps.has(C::ListVolumes) || caps.has(C::GetVolume);
    implied(expands, !caps.expansion.is_empty(), "EXPAND_VOLUME without an expansion capability of the plugin")?;
    implied(nodes, lists, "LIST_VOLUMES_PUBLISHED_NODES without a call that could tell them")?;
    implied(
        nodes,
        caps.has(C::PublishUnpublishVolume),
        "LIST_VOLUMES_PUBLISHED_NODES without PUBLISH_UNPUBLISH_VOLUME",
    )?;
    let attaches = caps.has(C::PublishUnpublishVolume);
    implied(caps.has(C::PublishReadonly), attaches, "PUBLISH_READONLY without PUBLISH_UNPUBLISH_VOLUME")?;
    let gets = caps.has(C::GetVolumeHealth);
    implied(caps.has(C::ListVolumeHealth), gets, "LIST_VOLUME_HEALTH without GET_VOLUME_HEALTH")?;
    implied(metadata, caps.has(C::CreateDeleteSnapshot), "SNAPSHOT_METADATA_SERVICE without CREATE_DELETE_SNAPSHOT")?;
    implied(old, !new, "VOLUME_CONDITION (1.12) and volume health (1.13) together")
}

async fn both_halves(cx: Cx) -> Outcome {
    let caps = &cx.driver.caps;
    let halves = (caps.has(C::SingleNodeMultiWriter), caps.node_has(N::SingleNodeMultiWriter));
    ensure!(
        caps.controller.is_empty() || halves.0 == halves.1,
        "SINGLE_NODE_MULTI_WRITER: controller {}, node {}",
        halves.0,
        halves.1
    );
    Ok(())
}
