//! Calls as the sidecars and kubelet make them.

use crate::rig::{NODE, Rig};
use bulkhead_proto::v1;
use bulkhead_tests::client::{Use, capability, create_request};
use bulkhead_vm::{disk::size, machine::wait};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    path::Path,
    time::{Duration, Instant},
};
use tonic::{Code, Status};

pub const GIB: u64 = 1 << 30;
/// Longest until a call is through.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks until it is done, as a CO does: only codes that leave the outcome open are asked again.
pub async fn done<T, F: Future<Output = Result<T, Status>>>(what: &str, ask: impl Fn() -> F) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(status) => {
                let open = matches!(status.code(), Code::Aborted | Code::Unavailable | Code::DeadlineExceeded);
                assert!(open && start.elapsed() < PATIENCE, "{what}: {status}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// As [`done`], and once more: the same answer.
pub async fn twice<T, F>(what: &str, ask: impl Fn() -> F) -> T
where
    T: PartialEq + Debug,
    F: Future<Output = Result<T, Status>>,
{
    let (first, again) = (done(what, &ask).await, done(what, &ask).await);
    assert_eq!(first, again, "{what}, repeated");
    first
}

/// A volume, how it is used, and what attaching it has told.
pub struct Used {
    pub volume: v1::Volume,
    pub usage: Use,
    pub context: BTreeMap<String, String>,
}

impl Used {
    pub fn id(&self) -> &str {
        &self.volume.volume_id
    }
}

impl Rig {
    /// CreateVolume of 1 GiB, from a snapshot or empty, attached.
    pub async fn attached(&self, name: &str, usage: Use, snapshot: Option<&str>) -> Used {
        let client = self.controller().await;
        // As the provisioner does for a pod that is to run on the node.
        let node = self.node().await;
        let told = done("NodeGetInfo", || async {
            Ok(node.node.clone().node_get_info(v1::NodeGetInfoRequest {}).await?.into_inner())
        })
        .await;
        assert_eq!(told.node_id, NODE);
        let here = vec![told.accessible_topology.expect("the node's zone")];
        let request = v1::CreateVolumeRequest {
            accessibility_requirements: Some(v1::TopologyRequirement { requisite: here.clone(), preferred: here }),
            ..create_request(name, GIB as i64, usage, &[("type", "gp3")])
        };
        let volume = twice(name, || async {
            match snapshot {
                Some(snapshot) => client.restore(request.clone(), snapshot).await,
                None => client.create(request.clone()).await,
            }
        })
        .await;
        let mut used = Used { volume, usage, context: BTreeMap::new() };
        self.attach(&mut used).await;
        used
    }

    /// ControllerPublishVolume: the disk is there.
    pub async fn attach(&self, used: &mut Used) {
        let client = self.controller().await;
        let request = publish_request(used);
        used.context = twice("attach", || async {
            let reply = client.controller.clone().controller_publish_volume(request.clone()).await?;
            Ok(reply.into_inner().publish_context)
        })
        .await;
        assert!(self.disks.device(used.id()).is_some(), "{} has no disk", used.id());
    }

    /// ControllerUnpublishVolume: the disk is gone.
    pub async fn detach(&self, used: &Used) {
        let client = self.controller().await;
        let request = v1::ControllerUnpublishVolumeRequest {
            volume_id: used.id().into(),
            node_id: NODE.into(),
            ..Default::default()
        };
        twice("detach", || async {
            client.controller.clone().controller_unpublish_volume(request.clone()).await.map(drop)
        })
        .await;
        assert!(self.disks.device(used.id()).is_none(), "{} still has a disk", used.id());
    }

    /// NodeStageVolume, once.
    pub async fn stage(&self, used: &Used, timeout: Duration) -> Result<(), Status> {
        let client = self.node().await;
        let mut request = tonic::Request::new(v1::NodeStageVolumeRequest {
            volume_id: used.id().into(),
            publish_context: used.context.clone(),
            staging_target_path: client.staging(used.id()),
            volume_capability: Some(capability(used.usage)),
            volume_context: used.volume.volume_context.clone(),
            ..Default::default()
        });
        request.set_timeout(timeout);
        client.node.clone().node_stage_volume(request).await.map(drop)
    }

    /// NodeStageVolume and NodePublishVolume: where the pod has it.
    pub async fn mount(&self, used: &Used) -> String {
        let client = self.node().await;
        twice("stage", || self.stage(used, PATIENCE)).await;
        let request = v1::NodePublishVolumeRequest {
            volume_id: used.id().into(),
            publish_context: used.context.clone(),
            staging_target_path: client.staging(used.id()),
            target_path: client.target("pod-1", used.id()),
            volume_capability: Some(capability(used.usage)),
            volume_context: used.volume.volume_context.clone(),
            ..Default::default()
        };
        twice("publish", || async { client.node.clone().node_publish_volume(request.clone()).await.map(drop) }).await;
        request.target_path
    }

    /// NodeUnpublishVolume and NodeUnstageVolume.
    pub async fn unmount(&self, used: &Used) {
        let client = self.node().await;
        twice("unpublish", || client.unpublish(used.id(), "pod-1")).await;
        twice("unstage", || client.unstage(used.id())).await;
    }

    /// DeleteVolume.
    pub async fn delete(&self, used: &Used) {
        let client = self.controller().await;
        twice("delete", || client.delete(used.id())).await;
    }

    /// ControllerExpandVolume and NodeExpandVolume.
    pub async fn grow(&self, used: &Used, target: &str, bytes: u64) {
        let (controller, node) = (self.controller().await, self.node().await);
        let bytes = i64::try_from(bytes).unwrap();
        let reply = twice("expand", || controller.expand(used.id(), bytes, capability(used.usage))).await;
        assert_eq!((reply.capacity_bytes, reply.node_expansion_required), (bytes, used.usage != Use::Block));
        if reply.node_expansion_required {
            twice("expand on the node", || node.node_expand(used.id(), target, bytes)).await;
        } else {
            // The disk says so itself.
            let grown = || (size(Path::new(target)) == bytes.unsigned_abs()).then_some(());
            assert!(wait(grown).is_some(), "{target} stays as it was");
        }
    }
}

pub fn publish_request(used: &Used) -> v1::ControllerPublishVolumeRequest {
    v1::ControllerPublishVolumeRequest {
        volume_id: used.id().into(),
        node_id: NODE.into(),
        volume_capability: Some(capability(used.usage)),
        volume_context: used.volume.volume_context.clone(),
        ..Default::default()
    }
}
