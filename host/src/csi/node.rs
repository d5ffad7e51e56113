//! Node service: parse, ask, render.

use super::{
    parse, render,
    server::Service,
    status::{answer, subject, timeout},
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
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "NodeStageVolume", subject, async {
            self.driver().node_stage_volume(parse::node_stage(request)?, timeout).await?;
            Ok(v1::NodeStageVolumeResponse {})
        })
        .await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<v1::NodeUnstageVolumeRequest>,
    ) -> Reply<v1::NodeUnstageVolumeResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "NodeUnstageVolume", subject, async {
            self.driver().node_unstage_volume(parse::node_unstage(request)?, timeout).await?;
            Ok(v1::NodeUnstageVolumeResponse {})
        })
        .await
    }

    async fn node_publish_volume(
        &self,
        request: Request<v1::NodePublishVolumeRequest>,
    ) -> Reply<v1::NodePublishVolumeResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "NodePublishVolume", subject, async {
            self.driver().node_publish_volume(parse::node_publish(request)?, timeout).await?;
            Ok(v1::NodePublishVolumeResponse {})
        })
        .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<v1::NodeUnpublishVolumeRequest>,
    ) -> Reply<v1::NodeUnpublishVolumeResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "NodeUnpublishVolume", subject, async {
            self.driver().node_unpublish_volume(parse::node_unpublish(request)?, timeout).await?;
            Ok(v1::NodeUnpublishVolumeResponse {})
        })
        .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<v1::NodeGetVolumeStatsRequest>,
    ) -> Reply<v1::NodeGetVolumeStatsResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "NodeGetVolumeStats", subject, async {
            let usage = self.driver().node_get_volume_stats(parse::node_stats(request)?, timeout).await?;
            Ok(render::stats(usage))
        })
        .await
    }

    async fn node_expand_volume(
        &self,
        request: Request<v1::NodeExpandVolumeRequest>,
    ) -> Reply<v1::NodeExpandVolumeResponse> {
        let timeout = timeout(request.metadata());
        let request = request.into_inner();
        let subject = subject(&request.volume_id);
        answer(self.driver(), "NodeExpandVolume", subject, async {
            let bytes = self.driver().node_expand_volume(parse::node_expand(request)?, timeout).await?;
            Ok(v1::NodeExpandVolumeResponse { capacity_bytes: render::bytes(bytes) })
        })
        .await
    }

    async fn node_get_capabilities(
        &self,
        _request: Request<v1::NodeGetCapabilitiesRequest>,
    ) -> Reply<v1::NodeGetCapabilitiesResponse> {
        if !self.driver().serves_node() {
            return self.not_offered("NodeGetCapabilities");
        }
        Ok(Response::new(render::node_capabilities(self.driver().offer())))
    }

    async fn node_get_info(&self, request: Request<v1::NodeGetInfoRequest>) -> Reply<v1::NodeGetInfoResponse> {
        if !self.driver().serves_node() {
            return self.not_offered("NodeGetInfo");
        }
        let run = async {
            let (node_id, info) = self.driver().node_get_info(timeout(request.metadata())).await?;
            Ok(render::node_info(node_id, info))
        };
        answer(self.driver(), "NodeGetInfo", "-", run).await
    }

    async fn node_get_volume_health(
        &self,
        _request: Request<v1::NodeGetVolumeHealthRequest>,
    ) -> Reply<v1::NodeGetVolumeHealthResponse> {
        self.not_offered("NodeGetVolumeHealth")
    }

    async fn node_get_storage_health(
        &self,
        _request: Request<v1::NodeGetStorageHealthRequest>,
    ) -> Reply<v1::NodeGetStorageHealthResponse> {
        self.not_offered("NodeGetStorageHealth")
    }
}
