//! One gRPC server for each driver, on its own socket.

use super::{socket::Socket, status};
use crate::ops::Driver;
use bulkhead_domain::Error;
use bulkhead_proto::v1::{
    controller_server::ControllerServer, group_controller_server::GroupControllerServer,
    identity_server::IdentityServer, node_server::NodeServer, snapshot_metadata_server::SnapshotMetadataServer,
};
use std::future::Future;
use tonic::{Response, Status, transport::Server};
use tower::util::MapResponseLayer;

/// The CSI services of one driver. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    driver: Driver,
}

impl Service {
    /// Serves `driver`.
    pub fn new(driver: Driver) -> Self {
        Self { driver }
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// UNIMPLEMENTED, with a message.
    pub(super) fn not_offered<T>(&self, rpc: &str) -> Result<Response<T>, Status> {
        Err(status::status(&Error::unimplemented(format_args!(
            "driver {} does not offer {rpc} here",
            self.driver.name()
        ))))
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
