//! The five services, as the proxy serves them.

use super::hooks::{Call, Hooks, Stream};
use bulkhead_proto::v1::{
    self, controller_server::Controller, group_controller_server::GroupController, identity_server::Identity,
    node_server::Node, snapshot_metadata_server::SnapshotMetadata,
};
use std::{any::Any, any::TypeId, collections::HashMap, sync::Arc, sync::Mutex};
use tonic::{Request, Response, Status, transport::Channel};

/// A driver that is hooks where there are some, and the driver behind it elsewhere.
#[derive(Clone)]
pub(super) struct Served {
    channel: Channel,
    hooks: Arc<Hooks>,
    memory: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send>>>>,
}

impl Served {
    pub(super) fn new(channel: Channel, hooks: Hooks) -> Self {
        Self { channel, hooks: Arc::new(hooks), memory: Arc::default() }
    }

    async fn serve<Q, A, F>(
        &self,
        rpc: &'static str,
        request: Request<Q>,
        run: impl FnOnce(Arc<Hooks>, Call, Q) -> F,
    ) -> Result<Response<A>, Status>
    where
        F: Future<Output = Result<A, Status>>,
    {
        let (metadata, _, message) = request.into_parts();
        let call = Call::new(self.channel.clone(), metadata, self.memory.clone());
        let _held = match &self.hooks.around {
            Some(before) => Some(before(call.clone(), rpc).await),
            None => None,
        };
        let answer = run(self.hooks.clone(), call.clone(), message).await;
        answer.map(|answer| call.response(answer)).map_err(|status| match &self.hooks.errors {
            Some(change) => change(rpc, status),
            None => status,
        })
    }
}

macro_rules! method {
    ($self:ident, $request:ident, $method:ident) => {
        $self
            .serve(stringify!($method), $request, |hooks, call, request| async move {
                match &hooks.$method {
                    Some(hook) => hook(call, request).await,
                    None => call.$method(request).await,
                }
            })
            .await
    };
}

macro_rules! services {
    ($($service:ident { $($method:ident($request:ident) -> $response:ident;)* })*) => {
        $(
            #[tonic::async_trait]
            impl $service for Served {
                $(
                    async fn $method(&self, request: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                        method!(self, request, $method)
                    }
                )*
            }
        )*
    };
}

services! {
    Identity {
        get_plugin_info(GetPluginInfoRequest) -> GetPluginInfoResponse;
        get_plugin_capabilities(GetPluginCapabilitiesRequest) -> GetPluginCapabilitiesResponse;
        probe(ProbeRequest) -> ProbeResponse;
    }
    Controller {
        create_volume(CreateVolumeRequest) -> CreateVolumeResponse;
        delete_volume(DeleteVolumeRequest) -> DeleteVolumeResponse;
        controller_publish_volume(ControllerPublishVolumeRequest) -> ControllerPublishVolumeResponse;
        controller_unpublish_volume(ControllerUnpublishVolumeRequest) -> ControllerUnpublishVolumeResponse;
        validate_volume_capabilities(ValidateVolumeCapabilitiesRequest) -> ValidateVolumeCapabilitiesResponse;
        list_volumes(ListVolumesRequest) -> ListVolumesResponse;
        get_capacity(GetCapacityRequest) -> GetCapacityResponse;
        controller_get_capabilities(ControllerGetCapabilitiesRequest) -> ControllerGetCapabilitiesResponse;
        create_snapshot(CreateSnapshotRequest) -> CreateSnapshotResponse;
        delete_snapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse;
        list_snapshots(ListSnapshotsRequest) -> ListSnapshotsResponse;
        get_snapshot(GetSnapshotRequest) -> GetSnapshotResponse;
        controller_expand_volume(ControllerExpandVolumeRequest) -> ControllerExpandVolumeResponse;
        controller_get_volume(ControllerGetVolumeRequest) -> ControllerGetVolumeResponse;
        controller_modify_volume(ControllerModifyVolumeRequest) -> ControllerModifyVolumeResponse;
        controller_get_volume_health(ControllerGetVolumeHealthRequest) -> ControllerGetVolumeHealthResponse;
        controller_list_volume_health(ControllerListVolumeHealthRequest) -> ControllerListVolumeHealthResponse;
    }
    GroupController {
        group_controller_get_capabilities(GroupControllerGetCapabilitiesRequest)
            -> GroupControllerGetCapabilitiesResponse;
        create_volume_group_snapshot(CreateVolumeGroupSnapshotRequest) -> CreateVolumeGroupSnapshotResponse;
        delete_volume_group_snapshot(DeleteVolumeGroupSnapshotRequest) -> DeleteVolumeGroupSnapshotResponse;
        get_volume_group_snapshot(GetVolumeGroupSnapshotRequest) -> GetVolumeGroupSnapshotResponse;
    }
    Node {
        node_stage_volume(NodeStageVolumeRequest) -> NodeStageVolumeResponse;
        node_unstage_volume(NodeUnstageVolumeRequest) -> NodeUnstageVolumeResponse;
        node_publish_volume(NodePublishVolumeRequest) -> NodePublishVolumeResponse;
        node_unpublish_volume(NodeUnpublishVolumeRequest) -> NodeUnpublishVolumeResponse;
        node_get_volume_stats(NodeGetVolumeStatsRequest) -> NodeGetVolumeStatsResponse;
        node_get_volume_health(NodeGetVolumeHealthRequest) -> NodeGetVolumeHealthResponse;
        node_get_storage_health(NodeGetStorageHealthRequest) -> NodeGetStorageHealthResponse;
        node_expand_volume(NodeExpandVolumeRequest) -> NodeExpandVolumeResponse;
        node_get_capabilities(NodeGetCapabilitiesRequest) -> NodeGetCapabilitiesResponse;
        node_get_info(NodeGetInfoRequest) -> NodeGetInfoResponse;
    }
}

#[tonic::async_trait]
impl SnapshotMetadata for Served {
    type GetMetadataAllocatedStream = Stream<v1::GetMetadataAllocatedResponse>;
    type GetMetadataDeltaStream = Stream<v1::GetMetadataDeltaResponse>;

    async fn get_metadata_allocated(
        &self,
        request: Request<v1::GetMetadataAllocatedRequest>,
    ) -> Result<Response<Self::GetMetadataAllocatedStream>, Status> {
        method!(self, request, get_metadata_allocated)
    }

    async fn get_metadata_delta(
        &self,
        request: Request<v1::GetMetadataDeltaRequest>,
    ) -> Result<Response<Self::GetMetadataDeltaStream>, Status> {
        method!(self, request, get_metadata_delta)
    }
}
