//! A CSI client over a unix socket, with the requests that tests make again and again.

use crate::{Channel, secrets};
use bulkhead_proto::v1::{
    self, controller_client::ControllerClient, identity_client::IdentityClient, node_client::NodeClient,
};
use std::path::{Path, PathBuf};
use tonic::Status;

/// All services of one driver. What is called by its own methods carries planted secrets, where CSI has a place for them.
#[derive(Debug, Clone)]
pub struct Client {
    /// Identity.
    pub identity: IdentityClient<Channel>,
    /// Controller.
    pub controller: ControllerClient<Channel>,
    /// Node.
    pub node: NodeClient<Channel>,
    /// The underlying connection, for other services.
    pub channel: Channel,
    kubelet: PathBuf,
}

/// The driver behind this socket is served: its backend is loaded, though it may not be healthy. On a thread of its own, so
/// that it can be asked from anywhere.
///
/// # Panics
/// No thread or runtime can be had.
pub fn is_serving(socket: &Path) -> bool {
    if std::os::unix::net::UnixStream::connect(socket).is_err() {
        return false;
    }
    let socket = socket.to_owned();
    // Not Probe: that asks the backend, and its answer is kept for a while.
    let ask = async move {
        let mut client = Client::connect(&socket, Path::new("/")).await;
        client.identity.get_plugin_info(v1::GetPluginInfoRequest {}).await.is_ok()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    std::thread::spawn(move || runtime.block_on(ask)).join().expect("its answer")
}

/// How a volume is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A mounted file system of this type.
    Mount(&'static str),
    /// A raw device.
    Block,
}

/// SINGLE_NODE_WRITER as the given use.
pub fn capability(usage: Use) -> v1::VolumeCapability {
    capability_with(usage, v1::volume_capability::access_mode::Mode::SingleNodeWriter, &[])
}

/// Any capability.
pub fn capability_with(
    usage: Use,
    mode: v1::volume_capability::access_mode::Mode,
    flags: &[&str],
) -> v1::VolumeCapability {
    use v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
    let access_type = match usage {
        Use::Block => AccessType::Block(BlockVolume {}),
        Use::Mount(fs_type) => AccessType::Mount(MountVolume {
            fs_type: fs_type.into(),
            mount_flags: flags.iter().map(|f| (*f).to_owned()).collect(),
            volume_mount_group: String::new(),
        }),
    };
    v1::VolumeCapability { access_type: Some(access_type), access_mode: Some(AccessMode { mode: mode.into() }) }
}

/// CreateVolume of a name, a size in bytes and a use; parameters as pairs.
pub fn create_request(name: &str, bytes: i64, usage: Use, parameters: &[(&str, &str)]) -> v1::CreateVolumeRequest {
    v1::CreateVolumeRequest {
        name: name.into(),
        capacity_range: Some(v1::CapacityRange { required_bytes: bytes, limit_bytes: 0 }),
        volume_capabilities: vec![capability(usage)],
        parameters: parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Default::default()
    }
}

impl Client {
    /// Connects; paths are made below `kubelet`.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn connect(socket: &Path, kubelet: &Path) -> Self {
        let channel = connect(socket).await;
        Self {
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()),
            node: NodeClient::new(channel.clone()),
            channel,
            kubelet: kubelet.to_owned(),
        }
    }

    /// Where a volume is staged; the directory is made, as an orchestrator does.
    pub fn staging(&self, volume_id: &str) -> String {
        let path = self.kubelet.join("plugins/staging").join(volume_id.replace('/', "_")).join("globalmount");
        std::fs::create_dir_all(&path).expect("the staging directory");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// Where a pod gets a volume; the parent is made, as an orchestrator does.
    pub fn target(&self, pod: &str, volume_id: &str) -> String {
        let parent = self.kubelet.join("pods").join(pod).join(volume_id.replace('/', "_"));
        std::fs::create_dir_all(&parent).expect("the pod's directory");
        parent.join("mount").to_str().expect("UTF-8").to_owned()
    }

    /// CreateVolume; with planted secrets, if it has none.
    pub async fn create(&self, request: v1::CreateVolumeRequest) -> Result<v1::Volume, Status> {
        let secrets = if request.secrets.is_empty() { secrets::of_request() } else { request.secrets };
        let request = v1::CreateVolumeRequest { secrets, ..request };
        let reply = self.controller.clone().create_volume(request).await?;
        Ok(reply.into_inner().volume.expect("a volume"))
    }

    /// DeleteVolume.
    pub async fn delete(&self, volume_id: &str) -> Result<(), Status> {
        let request = v1::DeleteVolumeRequest { volume_id: volume_id.into(), secrets: secrets::of_request() };
        self.controller.clone().delete_volume(request).await.map(drop)
    }

    /// NodeStageVolume.
    pub async fn stage(&self, volume: &v1::Volume, capability: v1::VolumeCapability) -> Result<(), Status> {
        let request = v1::NodeStageVolumeRequest {
            volume_id: volume.volume_id.clone(),
            staging_target_path: self.staging(&volume.volume_id),
            volume_capability: Some(capability),
            volume_context: volume.volume_context.clone(),
            secrets: secrets::of_request(),
            ..Default::default()
        };
        self.node.clone().node_stage_volume(request).await.map(drop)
    }

    /// NodeUnstageVolume.
    pub async fn unstage(&self, volume_id: &str) -> Result<(), Status> {
        let request =
            v1::NodeUnstageVolumeRequest { volume_id: volume_id.into(), staging_target_path: self.staging(volume_id) };
        self.node.clone().node_unstage_volume(request).await.map(drop)
    }

    /// NodePublishVolume for a pod.
    pub async fn publish(
        &self,
        volume: &v1::Volume,
        capability: v1::VolumeCapability,
        pod: &str,
        readonly: bool,
    ) -> Result<String, Status> {
        let target = self.target(pod, &volume.volume_id);
        let request = v1::NodePublishVolumeRequest {
            volume_id: volume.volume_id.clone(),
            staging_target_path: self.staging(&volume.volume_id),
            target_path: target.clone(),
            volume_capability: Some(capability),
            readonly,
            volume_context: volume.volume_context.clone(),
            secrets: secrets::of_request(),
            ..Default::default()
        };
        self.node.clone().node_publish_volume(request).await?;
        Ok(target)
    }

    /// NodeUnpublishVolume for a pod.
    pub async fn unpublish(&self, volume_id: &str, pod: &str) -> Result<(), Status> {
        let request =
            v1::NodeUnpublishVolumeRequest { volume_id: volume_id.into(), target_path: self.target(pod, volume_id) };
        self.node.clone().node_unpublish_volume(request).await.map(drop)
    }

    /// ControllerExpandVolume to so many bytes.
    pub async fn expand(
        &self,
        volume_id: &str,
        bytes: i64,
        capability: v1::VolumeCapability,
    ) -> Result<v1::ControllerExpandVolumeResponse, Status> {
        let request = v1::ControllerExpandVolumeRequest {
            volume_id: volume_id.into(),
            capacity_range: Some(v1::CapacityRange { required_bytes: bytes, limit_bytes: 0 }),
            volume_capability: Some(capability),
            secrets: secrets::of_request(),
        };
        Ok(self.controller.clone().controller_expand_volume(request).await?.into_inner())
    }

    /// NodeExpandVolume to so many bytes, by a path at which the volume is published or staged.
    pub async fn node_expand(&self, volume_id: &str, path: &str, bytes: i64) -> Result<i64, Status> {
        let request = v1::NodeExpandVolumeRequest {
            volume_id: volume_id.into(),
            volume_path: path.into(),
            capacity_range: Some(v1::CapacityRange { required_bytes: bytes, limit_bytes: 0 }),
            secrets: secrets::of_request(),
            ..Default::default()
        };
        Ok(self.node.clone().node_expand_volume(request).await?.into_inner().capacity_bytes)
    }

    /// NodeGetVolumeStats of a path: `(bytes, inodes)`.
    pub async fn stats(&self, volume_id: &str, path: &str) -> Result<Vec<v1::VolumeUsage>, Status> {
        let request = v1::NodeGetVolumeStatsRequest {
            volume_id: volume_id.into(),
            volume_path: path.into(),
            ..Default::default()
        };
        Ok(self.node.clone().node_get_volume_stats(request).await?.into_inner().usage)
    }
}

/// A gRPC connection to a unix socket.
///
/// # Panics
/// Nobody answers.
pub async fn connect(socket: &Path) -> Channel {
    connect_as(tonic::transport::Endpoint::from_static("http://localhost"), socket).await
}

/// A gRPC connection to a unix socket, with the endpoint's authority and settings.
///
/// # Panics
/// Nobody answers.
pub async fn connect_as(endpoint: tonic::transport::Endpoint, socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tokio::net::UnixStream::connect(socket).await?)) }
    });
    Channel::over(endpoint.connect_with_connector(connector).await.expect("a connection"))
}
