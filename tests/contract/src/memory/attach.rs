//! Attachment.

use super::store::{Answer, MOST, Store, given, supported};
use bulkhead_proto::v1::{self, volume_capability::access_mode::Mode};
use tonic::Status;

pub(super) fn mode(capability: Option<&v1::VolumeCapability>) -> i32 {
    capability.and_then(|capability| capability.access_mode).map_or(0, |mode| mode.mode)
}

pub(super) fn multi_node(capability: Option<&v1::VolumeCapability>) -> bool {
    let modes = [Mode::MultiNodeReaderOnly, Mode::MultiNodeSingleWriter, Mode::MultiNodeMultiWriter];
    modes.iter().any(|one| *one as i32 == mode(capability))
}

impl Store {
    pub(super) fn attach(
        &mut self,
        request: v1::ControllerPublishVolumeRequest,
    ) -> Answer<v1::ControllerPublishVolumeResponse> {
        given(&[("volume_id", &request.volume_id), ("node_id", &request.node_id)])?;
        supported(request.volume_capability.as_ref())?;
        let node = request.node_id.clone();
        let taken = self.volumes.values().filter(|volume| volume.attached.contains_key(&node)).count();
        let known = self.nodes.contains(&node);
        let volume = self.volume(&request.volume_id)?;
        if !known {
            return Err(Status::not_found(format!("there is no node {node}")));
        }
        if request.volume_capability.as_ref().is_some_and(|one| !volume.has(one)) {
            return Err(super::store::invalid("the volume was not made for that"));
        }
        let publish_context = [("device".to_owned(), format!("memory-{}", volume.volume.volume_id))].into();
        if let Some(there) = volume.attached.get(&node) {
            let same = there.readonly == request.readonly && there.volume_capability == request.volume_capability;
            return if same {
                Ok(v1::ControllerPublishVolumeResponse { publish_context })
            } else {
                Err(Status::already_exists("it is attached to this node in another way"))
            };
        }
        if let Some((other, there)) = volume.attached.iter().next()
            && !(multi_node(request.volume_capability.as_ref()) && multi_node(there.volume_capability.as_ref()))
        {
            return Err(Status::failed_precondition(format!("node {other} has the volume")));
        }
        if taken >= MOST {
            return Err(Status::resource_exhausted(format!("node {node} has {taken} volumes, and no room for more")));
        }
        volume.attached.insert(node, request);
        Ok(v1::ControllerPublishVolumeResponse { publish_context })
    }

    pub(super) fn detach(
        &mut self,
        request: &v1::ControllerUnpublishVolumeRequest,
    ) -> Answer<v1::ControllerUnpublishVolumeResponse> {
        given(&[("volume_id", &request.volume_id)])?;
        if let Some(volume) = self.volumes.get_mut(&request.volume_id) {
            volume.attached.retain(|node, _| !request.node_id.is_empty() && *node != request.node_id);
        }
        Ok(v1::ControllerUnpublishVolumeResponse {})
    }
}
