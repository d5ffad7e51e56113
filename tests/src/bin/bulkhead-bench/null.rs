//! The null RPC: a CSI controller on the same gRPC stack and runtime as the host that answers from constants.

use anyhow::Result;
use bulkhead_proto::v1::{self, controller_server::ControllerServer};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Server as Transport},
};

/// A connection to it.
pub struct Null(pub Channel);

impl Null {
    /// Waits until it is served.
    pub async fn connect(socket: &Path) -> Self {
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self(bulkhead_tests::client::connect(socket).await.bare().clone())
    }

    /// What it takes right now, microseconds.
    pub async fn p50(&self) -> Result<f64> {
        let times = crate::create(&self.0, CALLS, Duration::ZERO, |_| "pvc".into()).await?;
        Ok(crate::Times(times).at(0.5))
    }
}

/// Calls for one look at what the null RPC takes.
const CALLS: usize = 300;

/// Spins for so long before it answers: what a call costs that is only slow, not large.
struct Server(Duration);

/// Serves until it is killed. The runtime has as many threads as the host's.
pub fn serve(socket: &Path, spin: Duration) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let incoming = UnixListenerStream::new(tokio::net::UnixListener::bind(socket)?);
        Transport::builder().add_service(ControllerServer::new(Server(spin))).serve_with_incoming(incoming).await?;
        Ok(())
    })
}

macro_rules! null_controller {
    ($($function:ident: $request:ident -> $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl v1::controller_server::Controller for Server {
            async fn create_volume(
                &self,
                request: Request<v1::CreateVolumeRequest>,
            ) -> Result<Response<v1::CreateVolumeResponse>, Status> {
                let start = Instant::now();
                while start.elapsed() < self.0 {
                    std::hint::spin_loop();
                }
                let size = request.into_inner().capacity_range.map_or(0, |range| range.required_bytes);
                let volume = v1::Volume {
                    capacity_bytes: size,
                    volume_id: "0123456789abcdef0123456789abcdef".into(),
                    ..Default::default()
                };
                Ok(Response::new(v1::CreateVolumeResponse { volume: Some(volume) }))
            }

            $(async fn $function(&self, _: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                Err(Status::unimplemented("null"))
            })*
        }
    };
}
null_controller! {
    delete_volume: DeleteVolumeRequest -> DeleteVolumeResponse,
    controller_publish_volume: ControllerPublishVolumeRequest -> ControllerPublishVolumeResponse,
    controller_unpublish_volume: ControllerUnpublishVolumeRequest -> ControllerUnpublishVolumeResponse,
    validate_volume_capabilities: ValidateVolumeCapabilitiesRequest -> ValidateVolumeCapabilitiesResponse,
    list_volumes: ListVolumesRequest -> ListVolumesResponse,
    controller_list_volume_health: ControllerListVolumeHealthRequest -> ControllerListVolumeHealthResponse,
    controller_get_volume_health: ControllerGetVolumeHealthRequest -> ControllerGetVolumeHealthResponse,
    get_capacity: GetCapacityRequest -> GetCapacityResponse,
    controller_get_capabilities: ControllerGetCapabilitiesRequest -> ControllerGetCapabilitiesResponse,
    create_snapshot: CreateSnapshotRequest -> CreateSnapshotResponse,
    delete_snapshot: DeleteSnapshotRequest -> DeleteSnapshotResponse,
    list_snapshots: ListSnapshotsRequest -> ListSnapshotsResponse,
    get_snapshot: GetSnapshotRequest -> GetSnapshotResponse,
    controller_expand_volume: ControllerExpandVolumeRequest -> ControllerExpandVolumeResponse,
    controller_get_volume: ControllerGetVolumeRequest -> ControllerGetVolumeResponse,
    controller_modify_volume: ControllerModifyVolumeRequest -> ControllerModifyVolumeResponse,
}
