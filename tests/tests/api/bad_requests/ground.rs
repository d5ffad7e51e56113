//! A host with two volumes in use, and a good request for every RPC that it offers.

use bulkhead_proto::{FILE_DESCRIPTOR_SET, v1};
use bulkhead_tests::{
    Client, Driver, Host, HostBuilder, Sandbox, World,
    client::{Use, capability_with, create_request},
    raw,
};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, prost::Message};
use std::rc::Rc;
use tonic::{Code, Status};

/// In every secret and every mount flag.
pub const SENTINEL: &str = "hunter2-sentinel";

const MIB: i64 = 1 << 20;
/// What must not change.
const WATCHED: [&str; 4] = ["pool", "kubelet", "state", "outside"];

/// A directory volume, staged and published, and an image that is staged: so there is something to break.
pub struct Ground {
    pub sandbox: Rc<Sandbox>,
    pub host: Host,
    pub client: Client,
    pub volume: v1::Volume,
    pub target: String,
}

/// A good request.
pub struct Good {
    pub method: MethodDescriptor,
    pub message: DynamicMessage,
}

/// All methods of all services of `csi.v1`.
pub fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services: Vec<_> = pool.services().filter(|service| service.package_name() == "csi.v1").collect();
    assert_eq!(services.len(), 5);
    services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// As in a request line.
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

pub fn mount_capability() -> v1::VolumeCapability {
    use v1::volume_capability::access_mode::Mode;
    // A second target is no reason to refuse a path.
    capability_with(Use::Mount(""), Mode::SingleNodeMultiWriter, &["noatime", &format!("x-token={SENTINEL}")])
}

pub fn secrets() -> std::collections::BTreeMap<String, String> {
    [("password".to_owned(), SENTINEL.to_owned())].into()
}

impl Ground {
    pub async fn new(sandbox: Rc<Sandbox>) -> Self {
        let host = HostBuilder::new(&sandbox, [Driver::local(&sandbox)]).start();
        Self::of(sandbox, host).await
    }

    /// With a host that runs already, of the local driver.
    pub async fn of(sandbox: Rc<Sandbox>, host: Host) -> Self {
        sandbox.dir("outside");
        let client = host.client().await;
        let cap = mount_capability;
        let directory = create_request("pvc-directory", 64 * MIB, Use::Mount(""), &[("type", "directory")]);
        let volume = client.create(directory).await.unwrap();
        client.stage(&volume, cap()).await.unwrap();
        let target = client.publish(&volume, cap(), "pod-1", false).await.unwrap();
        let image = client.create(create_request("pvc-image", 64 * MIB, Use::Block, &[])).await.unwrap();
        client.stage(&image, bulkhead_tests::client::capability(Use::Block)).await.unwrap();
        Self { sandbox, host, client, volume, target }
    }

    pub fn world(&self) -> World {
        World::of(&self.sandbox, &WATCHED)
    }

    /// Sends a request that must be refused with `code`, and checks all that holds for every refusal.
    pub async fn is_refused(&self, what: &str, path: &str, message: Vec<u8>, code: Code) {
        let before = self.world();
        let Err(status) = raw::call(&self.client.channel, path, message).await else {
            panic!("{path} accepted {what}")
        };
        assert_eq!(status.code(), code, "{path} with {what}: {status}");
        is_proper(&status, &format!("{path} with {what}"));
        self.world().assert_same(&before, &format!("{path} with {what}"));
    }

    /// The host is well, and what it logged is of a sane size and holds no secret.
    pub async fn is_well(&self) {
        let ready = self.client.identity.clone().probe(v1::ProbeRequest {}).await.unwrap().into_inner().ready;
        assert_eq!(ready, Some(true));
        let log = self.host.log();
        assert!(!log.contains(SENTINEL), "a secret is in the log");
        assert!(!log.contains("panicked"), "{log}");
        let long = log.lines().find(|line| line.len() > 2048 || line.chars().any(char::is_control));
        assert_eq!(long, None, "a line that a client could write as it likes");
    }

