//! Requests about snapshots and inline volumes that tests make again and again.

use crate::Client;
use bulkhead_proto::v1::{self, group_controller_client::GroupControllerClient};
use tonic::Status;

impl Client {
    /// CreateSnapshot.
    ///
    /// # Errors
    /// The host's.
    pub async fn create_snapshot(&self, name: &str, volume_id: &str) -> Result<v1::Snapshot, Status> {
        let request =
            v1::CreateSnapshotRequest { source_volume_id: volume_id.into(), name: name.into(), ..Default::default() };
        let answer = self.controller.clone().create_snapshot(request).await?.into_inner();
        answer.snapshot.ok_or_else(|| Status::internal("no snapshot"))
    }

    /// DeleteSnapshot.
    ///
    /// # Errors
    /// The host's.
    pub async fn delete_snapshot(&self, snapshot_id: &str) -> Result<(), Status> {
        let request = v1::DeleteSnapshotRequest { snapshot_id: snapshot_id.into(), ..Default::default() };
        self.controller.clone().delete_snapshot(request).await.map(drop)
    }

    /// CreateVolume from a snapshot, otherwise like `request`.
    ///
    /// # Errors
    /// The host's.
    pub async fn restore(&self, request: v1::CreateVolumeRequest, snapshot_id: &str) -> Result<v1::Volume, Status> {
        use v1::volume_content_source::{SnapshotSource, Type};
        let source = Type::Snapshot(SnapshotSource { snapshot_id: snapshot_id.into() });
        let volume_content_source = Some(v1::VolumeContentSource { r#type: Some(source) });
        self.create(v1::CreateVolumeRequest { volume_content_source, ..request }).await
    }

    /// The group controller service.
    pub fn groups(&self) -> GroupControllerClient<crate::Channel> {
        GroupControllerClient::new(self.channel.clone())
    }

    /// CreateVolumeGroupSnapshot.
    ///
    /// # Errors
    /// The host's.
    pub async fn create_group(&self, name: &str, volume_ids: &[&str]) -> Result<v1::VolumeGroupSnapshot, Status> {
        let request = v1::CreateVolumeGroupSnapshotRequest {
            name: name.into(),
            source_volume_ids: volume_ids.iter().map(|id| (*id).to_owned()).collect(),
            ..Default::default()
        };
        let answer = self.groups().create_volume_group_snapshot(request).await?.into_inner();
        answer.group_snapshot.ok_or_else(|| Status::internal("no group"))
    }

    /// NodePublishVolume of an inline ephemeral volume: its target.
    ///
    /// # Errors
    /// The host's.
    pub async fn publish_inline(
        &self,
        volume_id: &str,
        attributes: &[(&str, &str)],
        capability: v1::VolumeCapability,
        pod: &str,
    ) -> Result<String, Status> {
        let target_path = self.target(pod, volume_id);
        let ephemeral = ("csi.storage.k8s.io/ephemeral", "true");
        let context = attributes.iter().chain([&ephemeral]);
        let request = v1::NodePublishVolumeRequest {
            volume_id: volume_id.into(),
            target_path: target_path.clone(),
            volume_capability: Some(capability),
            volume_context: context.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Default::default()
        };
        self.node.clone().node_publish_volume(request).await.map(|_| target_path)
    }

    /// ControllerModifyVolume.
    ///
    /// # Errors
    /// The host's.
    pub async fn modify(&self, volume_id: &str, parameters: &[(&str, &str)]) -> Result<(), Status> {
        let request = v1::ControllerModifyVolumeRequest {
            volume_id: volume_id.into(),
            mutable_parameters: parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Default::default()
        };
        self.controller.clone().controller_modify_volume(request).await.map(drop)
    }
}
