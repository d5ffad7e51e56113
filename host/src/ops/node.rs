//! The Node service: the backend is asked for a plan at stage and for nothing else; everything after works from the node
//! engine's journal. What takes volumes down is in [`super::node_half`].

use super::{
    Driver,
    lane::Wait,
    node_half::NodeHalf,
    ports::{Effect, NodeEngine, PlanRequest, Role},
};
use bulkhead_domain::{
    Error, Result,
    capability::VolumeCapability,
    node::{NodeExpand, NodeFacts, NodeInfo, PublishEphemeral, Stage},
    offer::Interface,
    plan::{self, Plan},
    request::{InlineVolume, NodePublishVolume, NodeStageVolume, Secrets},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

impl Driver {
    /// What works without the backend: taking volumes down.
    ///
    /// # Errors
    /// UNIMPLEMENTED: this process does not serve the node half.
    pub fn node_half(&self) -> Result<&NodeHalf> {
        self.inner.node.as_ref().ok_or_else(|| {
            Error::unimplemented(format_args!("driver {} does not offer the node service here", self.name()))
        })
    }

    pub(super) fn engine(&self) -> Result<Arc<dyn NodeEngine>> {
        Ok(self.node_half()?.engine.clone())
    }

    /// What this node knows about itself now. Its own entry is in this process, so that this doesn't block.
    fn facts(&self) -> Result<NodeFacts> {
        let known = self.inner.directory.find(&self.inner.node_id)?;
        let early = || Error::unavailable("this node's facts are not collected yet: try again");
        known.map(|known| known.facts).ok_or_else(early)
    }

    /// NodeStageVolume: plan, then carry it out. Locks the volume.
    ///
    /// # Errors
    /// As the specification's table.
    pub async fn node_stage_volume(&self, request: NodeStageVolume, timeout: Option<Duration>) -> Result<()> {
        let node = self.node_half()?.clone();
        let guard = self.lock(&request.volume_id)?;
        // The plan itself changes nothing, but the volume may be staged from before: a client that took a fault of the
        // backend for the final word on it would forget to unstage.
        let cx = self.context(Role::Node, Effect::Possible, timeout, None, request.secrets);
        let (deadline, backend, facts) = (cx.deadline, self.inner.backend.clone(), self.facts()?);
        let operation = async move {
            let guard = guard;
            let ask = PlanRequest {
                volume_id: request.volume_id.clone(),
                context: request.context,
                publish_context: request.publish_context,
                capability: request.capability.clone(),
                node: facts,
            };
            let plan = backend.plan_volume(cx, ask).await?;
            check_fits(&plan, &request.capability)?;
            let mut stage = Stage {
                volume_id: request.volume_id,
                staging_path: request.staging_path,
                capability: request.capability,
                plan,
                timeout: Duration::ZERO,
            };
            let lane = node.lane_on(&stage.volume_id, stage.plan.access.lies_on());
            let step = move || {
                let _guard = guard;
                // What it waited for a thread is gone.
                stage.timeout = deadline.saturating_duration_since(Instant::now());
                node.engine.stage(stage)
            };
            lane.run(Wait::Until(deadline), step).await
        };
        self.inner.work.run(deadline, operation).await
    }

    /// NodePublishVolume. Locks the volume.
    ///
    /// # Errors
    /// As the specification's table.
    pub async fn node_publish_volume(&self, request: NodePublishVolume, timeout: Option<Duration>) -> Result<()> {
        match request {
            NodePublishVolume::Staged(mut request) => {
                request.read_only |= request.capability.access_mode.is_reader_only();
                let node = self.node_half()?;
                node.locked(request.volume_id.clone(), timeout, move |engine| engine.publish(request)).await
            }
            NodePublishVolume::Inline(request) => self.publish_inline(request, timeout).await,
        }
    }

    /// Plans an inline ephemeral volume and makes it. Its unpublish needs the journal alone.
    async fn publish_inline(&self, request: InlineVolume, timeout: Option<Duration>) -> Result<()> {
        let node = self.node_half()?.clone();
        if !self.offer().has(Interface::Ephemeral) {
            // Of all codes the one for a CO that publishes what was not staged.
            return Err(Error::failed_precondition(format_args!(
                "staging_target_path is missing, and driver {} does not offer inline ephemeral volumes",
                self.name()
            )));
        }
        if request.capability.is_block() {
            return Err(Error::failed_precondition("an inline ephemeral volume can't be a raw device"));
        }
        let guard = self.lock(&request.volume_id)?;
        let cx = self.context(Role::Node, Effect::Possible, timeout, None, request.secrets);
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        let operation = async move {
            let guard = guard;
            let (volume_id, capability) = (request.volume_id, request.capability);
            let plan =
                backend.plan_ephemeral_volume(cx, volume_id.clone(), request.context, capability.clone()).await?;
            let read_only = request.read_only || capability.access_mode.is_reader_only();
            let target_path = request.target_path;
            let publish = PublishEphemeral { volume_id, target_path, capability, read_only, plan };
            let lane = node.lane_on(&publish.volume_id, Some(publish.plan.lies_on()));
            let step = move || {
                let _guard = guard;
                node.engine.publish_ephemeral(publish)
            };
            lane.run(Wait::Until(deadline), step).await
        };
        self.inner.work.run(deadline, operation).await
    }

    /// NodeExpandVolume: bytes after the call. Locks the volume.
    ///
    /// # Errors
    /// NOT_FOUND, FAILED_PRECONDITION, OUT_OF_RANGE.
    pub async fn node_expand_volume(&self, request: NodeExpand, timeout: Option<Duration>) -> Result<u64> {
        let node = self.node_half()?;
        node.locked(request.volume_id.clone(), timeout, move |engine| engine.expand(request)).await
    }

    /// NodeGetInfo: this node's id and what the backend says about it. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn node_get_info(&self, timeout: Option<Duration>) -> Result<(String, NodeInfo)> {
        let node_id = self.inner.node_id.as_str().to_owned();
        if !self.offer().has(Interface::Node) {
            return Ok((node_id, NodeInfo::default()));
        }
        let cx = self.context(Role::Node, Effect::None, timeout, None, Secrets::default());
        let (deadline, backend, facts) = (cx.deadline, self.inner.backend.clone(), self.facts()?);
        let info = self.inner.work.run(deadline, async move { backend.get_node_info(cx, facts).await }).await?;
        Ok((node_id, info))
    }
}

/// The plan is about the kind of use that was asked for.
fn check_fits(plan: &Plan, capability: &VolumeCapability) -> Result<()> {
    match (capability.is_block(), &plan.usage) {
        (true, plan::Usage::Block(_)) if !plan.access.is_block_device() => Err(Error::failed_precondition(
            format_args!("the backend's plan gives no block device: {} is a directory", plan.access.name()),
        )),
        (true, plan::Usage::Block(_)) | (false, plan::Usage::Filesystem(_) | plan::Usage::Directory(_)) => Ok(()),
        (true, plan::Usage::Filesystem(_) | plan::Usage::Directory(_)) => {
            Err(Error::failed_precondition("the backend plans a file system for block access"))
        }
        (false, plan::Usage::Block(_)) => {
            Err(Error::failed_precondition("the backend plans a raw device for mount access"))
        }
    }
}