    /// Of every RPC with fields that the driver offers. In an order in which all of them succeed, one after the other.
    pub fn good(&self) -> Vec<Good> {
        let volume_id = || self.volume.volume_id.clone();
        let volume_context = || self.volume.volume_context.clone();
        let range = Some(v1::CapacityRange { required_bytes: 64 * MIB, limit_bytes: 0 });
        let capability = || Some(mount_capability());
        let staging_target_path = || self.client.staging(&self.volume.volume_id);
        let zone = || v1::Topology { segments: [("example.com/zone".to_owned(), "a".to_owned())].into() };
        let mut create = create_request("pvc-new", 64 * MIB, Use::Mount(""), &[("type", "directory")]);
        create.secrets = secrets();
        create.volume_capabilities = vec![mount_capability()];
        create.accessibility_requirements =
            Some(v1::TopologyRequirement { requisite: vec![zone()], preferred: vec![zone()] });
        let validate = v1::ValidateVolumeCapabilitiesRequest {
            volume_id: volume_id(),
            volume_context: volume_context(),
            volume_capabilities: vec![mount_capability()],
            parameters: [("type".to_owned(), "directory".to_owned())].into(),
            secrets: secrets(),
            ..Default::default()
        };
        let capacity = v1::GetCapacityRequest {
            volume_capabilities: vec![mount_capability()],
            accessible_topology: Some(zone()),
            ..Default::default()
        };
        let expand = v1::ControllerExpandVolumeRequest {
            volume_id: volume_id(),
            capacity_range: range,
            secrets: secrets(),
            volume_capability: capability(),
        };
        let stage = v1::NodeStageVolumeRequest {
            volume_id: volume_id(),
            staging_target_path: staging_target_path(),
            volume_capability: capability(),
            secrets: secrets(),
            volume_context: volume_context(),
            ..Default::default()
        };
        let publish = v1::NodePublishVolumeRequest {
            volume_id: volume_id(),
            staging_target_path: staging_target_path(),
            target_path: self.target.clone(),
            volume_capability: capability(),
            secrets: secrets(),
            volume_context: volume_context(),
            ..Default::default()
        };
        let stats = v1::NodeGetVolumeStatsRequest {
            volume_id: volume_id(),
            volume_path: self.target.clone(),
            staging_target_path: staging_target_path(),
        };
        let node_expand = v1::NodeExpandVolumeRequest {
            volume_id: volume_id(),
            volume_path: self.target.clone(),
            capacity_range: range,
            staging_target_path: staging_target_path(),
            volume_capability: capability(),
            secrets: secrets(),
        };
        let unpublish = v1::NodeUnpublishVolumeRequest { volume_id: volume_id(), target_path: self.target.clone() };
        let unstage =
            v1::NodeUnstageVolumeRequest { volume_id: volume_id(), staging_target_path: staging_target_path() };
        vec![
            good("CreateVolume", &create),
            good("ValidateVolumeCapabilities", &validate),
            good("ListVolumes", &v1::ListVolumesRequest { max_entries: 1, starting_token: String::new() }),
            good("GetCapacity", &capacity),
            good("ControllerGetVolume", &v1::ControllerGetVolumeRequest { volume_id: volume_id() }),
            good("ControllerExpandVolume", &expand),
            good("NodeStageVolume", &stage),
            good("NodePublishVolume", &publish),
            good("NodeGetVolumeStats", &stats),
            good("NodeExpandVolume", &node_expand),
            good("NodeUnpublishVolume", &unpublish),
            good("NodeUnstageVolume", &unstage),
            good("DeleteVolume", &v1::DeleteVolumeRequest { volume_id: volume_id(), secrets: secrets() }),
        ]
    }
}

fn good(name: &str, message: &impl Message) -> Good {
    let method = methods().into_iter().find(|method| method.name() == name).unwrap();
    let message = DynamicMessage::decode(method.input(), message.encode_to_vec().as_slice()).unwrap();
    Good { method, message }
}

/// What every error has: a message of a sane size that shows no secret, and no details.
pub fn is_proper(status: &Status, what: &str) {
    assert!(!status.message().trim().is_empty() && status.message().len() <= 1024, "{what}: {status}");
    assert!(!status.message().chars().any(char::is_control), "{what}: {status:?}");
    assert!(!status.message().contains(SENTINEL), "{what} shows a secret: {status}");
    assert!(status.details().is_empty(), "{what} has details");
}
