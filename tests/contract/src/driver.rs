//! The driver under test: its sockets, and what it says about itself.

use crate::{Control, Options, control::Shell};
use bulkhead_proto::v1::{
    self, controller_client::ControllerClient, group_controller_client::GroupControllerClient,
    identity_client::IdentityClient, node_client::NodeClient, plugin_capability,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};

/// One of the driver's processes, as the suite sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Where controller calls go.
    Controller,
    /// Where node calls go.
    Node,
    /// The second node.
    SecondNode,
}

/// What is offered, as numbers of the enums, so that values nobody knows are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps {
    /// GetPluginCapabilities, services.
    pub plugin: BTreeSet<i32>,
    /// GetPluginCapabilities, expansion.
    pub expansion: BTreeSet<i32>,
    /// ControllerGetCapabilities.
    pub controller: BTreeSet<i32>,
    /// GroupControllerGetCapabilities.
    pub group: BTreeSet<i32>,
    /// NodeGetCapabilities.
    pub node: BTreeSet<i32>,
}

impl Caps {
    /// Whether the controller has it.
    pub fn has(&self, rpc: v1::controller_service_capability::rpc::Type) -> bool {
        self.controller.contains(&rpc.into())
    }

    /// Whether the node has it.
    pub fn node_has(&self, rpc: v1::node_service_capability::rpc::Type) -> bool {
        self.node.contains(&rpc.into())
    }

    /// Whether the plugin has it.
    pub fn plugin_has(&self, service: plugin_capability::service::Type) -> bool {
        self.plugin.contains(&service.into())
    }

    /// Whether there are group snapshots.
    pub fn groups(&self) -> bool {
        use v1::group_controller_service_capability::rpc::Type;
        self.plugin_has(plugin_capability::service::Type::GroupControllerService)
            && self.group.contains(&Type::CreateDeleteGetVolumeGroupSnapshot.into())
    }
}

/// A driver that answers.
pub struct Driver {
    /// The options.
    pub options: Options,
    /// Name and version.
    pub info: v1::GetPluginInfoResponse,
    /// What it offers.
    pub caps: Caps,
    /// NodeGetInfo, if the endpoint has a Node service.
    pub node_info: Option<v1::NodeGetInfoResponse>,
    /// NodeGetInfo of the second node.
    pub second_node_info: Option<v1::NodeGetInfoResponse>,
    /// Kills and restarts it.
    pub control: Option<Arc<dyn Control>>,
    /// For names that nothing else has.
    pub(crate) run_id: String,
    pub(crate) counter: AtomicU32,
    channels: [Option<Channel>; 3],
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The options hold secrets.
        f.debug_struct("Driver").field("info", &self.info).field("caps", &self.caps).finish_non_exhaustive()
    }
}

/// A connection that is made when it is first used and again when it breaks.
pub(crate) fn channel(endpoint: &str) -> Result<Channel, String> {
    let wrong = |e: tonic::transport::Error| format!("{endpoint}: {e}");
    let path = endpoint.strip_prefix("unix://").or_else(|| endpoint.strip_prefix("unix:"));
    let Some(path) = path.map(str::to_owned).or_else(|| endpoint.starts_with('/').then(|| endpoint.to_owned())) else {
        let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
        return Ok(Endpoint::from_shared(url).map_err(wrong)?.connect_lazy());
    };
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tokio::net::UnixStream::connect(path).await?)) }
    });
    Ok(Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector))
}

/// Nothing, if the service is not served there.
fn served<T>(what: &str, answer: Result<T, Status>) -> Result<Option<T>, String> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(format!("{what}: {status}")),
    }
}

