//! What the use-cases need from the outside: a backend and a node engine.

use bulkhead_domain::{
    Result, StringMap,
    capability::VolumeCapability,
    node::{NodeExpand, NodeFacts, NodeInfo, Publish, Stage, Stats, Unpublish, Unstage, Usage},
    offer::Offer,
    plan::Plan,
    request::{CreateVolume, ExpandVolume, GetCapacity, Secrets, ValidateVolumeCapabilities},
    volume::{Available, Expanded, ListedVolume, Page, PageRequest, Volume, VolumeId},
};
use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which half of the host a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A call of the controller half: granted imports work.
    Controller,
    /// A call of the node half: pure; every import beyond the always-linked ones answers "denied".
    Node,
    /// Load time: no call is in progress.
    Check,
}

/// Whether a call that goes wrong may have changed something. Decides which code an uncertain outcome gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Reading or computing only.
    None,
    /// May have changed the storage system.
    Possible,
}

/// The circumstances of one call of a backend.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// For logs and audit trails; printable ASCII, at most 64 bytes; differs on each retry.
    pub request_id: String,
    /// When the host gives the call up.
    pub deadline: Instant,
    /// Which half.
    pub role: Role,
    /// What an uncertain outcome means.
    pub effect: Effect,
    /// Create calls only.
    pub idempotency_key: Option<String>,
    /// Of the CSI request.
    pub secrets: Secrets,
}

/// A create request with what the host adds.
#[derive(Debug, Clone)]
pub struct CreateOrder {
    /// As the client sent it.
    pub request: CreateVolume,
    /// See [`bulkhead_domain::digest`].
    pub digest: String,
}

/// What `plan-volume` gets.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The volume.
    pub volume_id: VolumeId,
    /// As CreateVolume returned it.
    pub context: StringMap,
    /// As ControllerPublishVolume returned it.
    pub publish_context: StringMap,
    /// How it will be used.
    pub capability: VolumeCapability,
    /// This node.
    pub node: NodeFacts,
}

/// A loaded backend. Answers are checked: what comes out of here keeps to CSI's limits. A method of an interface that
/// the backend does not export answers UNIMPLEMENTED.
pub trait Backend: Send + Sync {
    /// What it exports and says about itself.
    fn offer(&self) -> &Offer;
    /// `identity.probe`.
    fn probe(&self, cx: CallContext) -> BoxFuture<'_, Result<bool>>;
    /// `volumes.create-volume`; the request has no content source.
    fn create_volume(&self, cx: CallContext, order: CreateOrder) -> BoxFuture<'_, Result<Volume>>;
    /// `volumes.delete-volume`.
    fn delete_volume(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<()>>;
    /// `volumes.validate-volume-capabilities`: none = confirmed, otherwise why not.
    fn validate_volume_capabilities(
        &self,
        cx: CallContext,
        request: ValidateVolumeCapabilities,
    ) -> BoxFuture<'_, Result<Option<String>>>;
    /// `listing.list-volumes`.
    fn list_volumes(&self, cx: CallContext, page: PageRequest) -> BoxFuture<'_, Result<Page<ListedVolume>>>;
    /// `inspection.get-volume`.
    fn get_volume(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<ListedVolume>>;
    /// `capacity.get-capacity`.
    fn get_capacity(&self, cx: CallContext, request: GetCapacity) -> BoxFuture<'_, Result<Available>>;
    /// `expansion.expand-volume`.
    fn expand_volume(&self, cx: CallContext, request: ExpandVolume) -> BoxFuture<'_, Result<Expanded>>;
    /// `node.get-node-info`.
    fn get_node_info(&self, cx: CallContext, facts: NodeFacts) -> BoxFuture<'_, Result<NodeInfo>>;
    /// `node.plan-volume`. The plan is checked against what the operator allows this backend.
    fn plan_volume(&self, cx: CallContext, request: PlanRequest) -> BoxFuture<'_, Result<Plan>>;
}

/// The privileged half. Every method blocks; the caller runs it on a thread for blocking work and holds the volume's
/// lock. Works from its journal alone, except for `stage`.
pub trait NodeEngine: Send + Sync {
    /// NodeStageVolume.
    fn stage(&self, request: Stage) -> Result<()>;
    /// NodeUnstageVolume.
    fn unstage(&self, request: Unstage) -> Result<()>;
    /// NodePublishVolume.
    fn publish(&self, request: Publish) -> Result<()>;
    /// NodeUnpublishVolume.
    fn unpublish(&self, request: Unpublish) -> Result<()>;
    /// NodeGetVolumeStats; gives up after `timeout`.
    fn stats(&self, request: Stats, timeout: Duration) -> Result<Vec<Usage>>;
    /// NodeExpandVolume: bytes after the call.
    fn expand(&self, request: NodeExpand) -> Result<u64>;
}
