//! Makes calls over the socket, as an orchestrator does.

mod groups;
mod look;
mod node;

use super::{
    calls::{Call, Cap, Create, Source},
    ground::{Ground, KEY},
};
use bulkhead_proto::v1::{
    self, group_controller_client::GroupControllerClient, snapshot_metadata_client::SnapshotMetadataClient,
};
use bulkhead_tests::{Channel, Client, client::capability_with, secrets};
use std::collections::BTreeMap;
use tonic::Status;

/// What came back.
#[derive(Debug, Clone)]
pub enum Reply {
    Nothing,
    Volume(v1::Volume),
    Volumes(Vec<v1::list_volumes_response::Entry>),
    Listed(v1::ControllerGetVolumeResponse),
    /// Confirmed.
    Validated(bool),
    Capacity(v1::GetCapacityResponse),
    Snapshot(v1::Snapshot),
    Snapshots(Vec<v1::Snapshot>),
    Group(v1::VolumeGroupSnapshot),
    Expanded(v1::ControllerExpandVolumeResponse),
    Context(BTreeMap<String, String>),
    Health(Vec<String>),
    /// Size of the snapshot; offset and length of each range.
    Blocks(i64, Vec<(i64, i64)>),
    Usage(Vec<v1::VolumeUsage>, Option<bool>),
    Bytes(i64),
    /// Everything that never changes, in one text.
    Facts(String),
}

/// Clients of all services of one connection.
#[derive(Clone)]
pub struct Caller {
    client: Client,
    group: GroupControllerClient<Channel>,
    blocks: SnapshotMetadataClient<Channel>,
}

type Answer = Result<Reply, Status>;

