//! GroupController service: parse, ask, render.

use super::{
    parse, render,
    server::Service,
    status::{answer, subject},
};
use bulkhead_proto::v1::{self, group_controller_server::GroupController};
use tonic::{Request, Response, Status};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GroupController for Service {
    async fn group_controller_get_capabilities(
        &self,
        request: Request<v1::GroupControllerGetCapabilitiesRequest>,
    ) -> Reply<v1::GroupControllerGetCapabilitiesResponse> {
        let (driver, ..) = self.open(request)?;
        answer(driver, "GroupControllerGetCapabilities", "-", async { Ok(render::group_capabilities(driver.offer())) })
            .await
    }

    async fn create_volume_group_snapshot(
        &self,
        request: Request<v1::CreateVolumeGroupSnapshotRequest>,
    ) -> Reply<v1::CreateVolumeGroupSnapshotResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.name);
        answer(driver, "CreateVolumeGroupSnapshot", subject, async {
            let group = driver.create_group_snapshot(parse::create_group_snapshot(request)?, timeout).await?;
            let group_snapshot = Some(render::group_snapshot(group, driver.offer().is_1_13()));
            Ok(v1::CreateVolumeGroupSnapshotResponse { group_snapshot })
        })
        .await
    }

    async fn delete_volume_group_snapshot(
        &self,
        request: Request<v1::DeleteVolumeGroupSnapshotRequest>,
    ) -> Reply<v1::DeleteVolumeGroupSnapshotResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.group_snapshot_id);
        answer(driver, "DeleteVolumeGroupSnapshot", subject, async {
            driver.delete_group_snapshot(parse::delete_group_snapshot(request)?, timeout).await?;
            Ok(v1::DeleteVolumeGroupSnapshotResponse {})
        })
        .await
    }

    async fn get_volume_group_snapshot(
        &self,
        request: Request<v1::GetVolumeGroupSnapshotRequest>,
    ) -> Reply<v1::GetVolumeGroupSnapshotResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.group_snapshot_id);
        answer(driver, "GetVolumeGroupSnapshot", subject, async {
            let group = driver.get_group_snapshot(parse::get_group_snapshot(request)?, timeout).await?;
            let group_snapshot = Some(render::group_snapshot(group, driver.offer().is_1_13()));
            Ok(v1::GetVolumeGroupSnapshotResponse { group_snapshot })
        })
        .await
    }
}
