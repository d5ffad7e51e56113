//! The node service.

use super::{Answer, Caller, cap, map};
use crate::{
    calls::{Call, Inline},
    client::Reply,
    ground::Ground,
};
use bulkhead_proto::v1;
use bulkhead_tests::secrets;
use std::collections::BTreeMap;

impl Caller {
    /// As an orchestrator keeps it from CreateVolume. One that knows nothing sends what fits an image.
    async fn context(&self, volume: &str) -> BTreeMap<String, String> {
        let request = v1::ControllerGetVolumeRequest { volume_id: volume.into() };
        match self.client.controller.clone().controller_get_volume(request).await {
            Ok(found) => found.into_inner().volume.map(|volume| volume.volume_context).unwrap_or_default(),
            Err(_) => map(&[("type", "image")]),
        }
    }

    pub(super) async fn node(&self, ground: &Ground, call: &Call) -> Answer {
        let mut c = self.client.node.clone();
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        match call.clone() {
            Call::Stage { volume, path, cap: how, read_only } => {
                let request = v1::NodeStageVolumeRequest {
                    staging_target_path: text(ground.staging(&volume, path)),
                    volume_capability: Some(cap(how)),
                    volume_context: self.context(&volume).await,
                    publish_context: map(&[("readOnly", if read_only { "true" } else { "false" })]),
                    volume_id: volume,
                    secrets: secrets::of_request(),
                };
                c.node_stage_volume(request).await?;
            }
            Call::Unstage { volume, path } => {
                let staging_target_path = text(ground.staging(&volume, path));
                c.node_unstage_volume(v1::NodeUnstageVolumeRequest { volume_id: volume, staging_target_path }).await?;
            }
            Call::Publish { volume, path, pod, cap: how, read_only } => {
                let request = v1::NodePublishVolumeRequest {
                    staging_target_path: text(ground.staging(&volume, path)),
                    target_path: text(ground.target(&volume, pod)),
                    volume_capability: Some(cap(how)),
                    readonly: read_only,
                    volume_id: volume,
                    secrets: secrets::of_request(),
                    ..Default::default()
                };
                c.node_publish_volume(request).await?;
            }
            Call::Unpublish { volume, pod } => {
                let target_path = text(ground.target(&volume, pod));
                c.node_unpublish_volume(v1::NodeUnpublishVolumeRequest { volume_id: volume, target_path }).await?;
            }
            Call::Inline(Inline { volume, pod, cap: how, read_only, pool, size, kind, fs }) => {
                let said = [("pool", pool), ("size", size), ("type", kind), ("fsType", fs)];
                let mut volume_context = map(&said);
                volume_context.insert("csi.storage.k8s.io/ephemeral".into(), "true".into());
                let request = v1::NodePublishVolumeRequest {
                    target_path: text(ground.target(&volume, pod)),
                    volume_capability: Some(cap(how)),
                    readonly: read_only,
                    volume_id: volume,
                    volume_context,
                    secrets: secrets::of_request(),
                    ..Default::default()
                };
                c.node_publish_volume(request).await?;
            }
            other => unreachable!("{other:?} is not the node's"),
        }
        Ok(Reply::Nothing)
    }
}
