//! The proxy itself.

use super::{Fault, Hooks, served::Served};
use bulkhead_proto::v1::{
    controller_server::ControllerServer, group_controller_server::GroupControllerServer,
    identity_server::IdentityServer, node_server::NodeServer, snapshot_metadata_server::SnapshotMetadataServer,
};
use std::path::{Path, PathBuf};
use tokio::{net::UnixListener, sync::oneshot};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

/// A CSI driver on a unix socket that is another driver with a fault. Dropping it takes the socket away; calls under way end first.
#[derive(Debug)]
pub struct Proxy {
    socket: PathBuf,
    // Dropped with the proxy: the server hears it.
    _stop: oneshot::Sender<()>,
}

impl Proxy {
    /// Serves on `listen`, a socket that must not be there yet, what the driver at `upstream` (`unix:///path`, a path, or
    /// `host:port`) answers; with a fault, what a driver with that fault would answer. Without one, everything goes through
    /// unchanged. The driver need not be there yet, and may be restarted. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// The socket can't be made, or `upstream` is no address.
    pub fn start(upstream: &str, listen: &Path, fault: Option<&Fault>) -> Result<Self, String> {
        let mut hooks = Hooks::default();
        if let Some(fault) = fault {
            (fault.plant)(&mut hooks);
        }
        Self::with_hooks(upstream, listen, hooks)
    }

    /// As [`Proxy::start`], with hooks of one's own.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn with_hooks(upstream: &str, listen: &Path, hooks: Hooks) -> Result<Self, String> {
        let served = Served::new(crate::driver::channel(upstream)?, hooks);
        let listener = UnixListener::bind(listen).map_err(|e| format!("{}: {e}", listen.display()))?;
        let (_stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            // An error is that the sender was dropped.
            _ = stopped.await;
        };
        let server = Server::builder()
            .add_service(IdentityServer::new(served.clone()).max_decoding_message_size(usize::MAX))
            .add_service(ControllerServer::new(served.clone()).max_decoding_message_size(usize::MAX))
            .add_service(GroupControllerServer::new(served.clone()).max_decoding_message_size(usize::MAX))
            .add_service(SnapshotMetadataServer::new(served.clone()).max_decoding_message_size(usize::MAX))
            .add_service(NodeServer::new(served).max_decoding_message_size(usize::MAX))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped);
        tokio::spawn(async move {
            if let Err(e) = server.await {
                eprintln!("bulkhead-contract: the proxy: {e}");
            }
        });
        Ok(Self { socket: listen.to_owned(), _stop })
    }

    /// The socket, as `--endpoint` takes it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may be gone already, with its directory.
        _ = std::fs::remove_file(&self.socket);
    }
}
