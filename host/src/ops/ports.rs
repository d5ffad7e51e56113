//! What the use-cases need from the outside: a backend and a node engine.

use bulkhead_domain::{
    Result, StringMap,
    blocks::BlockPage,
    capability::VolumeCapability,
    error::Resume,
    health::{StorageProblem, UnhealthyVolume, VolumeProblem},
    node::{
        NodeExpand, NodeFacts, NodeHealth, NodeInfo, Publish, PublishEphemeral, Stage, Stats, Unpublish, Unstage, Usage,
    },
    offer::Offer,
    plan::{EphemeralPlan, Plan},
    request::{
        Blocks, CreateGroupSnapshot, CreateSnapshot, CreateVolume, ExpandVolume, GetCapacity, Secrets, SnapshotFilter,
        ValidateVolumeCapabilities,
    },
    snapshot::{GroupSnapshot, GroupSnapshotId, Snapshot},
    volume::{Available, Expanded, ListedVolume, NodeId, Page, PageRequest, SnapshotId, Volume, VolumeId},
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
    /// What the backend has left for this try of the request, when it answered "pending".
    pub resume: Option<Resume>,
}

/// A create request with what the host adds.
#[derive(Debug, Clone)]
pub struct CreateOrder<R = CreateVolume> {
    /// As the client sent it.
    pub request: R,
    /// See [`bulkhead_domain::digest`].
    pub digest: String,
}

/// What `controller-publish-volume` gets.
#[derive(Debug, Clone)]
pub struct AttachOrder {
    /// The volume.
    pub volume_id: VolumeId,
    /// What the node has made known about itself.
    pub node: NodeFacts,
    /// How it will be used.
    pub capability: VolumeCapability,
    /// No writes from that node.
    pub read_only: bool,
    /// As CreateVolume returned it.
    pub context: StringMap,
}

/// One step of a walk over the blocks of a snapshot.
#[derive(Debug, Clone)]
pub struct BlocksRequest {
    /// Which blocks.
    pub blocks: Blocks,
    /// Bytes from the start of the volume.
    pub starting_offset: u64,
    /// 0 = as many as the backend likes.
    pub max_results: u32,
}