pub fn cap(cap: Cap) -> v1::VolumeCapability {
    capability_with(cap.usage, cap.mode, &[])
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn requirement(zones: &[&str]) -> Option<v1::TopologyRequirement> {
    let requisite: Vec<_> = zones.iter().map(|zone| v1::Topology { segments: map(&[(KEY, zone)]) }).collect();
    (!zones.is_empty()).then_some(v1::TopologyRequirement { requisite, preferred: vec![] })
}

fn range(required_bytes: i64, limit_bytes: i64) -> Option<v1::CapacityRange> {
    Some(v1::CapacityRange { required_bytes, limit_bytes })
}

fn broken(what: &str) -> Status {
    Status::data_loss(format!("the answer is against the specification: {what}"))
}

fn create(c: &Create) -> v1::CreateVolumeRequest {
    use v1::volume_content_source::{SnapshotSource, Type, VolumeSource};
    let source = c.source.as_ref().map(|source| match source {
        Source::Volume(id) => Type::Volume(VolumeSource { volume_id: id.clone() }),
        Source::Snapshot(id) => Type::Snapshot(SnapshotSource { snapshot_id: id.clone() }),
    });
    v1::CreateVolumeRequest {
        name: c.name.clone(),
        capacity_range: range(c.required, c.limit),
        volume_capabilities: c.caps.iter().copied().map(cap).collect(),
        parameters: map(&[("pool", c.pool), ("type", c.kind), ("provisioning", c.provisioning)]),
        mutable_parameters: map(&[("provisioning", c.mutable)]),
        accessibility_requirements: requirement(&c.zones),
        volume_content_source: source.map(|r#type| v1::VolumeContentSource { r#type: Some(r#type) }),
        secrets: secrets::of_request(),
    }
}

/// Problems, as text.
fn problems(health: Option<v1::VolumeHealth>) -> Vec<String> {
    let statuses = health.map(|health| health.health_statuses).unwrap_or_default();
    statuses.into_iter().map(|status| format!("{} {}", status.reason, status.message)).collect()
}

impl Caller {
    pub async fn connect(ground: &Ground) -> Self {
        let client = Client::connect(&ground.socket(), &ground.root.join("kubelet")).await;
        let (group, blocks) =
            (GroupControllerClient::new(client.channel.clone()), SnapshotMetadataClient::new(client.channel.clone()));
        Self { client, group, blocks }
    }

    pub async fn call(&self, ground: &Ground, call: &Call) -> Answer {
        use Call::{
            Allocated, CreateGroup, DeleteGroup, Delta, GetGroup, Inline, NodeExpand, NodeHealth, NodeInfo, Publish,
            Stage, Stats, StorageHealth, Unpublish, Unstage, Write,
        };
        match call {
            CreateGroup { .. } | DeleteGroup { .. } | GetGroup { .. } => self.groups(call).await,
            Allocated { .. } | Delta { .. } => self.blocks(call).await,
            Stage { .. } | Unstage { .. } | Publish { .. } | Unpublish { .. } | Inline(_) => {
                self.node(ground, call).await
            }
            Stats { .. } | NodeExpand { .. } | NodeHealth { .. } | NodeInfo | StorageHealth => {
                self.look(ground, call).await
            }
            Write { volume, pod, tag } => {
                let target = ground.target(volume, *pod);
                ground.write(volume, *pod, !target.is_dir(), *tag);
                Ok(Reply::Nothing)
            }
            Call::Identity => self.identity().await,
            _ => self.controller(call).await,
        }
    }

    async fn identity(&self) -> Answer {
        let mut identity = self.client.identity.clone();
        let info = identity.get_plugin_info(v1::GetPluginInfoRequest {}).await?.into_inner();
        let plugin = identity.get_plugin_capabilities(v1::GetPluginCapabilitiesRequest {}).await?.into_inner();
        let ready = identity.probe(v1::ProbeRequest {}).await?.into_inner().ready;
        let mut controller = self.client.controller.clone();
        let controller = controller.controller_get_capabilities(v1::ControllerGetCapabilitiesRequest {}).await?;
        let mut group = self.group.clone();
        let group = group.group_controller_get_capabilities(v1::GroupControllerGetCapabilitiesRequest {}).await?;
        let node = self.client.node.clone().node_get_capabilities(v1::NodeGetCapabilitiesRequest {}).await?;
        Ok(Reply::Facts(format!(
            "{} {ready:?} {plugin:?} {:?} {:?} {:?}",
            info.name,
            controller.into_inner(),
            group.into_inner(),
            node.into_inner()
        )))
    }

    async fn controller(&self, call: &Call) -> Answer {
        let mut c = self.client.controller.clone();
        Ok(match call.clone() {
            Call::CreateVolume(request) => {
                let made = c.create_volume(create(&request)).await?.into_inner().volume;
                Reply::Volume(made.ok_or_else(|| broken("no volume"))?)
            }
            Call::DeleteVolume { volume: volume_id } => {
                c.delete_volume(v1::DeleteVolumeRequest { volume_id, secrets: secrets::of_request() }).await?;
                Reply::Nothing
            }
            Call::Attach { volume: volume_id, node, cap: how, read_only } => {
                let volume_capability = Some(cap(how));
                let request = v1::ControllerPublishVolumeRequest {
                    volume_id,
                    node_id: node.into(),
                    volume_capability,
                    readonly: read_only,
                    secrets: secrets::of_request(),
                    ..Default::default()
                };
                Reply::Context(c.controller_publish_volume(request).await?.into_inner().publish_context)
            }
            Call::Detach { volume: volume_id, node } => {
                let node_id = node.into();
                let secrets = secrets::of_request();
                let request = v1::ControllerUnpublishVolumeRequest { volume_id, node_id, secrets };
                c.controller_unpublish_volume(request).await?;
                Reply::Nothing
            }
            Call::Validate { volume: volume_id, caps, pool, kind, mutable } => {
                let request = v1::ValidateVolumeCapabilitiesRequest {
                    volume_id,
                    volume_capabilities: caps.into_iter().map(cap).collect(),
                    parameters: map(&[("pool", pool), ("type", kind)]),
                    mutable_parameters: map(&[("provisioning", mutable)]),
                    secrets: secrets::of_request(),
                    ..Default::default()
                };
                let answer = c.validate_volume_capabilities(request).await?.into_inner();
                if answer.confirmed.is_none() == answer.message.is_empty() {
                    return Err(broken("confirmed with a reason against, or neither"));
                }
                Reply::Validated(answer.confirmed.is_some())
            }
            Call::Expand { volume: volume_id, required, limit, cap: how } => {
                let request = v1::ControllerExpandVolumeRequest {
                    volume_id,
                    capacity_range: range(required, limit),
                    volume_capability: how.map(cap),
                    secrets: secrets::of_request(),
                };
                Reply::Expanded(c.controller_expand_volume(request).await?.into_inner())
            }
            Call::Modify { volume: volume_id, key, value } => {
                let mutable_parameters = map(&[(key, value)]);
                let secrets = secrets::of_request();
                let request = v1::ControllerModifyVolumeRequest { volume_id, mutable_parameters, secrets };
                c.controller_modify_volume(request).await?;
                Reply::Nothing
            }
            Call::Capacity { cap: how, pool, provisioning } => {
                let request = v1::GetCapacityRequest {
                    volume_capabilities: vec![cap(how)],
                    parameters: map(&[("pool", pool), ("provisioning", provisioning)]),
                    ..Default::default()
                };
                Reply::Capacity(c.get_capacity(request).await?.into_inner())
            }
            _ => return self.controller_looks(call).await,
        })
    }
}

/// A page is not longer than asked for, and none but the last is empty.
fn page_fits(entries: usize, max: i32, next: &str) -> Result<(), Status> {
    let most = usize::try_from(max).unwrap();
    if (max > 0 && entries > most) || (entries == 0 && !next.is_empty()) {
        return Err(broken("a page is too long, or empty with another one after it"));
    }
    Ok(())
}
