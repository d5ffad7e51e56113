//! Where nodes make themselves known and the controller half finds them: in this process, and, where the config names one, in
//! a folder that several processes share.

mod folder;
#[cfg(test)]
mod tests;

pub use folder::Folder;

use crate::ops::ports::{KnownNode, NodeDirectory};
use bulkhead_domain::{Result, node::NodeFacts, volume::NodeId};
use std::sync::{PoisonError, RwLock};

/// The node of this process, if it serves the node half.
#[derive(Debug, Default)]
pub struct InProcess(RwLock<Option<NodeFacts>>);

impl NodeDirectory for InProcess {
    fn publish(&self, facts: &NodeFacts) -> Result<()> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(facts.clone());
        Ok(())
    }

    fn find(&self, node_id: &NodeId) -> Result<Option<KnownNode>> {
        let here = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let facts = here.as_ref().filter(|here| here.node_id == node_id.as_str()).cloned();
        Ok(facts.map(|facts| KnownNode { facts, stale: None }))
    }
}

/// All places in which a process makes nodes known and finds them: in itself first.
#[derive(Debug, Default)]
pub struct Nodes {
    here: InProcess,
    folder: Option<Folder>,
}

impl Nodes {
    /// Knows whoever is in `folder`, and the node that is published here.
    pub fn new(folder: Option<Folder>) -> Self {
        Self { here: InProcess::default(), folder }
    }
}

impl NodeDirectory for Nodes {
    /// # Errors
    /// The folder can't be written; this process knows the facts all the same.
    fn publish(&self, facts: &NodeFacts) -> Result<()> {
        self.here.publish(facts)?;
        self.folder.as_ref().map_or(Ok(()), |folder| folder.publish(facts))
    }

    fn find(&self, node_id: &NodeId) -> Result<Option<KnownNode>> {
        match (self.here.find(node_id)?, &self.folder) {
            (Some(here), _) => Ok(Some(here)),
            (None, Some(folder)) => folder.find(node_id),
            (None, None) => Ok(None),
        }
    }
}
