//! The Node service.

use super::{absolute_path, capability, invalid, known_path, map, range, required_capability, secrets, volume_id};
use bulkhead_domain::{
    Error, Result, limits,
    node::{NodeExpand, NodeHealth, Publish, Stats, Unpublish, Unstage},
    request::{InlineVolume, NodePublishVolume, NodeStageVolume, Secrets},
};
use bulkhead_proto::v1;

/// By which Kubernetes tells an inline volume from one that was made before.
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";

/// NodeStageVolume.
pub fn node_stage(r: v1::NodeStageVolumeRequest) -> Result<NodeStageVolume> {
    Ok(NodeStageVolume {
        volume_id: volume_id(r.volume_id)?,
        staging_path: absolute_path("staging_target_path", r.staging_target_path)?,
        capability: required_capability(r.volume_capability)?,
        context: map("volume_context", r.volume_context)?,
        publish_context: map("publish_context", r.publish_context)?,
        secrets: secrets(r.secrets)?,
    })
}

/// NodeUnstageVolume.
pub fn node_unstage(r: v1::NodeUnstageVolumeRequest) -> Result<Unstage> {
    Ok(Unstage {
        volume_id: volume_id(r.volume_id)?,
        staging_path: absolute_path("staging_target_path", r.staging_target_path)?,
    })
}

/// NodePublishVolume. An inline volume is one that says so and was not staged.
pub fn node_publish(r: v1::NodePublishVolumeRequest) -> Result<NodePublishVolume> {
    let volume_id = volume_id(r.volume_id)?;
    let target_path = absolute_path("target_path", r.target_path)?;
    let capability = required_capability(r.volume_capability)?;
    let context = map("volume_context", r.volume_context)?;
    map("publish_context", r.publish_context)?;
    let (secrets, read_only) = (secrets(r.secrets)?, r.readonly);
    if r.staging_target_path.is_empty() {
        if context.get(EPHEMERAL).is_some_and(|value| value == "true") {
            let inline = InlineVolume { volume_id, context, target_path, capability, read_only, secrets };
            return Ok(NodePublishVolume::Inline(inline));
        }
        // The specification's code for a CO that skips staging.
        return Err(Error::failed_precondition("staging_target_path is missing: this driver stages volumes"));
    }
    let staging_path = absolute_path("staging_target_path", r.staging_target_path)?;
    Ok(NodePublishVolume::Staged(Publish { volume_id, staging_path, target_path, capability, read_only }))
}

/// NodeUnpublishVolume.
pub fn node_unpublish(r: v1::NodeUnpublishVolumeRequest) -> Result<Unpublish> {
    Ok(Unpublish { volume_id: volume_id(r.volume_id)?, target_path: absolute_path("target_path", r.target_path)? })
}

/// NodeGetVolumeStats.
pub fn node_stats(r: v1::NodeGetVolumeStatsRequest) -> Result<Stats> {
    unused_staging_path(r.staging_target_path)?;
    Ok(Stats { volume_id: volume_id(r.volume_id)?, volume_path: known_path("volume_path", r.volume_path)? })
}

/// NodeExpandVolume.
pub fn node_expand(r: v1::NodeExpandVolumeRequest) -> Result<NodeExpand> {
    let volume_id = volume_id(r.volume_id)?;
    let volume_path = known_path("volume_path", r.volume_path)?;
    unused_staging_path(r.staging_target_path)?;
    r.volume_capability.map(capability).transpose()?;
    secrets(r.secrets)?;
    let range = range(r.capacity_range)?;
    Ok(NodeExpand {
        volume_id,
        volume_path,
        required_bytes: range.and_then(|r| r.required()),
        limit_bytes: range.and_then(|r| r.limit()),
    })
}

/// NodeGetVolumeHealth. Without a path the volume is looked at wherever it is.
pub fn node_health(r: v1::NodeGetVolumeHealthRequest) -> Result<NodeHealth> {
    let volume_id = volume_id(r.volume_id)?;
    limits::text("volume_publish_path", &r.volume_publish_path, limits::PATH_BYTES).map_err(invalid)?;
    limits::text("staging_target_path", &r.staging_target_path, limits::PATH_BYTES).map_err(invalid)?;
    let paths = [("volume_publish_path", r.volume_publish_path), ("staging_target_path", r.staging_target_path)];
    let path = paths.into_iter().find(|(_, path)| !path.is_empty());
    Ok(NodeHealth { volume_id, volume_path: path.map(|(what, path)| known_path(what, path)).transpose()? })
}

/// NodeGetStorageHealth.
pub fn storage_health(r: v1::NodeGetStorageHealthRequest) -> Result<Secrets> {
    secrets(r.secrets)
}

/// Optional, and not needed: the journal knows where a volume is staged.
fn unused_staging_path(path: String) -> Result<()> {
    if path.is_empty() { Ok(()) } else { absolute_path("staging_target_path", path).map(drop) }
}
