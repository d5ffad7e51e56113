//! The whole life of a volume, in steps: requests that are right, and calls that must succeed.

use crate::{
    Cx, Outcome,
    check::{ok, some},
    options::Map,
};
use bulkhead_proto::v1::{
    self, controller_service_capability::rpc::Type as ControllerRpc, node_service_capability::rpc::Type as NodeRpc,
};

/// A volume at a target path, and what is needed to take it down again.
#[derive(Debug, Clone)]
pub struct InUse {
    /// The volume.
    pub volume: v1::Volume,
    /// What ControllerPublishVolume gave; empty where nothing is attached.
    pub publish_context: Map,
    /// Where it is staged; empty where nothing is.
    pub staging: String,
    /// Where it is published.
    pub target: String,
}

impl Cx {
    /// CreateVolume for this case's use, with a new name.
    pub fn create_request(&self, what: &str) -> v1::CreateVolumeRequest {
        let options = &self.driver.options;
        v1::CreateVolumeRequest {
            name: self.name(what),
            capacity_range: Some(v1::CapacityRange { required_bytes: self.bytes(), limit_bytes: 0 }),
            volume_capabilities: vec![self.capability()],
            parameters: options.parameters.clone().unwrap_or_default(),
            ..Default::default()
        }
    }

    /// A new volume.
    ///
    /// # Errors
    /// It can't be made.
    pub async fn create(&self, what: &str) -> Outcome<v1::Volume> {
        let answer = self.create_volume(self.create_request(what)).await;
        some(ok(answer, "CreateVolume")?.volume, "volume")
    }

    /// DeleteVolume.
    ///
    /// # Errors
    /// The driver refuses.
    pub async fn delete(&self, volume_id: &str) -> Outcome {
        let request = v1::DeleteVolumeRequest { volume_id: volume_id.into(), ..Default::default() };
        ok(self.delete_volume(request).await, "DeleteVolume").map(drop)
    }

    /// ControllerPublishVolume to this context's node.
    pub fn attach_request(&self, volume: &v1::Volume) -> v1::ControllerPublishVolumeRequest {
        v1::ControllerPublishVolumeRequest {
            volume_id: volume.volume_id.clone(),
            node_id: self.node_id(),
            volume_capability: Some(self.capability()),
            volume_context: volume.volume_context.clone(),
            ..Default::default()
        }
    }

    /// Attaches; where the driver does not attach, nothing is done.
    ///
    /// # Errors
    /// The driver refuses.
    pub async fn attach(&self, volume: &v1::Volume) -> Outcome<Map> {
        if !self.driver.caps.has(ControllerRpc::PublishUnpublishVolume) {
            return Ok(Map::new());
        }
        let answer = self.controller_publish_volume(self.attach_request(volume)).await;
        Ok(ok(answer, "ControllerPublishVolume")?.publish_context)
    }

    /// Detaches from this context's node; where the driver does not attach, nothing is done.
    ///
    /// # Errors
    /// The driver refuses.
    pub async fn detach(&self, volume_id: &str) -> Outcome {
        if !self.driver.caps.has(ControllerRpc::PublishUnpublishVolume) {
            return Ok(());
        }
        let request = v1::ControllerUnpublishVolumeRequest {
            volume_id: volume_id.into(),
            node_id: self.node_id(),
            ..Default::default()
        };
        ok(self.controller_unpublish_volume(request).await, "ControllerUnpublishVolume").map(drop)
    }

    /// NodeStageVolume at a new path.
    ///
    /// # Errors
    /// The path can't be made.
    pub fn stage_request(&self, volume: &v1::Volume, publish_context: &Map) -> Outcome<v1::NodeStageVolumeRequest> {
        Ok(v1::NodeStageVolumeRequest {
            volume_id: volume.volume_id.clone(),
            publish_context: publish_context.clone(),
            staging_target_path: self.staging_path()?,
            volume_capability: Some(self.capability()),
            volume_context: volume.volume_context.clone(),
            ..Default::default()
        })
    }

    /// Stages: the path; where the driver does not stage, an empty one.
    ///
    /// # Errors
    /// The driver refuses.
    pub async fn stage(&self, volume: &v1::Volume, publish_context: &Map) -> Outcome<String> {
        if !self.driver.caps.node_has(NodeRpc::StageUnstageVolume) {
            return Ok(String::new());
        }
        let request = self.stage_request(volume, publish_context)?;
        let path = request.staging_target_path.clone();
        ok(self.node_stage_volume(request).await, "NodeStageVolume")?;
        Ok(path)
    }

