//! CreateVolume: where a volume can be reached from.

use super::{TOPOLOGY, VOLUMES};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{ok, refused_as, same, some},
    ensure,
};
use bulkhead_proto::v1;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    const NEEDS: &[Need] = &[VOLUMES, TOPOLOGY, Need::NodeService];
    vec![
        case("create-volume/topology", &["create.topology", "create.preferred-order"], NEEDS, told),
        case("create-volume/topology-impossible", &["create.topology-impossible"], NEEDS, impossible),
        case("create-volume/topology-other", &["create.other-topology"], NEEDS, other),
    ]
}

/// The topologies of the nodes that the suite knows; the first is this node's.
pub(super) fn known(cx: &Cx) -> Outcome<Vec<v1::Topology>> {
    let infos = [&cx.driver.node_info, &cx.driver.second_node_info];
    let mut all: Vec<v1::Topology> = vec![];
    for topology in infos.into_iter().flatten().filter_map(|info| info.accessible_topology.clone()) {
        if !all.contains(&topology) {
            all.push(topology);
        }
    }
    if all.is_empty() { Err(Stop::skip("NodeGetInfo has no topology")) } else { Ok(all) }
}

/// One with the same keys that nobody has.
pub(super) fn nowhere(known: &v1::Topology) -> v1::Topology {
    let segments = known.segments.keys().map(|key| (key.clone(), "no-such-place".to_owned())).collect();
    v1::Topology { segments }
}

/// Whether all segments of one are in the other.
fn within(inner: &v1::Topology, outer: &v1::Topology) -> bool {
    inner.segments.iter().all(|(key, value)| outer.segments.get(key) == Some(value))
}

fn requirement(requisite: &[v1::Topology], preferred: &[v1::Topology]) -> Option<v1::TopologyRequirement> {
    Some(v1::TopologyRequirement { requisite: requisite.to_vec(), preferred: preferred.to_vec() })
}

async fn told(cx: Cx) -> Outcome {
    let known = known(&cx)?;
    let mut request = cx.create_request("topology");
    request.accessibility_requirements = requirement(&known, &known);
    let volume = some(ok(cx.create_volume(request.clone()).await, "all known topologies")?.volume, "volume")?;
    ensure!(!volume.accessible_topology.is_empty(), "the volume does not say from where it is accessible");
    let fits = volume.accessible_topology.iter().any(|has| known.iter().any(|asked| within(has, asked)));
    ensure!(fits, "asked for {known:?}, was given {:?}", volume.accessible_topology);
    let reversed: Vec<_> = known.iter().rev().cloned().collect();
    for (what, preferred) in [("in another order", &reversed[..]), ("with only one", &known[..1]), ("with none", &[])] {
        request.accessibility_requirements = requirement(&known, preferred);
        let again = ok(cx.create_volume(request.clone()).await, &format!("the same, preferred {what}"))?;
        same(&some(again.volume, "volume")?.volume_id, &volume.volume_id, "the repeat's volume")?;
    }
    let second = &known[known.len() - 1];
    request.name = cx.name("second");
    request.accessibility_requirements = requirement(std::slice::from_ref(second), &[]);
    let volume = some(ok(cx.create_volume(request).await, "one requisite topology")?.volume, "volume")?;
    let fits = volume.accessible_topology.iter().any(|has| within(has, second));
    ensure!(fits, "asked for {second:?}, was given {:?}", volume.accessible_topology);
    Ok(())
}

async fn impossible(cx: Cx) -> Outcome {
    let nowhere = nowhere(&known(&cx)?[0]);
    let mut request = cx.create_request("nowhere");
    request.accessibility_requirements = requirement(std::slice::from_ref(&nowhere), std::slice::from_ref(&nowhere));
    let codes = [Code::ResourceExhausted, Code::InvalidArgument];
    refused_as(cx.create_volume(request.clone()).await, &codes, "a requisite topology that nobody has").map(drop)?;
    request.accessibility_requirements = None;
    ok(cx.create_volume(request).await, "the same name without it").map(drop)
}

async fn other(cx: Cx) -> Outcome {
    let known = known(&cx)?;
    let mut request = cx.create_request("elsewhere");
    request.accessibility_requirements = requirement(&known[..1], &[]);
    let volume = some(ok(cx.create_volume(request.clone()).await, "this node's topology")?.volume, "volume")?;
    let mut changed = request.clone();
    changed.accessibility_requirements = requirement(&[nowhere(&known[0])], &[]);
    let codes = [Code::AlreadyExists, Code::ResourceExhausted, Code::InvalidArgument];
    refused_as(cx.create_volume(changed).await, &codes, "the same name in a topology that it is outside of")?;
    let again = ok(cx.create_volume(request).await, "the first request once more")?;
    same(&some(again.volume, "volume")?, &volume, "the volume after a refused repeat")
}
