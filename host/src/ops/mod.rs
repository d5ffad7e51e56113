//! The use-cases: the order of steps of every RPC, locks and idempotency.
//!
//! **Invariant:** this room sees the storage system and the node through the traits in [`ports`] only. It knows neither
//! protobuf nor wasmtime nor the kernel.

mod again;
pub mod attach;
pub mod blocks;
mod call;
pub mod controller;
pub mod group;
pub mod identity;
pub mod lane;
pub mod listing;
pub mod lock;
pub mod node;
pub mod node_half;
pub mod node_health;
pub mod offered;
mod pending;
pub mod ports;
pub mod snapshot;
pub mod token;
pub mod work;

use crate::ops::{
    lock::Locks,
    node_half::NodeHalf,
    ports::{Backend, Backoff, NodeDirectory},
};
use bulkhead_domain::{
    offer::{NodeCapability, Offer},
    volume::NodeId,
};
use std::{sync::Arc, time::Duration};

/// One configured driver: a backend, perhaps a node engine, and the locks over both. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    backend: Arc<dyn Backend>,
    node: Option<NodeHalf>,
    node_id: NodeId,
    directory: Arc<dyn NodeDirectory>,
    controller: bool,
    call_timeout: Duration,
    locks: Locks,
    nodes: attach::NodeQueues,
    health: listing::HealthCache,
    work: work::Work,
    probe: identity::ProbeCache,
    asking: again::Asking,
}

/// What a [`Driver`] is made of.
pub struct Parts {
    /// CSI driver name.
    pub name: String,
    /// The loaded backend.
    pub backend: Arc<dyn Backend>,
    /// None in controller mode.
    pub node: Option<NodeHalf>,
    /// This node.
    pub node_id: NodeId,
    /// Where nodes are found, also this one.
    pub directory: Arc<dyn NodeDirectory>,
    /// False in node mode.
    pub controller: bool,
    /// Longest time for one call, whatever the client allows.
    pub call_timeout: Duration,
    /// Where work runs and is counted.
    pub work: work::Work,
    /// The back-off that all calls of the backend share.
    pub pace: Arc<dyn Backoff>,
}

impl Driver {
    /// Puts a driver together.
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(Inner {
                asking: again::Asking::new(&parts.name, parts.work.clone(), parts.pace),
                name: parts.name,
                backend: parts.backend,
                node_id: parts.node_id,
                directory: parts.directory,
                controller: parts.controller,
                call_timeout: parts.call_timeout,
                locks: parts.node.as_ref().map(|node| node.locks.clone()).unwrap_or_default(),
                node: parts.node,
                nodes: attach::NodeQueues::default(),
                health: listing::HealthCache::default(),
                work: parts.work,
                probe: identity::ProbeCache::default(),
            }),
        }
    }

    /// CSI driver name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What the backend offers.
    pub fn offer(&self) -> &Offer {
        self.inner.backend.offer()
    }

    /// This process serves the controller half.
    pub fn serves_controller(&self) -> bool {
        self.inner.controller && self.offer().has_controller()
    }

    /// What NodeGetCapabilities answers.
    pub fn node_capabilities(&self) -> Vec<NodeCapability> {
        self.offer().node_capabilities(self.serves_controller())
    }

    /// This process serves the node half.
    pub fn serves_node(&self) -> bool {
        self.inner.node.is_some()
    }
}
