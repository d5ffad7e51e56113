//! A driver as it is deployed where each node has storage of its own and a controller beside it.

use crate::{Driver, HostBuilder, Sandbox};

/// Topology key of [`per_node`]'s driver.
pub const NODE_KEY: &str = "topology.local.csi.bulkhead.dev/node";

/// `offer` of such a driver: nothing is attached, and the node grows volumes.
pub const PER_NODE: &str =
    "{ attachment: false, expansion: node, modification: false, groupSnapshots: false, mountGroup: false }";

/// The backend's config on that node, over the pool `fast`.
pub fn config(node: &str) -> String {
    format!(
        "node: {node}\ndefaultPool: fast\ntopologyKeys: [{NODE_KEY}]\n\
         pools: {{ fast: {{ accessibleFrom: [{{ {NODE_KEY}: {node} }}] }} }}"
    )
}

/// `node.labels` of the host on that node.
pub fn labels(node: &str) -> String {
    format!("labels: {{ {NODE_KEY}: {node} }}")
}

/// The local backend's host on that node, with a pool, a state directory and a socket of its own below `node`.
pub fn per_node(sandbox: &Sandbox, node: &str) -> HostBuilder {
    let mut driver = Driver::local(sandbox);
    driver.pools = vec![("fast".into(), sandbox.dir(&format!("pool-{node}")))];
    driver.config = config(node);
    driver.offer = PER_NODE.into();
    let mut builder = HostBuilder::new(sandbox, [driver]).apart(node);
    builder.node_id = node.into();
    builder.node = labels(node);
    builder
}
