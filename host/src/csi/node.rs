//! Node service: parse, ask, render.

use super::{
    parse, render,
    server::Service,
    status::{answer, logged, subject, timeout},
};
use bulkhead_proto::v1::{self, node_server::Node};
use tonic::{Request, Response, Status};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Node for Service {
    async fn node_stage_volume(
        &self,
        request: Request<v1::NodeStageVolumeRequest>,
    ) -> Reply<v1::NodeStageVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "NodeStageVolume", subject, async {
            driver.node_stage_volume(parse::node_stage(request)?, timeout).await?;
            Ok(v1::NodeStageVolumeResponse {})
        })
        .await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<v1::NodeUnstageVolumeRequest>,
    ) -> Reply<v1::NodeUnstageVolumeResponse> {
        let (timeout, request) = (timeout(request.metadata()), request.into_inner());
        let subject = subject(&request.volume_id);
        logged(self.name(), "NodeUnstageVolume", subject, async {
            let node = self.node_half("NodeUnstageVolume")?;
            node.node_unstage_volume(parse::node_unstage(request)?, timeout).await?;
            Ok(v1::NodeUnstageVolumeResponse {})
        })
        .await
    }

    async fn node_publish_volume(
        &self,
        request: Request<v1::NodePublishVolumeRequest>,
    ) -> Reply<v1::NodePublishVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "NodePublishVolume", subject, async {
            driver.node_publish_volume(parse::node_publish(request)?, timeout).await?;
            Ok(v1::NodePublishVolumeResponse {})
        })
        .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<v1::NodeUnpublishVolumeRequest>,
    ) -> Reply<v1::NodeUnpublishVolumeResponse> {
        let (timeout, request) = (timeout(request.metadata()), request.into_inner());
        let subject = subject(&request.volume_id);
        logged(self.name(), "NodeUnpublishVolume", subject, async {
            let node = self.node_half("NodeUnpublishVolume")?;
            node.node_unpublish_volume(parse::node_unpublish(request)?, timeout).await?;
            Ok(v1::NodeUnpublishVolumeResponse {})
        })
        .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<v1::NodeGetVolumeStatsRequest>,
    ) -> Reply<v1::NodeGetVolumeStatsResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "NodeGetVolumeStats", subject, async {
            let usage = driver.node_get_volume_stats(parse::node_stats(request)?, timeout).await?;
            Ok(render::stats(usage))
        })
        .await
    }

    async fn node_expand_volume(
        &self,
        request: Request<v1::NodeExpandVolumeRequest>,
    ) -> Reply<v1::NodeExpandVolumeResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "NodeExpandVolume", subject, async {
            let bytes = driver.node_expand_volume(parse::node_expand(request)?, timeout).await?;
            Ok(v1::NodeExpandVolumeResponse { capacity_bytes: render::bytes(bytes) })
        })
        .await
    }

    async fn node_get_capabilities(
        &self,
        request: Request<v1::NodeGetCapabilitiesRequest>,
    ) -> Reply<v1::NodeGetCapabilitiesResponse> {
        let (driver, ..) = self.open(request)?;
        let run = async { Ok(render::node_capabilities(driver.node_capabilities())) };
        answer(driver, "NodeGetCapabilities", "-", run).await
    }

    async fn node_get_info(&self, request: Request<v1::NodeGetInfoRequest>) -> Reply<v1::NodeGetInfoResponse> {
        let (driver, timeout, _) = self.open(request)?;
        answer(driver, "NodeGetInfo", "-", async {
            let (node_id, info) = driver.node_get_info(timeout).await?;
            Ok(render::node_info(node_id, info))
        })
        .await
    }

    async fn node_get_volume_health(
        &self,
        request: Request<v1::NodeGetVolumeHealthRequest>,
    ) -> Reply<v1::NodeGetVolumeHealthResponse> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.volume_id);
        answer(driver, "NodeGetVolumeHealth", subject, async {
            let volume_id = request.volume_id.clone();
            let problems = driver.node_get_volume_health(parse::node_health(request)?, timeout).await?;
            Ok(v1::NodeGetVolumeHealthResponse { volume_health: Some(render::volume_health(volume_id, problems)) })
        })
        .await
    }

    async fn node_get_storage_health(
        &self,
        request: Request<v1::NodeGetStorageHealthRequest>,
    ) -> Reply<v1::NodeGetStorageHealthResponse> {
        let (driver, timeout, request) = self.open(request)?;
        answer(driver, "NodeGetStorageHealth", "-", async {
            let problems = driver.node_get_storage_health(parse::storage_health(request)?, timeout).await?;
            Ok(render::storage_health(problems))
        })
        .await
    }
}
