//! Joins the node engine, which knows nothing of this crate, to what the use-cases ask for.

use crate::ops::ports::NodeEngine;
use bulkhead_domain::{
    Result,
    health::VolumeProblem,
    node::{NodeExpand, NodeHealth, Publish, PublishEphemeral, Stage, Stats, Unpublish, Unstage, Usage},
    volume::VolumeId,
};
use bulkhead_node::Engine;
use std::time::Duration;

impl NodeEngine for Engine {
    fn stage(&self, request: Stage) -> Result<()> {
        Self::stage(self, &request)
    }

    fn unstage(&self, request: Unstage) -> Result<()> {
        Self::unstage(self, &request)
    }

    fn publish(&self, request: Publish) -> Result<()> {
        Self::publish(self, &request)
    }

    fn unpublish(&self, request: Unpublish) -> Result<()> {
        Self::unpublish(self, &request)
    }

    fn stats(&self, request: Stats, timeout: Duration) -> Result<Vec<Usage>> {
        Self::stats(self, &request, timeout)
    }

    fn publish_ephemeral(&self, request: PublishEphemeral) -> Result<()> {
        Self::publish_ephemeral(self, &request)
    }

    fn health(&self, request: NodeHealth, timeout: Duration) -> Result<Vec<VolumeProblem>> {
        Self::health(self, &request, timeout)
    }

    fn is_published(&self, volume_id: &VolumeId) -> Result<bool> {
        Self::is_published(self, volume_id)
    }

    fn lies_on(&self, volume_id: &VolumeId) -> Option<String> {
        Self::lies_on(self, volume_id)
    }

    fn unfinished(&self) -> Result<Vec<VolumeId>> {
        Self::unfinished(self)
    }

    fn reconcile(&self, volume_id: VolumeId) -> Result<()> {
        Self::reconcile(self, &volume_id)
    }

    fn expand(&self, request: NodeExpand) -> Result<u64> {
        Self::expand(self, &request)
    }
}
