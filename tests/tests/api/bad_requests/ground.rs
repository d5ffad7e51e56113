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

/// A directory volume, staged and published, an image that is staged, one that is not, and snapshots of that: so there is
/// something to break.
pub struct Ground {
    /// Before the sandbox, in which its log is: fields are dropped in order.
    pub host: Host,
    pub sandbox: Rc<Sandbox>,
    pub client: Client,
    pub volume: v1::Volume,
    pub target: String,
    idle: v1::Volume,
    snapshots: [String; 2],
    group: v1::VolumeGroupSnapshot,
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
    bulkhead_tests::secrets::plant(SENTINEL);
    [("password".to_owned(), SENTINEL.to_owned())].into()
}

impl Ground {
    pub async fn new(sandbox: Rc<Sandbox>) -> Self {
        // The newer generation has more to ask for.
        let driver = Driver { csi: "1.13", ..Driver::local(&sandbox) };
        let host = HostBuilder::new(&sandbox, [driver]).start();
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
        let idle = client.create(create_request("pvc-idle", MIB, Use::Block, &[])).await.unwrap();
        let cut = async |name| client.create_snapshot(name, &idle.volume_id).await.unwrap().snapshot_id;
        let snapshots = [cut("snap-1").await, cut("snap-2").await];
        let group = client.create_group("group-1", &[&idle.volume_id]).await.unwrap();
        Self { sandbox, host, client, volume, target, idle, snapshots, group }
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
        let health = v1::NodeGetVolumeHealthRequest {
            volume_id: volume_id(),
            volume_publish_path: self.target.clone(),
            staging_target_path: staging_target_path(),
        };
        let detach = v1::ControllerUnpublishVolumeRequest {
            volume_id: volume_id(),
            node_id: "node-1".into(),
            secrets: secrets(),
        };
        let mut all = vec![
            good("CreateVolume", &create),
            good("ValidateVolumeCapabilities", &validate),
            good("ListVolumes", &v1::ListVolumesRequest { max_entries: 1, starting_token: String::new() }),
            good("GetCapacity", &capacity),
            good("ControllerGetVolume", &v1::ControllerGetVolumeRequest { volume_id: volume_id() }),
            good("ControllerExpandVolume", &expand),
        ];
        all.extend(self.good_of_snapshots());
        all.extend([
            good("ControllerPublishVolume", &self.attach()),
            good("NodeStageVolume", &stage),
            good("NodePublishVolume", &publish),
            good("NodeGetVolumeStats", &stats),
            good("NodeGetVolumeHealth", &health),
            good("NodeGetStorageHealth", &v1::NodeGetStorageHealthRequest { secrets: secrets() }),
            good("NodeExpandVolume", &node_expand),
            good("NodeUnpublishVolume", &unpublish),
            good("NodeUnstageVolume", &unstage),
            good("ControllerUnpublishVolume", &detach),
            good("DeleteVolume", &v1::DeleteVolumeRequest { volume_id: volume_id(), secrets: secrets() }),
        ]);
        all
    }
}

impl Ground {
    fn attach(&self) -> v1::ControllerPublishVolumeRequest {
        v1::ControllerPublishVolumeRequest {
            volume_id: self.volume.volume_id.clone(),
            node_id: "node-1".into(),
            volume_capability: Some(mount_capability()),
            readonly: false,
            secrets: secrets(),
            volume_context: self.volume.volume_context.clone(),
        }
    }

    fn good_of_snapshots(&self) -> Vec<Good> {
        let idle = || self.idle.volume_id.clone();
        let [base, target] = [0, 1].map(|n| self.snapshots[n].clone());
        let group_snapshot_id = || self.group.group_snapshot_id.clone();
        let snapshot_ids = || self.group.snapshots.iter().map(|member| member.snapshot_id.clone()).collect();
        let create = v1::CreateSnapshotRequest {
            source_volume_id: idle(),
            name: "snap-new".into(),
            secrets: secrets(),
            ..Default::default()
        };
        let list = v1::ListSnapshotsRequest { max_entries: 1, secrets: secrets(), ..Default::default() };
        let get = v1::GetSnapshotRequest { snapshot_id: base.clone(), secrets: secrets() };
        let create_group = v1::CreateVolumeGroupSnapshotRequest {
            name: "group-new".into(),
            source_volume_ids: vec![idle()],
            secrets: secrets(),
            ..Default::default()
        };
        let get_group = v1::GetVolumeGroupSnapshotRequest {
            group_snapshot_id: group_snapshot_id(),
            snapshot_ids: snapshot_ids(),
            secrets: secrets(),
        };
        let delete_group = v1::DeleteVolumeGroupSnapshotRequest {
            group_snapshot_id: group_snapshot_id(),
            snapshot_ids: snapshot_ids(),
            secrets: secrets(),
        };
        let allocated = v1::GetMetadataAllocatedRequest {
            snapshot_id: base.clone(),
            starting_offset: 0,
            max_results: 1,
            secrets: secrets(),
        };
        let delta = v1::GetMetadataDeltaRequest {
            base_snapshot_id: base.clone(),
            target_snapshot_id: target,
            starting_offset: 0,
            max_results: 1,
            secrets: secrets(),
        };
        let modify = v1::ControllerModifyVolumeRequest {
            volume_id: idle(),
            secrets: secrets(),
            mutable_parameters: [("provisioning".to_owned(), "thick".to_owned())].into(),
        };
        let health = v1::ControllerGetVolumeHealthRequest { volume_id: idle(), secrets: secrets() };
        let unhealthy =
            v1::ControllerListVolumeHealthRequest { max_entries: 1, secrets: secrets(), ..Default::default() };
        vec![
            good("CreateSnapshot", &create),
            good("ListSnapshots", &list),
            good("GetSnapshot", &get),
            good("CreateVolumeGroupSnapshot", &create_group),
            good("GetVolumeGroupSnapshot", &get_group),
            good("GetMetadataAllocated", &allocated),
            good("GetMetadataDelta", &delta),
            good("DeleteVolumeGroupSnapshot", &delete_group),
            good("DeleteSnapshot", &v1::DeleteSnapshotRequest { snapshot_id: base, secrets: secrets() }),
            good("ControllerModifyVolume", &modify),
            good("ControllerGetVolumeHealth", &health),
            good("ControllerListVolumeHealth", &unhealthy),
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
