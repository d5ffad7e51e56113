//! One gRPC server for each driver, on its own socket.

use super::{socket::Socket, status};
use crate::ops::Driver;
use bulkhead_domain::Error;
use bulkhead_proto::v1::{
    controller_server::ControllerServer, group_controller_server::GroupControllerServer,
    identity_server::IdentityServer, node_server::NodeServer, snapshot_metadata_server::SnapshotMetadataServer,
};
use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tonic::{Request, Status, transport::Server};
use tower::util::MapResponseLayer;

/// The CSI services of one driver, also while that is still being loaded. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    name: Arc<str>,
    driver: Arc<OnceLock<Driver>>,
}

impl Service {
    /// Serves the driver `name` once it is there. Until then Probe answers "not ready" and everything else UNAVAILABLE.
    pub fn starting(name: &str) -> Self {
        Self { name: name.into(), driver: Arc::default() }
    }

    /// From now on `driver` is served.
    pub fn ready(&self, driver: Driver) {
        // A second one would change nothing.
        let _ = self.driver.set(driver);
    }

    pub(super) fn driver(&self) -> Result<&Driver, Status> {
        let starting =
            || Error::unavailable(format_args!("driver {} is still starting: its backend is being loaded", self.name));
        self.driver.get().ok_or_else(|| status::status(&starting()))
    }

    /// The driver, the client's patience and what it asks for.
    pub(super) fn open<T>(&self, request: Request<T>) -> Result<(&Driver, Option<Duration>, T), Status> {
        let timeout = status::timeout(request.metadata());
        Ok((self.driver()?, timeout, request.into_inner()))
    }
}

/// Serves until `stop` is ready; then no connection is accepted, calls that run end, and the socket is removed.
///
/// # Errors
/// The transport fails.
pub async fn serve(
    service: Service,
    socket: Socket,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let (incoming, _unlink) = socket.into_incoming();
    Server::builder()
        .layer(MapResponseLayer::new(status::correct))
        .add_service(IdentityServer::new(service.clone()))
        .add_service(ControllerServer::new(service.clone()))
        .add_service(GroupControllerServer::new(service.clone()))
        .add_service(SnapshotMetadataServer::new(service.clone()))
        .add_service(NodeServer::new(service))
        .serve_with_incoming_shutdown(incoming, stop)
        .await
}
