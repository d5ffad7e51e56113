//! The capabilities.

use bulkhead_domain::offer::{ControllerCapability, GroupCapability, NodeCapability, Offer, PluginCapability};
use bulkhead_proto::v1;

/// GetPluginCapabilities.
pub fn plugin_capabilities(offer: &Offer) -> v1::GetPluginCapabilitiesResponse {
    use v1::plugin_capability::{Service, Type, VolumeExpansion, service, volume_expansion};
    let service = |t: service::Type| Type::Service(Service { r#type: t.into() });
    let expansion = |t: volume_expansion::Type| Type::VolumeExpansion(VolumeExpansion { r#type: t.into() });
    let wire = |capability| match capability {
        PluginCapability::ControllerService => service(service::Type::ControllerService),
        PluginCapability::VolumeAccessibilityConstraints => service(service::Type::VolumeAccessibilityConstraints),
        PluginCapability::GroupControllerService => service(service::Type::GroupControllerService),
        PluginCapability::SnapshotMetadataService => service(service::Type::SnapshotMetadataService),
        PluginCapability::SnapshotAccessibilityConstraints => service(service::Type::SnapshotAccessibilityConstraints),
        PluginCapability::ExpansionOnline => expansion(volume_expansion::Type::Online),
        PluginCapability::ExpansionOffline => expansion(volume_expansion::Type::Offline),
    };
    let capabilities = offer.plugin_capabilities();
    v1::GetPluginCapabilitiesResponse {
        capabilities: capabilities.into_iter().map(|c| v1::PluginCapability { r#type: Some(wire(c)) }).collect(),
    }
}

/// ControllerGetCapabilities.
pub fn controller_capabilities(offer: &Offer) -> v1::ControllerGetCapabilitiesResponse {
    use v1::controller_service_capability::{Rpc, Type, rpc};
    let wire = |capability| match capability {
        ControllerCapability::CreateDeleteVolume => rpc::Type::CreateDeleteVolume,
        ControllerCapability::PublishUnpublishVolume => rpc::Type::PublishUnpublishVolume,
        ControllerCapability::ListVolumes => rpc::Type::ListVolumes,
        ControllerCapability::GetCapacity => rpc::Type::GetCapacity,
        ControllerCapability::CreateDeleteSnapshot => rpc::Type::CreateDeleteSnapshot,
        ControllerCapability::ListSnapshots => rpc::Type::ListSnapshots,
        ControllerCapability::CloneVolume => rpc::Type::CloneVolume,
        ControllerCapability::PublishReadonly => rpc::Type::PublishReadonly,
        ControllerCapability::ExpandVolume => rpc::Type::ExpandVolume,
        ControllerCapability::ListVolumesPublishedNodes => rpc::Type::ListVolumesPublishedNodes,
        ControllerCapability::VolumeCondition => rpc::Type::VolumeCondition,
        ControllerCapability::GetVolume => rpc::Type::GetVolume,
        ControllerCapability::SingleNodeMultiWriter => rpc::Type::SingleNodeMultiWriter,
        ControllerCapability::ModifyVolume => rpc::Type::ModifyVolume,
        ControllerCapability::GetSnapshot => rpc::Type::GetSnapshot,
        ControllerCapability::GetVolumeHealth => rpc::Type::GetVolumeHealth,
        ControllerCapability::ListVolumeHealth => rpc::Type::ListVolumeHealth,
    };
    let capability = |c| v1::ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: wire(c).into() })) };
    v1::ControllerGetCapabilitiesResponse {
        capabilities: offer.controller_capabilities().into_iter().map(capability).collect(),
    }
}

/// NodeGetCapabilities.
pub fn node_capabilities(capabilities: Vec<NodeCapability>) -> v1::NodeGetCapabilitiesResponse {
    use v1::node_service_capability::{Rpc, Type, rpc};
    let wire = |capability| match capability {
        NodeCapability::StageUnstageVolume => rpc::Type::StageUnstageVolume,
        NodeCapability::GetVolumeStats => rpc::Type::GetVolumeStats,
        NodeCapability::ExpandVolume => rpc::Type::ExpandVolume,
        NodeCapability::VolumeCondition => rpc::Type::VolumeCondition,
        NodeCapability::SingleNodeMultiWriter => rpc::Type::SingleNodeMultiWriter,
        NodeCapability::VolumeMountGroup => rpc::Type::VolumeMountGroup,
        NodeCapability::GetVolumeHealth => rpc::Type::GetVolumeHealth,
        NodeCapability::GetStorageHealth => rpc::Type::GetStorageHealth,
    };
    let capability = |c| v1::NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: wire(c).into() })) };
    v1::NodeGetCapabilitiesResponse { capabilities: capabilities.into_iter().map(capability).collect() }
}

/// GroupControllerGetCapabilities.
pub fn group_capabilities(offer: &Offer) -> v1::GroupControllerGetCapabilitiesResponse {
    use v1::group_controller_service_capability::{Rpc, Type, rpc};
    let wire = |capability| match capability {
        GroupCapability::CreateDeleteGetVolumeGroupSnapshot => rpc::Type::CreateDeleteGetVolumeGroupSnapshot,
    };
    let capability =
        |c| v1::GroupControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: wire(c).into() })) };
    v1::GroupControllerGetCapabilitiesResponse {
        capabilities: offer.group_capabilities().into_iter().map(capability).collect(),
    }
}
