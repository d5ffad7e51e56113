//! One gRPC server for each driver, on its own socket.

use super::{
    incoming::{Incoming, Keeper},
    socket::{BindError, Socket},
    status,
};
use crate::ops::{Driver, node_half::NodeHalf};
use bulkhead_domain::{Error, Result as Outcome};
use bulkhead_proto::v1::{
    controller_server::ControllerServer, group_controller_server::GroupControllerServer,
    identity_server::IdentityServer, node_server::NodeServer, snapshot_metadata_server::SnapshotMetadataServer,
};
use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::SetOnce;
use tonic::{Request, Status, transport::Server};
use tower::util::MapResponseLayer;

/// The CSI services of one driver, also while that is still being loaded or can't be. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    driver: SetOnce<Driver>,
    broken: Mutex<Option<Broken>>,
    /// Why the socket is not where it belongs.
    socket: Mutex<Option<String>>,
}

/// A driver that can't be served.
#[derive(Clone)]
struct Broken {
    reason: String,
    node: Option<NodeHalf>,
}

/// How far a driver is.
pub enum State {
    /// Its backend is being loaded.
    Starting,
    /// It can't be loaded, for this reason. It may be tried again.
    Broken(String),
    /// It is served, but for this reason nobody can reach it.
    Unreachable(String),
    /// It is served.
    Ready(Driver),
}

impl Service {
    /// Serves the driver `name` once it is there. Until then Probe answers "not ready" and everything else UNAVAILABLE.
    pub fn starting(name: &str) -> Self {
        let inner =
            Inner { name: name.to_owned(), driver: SetOnce::new(), broken: Mutex::default(), socket: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Until [`Service::ready`], Probe answers FAILED_PRECONDITION with `reason` and everything else UNAVAILABLE; with
    /// `node`, NodeUnpublishVolume and NodeUnstageVolume work nevertheless.
    pub fn broken(&self, reason: String, node: Option<NodeHalf>) {
        *lock(&self.inner.broken) = Some(Broken { reason, node });
    }

    /// From now on `driver` is served.
    pub fn ready(&self, driver: Driver) {
        // A second one would change nothing.
        let _ = self.inner.driver.set(driver);
    }

    /// Waits until the driver is served.
    pub async fn served(&self) -> &Driver {
        self.inner.driver.wait().await
    }

    /// CSI driver name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// How far the driver is.
    pub fn state(&self) -> State {
        match (self.inner.driver.get(), lock(&self.inner.broken).clone()) {
            (Some(driver), _) => match lock(&self.inner.socket).clone() {
                Some(why) => State::Unreachable(why),
                None => State::Ready(driver.clone()),
            },
            (None, Some(broken)) => State::Broken(broken.reason),
            (None, None) => State::Starting,
        }
    }

    pub(super) fn driver(&self) -> Result<&Driver, Status> {
        self.inner.driver.get().ok_or_else(|| status::status(&self.missing()))
    }

    /// Why there is no driver.
    fn missing(&self) -> Error {
        let name = self.name();
        match &*lock(&self.inner.broken) {
            Some(Broken { reason, .. }) => Error::unavailable(format_args!("driver {name} can't be served: {reason}")),
            None => Error::unavailable(format_args!("driver {name} is still starting: its backend is being loaded")),
        }
    }

    /// What Probe answers while there is no driver: not ready yet, or why it will not be.
    pub(super) fn probe_missing(&self) -> Outcome<bool> {
        match &*lock(&self.inner.broken) {
            Some(Broken { reason, .. }) => Err(Error::failed_precondition(reason)),
            None => Ok(false),
        }
    }

    /// What can take volumes down with the RPC of that name, also without a backend.
    pub(super) fn node_half(&self, rpc: &str) -> Outcome<NodeHalf> {
        if let Some(driver) = self.inner.driver.get() {
            driver.check_offered(rpc)?;
            return driver.node_half().cloned();
        }
        let node = lock(&self.inner.broken).as_ref().and_then(|broken| broken.node.clone());
        node.ok_or_else(|| self.missing())
    }

    /// The driver, the client's patience and what it asks for.
    pub(super) fn open<T>(&self, request: Request<T>) -> Result<(&Driver, Option<Duration>, T), Status> {
        let timeout = status::timeout(request.metadata());
        Ok((self.driver()?, timeout, request.into_inner()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper for Inner {
    fn bound(&self) {
        *lock(&self.socket) = None;
    }

    fn lost(&self, why: &BindError) {
        let why = format!("its socket is lost: {why}");
        let before = lock(&self.socket).replace(why.clone());
        if before.as_ref() != Some(&why) {
            tracing::error!(driver = self.name, "{why}");
        }
    }
}

/// Serves until `stop` is ready; then no connection is accepted, the socket is removed, and calls that run end. While it
/// serves, a socket whose file is gone is bound again.
///
/// # Errors
/// The transport fails.
pub async fn serve(
    service: Service,
    socket: Socket,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let incoming = Incoming::of(socket, service.inner.clone());
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
