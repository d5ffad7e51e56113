//! Serving it.

use super::{services::Endpoint, store::Store};
use bulkhead_proto::v1::{
    controller_server::ControllerServer, group_controller_server::GroupControllerServer,
    identity_server::IdentityServer, node_server::NodeServer, snapshot_metadata_server::SnapshotMetadataServer,
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::{net::UnixListener, sync::oneshot};
use tokio_stream::wrappers::UnixListenerStream;

/// The whole driver: what its nodes share.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    store: Arc<Mutex<Store>>,
}

/// One node's socket; gone when dropped.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    _stop: oneshot::Sender<()>,
}

impl Memory {
    /// Serves all services on a socket that must not be there yet, as the node of that id. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// The socket can't be made.
    pub fn serve(&self, listen: &Path, node_id: &str) -> Result<Server, String> {
        let listener = UnixListener::bind(listen).map_err(|e| format!("{}: {e}", listen.display()))?;
        self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner).nodes.insert(node_id.to_owned());
        let endpoint = Endpoint { store: self.store.clone(), node: node_id.to_owned() };
        let (_stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            // An error is that the sender was dropped.
            _ = stopped.await;
        };
        let server = tonic::transport::Server::builder()
            .add_service(IdentityServer::new(endpoint.clone()))
            .add_service(ControllerServer::new(endpoint.clone()))
            .add_service(GroupControllerServer::new(endpoint.clone()))
            .add_service(SnapshotMetadataServer::new(endpoint.clone()))
            .add_service(NodeServer::new(endpoint))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped);
        tokio::spawn(async move {
            if let Err(e) = server.await {
                eprintln!("the driver in memory: {e}");
            }
        });
        Ok(Server { socket: listen.to_owned(), _stop })
    }
}

impl Memory {
    /// Whether there is no volume, snapshot or group.
    pub fn is_empty(&self) -> bool {
        let store = self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        store.volumes.is_empty() && store.snapshots.is_empty() && store.groups.is_empty()
    }
}

impl Server {
    /// The socket, as `--endpoint` takes it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already, with its directory.
        _ = std::fs::remove_file(&self.socket);
    }
}
