//! NodeGetInfo, and Probe while a driver starts.

use crate::{
    Case, Cx, Need, Outcome, Side, Stop, case,
    check::{ok, same},
    ensure,
};
use bulkhead_proto::v1::{self, identity_client::IdentityClient, plugin_capability::service::Type as Service};
use std::{collections::BTreeSet, error::Error as _, time::Duration};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("node-info/id", &["node-info.id"], &[Need::NodeService], id),
        case("node-info/topology", &["node-info.topology"], &[Need::NodeService], topology),
        case("node-info/max-volumes", &["node-info.max-volumes"], &[Need::NodeService], max_volumes),
        case("node-info/two-nodes", &["node-info.id"], &[Need::NodeService, Need::SecondNode], two_nodes),
        case("probe/starting", &["probe.starting"], &[Need::Restart], starting).alone(),
    ]
}

async fn info(cx: &Cx) -> Outcome<v1::NodeGetInfoResponse> {
    ok(cx.node_get_info(v1::NodeGetInfoRequest {}).await, "NodeGetInfo")
}

async fn id(cx: Cx) -> Outcome {
    let first = info(&cx).await?;
    let bytes = first.node_id.len();
    ensure!((1..=256).contains(&bytes), "node_id has {bytes} bytes, must have 1 to 256");
    for _ in 0..3 {
        same(&info(&cx).await?.node_id, &first.node_id, "node_id, asked again")?;
    }
    Ok(())
}

async fn two_nodes(cx: Cx) -> Outcome {
    let (first, second) = (info(&cx).await?, info(&cx.on(Side::SecondNode)).await?);
    ensure!(first.node_id != second.node_id, "both nodes are called {:?}", first.node_id);
    let keys = |info: &v1::NodeGetInfoResponse| {
        let segments = info.accessible_topology.as_ref().map(|topology| topology.segments.clone());
        segments.unwrap_or_default().into_keys().collect::<BTreeSet<_>>()
    };
    same(&keys(&second), &keys(&first), "topology keys of the second node")
}

async fn topology(cx: Cx) -> Outcome {
    let segments = info(&cx).await?.accessible_topology.map(|topology| topology.segments).unwrap_or_default();
    let constrained = cx.driver.caps.plugin_has(Service::VolumeAccessibilityConstraints);
    ensure!(!constrained || !segments.is_empty(), "VOLUME_ACCESSIBILITY_CONSTRAINTS, and the node has no topology");
    if segments.is_empty() {
        return Err(Stop::skip("the node has no topology"));
    }
    ensure!(constrained, "the node has a topology, and the plugin no VOLUME_ACCESSIBILITY_CONSTRAINTS");
    let mut prefixes = BTreeSet::new();
    let mut folded = BTreeSet::new();
    for (key, value) in &segments {
        let (prefix, name) = key.split_once('/').unwrap_or(("", key));
        prefixes.insert(prefix.to_ascii_lowercase());
        ensure!(folded.insert(key.to_ascii_lowercase()), "two keys differ in case only: {key}");
        ensure!(
            (1..=63).contains(&name.len()),
            "the name of the key {key} has {} bytes, must have 1 to 63",
            name.len()
        );
        ensure!(prefix.len() <= 63, "the prefix of the key {key} has {} bytes, must have 63 at most", prefix.len());
        ensure!((1..=63).contains(&value.len()), "the value of {key} has {} bytes, must have 1 to 63", value.len());
        for part in [name, value] {
            let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            let inner = part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            ensure!(inner && ends(part.chars().next()) && ends(part.chars().last()), "{part:?} of {key} is no label");
        }
    }
    ensure!(prefixes.len() == 1, "topology keys have several prefixes: {prefixes:?}");
    Ok(())
}

async fn max_volumes(cx: Cx) -> Outcome {
    let most = info(&cx).await?.max_volumes_per_node;
    ensure!(most >= 0, "max_volumes_per_node is {most}");
    Ok(())
}

/// From the moment of the restart on: no connection, not ready, or ready. An error would mean that the driver is broken.
async fn starting(cx: Cx) -> Outcome {
    let Some(control) = cx.driver.control.clone() else { return Err(Stop::skip("no --restart-command")) };
    for _ in 0..3 {
        control.restart().await.map_err(Stop::fail)?;
        let start = tokio::time::Instant::now();
        loop {
            let mut client = IdentityClient::new(cx.driver.channel(Side::Node));
            let asked = client.probe(v1::ProbeRequest {});
            let Ok(answer) = tokio::time::timeout(cx.driver.options.timeout, asked).await else {
                return Err(Stop::fail("Probe does not answer while the driver starts"));
            };
            match answer {
                Ok(answer) if answer.get_ref().ready != Some(false) => break,
                Ok(_) => {}
                // Errors with a source are the connection's.
                Err(status) if status.source().is_some() => {}
                Err(status) => return Err(Stop::fail(format!("Probe while the driver starts: {status}"))),
            }
            ensure!(start.elapsed() < cx.driver.options.timeout, "the driver is not ready in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    cx.driver.wait_until_ready().await.map_err(Stop::fail)
}
