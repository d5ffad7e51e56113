//! Controller service: parse, ask, render.

use super::{
    parse, render,
    server::Service,
    status::{answer, subject, timeout},
};
use bulkhead_proto::v1::{self, controller_server::Controller};
use tonic::{Request, Response, Status};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Controller for Service {
    async fn create_volume(&self, request: Request<v1::CreateVolumeRequest>) -> Reply<v1::CreateVolumeResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.name);
        answer(self.driver(), "CreateVolume", subject, async {
            let volume = self.driver().create_volume(parse::create_volume(request)?, timeout).await?;
            Ok(v1::CreateVolumeResponse { volume: Some(render::volume(volume)) })
        })
        .await
    }

    async fn delete_volume(&self, request: Request<v1::DeleteVolumeRequest>) -> Reply<v1::DeleteVolumeResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "DeleteVolume", subject, async {
            self.driver().delete_volume(parse::delete_volume(request)?, timeout).await?;
            Ok(v1::DeleteVolumeResponse {})
        })
        .await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<v1::ValidateVolumeCapabilitiesRequest>,
    ) -> Reply<v1::ValidateVolumeCapabilitiesResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "ValidateVolumeCapabilities", subject, async {
            use v1::validate_volume_capabilities_response::Confirmed;
            let echo = Confirmed {
                volume_context: request.volume_context.clone(),
                volume_capabilities: request.volume_capabilities.clone(),
                parameters: request.parameters.clone(),
                mutable_parameters: request.mutable_parameters.clone(),
            };
            let why_not = self.driver().validate_volume_capabilities(parse::validate(request)?, timeout).await?;
            Ok(v1::ValidateVolumeCapabilitiesResponse {
                confirmed: why_not.is_none().then_some(echo),
                message: why_not.unwrap_or_default(),
            })
        })
        .await
    }

    async fn list_volumes(&self, request: Request<v1::ListVolumesRequest>) -> Reply<v1::ListVolumesResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = "-";
        answer(self.driver(), "ListVolumes", subject, async {
            let page = self.driver().list_volumes(parse::list_volumes(request)?, timeout).await?;
            Ok(render::volumes(page))
        })
        .await
    }

    async fn get_capacity(&self, request: Request<v1::GetCapacityRequest>) -> Reply<v1::GetCapacityResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = "-";
        answer(self.driver(), "GetCapacity", subject, async {
            let available = self.driver().get_capacity(parse::get_capacity(request)?, timeout).await?;
            Ok(render::available(available))
        })
        .await
    }

    async fn controller_get_volume(
        &self,
        request: Request<v1::ControllerGetVolumeRequest>,
    ) -> Reply<v1::ControllerGetVolumeResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "ControllerGetVolume", subject, async {
            let listed = self.driver().get_volume(parse::get_volume(request)?, timeout).await?;
            Ok(render::listed_volume(listed))
        })
        .await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<v1::ControllerExpandVolumeRequest>,
    ) -> Reply<v1::ControllerExpandVolumeResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "ControllerExpandVolume", subject, async {
            let expanded = self.driver().expand_volume(parse::expand_volume(request)?, timeout).await?;
            Ok(v1::ControllerExpandVolumeResponse {
                capacity_bytes: render::bytes(expanded.capacity_bytes),
                node_expansion_required: expanded.node_expansion_required,
            })
        })
        .await
    }

    async fn controller_get_capabilities(
        &self,
        _request: Request<v1::ControllerGetCapabilitiesRequest>,
    ) -> Reply<v1::ControllerGetCapabilitiesResponse> {
        if !self.driver().serves_controller() {
            return self.not_offered("ControllerGetCapabilities");
        }
        Ok(Response::new(render::controller_capabilities(self.driver().offer())))
    }

    async fn controller_publish_volume(
        &self,
        _request: Request<v1::ControllerPublishVolumeRequest>,
    ) -> Reply<v1::ControllerPublishVolumeResponse> {
        self.not_offered("ControllerPublishVolume")
    }

    async fn controller_unpublish_volume(
        &self,
        _request: Request<v1::ControllerUnpublishVolumeRequest>,
    ) -> Reply<v1::ControllerUnpublishVolumeResponse> {
        self.not_offered("ControllerUnpublishVolume")
    }

    async fn create_snapshot(&self, _request: Request<v1::CreateSnapshotRequest>) -> Reply<v1::CreateSnapshotResponse> {
        self.not_offered("CreateSnapshot")
    }

    async fn delete_snapshot(&self, _request: Request<v1::DeleteSnapshotRequest>) -> Reply<v1::DeleteSnapshotResponse> {
        self.not_offered("DeleteSnapshot")
    }

    async fn list_snapshots(&self, _request: Request<v1::ListSnapshotsRequest>) -> Reply<v1::ListSnapshotsResponse> {
        self.not_offered("ListSnapshots")
    }

    async fn get_snapshot(&self, _request: Request<v1::GetSnapshotRequest>) -> Reply<v1::GetSnapshotResponse> {
        self.not_offered("GetSnapshot")
    }

    async fn controller_modify_volume(
        &self,
        _request: Request<v1::ControllerModifyVolumeRequest>,
    ) -> Reply<v1::ControllerModifyVolumeResponse> {
        self.not_offered("ControllerModifyVolume")
    }

    async fn controller_list_volume_health(
        &self,
        _request: Request<v1::ControllerListVolumeHealthRequest>,
    ) -> Reply<v1::ControllerListVolumeHealthResponse> {
        self.not_offered("ControllerListVolumeHealth")
    }

    async fn controller_get_volume_health(
        &self,
        _request: Request<v1::ControllerGetVolumeHealthRequest>,
    ) -> Reply<v1::ControllerGetVolumeHealthResponse> {
        self.not_offered("ControllerGetVolumeHealth")
    }
}
