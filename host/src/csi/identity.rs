//! Identity service.

use super::{
    render,
    server::Service,
    status::{answer, logged},
};
use bulkhead_proto::v1::{self, identity_server::Identity};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl Identity for Service {
    async fn get_plugin_info(
        &self,
        _request: Request<v1::GetPluginInfoRequest>,
    ) -> Result<Response<v1::GetPluginInfoResponse>, Status> {
        let driver = self.driver()?;
        let info = &driver.offer().info;
        Ok(Response::new(v1::GetPluginInfoResponse {
            name: driver.name().to_owned(),
            vendor_version: info.vendor_version.clone(),
            manifest: info.manifest.clone(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _request: Request<v1::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<v1::GetPluginCapabilitiesResponse>, Status> {
        Ok(Response::new(render::plugin_capabilities(self.driver()?.offer())))
    }

    async fn probe(&self, request: Request<v1::ProbeRequest>) -> Result<Response<v1::ProbeResponse>, Status> {
        let Ok((driver, timeout, _)) = self.open(request) else {
            let probed = async { Ok(v1::ProbeResponse { ready: Some(self.probe_missing()?) }) };
            return logged(self.name(), "Probe", "-", probed).await;
        };
        answer(driver, "Probe", "-", async { Ok(v1::ProbeResponse { ready: Some(driver.probe(timeout).await?) }) })
            .await
    }
}