    /// NodeUnstageVolume; nothing for an empty path.
    ///
    /// # Errors
    /// The driver refuses.
    pub async fn unstage(&self, volume_id: &str, staging: &str) -> Outcome {
        if staging.is_empty() {
            return Ok(());
        }
        let request = v1::NodeUnstageVolumeRequest { volume_id: volume_id.into(), staging_target_path: staging.into() };
        ok(self.node_unstage_volume(request).await, "NodeUnstageVolume").map(drop)
    }

    /// NodePublishVolume at a new target.
    ///
    /// # Errors
    /// Its parent can't be made.
    pub fn publish_request(
        &self,
        volume: &v1::Volume,
        publish_context: &Map,
        staging: &str,
    ) -> Outcome<v1::NodePublishVolumeRequest> {
        Ok(v1::NodePublishVolumeRequest {
            volume_id: volume.volume_id.clone(),
            publish_context: publish_context.clone(),
            staging_target_path: staging.into(),
            target_path: self.target_path()?,
            volume_capability: Some(self.capability()),
            volume_context: volume.volume_context.clone(),
            ..Default::default()
        })
    }

    /// Publishes: the target path.
    ///
    /// # Errors
    /// The driver refuses.
    pub async fn publish(&self, volume: &v1::Volume, publish_context: &Map, staging: &str) -> Outcome<String> {
        let request = self.publish_request(volume, publish_context, staging)?;
        let target = request.target_path.clone();
        ok(self.node_publish_volume(request).await, "NodePublishVolume")?;
        Ok(target)
    }

    /// NodeUnpublishVolume.
    ///
    /// # Errors
    /// The driver refuses.
    pub async fn unpublish(&self, volume_id: &str, target: &str) -> Outcome {
        let request = v1::NodeUnpublishVolumeRequest { volume_id: volume_id.into(), target_path: target.into() };
        ok(self.node_unpublish_volume(request).await, "NodeUnpublishVolume").map(drop)
    }

    /// Attaches, stages and publishes, as far as the driver has these.
    ///
    /// # Errors
    /// The driver refuses one of them.
    pub async fn put_to_use(&self, volume: &v1::Volume) -> Outcome<InUse> {
        let publish_context = self.attach(volume).await?;
        let staging = self.stage(volume, &publish_context).await?;
        let target = self.publish(volume, &publish_context, &staging).await?;
        Ok(InUse { volume: volume.clone(), publish_context, staging, target })
    }

    /// The reverse of [`Cx::put_to_use`].
    ///
    /// # Errors
    /// The driver refuses one of them.
    pub async fn put_away(&self, used: &InUse) -> Outcome {
        let id = &used.volume.volume_id;
        self.unpublish(id, &used.target).await?;
        self.unstage(id, &used.staging).await?;
        self.detach(id).await
    }

    /// A whole life: created, used, put away, deleted.
    ///
    /// # Errors
    /// A step fails.
    pub async fn life(&self, what: &str) -> Outcome {
        let volume = self.create(what).await?;
        let used = self.put_to_use(&volume).await?;
        self.put_away(&used).await?;
        self.delete(&volume.volume_id).await
    }

    /// CreateSnapshot with a new name.
    pub fn snapshot_request(&self, source_volume_id: &str, what: &str) -> v1::CreateSnapshotRequest {
        v1::CreateSnapshotRequest {
            source_volume_id: source_volume_id.into(),
            name: self.name(what),
            parameters: self.driver.options.snapshot_parameters.clone().unwrap_or_default(),
            ..Default::default()
        }
    }

    /// A new snapshot that is ready.
    ///
    /// # Errors
    /// It can't be made, or isn't ready in time.
    pub async fn snapshot(&self, source_volume_id: &str, what: &str) -> Outcome<v1::Snapshot> {
        self.ready_snapshot(self.snapshot_request(source_volume_id, what)).await
    }

    /// Repeats a request until the snapshot is ready, as an orchestrator does.
    ///
    /// # Errors
    /// As [`Cx::snapshot`].
    pub async fn ready_snapshot(&self, request: v1::CreateSnapshotRequest) -> Outcome<v1::Snapshot> {
        let start = tokio::time::Instant::now();
        loop {
            let answer = self.create_snapshot(request.clone()).await;
            let pending = matches!(&answer, Err(s) if s.code() == tonic::Code::Aborted);
            if !pending {
                let snapshot = some(ok(answer, "CreateSnapshot")?.snapshot, "snapshot")?;
                if snapshot.ready_to_use {
                    return Ok(snapshot);
                }
            }
            crate::ensure!(start.elapsed() < self.driver.options.timeout, "the snapshot is not ready in time");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}
