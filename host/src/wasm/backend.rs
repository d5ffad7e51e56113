//! The backend's functions, as the use-cases call them: convert, call, check.

use super::{bindings::offered, call::guest_call, convert, load::Ready};
use crate::ops::ports::{
    AttachOrder, Backend, BlocksRequest, BoxFuture, CallContext, CreateOrder, GroupMembers, PlanRequest,
};
use bulkhead_domain::{
    Error, ErrorKind, Result, StringMap,
    blocks::BlockPage,
    capability::VolumeCapability,
    error::clean_text,
    health::{StorageProblem, UnhealthyVolume, VolumeProblem},
    node::{NodeFacts, NodeInfo},
    offer::Offer,
    plan::{EphemeralPlan, Plan},
    request::{
        Blocks, CreateGroupSnapshot, CreateSnapshot, ExpandVolume, GetCapacity, SnapshotFilter,
        ValidateVolumeCapabilities,
    },
    snapshot::{GroupSnapshot, Snapshot},
    volume::{
        Available, ContentSource, Expanded, ListedVolume, NodeId, Page, PageRequest, SnapshotId, Volume, VolumeId,
    },
};
use std::time::Duration;

/// Longest time for a pure call of the node half, whatever the deadline.
const PURE_TIMEOUT: Duration = Duration::from_secs(1);

fn pure(mut cx: CallContext) -> CallContext {
    cx.deadline = cx.deadline.min(std::time::Instant::now() + PURE_TIMEOUT);
    cx
}

/// A backend says invalid-argument of a token that is no longer good; CSI wants ABORTED.
fn stale_token<T>(answer: Result<T>, from_start: bool) -> Result<T> {
    answer.map_err(|e| match e.kind() {
        ErrorKind::InvalidArgument if !from_start => Error::aborted(e.message()),
        _ => e,
    })
}

impl Ready {
    fn topology_keys(&self) -> &[String] {
        &self.offer.info.topology_keys
    }
}

