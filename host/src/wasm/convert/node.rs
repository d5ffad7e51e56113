//! Node facts and node info.

use super::{map_to_wit, topology, volumes::capability_to_wit};
use crate::{
    ops::ports::PlanRequest,
    wasm::bindings::{imports::node_types as wit, offered},
};
use bulkhead_domain::{
    limits::Violation,
    node::{CloudFacts, NodeFacts, NodeInfo},
};

/// Facts about a node, for the guest.
pub fn facts_to_wit(facts: NodeFacts) -> wit::NodeFacts {
    wit::NodeFacts {
        node_id: facts.node_id,
        name: facts.name,
        addresses: facts.addresses,
        iscsi_initiators: facts.iscsi_initiators,
        nvme_host_nqn: facts.nvme_host_nqn,
        nvme_host_id: facts.nvme_host_id,
        fc_wwpns: facts.fc_wwpns,
        cloud: facts.cloud.map(cloud_to_wit),
        transports: facts.transports,
        labels: map_to_wit(facts.labels),
    }
}

fn cloud_to_wit(cloud: CloudFacts) -> wit::CloudFacts {
    wit::CloudFacts {
        provider: cloud.provider,
        instance_id: cloud.instance_id,
        instance_type: cloud.instance_type,
        region: cloud.region,
        zone: cloud.zone,
        used_attachment_slots: cloud.used_attachment_slots,
    }
}

/// What is asked of `plan-volume`, for the guest.
pub fn plan_request(request: PlanRequest) -> offered::node::PlanRequest {
    offered::node::PlanRequest {
        volume_id: request.volume_id.as_str().to_owned(),
        context: map_to_wit(request.context),
        publish_context: map_to_wit(request.publish_context),
        capability: capability_to_wit(request.capability),
        node: facts_to_wit(request.node),
    }
}

/// Node info from the guest. A backend that has topology keys must say where the node is.
pub fn node_info(info: offered::node::NodeInfo, topology_keys: &[String]) -> Result<NodeInfo, Violation> {
    let place = info.topology.map(|place| topology(place, topology_keys)).transpose()?;
    if place.is_none() && !topology_keys.is_empty() {
        return Err("no topology, though identity.info.topology-keys is not empty".into());
    }
    Ok(NodeInfo { max_volumes: info.max_volumes, topology: place })
}
