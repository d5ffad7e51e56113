//! The Controller service: nodes are let in and shut out.

use super::{
    Driver,
    call::Call,
    ports::{AttachOrder, KnownNode, NodeDirectory},
    work::blocking,
};
use bulkhead_domain::{
    Error, Result, StringMap,
    request::{ControllerPublishVolume, ControllerUnpublishVolume},
    volume::NodeId,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Queues of nodes, for backends whose attach and detach calls for one node must not overlap. Unlike the locks on objects, calls
/// wait here: a client that attaches ten volumes to a node at once has made no mistake.
#[derive(Default)]
pub(super) struct NodeQueues {
    /// Held for reading by calls about one node, for writing by those about all.
    all: Arc<RwLock<()>>,
    nodes: Mutex<HashMap<NodeId, Weak<tokio::sync::Mutex<()>>>>,
}

/// A place at the head of a queue.
pub(super) enum Turn {
    One(
        #[expect(dead_code, reason = "held")] OwnedRwLockReadGuard<()>,
        #[expect(dead_code, reason = "held")] OwnedMutexGuard<()>,
    ),
    All(#[expect(dead_code, reason = "held")] OwnedRwLockWriteGuard<()>),
}

impl NodeQueues {
    /// Waits for one's turn at `node`; none: at all nodes.
    async fn turn(&self, node: Option<&NodeId>) -> Turn {
        let Some(node) = node else { return Turn::All(self.all.clone().write_owned().await) };
        let shared = self.all.clone().read_owned().await;
        let queue = self.queue(node);
        Turn::One(shared, queue.lock_owned().await)
    }

    fn queue(&self, node: &NodeId) -> Arc<tokio::sync::Mutex<()>> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = nodes.get(node).and_then(Weak::upgrade) {
            return queue;
        }
        // Node ids come from clients: what nobody waits in is forgotten.
        nodes.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::default();
        nodes.insert(node.clone(), Arc::downgrade(&queue));
        queue
    }
}

impl Driver {
    /// ControllerPublishVolume: the publish context. Locks the volume.
    ///
    /// # Errors
    /// NOT_FOUND for volume or node, ALREADY_EXISTS, FAILED_PRECONDITION, RESOURCE_EXHAUSTED, as the specification's table.
    pub async fn controller_publish_volume(
        &self,
        request: ControllerPublishVolume,
        timeout: Option<Duration>,
    ) -> Result<StringMap> {
        self.check_capabilities(std::slice::from_ref(&request.capability))?;
        if request.read_only && !self.offer().info.promises.publish_readonly {
            return Err(Error::invalid_argument(format_args!(
                "driver {} does not offer PUBLISH_READONLY",
                self.name()
            )));
        }
        let guard = self.lock(&request.volume_id)?;
        let driver = self.clone();
        let like = Call::changing(timeout, request.secrets.clone()).about("ControllerPublishVolume", &request);
        self.ask(like, guard, request, move |backend, cx, request| {
            let driver = driver.clone();
            async move {
                let KnownNode { facts: node, stale } =
                    find(driver.inner.directory.clone(), request.node_id.clone()).await?;
                let node_id = request.node_id.clone();
                let _turn = driver.turn(Some(&request.node_id), cx.deadline).await?;
                let ControllerPublishVolume { volume_id, capability, read_only, context, .. } = request;
                let order = AttachOrder { volume_id, node, capability, read_only, context };
                let attached = backend.controller_publish_volume(cx, order).await;
                // Whoever reads why it can't be attached has to know that the facts may be to blame.
                attached.map_err(|error| match stale {
                    Some(age) => error.context(old_entry(&node_id, age)),
                    None => error,
                })
            }
        })
        .await
    }

    /// ControllerUnpublishVolume. Locks the volume. Works from the ids alone: the node may be gone.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn controller_unpublish_volume(
        &self,
        request: ControllerUnpublishVolume,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let guard = self.lock(&request.volume_id)?;
        let driver = self.clone();
        let like = Call::changing(timeout, request.secrets.clone()).about("ControllerUnpublishVolume", &request);
        self.ask(like, guard, request, move |backend, cx, request| {
            let driver = driver.clone();
            async move {
                let _turn = driver.turn(request.node_id.as_ref(), cx.deadline).await?;
                backend.controller_unpublish_volume(cx, request.volume_id, request.node_id).await
            }
        })
        .await
    }

    /// For one try: who waits for the storage system lets others go first. None where the backend lets calls for one node
    /// overlap.
    async fn turn(&self, node: Option<&NodeId>, deadline: Instant) -> Result<Option<Turn>> {
        if !self.offer().info.promises.attach_one_at_a_time_per_node {
            return Ok(None);
        }
        let turn = tokio::time::timeout_at(deadline.into(), self.inner.nodes.turn(node)).await;
        turn.map(Some).map_err(|_| Error::unavailable("other calls for the same node kept this one waiting: try again"))
    }
}

fn old_entry(node_id: &NodeId, age: Duration) -> String {
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    format!("node {node_id}: its entry in the node directory is {age} old, does its host run?")
}

async fn find(directory: Arc<dyn NodeDirectory>, node_id: NodeId) -> Result<KnownNode> {
    let unknown = Error::not_found(format_args!(
        "no node {node_id} has made itself known to this controller: does its host run, and with the same node.directory?"
    ));
    blocking(move || directory.find(&node_id)).await?.ok_or(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).unwrap()
    }

    #[tokio::test]
    async fn one_at_a_time_for_a_node_and_for_all() {
        let queues = NodeQueues::default();
        let soon = Duration::from_millis(20);
        let a = queues.turn(Some(&node("a"))).await;
        assert!(tokio::time::timeout(soon, queues.turn(Some(&node("a")))).await.is_err(), "the same node waits");
        let b = tokio::time::timeout(soon, queues.turn(Some(&node("b")))).await;
        assert!(b.is_ok(), "another does not");
        assert!(tokio::time::timeout(soon, queues.turn(None)).await.is_err(), "all of them wait for each");
        drop((a, b));
        assert!(tokio::time::timeout(soon, queues.turn(None)).await.is_ok());
        queues.turn(Some(&node("c"))).await;
        assert_eq!(queues.nodes.lock().unwrap().len(), 1, "idle queues are forgotten");
    }
}