impl Backend for Ready {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn probe(&self, cx: CallContext) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move { guest_call!(self, cx, identity.call_probe(), "identity.probe", Ok) })
    }

    fn create_volume(&self, cx: CallContext, order: CreateOrder) -> BoxFuture<'_, Result<Volume>> {
        Box::pin(async move {
            let source = order.request.source.clone();
            let request = convert::create_request(order);
            let check = |v| convert::volume(v, self.topology_keys());
            match source {
                None => guest_call!(self, cx, volumes.call_create_volume(&request), "volumes.create-volume", check),
                Some(ContentSource::Snapshot(id)) => {
                    let name = "snapshots.create-volume-from-snapshot";
                    guest_call!(
                        self,
                        cx,
                        snapshots.call_create_volume_from_snapshot(&request, id.as_str()),
                        name,
                        check
                    )
                }
                Some(ContentSource::Volume(id)) => {
                    let name = "cloning.create-volume-from-volume";
                    guest_call!(self, cx, cloning.call_create_volume_from_volume(&request, id.as_str()), name, check)
                }
            }
        })
    }

    fn delete_volume(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            guest_call!(self, cx, volumes.call_delete_volume(volume_id.as_str()), "volumes.delete-volume", Ok)
        })
    }

    fn validate_volume_capabilities(
        &self,
        cx: CallContext,
        request: ValidateVolumeCapabilities,
    ) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(async move {
            let (request, name) = (convert::validate_request(request), "volumes.validate-volume-capabilities");
            let check = |why: Option<String>| Ok(why.map(|text| clean_text(&text, Error::MAX_MESSAGE_BYTES)));
            guest_call!(self, cx, volumes.call_validate_volume_capabilities(&request), name, check)
        })
    }

    fn list_volumes(&self, cx: CallContext, page: PageRequest) -> BoxFuture<'_, Result<Page<ListedVolume>>> {
        Box::pin(async move {
            let (max, from_start, page) = (page.max_entries, page.token.is_none(), convert::page_request(page));
            let check = |p| convert::volume_page(p, max, self.topology_keys());
            let answer = guest_call!(self, cx, listing.call_list_volumes(&page), "listing.list-volumes", check);
            stale_token(answer, from_start)
        })
    }

    fn get_volume(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<ListedVolume>> {
        Box::pin(async move {
            let check = |v| convert::listed_volume(v, self.topology_keys());
            guest_call!(self, cx, inspection.call_get_volume(volume_id.as_str()), "inspection.get-volume", check)
        })
    }

    fn get_capacity(&self, cx: CallContext, request: GetCapacity) -> BoxFuture<'_, Result<Available>> {
        Box::pin(async move {
            let request = convert::capacity_request(request);
            guest_call!(self, cx, capacity.call_get_capacity(&request), "capacity.get-capacity", convert::available)
        })
    }

    fn expand_volume(&self, cx: CallContext, request: ExpandVolume) -> BoxFuture<'_, Result<Expanded>> {
        Box::pin(async move {
            let range = request.capacity;
            let request = convert::expand_request(request);
            let check = |e| convert::expanded(e, range);
            guest_call!(self, cx, expansion.call_expand_volume(&request), "expansion.expand-volume", check)
        })
    }

    fn modify_volume(&self, cx: CallContext, volume_id: VolumeId, mutable: StringMap) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (mutable, name) = (convert::map_to_wit(mutable), "modification.modify-volume");
            guest_call!(self, cx, modification.call_modify_volume(volume_id.as_str(), &mutable), name, Ok)
        })
    }

    fn controller_publish_volume(&self, cx: CallContext, order: AttachOrder) -> BoxFuture<'_, Result<StringMap>> {
        Box::pin(async move {
            let (request, name) = (convert::attach_request(order), "attachment.controller-publish-volume");
            let call = convert::publish_context;
            guest_call!(self, cx, attachment.call_controller_publish_volume(&request), name, call)
        })
    }

    fn controller_unpublish_volume(
        &self,
        cx: CallContext,
        volume_id: VolumeId,
        node_id: Option<NodeId>,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let name = "attachment.controller-unpublish-volume";
            let node = node_id.as_ref().map(NodeId::as_str);
            guest_call!(self, cx, attachment.call_controller_unpublish_volume(volume_id.as_str(), node), name, Ok)
        })
    }

    fn create_snapshot(&self, cx: CallContext, order: CreateOrder<CreateSnapshot>) -> BoxFuture<'_, Result<Snapshot>> {
        Box::pin(async move {
            let request = convert::snapshot_request(order);
            let check = |s| convert::snapshot(s, self.topology_keys());
            guest_call!(self, cx, snapshots.call_create_snapshot(&request), "snapshots.create-snapshot", check)
        })
    }

    fn delete_snapshot(&self, cx: CallContext, snapshot_id: SnapshotId) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            guest_call!(self, cx, snapshots.call_delete_snapshot(snapshot_id.as_str()), "snapshots.delete-snapshot", Ok)
        })
    }

    fn list_snapshots(
        &self,
        cx: CallContext,
        filter: SnapshotFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Snapshot>>> {
        Box::pin(async move {
            let (max, from_start, page) = (page.max_entries, page.token.is_none(), convert::page_request(page));
            let (ask, name) = (convert::snapshot_filter(filter.clone()), "snapshot-listing.list-snapshots");
            let check = |p| convert::snapshot_page(p, max, &filter, self.topology_keys());
            let answer = guest_call!(self, cx, snapshot_listing.call_list_snapshots(&ask, &page), name, check);
            stale_token(answer, from_start)
        })
    }

    fn get_snapshot(&self, cx: CallContext, snapshot_id: SnapshotId) -> BoxFuture<'_, Result<Snapshot>> {
        Box::pin(async move {
            let (check, name) = (|s| convert::snapshot(s, self.topology_keys()), "snapshot-listing.get-snapshot");
            guest_call!(self, cx, snapshot_listing.call_get_snapshot(snapshot_id.as_str()), name, check)
        })
    }

    fn create_group_snapshot(
        &self,
        cx: CallContext,
        order: CreateOrder<CreateGroupSnapshot>,
    ) -> BoxFuture<'_, Result<GroupSnapshot>> {
        Box::pin(async move {
            let (request, name) = (convert::group_request(order), "group-snapshots.create-volume-group-snapshot");
            let check = |g| convert::group_snapshot(g, self.topology_keys());
            guest_call!(self, cx, group_snapshots.call_create_volume_group_snapshot(&request), name, check)
        })
    }

    fn delete_group_snapshot(&self, cx: CallContext, group: GroupMembers) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let name = "group-snapshots.delete-volume-group-snapshot";
            let (id, members) = convert::group_members(group);
            guest_call!(self, cx, group_snapshots.call_delete_volume_group_snapshot(&id, &members), name, Ok)
        })
    }

    fn get_group_snapshot(&self, cx: CallContext, group: GroupMembers) -> BoxFuture<'_, Result<GroupSnapshot>> {
        Box::pin(async move {
            let name = "group-snapshots.get-volume-group-snapshot";
            let (id, members) = convert::group_members(group);
            let check = |g| convert::group_snapshot(g, self.topology_keys());
            guest_call!(self, cx, group_snapshots.call_get_volume_group_snapshot(&id, &members), name, check)
        })
    }

    fn get_blocks(&self, cx: CallContext, request: BlocksRequest) -> BoxFuture<'_, Result<BlockPage>> {
        Box::pin(async move {
            let (offset, max) = (request.starting_offset, request.max_results.min(convert::MOST_ENTRIES));
            let check = |p| convert::block_page(p, &request);
            match &request.blocks {
                Blocks::Allocated(id) => {
                    let (id, name) = (id.as_str().to_owned(), "changed-blocks.get-metadata-allocated");
                    guest_call!(self, cx, changed_blocks.call_get_metadata_allocated(&id, offset, max), name, check)
                }
                Blocks::Changed { base, target } => {
                    let (base, target) = (base.as_str().to_owned(), target.as_str().to_owned());
                    let name = "changed-blocks.get-metadata-delta";
                    guest_call!(
                        self,
                        cx,
                        changed_blocks.call_get_metadata_delta(&base, &target, offset, max),
                        name,
                        check
                    )
                }
            }
        })
    }

    fn get_volume_health(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<Vec<VolumeProblem>>> {
        Box::pin(async move {
            let (check, name) = (convert::volume_problems, "health.get-volume-health");
            guest_call!(self, cx, health.call_get_volume_health(volume_id.as_str()), name, check)
        })
    }

    fn list_volume_health(&self, cx: CallContext, page: PageRequest) -> BoxFuture<'_, Result<Page<UnhealthyVolume>>> {
        Box::pin(async move {
            let (max, from_start, page) = (page.max_entries, page.token.is_none(), convert::page_request(page));
            let (check, name) = (|p| convert::health_page(p, max), "health-listing.list-volume-health");
            stale_token(guest_call!(self, cx, health_listing.call_list_volume_health(&page), name, check), from_start)
        })
    }

    fn get_storage_health(&self, cx: CallContext) -> BoxFuture<'_, Result<Vec<StorageProblem>>> {
        Box::pin(async move {
            let (check, name) = (convert::storage_problems, "storage-health.get-storage-health");
            guest_call!(self, cx, storage_health.call_get_storage_health(), name, check)
        })
    }

    fn get_node_info(&self, cx: CallContext, facts: NodeFacts) -> BoxFuture<'_, Result<NodeInfo>> {
        Box::pin(async move {
            let (cx, facts) = (pure(cx), convert::facts_to_wit(facts));
            let check = |i| convert::node_info(i, self.topology_keys());
            guest_call!(self, cx, node.call_get_node_info(&facts), "node.get-node-info", check)
        })
    }

    fn plan_volume(&self, cx: CallContext, request: PlanRequest) -> BoxFuture<'_, Result<Plan>> {
        Box::pin(async move {
            let (cx, request) = (pure(cx), convert::plan_request(request));
            let plan = guest_call!(self, cx, node.call_plan_volume(&request), "node.plan-volume", convert::plan)?;
            self.allowed(plan)
        })
    }

    fn plan_ephemeral_volume(
        &self,
        cx: CallContext,
        volume_id: VolumeId,
        context: StringMap,
        capability: VolumeCapability,
    ) -> BoxFuture<'_, Result<EphemeralPlan>> {
        Box::pin(async move {
            let (cx, name) = (pure(cx), "ephemeral.plan-ephemeral-volume");
            let (id, context) = (volume_id.as_str().to_owned(), convert::map_to_wit(context));
            let (capability, check) = (convert::capability_to_wit(capability), convert::ephemeral_plan);
            let plan =
                guest_call!(self, cx, ephemeral.call_plan_ephemeral_volume(&id, &context, &capability), name, check)?;
            self.allowed_ephemeral(plan)
        })
    }
}
