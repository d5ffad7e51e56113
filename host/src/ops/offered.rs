//! Which RPC wants what of a driver: the one place in which UNIMPLEMENTED is decided, before a request is even looked at.

use super::Driver;
use bulkhead_domain::{Error, Result, offer::Interface};

impl Driver {
    /// The RPC of that name is offered by this driver in this process.
    ///
    /// # Errors
    /// UNIMPLEMENTED.
    pub fn check_offered(&self, rpc: &str) -> Result<()> {
        use Interface as I;
        let offer = self.offer();
        let controller = |interfaces: &[I]| self.serves_controller() && interfaces.iter().all(|i| offer.has(*i));
        let node = self.serves_node() && offer.has(I::Node);
        let offered = match rpc {
            "CreateVolume" | "DeleteVolume" | "ValidateVolumeCapabilities" => controller(&[I::Volumes]),
            "ControllerPublishVolume" | "ControllerUnpublishVolume" => controller(&[I::Attachment]),
            "ListVolumes" => controller(&[I::Listing]),
            "ControllerGetVolume" => controller(&[I::Inspection]),
            "GetCapacity" => controller(&[I::Capacity]),
            "ControllerExpandVolume" => controller(&[I::Expansion]) && offer.controller_expands(),
            "ControllerModifyVolume" => controller(&[I::Modification]),
            "CreateSnapshot" | "DeleteSnapshot" => controller(&[I::Snapshots]),
            "ListSnapshots" | "GetSnapshot" => controller(&[I::SnapshotListing]),
            "CreateVolumeGroupSnapshot" | "DeleteVolumeGroupSnapshot" | "GetVolumeGroupSnapshot" => {
                controller(&[I::GroupSnapshots])
            }
            "GetMetadataAllocated" | "GetMetadataDelta" => controller(&[I::ChangedBlocks]),
            "ControllerGetVolumeHealth" => offer.is_1_13() && controller(&[I::Health]),
            "ControllerListVolumeHealth" => offer.is_1_13() && controller(&[I::Health, I::HealthListing]),
            "NodeStageVolume"
            | "NodeUnstageVolume"
            | "NodePublishVolume"
            | "NodeUnpublishVolume"
            | "NodeGetVolumeStats" => node,
            "NodeExpandVolume" => node && offer.node_expands(),
            "NodeGetVolumeHealth" => node && offer.shows_node_health(),
            // Nothing is reachable from a node half, so the controller half of the same process is asked.
            "NodeGetStorageHealth" => node && offer.is_1_13() && controller(&[I::StorageHealth]),
            "ControllerGetCapabilities" => self.serves_controller(),
            "GroupControllerGetCapabilities" => controller(&[I::GroupSnapshots]),
            "NodeGetCapabilities" | "NodeGetInfo" => self.serves_node(),
            _ => true,
        };
        if offered {
            return Ok(());
        }
        Err(Error::unimplemented(format_args!("driver {} does not offer {rpc} here", self.name())))
    }
}