/// Members of a group snapshot as a client knows them.
#[derive(Debug, Clone)]
pub struct GroupMembers {
    /// The group.
    pub id: GroupSnapshotId,
    /// May be empty.
    pub snapshot_ids: Vec<SnapshotId>,
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
    /// `volumes.create-volume`, `snapshots.create-volume-from-snapshot` or `cloning.create-volume-from-volume`, by the
    /// request's content source.
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
    /// `modification.modify-volume`.
    fn modify_volume(&self, cx: CallContext, volume_id: VolumeId, mutable: StringMap) -> BoxFuture<'_, Result<()>>;
    /// `attachment.controller-publish-volume`: the publish context.
    fn controller_publish_volume(&self, cx: CallContext, order: AttachOrder) -> BoxFuture<'_, Result<StringMap>>;
    /// `attachment.controller-unpublish-volume`.
    fn controller_unpublish_volume(
        &self,
        cx: CallContext,
        volume_id: VolumeId,
        node_id: Option<NodeId>,
    ) -> BoxFuture<'_, Result<()>>;
    /// `snapshots.create-snapshot`.
    fn create_snapshot(&self, cx: CallContext, order: CreateOrder<CreateSnapshot>) -> BoxFuture<'_, Result<Snapshot>>;
    /// `snapshots.delete-snapshot`.
    fn delete_snapshot(&self, cx: CallContext, snapshot_id: SnapshotId) -> BoxFuture<'_, Result<()>>;
    /// `snapshot-listing.list-snapshots`.
    fn list_snapshots(
        &self,
        cx: CallContext,
        filter: SnapshotFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Snapshot>>>;
    /// `snapshot-listing.get-snapshot`.
    fn get_snapshot(&self, cx: CallContext, snapshot_id: SnapshotId) -> BoxFuture<'_, Result<Snapshot>>;
    /// `group-snapshots.create-volume-group-snapshot`.
    fn create_group_snapshot(
        &self,
        cx: CallContext,
        order: CreateOrder<CreateGroupSnapshot>,
    ) -> BoxFuture<'_, Result<GroupSnapshot>>;
    /// `group-snapshots.delete-volume-group-snapshot`.
    fn delete_group_snapshot(&self, cx: CallContext, group: GroupMembers) -> BoxFuture<'_, Result<()>>;
    /// `group-snapshots.get-volume-group-snapshot`.
    fn get_group_snapshot(&self, cx: CallContext, group: GroupMembers) -> BoxFuture<'_, Result<GroupSnapshot>>;
    /// `changed-blocks.get-metadata-allocated` or `get-metadata-delta`.
    fn get_blocks(&self, cx: CallContext, request: BlocksRequest) -> BoxFuture<'_, Result<BlockPage>>;
    /// `health.get-volume-health`.
    fn get_volume_health(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<Vec<VolumeProblem>>>;
    /// `health-listing.list-volume-health`.
    fn list_volume_health(&self, cx: CallContext, page: PageRequest) -> BoxFuture<'_, Result<Page<UnhealthyVolume>>>;
    /// `storage-health.get-storage-health`.
    fn get_storage_health(&self, cx: CallContext) -> BoxFuture<'_, Result<Vec<StorageProblem>>>;
    /// `node.get-node-info`.
    fn get_node_info(&self, cx: CallContext, facts: NodeFacts) -> BoxFuture<'_, Result<NodeInfo>>;
    /// `node.plan-volume`. The plan is checked against what the operator allows this backend.
    fn plan_volume(&self, cx: CallContext, request: PlanRequest) -> BoxFuture<'_, Result<Plan>>;
    /// `ephemeral.plan-ephemeral-volume`. The plan is checked against what the operator allows this backend.
    fn plan_ephemeral_volume(
        &self,
        cx: CallContext,
        volume_id: VolumeId,
        context: StringMap,
        capability: VolumeCapability,
    ) -> BoxFuture<'_, Result<EphemeralPlan>>;
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
    /// NodePublishVolume of an inline ephemeral volume, whose unpublish removes it.
    fn publish_ephemeral(&self, request: PublishEphemeral) -> Result<()>;
    /// NodeGetVolumeHealth: what this node can see; gives up after `timeout`.
    fn health(&self, request: NodeHealth, timeout: Duration) -> Result<Vec<VolumeProblem>>;
    /// The volume is staged or published here, by the journal.
    fn is_published(&self, volume_id: &VolumeId) -> Result<bool>;
    /// What the volume lies on together with others, and would hang with, like `pool fast`; none if it is not known, or has a disk of
    /// its own. Does not block.
    fn lies_on(&self, _volume_id: &VolumeId) -> Option<String> {
        None
    }
    /// Volumes of which an operation was cut short.
    fn unfinished(&self) -> Result<Vec<VolumeId>> {
        Ok(Vec::new())
    }
    /// Takes back what was cut short of a volume, if something was.
    fn reconcile(&self, _volume_id: VolumeId) -> Result<()> {
        Ok(())
    }
}

/// The back-off that all calls of one backend share.
pub trait Backoff: Send + Sync {
    /// Waits until a call that was told to come again may do so.
    fn turn(&self) -> BoxFuture<'_, ()>;
    /// A call was answered with "unavailable", and when to come again.
    fn unavailable(&self, retry_after: Duration);
}

/// A node as a directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    /// What it has made known about itself.
    pub facts: NodeFacts,
    /// How long ago, if that is too long: it may no longer be true.
    pub stale: Option<Duration>,
}

/// Where nodes make themselves known, and the controller half finds them. May block.
pub trait NodeDirectory: Send + Sync {
    /// Makes `facts` known, in place of what was known of that node before: all of it or nothing.
    ///
    /// # Errors
    /// UNAVAILABLE: it can't be written; what was known before still is.
    fn publish(&self, facts: &NodeFacts) -> Result<()>;
    /// None: no node of that id has made itself known.
    ///
    /// # Errors
    /// NOT_FOUND: the node's entry is unreadable, as if there were none. UNAVAILABLE: the directory can't be read, or the entry was
    /// written by a newer version.
    fn find(&self, node_id: &NodeId) -> Result<Option<KnownNode>>;
}
