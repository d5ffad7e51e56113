//! Controller service: parse, ask, render.

use super::{
    parse, render,
    server::Service,
    status::{answer, subject},
};
use bulkhead_proto::v1::{self, controller_server::Controller};
use tonic::{Request, Response, Status};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Controller for Service {
    async fn create_volume(&self, request: Request<v1::CreateVolumeRequest>) -> Reply<v1::CreateVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.name);
        answer(driver, "CreateVolume", subject, async {
            let volume = driver.create_volume(parse::create_volume(request)?, timeout).await?;
            Ok(v1::CreateVolumeResponse { volume: Some(render::volume(volume)) })
        })
        .await
    }

    async fn delete_volume(&self, request: Request<v1::DeleteVolumeRequest>) -> Reply<v1::DeleteVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "DeleteVolume", subject, async {
            driver.delete_volume(parse::delete_volume(request)?, timeout).await?;
            Ok(v1::DeleteVolumeResponse {})
        })
        .await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<v1::ValidateVolumeCapabilitiesRequest>,
    ) -> Reply<v1::ValidateVolumeCapabilitiesResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "ValidateVolumeCapabilities", subject, async {
            use v1::validate_volume_capabilities_response::Confirmed;
            let echo = Confirmed {
                volume_context: request.volume_context.clone(),
                volume_capabilities: request.volume_capabilities.clone(),
                parameters: request.parameters.clone(),
                mutable_parameters: request.mutable_parameters.clone(),
            };
            let why_not = driver.validate_volume_capabilities(parse::validate(request)?, timeout).await?;
            Ok(v1::ValidateVolumeCapabilitiesResponse {
                confirmed: why_not.is_none().then_some(echo),
                message: why_not.unwrap_or_default(),
            })
        })
        .await
    }

    async fn list_volumes(&self, request: Request<v1::ListVolumesRequest>) -> Reply<v1::ListVolumesResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = "-";
        answer(driver, "ListVolumes", subject, async {
            let page = driver.list_volumes(parse::list_volumes(request)?, timeout).await?;
            Ok(render::volumes(page))
        })
        .await
    }

    async fn get_capacity(&self, request: Request<v1::GetCapacityRequest>) -> Reply<v1::GetCapacityResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = "-";
        answer(driver, "GetCapacity", subject, async {
            let available = driver.get_capacity(parse::get_capacity(request)?, timeout).await?;
            Ok(render::available(available))
        })
        .await
    }

    async fn controller_get_volume(
        &self,
        request: Request<v1::ControllerGetVolumeRequest>,
    ) -> Reply<v1::ControllerGetVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "ControllerGetVolume", subject, async {
            let listed = driver.get_volume(parse::get_volume(request)?, timeout).await?;
            Ok(render::listed_volume(listed))
        })
        .await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<v1::ControllerExpandVolumeRequest>,
    ) -> Reply<v1::ControllerExpandVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "ControllerExpandVolume", subject, async {
            let expanded = driver.expand_volume(parse::expand_volume(request)?, timeout).await?;
            Ok(v1::ControllerExpandVolumeResponse {
                capacity_bytes: render::bytes(expanded.capacity_bytes),
                node_expansion_required: expanded.node_expansion_required,
            })
        })
        .await
    }

    async fn controller_get_capabilities(
        &self,
        request: Request<v1::ControllerGetCapabilitiesRequest>,
    ) -> Reply<v1::ControllerGetCapabilitiesResponse> {
        let (driver, ..) = self.open(request)?;
        answer(driver, "ControllerGetCapabilities", "-", async { Ok(render::controller_capabilities(driver.offer())) })
            .await
    }

    async fn controller_publish_volume(
        &self,
        request: Request<v1::ControllerPublishVolumeRequest>,
    ) -> Reply<v1::ControllerPublishVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "ControllerPublishVolume", subject, async {
            let publish_context =
                driver.controller_publish_volume(parse::controller_publish(request)?, timeout).await?;
            Ok(v1::ControllerPublishVolumeResponse { publish_context })
        })
        .await
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<v1::ControllerUnpublishVolumeRequest>,
    ) -> Reply<v1::ControllerUnpublishVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "ControllerUnpublishVolume", subject, async {
            driver.controller_unpublish_volume(parse::controller_unpublish(request)?, timeout).await?;
            Ok(v1::ControllerUnpublishVolumeResponse {})
        })
        .await
    }

    async fn create_snapshot(&self, request: Request<v1::CreateSnapshotRequest>) -> Reply<v1::CreateSnapshotResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.name);
        answer(driver, "CreateSnapshot", subject, async {
            let snapshot = driver.create_snapshot(parse::create_snapshot(request)?, timeout).await?;
            Ok(v1::CreateSnapshotResponse { snapshot: Some(render::snapshot(snapshot, driver.offer().is_1_13())) })
        })
        .await
    }

    async fn delete_snapshot(&self, request: Request<v1::DeleteSnapshotRequest>) -> Reply<v1::DeleteSnapshotResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.snapshot_id);
        answer(driver, "DeleteSnapshot", subject, async {
            driver.delete_snapshot(parse::delete_snapshot(request)?, timeout).await?;
            Ok(v1::DeleteSnapshotResponse {})
        })
        .await
    }

    async fn list_snapshots(&self, request: Request<v1::ListSnapshotsRequest>) -> Reply<v1::ListSnapshotsResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = "-";
        answer(driver, "ListSnapshots", subject, async {
            let page = driver.list_snapshots(parse::list_snapshots(request)?, timeout).await?;
            Ok(render::snapshots(page, driver.offer().is_1_13()))
        })
        .await
    }

    async fn get_snapshot(&self, request: Request<v1::GetSnapshotRequest>) -> Reply<v1::GetSnapshotResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.snapshot_id);
        answer(driver, "GetSnapshot", subject, async {
            let snapshot = driver.get_snapshot(parse::get_snapshot(request)?, timeout).await?;
            Ok(v1::GetSnapshotResponse { snapshot: Some(render::snapshot(snapshot, driver.offer().is_1_13())) })
        })
        .await
    }

    async fn controller_modify_volume(
        &self,
        request: Request<v1::ControllerModifyVolumeRequest>,
    ) -> Reply<v1::ControllerModifyVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "ControllerModifyVolume", subject, async {
            driver.modify_volume(parse::modify_volume(request)?, timeout).await?;
            Ok(v1::ControllerModifyVolumeResponse {})
        })
        .await
    }

    async fn controller_list_volume_health(
        &self,
        request: Request<v1::ControllerListVolumeHealthRequest>,
    ) -> Reply<v1::ControllerListVolumeHealthResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = "-";
        answer(driver, "ControllerListVolumeHealth", subject, async {
            let page = driver.list_volume_health(parse::list_volume_health(request)?, timeout).await?;
            Ok(render::unhealthy_volumes(page))
        })
        .await
    }

    async fn controller_get_volume_health(
        &self,
        request: Request<v1::ControllerGetVolumeHealthRequest>,
    ) -> Reply<v1::ControllerGetVolumeHealthResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "ControllerGetVolumeHealth", subject, async {
            let volume_id = request.volume_id.clone();
            let problems = driver.get_volume_health(parse::volume_health(request)?, timeout).await?;
            Ok(v1::ControllerGetVolumeHealthResponse {
                volume_health: Some(render::volume_health(volume_id, problems)),
            })
        })
        .await
    }
}
