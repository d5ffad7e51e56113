//! Services that no driver of this host offers yet: GroupController and SnapshotMetadata. Their RPCs answer UNIMPLEMENTED
//! with a message, where a service that is not there would answer without one.

use super::server::Service;
use bulkhead_proto::v1::{self, group_controller_server::GroupController, snapshot_metadata_server::SnapshotMetadata};
use tonic::{Request, Response, Status, codegen::tokio_stream::Empty};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GroupController for Service {
    async fn group_controller_get_capabilities(
        &self,
        _request: Request<v1::GroupControllerGetCapabilitiesRequest>,
    ) -> Reply<v1::GroupControllerGetCapabilitiesResponse> {
        self.not_offered("GroupControllerGetCapabilities")
    }

    async fn create_volume_group_snapshot(
        &self,
        _request: Request<v1::CreateVolumeGroupSnapshotRequest>,
    ) -> Reply<v1::CreateVolumeGroupSnapshotResponse> {
        self.not_offered("CreateVolumeGroupSnapshot")
    }

    async fn delete_volume_group_snapshot(
        &self,
        _request: Request<v1::DeleteVolumeGroupSnapshotRequest>,
    ) -> Reply<v1::DeleteVolumeGroupSnapshotResponse> {
        self.not_offered("DeleteVolumeGroupSnapshot")
    }

    async fn get_volume_group_snapshot(
        &self,
        _request: Request<v1::GetVolumeGroupSnapshotRequest>,
    ) -> Reply<v1::GetVolumeGroupSnapshotResponse> {
        self.not_offered("GetVolumeGroupSnapshot")
    }
}

#[tonic::async_trait]
impl SnapshotMetadata for Service {
    type GetMetadataAllocatedStream = Empty<Result<v1::GetMetadataAllocatedResponse, Status>>;

    async fn get_metadata_allocated(
        &self,
        _request: Request<v1::GetMetadataAllocatedRequest>,
    ) -> Reply<Self::GetMetadataAllocatedStream> {
        self.not_offered("GetMetadataAllocated")
    }

    type GetMetadataDeltaStream = Empty<Result<v1::GetMetadataDeltaResponse, Status>>;

    async fn get_metadata_delta(
        &self,
        _request: Request<v1::GetMetadataDeltaRequest>,
    ) -> Reply<Self::GetMetadataDeltaStream> {
        self.not_offered("GetMetadataDelta")
    }
}
