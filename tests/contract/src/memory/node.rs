//! The node: book-keeping, and an empty directory or file as target.

use super::{
    attach::{mode, multi_node},
    store::{Answer, Store, given, invalid, supported},
};
use bulkhead_proto::v1::{self, volume_capability::AccessType, volume_capability::access_mode::Mode};
use std::{fs, path::Path};
use tonic::Status;

impl Store {
    pub(super) fn stage(
        &mut self,
        node: &str,
        request: v1::NodeStageVolumeRequest,
    ) -> Answer<v1::NodeStageVolumeResponse> {
        given(&[("volume_id", &request.volume_id), ("staging_target_path", &request.staging_target_path)])?;
        supported(request.volume_capability.as_ref())?;
        let volume = self.volume(&request.volume_id)?;
        let Some(capability) = request.volume_capability.filter(|one| volume.has(one)) else {
            return Err(Status::failed_precondition("the volume was not made for that"));
        };
        let key = (node.to_owned(), request.staging_target_path);
        if volume.staged.get(&key).is_some_and(|there| *there != capability) {
            return Err(Status::already_exists("it is staged there in another way"));
        }
        volume.staged.insert(key, capability);
        Ok(v1::NodeStageVolumeResponse {})
    }

    pub(super) fn unstage(
        &mut self,
        node: &str,
        request: v1::NodeUnstageVolumeRequest,
    ) -> Answer<v1::NodeUnstageVolumeResponse> {
        given(&[("volume_id", &request.volume_id), ("staging_target_path", &request.staging_target_path)])?;
        if let Some(volume) = self.volumes.get_mut(&request.volume_id) {
            volume.staged.remove(&(node.to_owned(), request.staging_target_path));
        }
        Ok(v1::NodeUnstageVolumeResponse {})
    }

    pub(super) fn publish(
        &mut self,
        node: &str,
        mut request: v1::NodePublishVolumeRequest,
    ) -> Answer<v1::NodePublishVolumeResponse> {
        given(&[("volume_id", &request.volume_id), ("target_path", &request.target_path)])?;
        supported(request.volume_capability.as_ref())?;
        // Secrets may change between two calls; they are no part of what is asked for.
        request.secrets.clear();
        let volume = self.volume(&request.volume_id)?;
        if !volume.staged.contains_key(&(node.to_owned(), request.staging_target_path.clone())) {
            return Err(Status::failed_precondition("it is not staged there"));
        }
        let key = (node.to_owned(), request.target_path.clone());
        if let Some(there) = volume.published.get(&key) {
            let same = *there == request;
            return if same {
                Ok(v1::NodePublishVolumeResponse {})
            } else {
                Err(Status::already_exists("it is published there in another way"))
            };
        }
        let capability = request.volume_capability.as_ref();
        let several = multi_node(capability) || mode(capability) == Mode::SingleNodeMultiWriter as i32;
        if !several && volume.published.keys().any(|(other, _)| other == node) {
            return Err(Status::failed_precondition("it is published elsewhere, and may have one target only"));
        }
        let block = matches!(capability.and_then(|c| c.access_type.as_ref()), Some(AccessType::Block(_)));
        let target = Path::new(&request.target_path);
        let made = if block { fs::File::create(target).map(drop) } else { fs::create_dir(target) };
        made.map_err(|e| invalid(format!("target_path can't be made: {e}")))?;
        volume.published.insert(key, request);
        Ok(v1::NodePublishVolumeResponse {})
    }

    pub(super) fn unpublish(
        &mut self,
        node: &str,
        request: v1::NodeUnpublishVolumeRequest,
    ) -> Answer<v1::NodeUnpublishVolumeResponse> {
        given(&[("volume_id", &request.volume_id), ("target_path", &request.target_path)])?;
        let key = (node.to_owned(), request.target_path);
        let there = self.volumes.get_mut(&request.volume_id).and_then(|volume| volume.published.remove(&key));
        // Only what is on record was made here.
        if there.is_some() {
            let target = Path::new(&key.1);
            let gone = if target.is_dir() { fs::remove_dir(target) } else { fs::remove_file(target) };
            gone.or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
                .map_err(|e| Status::internal(format!("target_path can't be removed: {e}")))?;
        }
        Ok(v1::NodeUnpublishVolumeResponse {})
    }
}
