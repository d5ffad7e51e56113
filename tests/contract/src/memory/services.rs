//! The five services.

use super::{
    metadata::Parts,
    store::{Answer, MOST, Store, limits},
};
use bulkhead_proto::v1::{
    self, BlockMetadataType, controller_server::Controller, controller_service_capability as controller,
    group_controller_server::GroupController, group_controller_service_capability as group, identity_server::Identity,
    node_server::Node, node_service_capability as node, plugin_capability as plugin,
    snapshot_metadata_server::SnapshotMetadata,
};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tonic::{Request, Response, Status};

#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) node: String,
}

impl Endpoint {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

/// RPCs that check the limits and go to the store.
macro_rules! rpcs {
    ($($rpc:ident($request:ident) -> $response:ident: |$store:ident, $node:ident, $message:ident| $run:expr;)*) => {
        $(
            // As `async_trait` writes it, which does not see what a macro makes.
            fn $rpc<'a, 'b>(&'a self, request: Request<v1::$request>) -> Reply<'b, v1::$response>
            where
                'a: 'b,
                Self: 'b,
            {
                Box::pin(async move {
                    let $message = request.into_inner();
                    limits(stringify!($request), &$message)?;
                    let $node: &str = &self.node;
                    let _ = $node;
                    #[allow(unused_mut, reason = "most change the store")]
                    let mut $store = self.lock();
                    let answer: Answer<v1::$response> = $run;
                    answer.map(Response::new)
                })
            }
        )*
    };
}

fn service(r#type: plugin::service::Type) -> v1::PluginCapability {
    let service = plugin::Service { r#type: r#type.into() };
    v1::PluginCapability { r#type: Some(plugin::Type::Service(service)) }
}

impl Identity for Endpoint {
    rpcs! {
        get_plugin_info(GetPluginInfoRequest) -> GetPluginInfoResponse: |_store, _node, _m| Ok(v1::GetPluginInfoResponse {
            name: "memory.csi.bulkhead.dev".into(),
            vendor_version: env!("CARGO_PKG_VERSION").into(),
            manifest: [].into(),
        });
        get_plugin_capabilities(GetPluginCapabilitiesRequest) -> GetPluginCapabilitiesResponse: |_store, _node, _m| {
            use plugin::service::Type;
            let services = [
                Type::ControllerService,
                Type::VolumeAccessibilityConstraints,
                Type::GroupControllerService,
                Type::SnapshotMetadataService,
            ];
            let mut capabilities: Vec<_> = services.into_iter().map(service).collect();
            let how = plugin::VolumeExpansion { r#type: plugin::volume_expansion::Type::Online.into() };
            capabilities.push(v1::PluginCapability { r#type: Some(plugin::Type::VolumeExpansion(how)) });
            Ok(v1::GetPluginCapabilitiesResponse { capabilities })
        };
        probe(ProbeRequest) -> ProbeResponse: |_store, _node, _m| Ok(v1::ProbeResponse { ready: Some(true) });
    }
}

impl Controller for Endpoint {
    rpcs! {
        create_volume(CreateVolumeRequest) -> CreateVolumeResponse: |store, _node, m| store.create_volume(m);
        delete_volume(DeleteVolumeRequest) -> DeleteVolumeResponse: |store, _node, m| store.delete_volume(&m);
        controller_publish_volume(ControllerPublishVolumeRequest) -> ControllerPublishVolumeResponse:
            |store, _node, m| store.attach(m);
        controller_unpublish_volume(ControllerUnpublishVolumeRequest) -> ControllerUnpublishVolumeResponse:
            |store, _node, m| store.detach(&m);
        validate_volume_capabilities(ValidateVolumeCapabilitiesRequest) -> ValidateVolumeCapabilitiesResponse:
            |store, _node, m| store.validate(m);
        list_volumes(ListVolumesRequest) -> ListVolumesResponse: |store, _node, m| store.list(&m);
        controller_list_volume_health(ControllerListVolumeHealthRequest) -> ControllerListVolumeHealthResponse:
            |store, _node, m| store.list_health(&m);
        controller_get_volume_health(ControllerGetVolumeHealthRequest) -> ControllerGetVolumeHealthResponse:
            |store, _node, m| store.health(&m);
        get_capacity(GetCapacityRequest) -> GetCapacityResponse: |store, _node, m| store.capacity(&m);
        create_snapshot(CreateSnapshotRequest) -> CreateSnapshotResponse: |store, _node, m| store.create_snapshot(&m);
        delete_snapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse: |store, _node, m| store.delete_snapshot(&m);
        list_snapshots(ListSnapshotsRequest) -> ListSnapshotsResponse: |store, _node, m| store.list_snapshots(&m);
        get_snapshot(GetSnapshotRequest) -> GetSnapshotResponse: |store, _node, m| store.get_snapshot(&m);
        controller_expand_volume(ControllerExpandVolumeRequest) -> ControllerExpandVolumeResponse:
            |store, _node, m| store.expand(&m);
        controller_get_volume(ControllerGetVolumeRequest) -> ControllerGetVolumeResponse: |store, _node, m| store.get(&m);
        controller_modify_volume(ControllerModifyVolumeRequest) -> ControllerModifyVolumeResponse:
            |store, _node, m| store.modify(m);
        controller_get_capabilities(ControllerGetCapabilitiesRequest) -> ControllerGetCapabilitiesResponse:
            |_store, _node, _m| {
                use controller::rpc::Type;
                let types = [
                    Type::CreateDeleteVolume,
                    Type::PublishUnpublishVolume,
                    Type::ListVolumes,
                    Type::GetCapacity,
                    Type::CreateDeleteSnapshot,
                    Type::ListSnapshots,
                    Type::CloneVolume,
                    Type::PublishReadonly,
                    Type::ExpandVolume,
                    Type::ListVolumesPublishedNodes,
                    Type::GetVolume,
                    Type::SingleNodeMultiWriter,
                    Type::ModifyVolume,
                    Type::GetSnapshot,
                    Type::GetVolumeHealth,
                    Type::ListVolumeHealth,
                ];
                let capability = |t: Type| v1::ControllerServiceCapability {
                    r#type: Some(controller::Type::Rpc(controller::Rpc { r#type: t.into() })),
                };
                Ok(v1::ControllerGetCapabilitiesResponse { capabilities: types.into_iter().map(capability).collect() })
            };
    }
}

impl GroupController for Endpoint {
    rpcs! {
        group_controller_get_capabilities(GroupControllerGetCapabilitiesRequest)
            -> GroupControllerGetCapabilitiesResponse: |_store, _node, _m| {
                let rpc = group::Rpc { r#type: group::rpc::Type::CreateDeleteGetVolumeGroupSnapshot.into() };
                let capability = v1::GroupControllerServiceCapability { r#type: Some(group::Type::Rpc(rpc)) };
                Ok(v1::GroupControllerGetCapabilitiesResponse { capabilities: vec![capability] })
            };
        create_volume_group_snapshot(CreateVolumeGroupSnapshotRequest) -> CreateVolumeGroupSnapshotResponse:
            |store, _node, m| store.create_group(m);
        delete_volume_group_snapshot(DeleteVolumeGroupSnapshotRequest) -> DeleteVolumeGroupSnapshotResponse:
            |store, _node, m| store.delete_group(&m);
        get_volume_group_snapshot(GetVolumeGroupSnapshotRequest) -> GetVolumeGroupSnapshotResponse:
            |store, _node, m| store.get_group(&m);
    }
}

impl Node for Endpoint {
    rpcs! {
        node_stage_volume(NodeStageVolumeRequest) -> NodeStageVolumeResponse: |store, node, m| store.stage(node, m);
        node_unstage_volume(NodeUnstageVolumeRequest) -> NodeUnstageVolumeResponse: |store, node, m| store.unstage(node, m);
        node_publish_volume(NodePublishVolumeRequest) -> NodePublishVolumeResponse: |store, node, m| store.publish(node, m);
        node_unpublish_volume(NodeUnpublishVolumeRequest) -> NodeUnpublishVolumeResponse:
            |store, node, m| store.unpublish(node, m);
        node_get_volume_stats(NodeGetVolumeStatsRequest) -> NodeGetVolumeStatsResponse: |_store, _node, _m| none();
        node_get_volume_health(NodeGetVolumeHealthRequest) -> NodeGetVolumeHealthResponse: |_store, _node, _m| none();
        node_get_storage_health(NodeGetStorageHealthRequest) -> NodeGetStorageHealthResponse: |_store, _node, _m| none();
        node_expand_volume(NodeExpandVolumeRequest) -> NodeExpandVolumeResponse: |_store, _node, _m| none();
        node_get_capabilities(NodeGetCapabilitiesRequest) -> NodeGetCapabilitiesResponse: |_store, _node, _m| {
            use node::rpc::Type;
            let capability = |t: Type| v1::NodeServiceCapability {
                r#type: Some(node::Type::Rpc(node::Rpc { r#type: t.into() })),
            };
            let types = [Type::StageUnstageVolume, Type::SingleNodeMultiWriter];
            Ok(v1::NodeGetCapabilitiesResponse { capabilities: types.into_iter().map(capability).collect() })
        };
        node_get_info(NodeGetInfoRequest) -> NodeGetInfoResponse: |_store, node, _m| Ok(v1::NodeGetInfoResponse {
            node_id: node.to_owned(),
            max_volumes_per_node: i64::try_from(MOST).unwrap_or(0),
            accessible_topology: Some(super::volumes::topology(node)),
        });
    }
}

fn none<T>() -> Answer<T> {
    Err(Status::unimplemented("it is not offered"))
}

type Messages<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

/// A stream of messages made from the parts.
fn stream<T>(parts: Parts, message: impl Fn(i64, Vec<v1::BlockMetadata>) -> T) -> Response<Messages<T>> {
    let messages: Vec<_> = parts.into_iter().map(|(capacity, ranges)| Ok(message(capacity, ranges))).collect();
    Response::new(tokio_stream::iter(messages))
}

#[tonic::async_trait]
impl SnapshotMetadata for Endpoint {
    type GetMetadataAllocatedStream = Messages<v1::GetMetadataAllocatedResponse>;
    type GetMetadataDeltaStream = Messages<v1::GetMetadataDeltaResponse>;

    async fn get_metadata_allocated(
        &self,
        request: Request<v1::GetMetadataAllocatedRequest>,
    ) -> Result<Response<Self::GetMetadataAllocatedStream>, Status> {
        let request = request.into_inner();
        limits("GetMetadataAllocatedRequest", &request)?;
        Ok(stream(self.lock().allocated(&request)?, |volume_capacity_bytes, block_metadata| {
            let block_metadata_type = BlockMetadataType::VariableLength.into();
            v1::GetMetadataAllocatedResponse { block_metadata_type, volume_capacity_bytes, block_metadata }
        }))
    }

    async fn get_metadata_delta(
        &self,
        request: Request<v1::GetMetadataDeltaRequest>,
    ) -> Result<Response<Self::GetMetadataDeltaStream>, Status> {
        let request = request.into_inner();
        limits("GetMetadataDeltaRequest", &request)?;
        Ok(stream(self.lock().delta(&request)?, |volume_capacity_bytes, block_metadata| {
            let block_metadata_type = BlockMetadataType::VariableLength.into();
            v1::GetMetadataDeltaResponse { block_metadata_type, volume_capacity_bytes, block_metadata }
        }))
    }
}