impl Driver {
    /// Connects and asks for names and capabilities.
    ///
    /// # Errors
    /// Nobody answers within the timeout of the options, or a call fails that every driver answers.
    pub async fn connect(options: Options, control: Option<Arc<dyn Control>>) -> Result<Arc<Self>, String> {
        let node = channel(&options.endpoint)?;
        let controller =
            options.controller_endpoint.as_deref().map(channel).transpose()?.unwrap_or_else(|| node.clone());
        let second = options.second_node_endpoint.as_deref().map(channel).transpose()?;
        for channel in [Some(&controller), Some(&node), second.as_ref()].into_iter().flatten() {
            wait_until_ready(channel, options.timeout).await?;
        }
        let info = IdentityClient::new(controller.clone()).get_plugin_info(v1::GetPluginInfoRequest {}).await;
        let caps = capabilities(&controller, &node).await?;
        let node_info = |channel: &Channel| {
            let mut client = NodeClient::new(channel.clone());
            async move { served("NodeGetInfo", client.node_get_info(v1::NodeGetInfoRequest {}).await) }
        };
        let shell = || options.restart_command.clone().map(|line| Arc::new(Shell(line)) as Arc<dyn Control>);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Arc::new(Self {
            info: info.map_err(|e| format!("GetPluginInfo: {e}"))?.into_inner(),
            caps,
            node_info: node_info(&node).await?.map(tonic::Response::into_inner),
            second_node_info: match &second {
                Some(channel) => node_info(channel).await?.map(tonic::Response::into_inner),
                None => None,
            },
            control: control.or_else(shell),
            run_id: format!("{:x}{:x}", std::process::id(), since.as_millis()),
            counter: AtomicU32::new(0),
            channels: [Some(controller), Some(node), second],
            options,
        }))
    }

    /// The connection to a side; the first node's if there is no second.
    pub fn channel(&self, side: Side) -> Channel {
        let [controller, node, second] = &self.channels;
        let found = match side {
            Side::Controller => controller.as_ref(),
            Side::Node => node.as_ref(),
            Side::SecondNode => second.as_ref().or(node.as_ref()),
        };
        // Both are there since `connect`.
        found.cloned().unwrap_or_else(|| Endpoint::from_static("http://localhost").connect_lazy())
    }

    /// Whether that side was given.
    pub fn has(&self, side: Side) -> bool {
        side != Side::SecondNode || self.channels[2].is_some()
    }

    /// Waits until Probe says ready on every side, at most the timeout of the options.
    ///
    /// # Errors
    /// It does not, with its last answer.
    pub async fn wait_until_ready(&self) -> Result<(), String> {
        for channel in self.channels.iter().flatten() {
            wait_until_ready(channel, self.options.timeout).await?;
        }
        Ok(())
    }
}

async fn wait_until_ready(channel: &Channel, patience: Duration) -> Result<(), String> {
    let start = tokio::time::Instant::now();
    loop {
        let mut client = IdentityClient::new(channel.clone());
        let asked = tokio::time::timeout(patience, client.probe(v1::ProbeRequest {})).await;
        let last = match asked {
            Ok(Ok(answer)) if answer.get_ref().ready != Some(false) => return Ok(()),
            Ok(Ok(_)) => "Probe says it is not ready".to_owned(),
            Ok(Err(status)) => format!("Probe: {status}"),
            Err(_) => "Probe does not answer".to_owned(),
        };
        if start.elapsed() > patience {
            return Err(format!("the driver is not ready after {patience:?}: {last}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn capabilities(controller: &Channel, node: &Channel) -> Result<Caps, String> {
    let mut caps = Caps::default();
    let mut client = IdentityClient::new(controller.clone());
    let plugin = client.get_plugin_capabilities(v1::GetPluginCapabilitiesRequest {}).await;
    let plugin = plugin.map_err(|e| format!("GetPluginCapabilities: {e}"))?.into_inner();
    for capability in plugin.capabilities {
        match capability.r#type {
            Some(plugin_capability::Type::Service(service)) => _ = caps.plugin.insert(service.r#type),
            Some(plugin_capability::Type::VolumeExpansion(how)) => _ = caps.expansion.insert(how.r#type),
            None => {}
        }
    }
    let mut client = ControllerClient::new(controller.clone());
    let answer = client.controller_get_capabilities(v1::ControllerGetCapabilitiesRequest {}).await;
    if let Some(answer) = served("ControllerGetCapabilities", answer)? {
        use v1::controller_service_capability::Type;
        let types = answer.into_inner().capabilities.into_iter().filter_map(|c| c.r#type);
        caps.controller = types.map(|Type::Rpc(rpc)| rpc.r#type).collect();
    }
    let mut client = GroupControllerClient::new(controller.clone());
    let answer = client.group_controller_get_capabilities(v1::GroupControllerGetCapabilitiesRequest {}).await;
    if let Some(answer) = served("GroupControllerGetCapabilities", answer)? {
        use v1::group_controller_service_capability::Type;
        let types = answer.into_inner().capabilities.into_iter().filter_map(|c| c.r#type);
        caps.group = types.map(|Type::Rpc(rpc)| rpc.r#type).collect();
    }
    let mut client = NodeClient::new(node.clone());
    let answer = client.node_get_capabilities(v1::NodeGetCapabilitiesRequest {}).await;
    if let Some(answer) = served("NodeGetCapabilities", answer)? {
        use v1::node_service_capability::Type;
        let types = answer.into_inner().capabilities.into_iter().filter_map(|c| c.r#type);
        caps.node = types.map(|Type::Rpc(rpc)| rpc.r#type).collect();
    }
    Ok(caps)
}
