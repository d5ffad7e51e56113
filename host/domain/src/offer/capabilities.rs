//! Names of the capabilities of CSI that this host knows.

macro_rules! capabilities {
    ($(#[$doc:meta])* $name:ident { $($case:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $(#[doc = $text] $case),* }

        impl $name {
            /// Its name in the specification.
            pub fn name(self) -> &'static str {
                match self { $(Self::$case => $text),* }
            }
        }
    };
}
capabilities! {
    /// CSI PluginCapability.
    PluginCapability {
        ControllerService = "CONTROLLER_SERVICE",
        VolumeAccessibilityConstraints = "VOLUME_ACCESSIBILITY_CONSTRAINTS",
        GroupControllerService = "GROUP_CONTROLLER_SERVICE",
        SnapshotMetadataService = "SNAPSHOT_METADATA_SERVICE",
        SnapshotAccessibilityConstraints = "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS",
        ExpansionOnline = "VolumeExpansion.ONLINE",
        ExpansionOffline = "VolumeExpansion.OFFLINE",
    }
}

capabilities! {
    /// CSI ControllerServiceCapability.
    ControllerCapability {
        CreateDeleteVolume = "CREATE_DELETE_VOLUME",
        PublishUnpublishVolume = "PUBLISH_UNPUBLISH_VOLUME",
        ListVolumes = "LIST_VOLUMES",
        GetCapacity = "GET_CAPACITY",
        CreateDeleteSnapshot = "CREATE_DELETE_SNAPSHOT",
        ListSnapshots = "LIST_SNAPSHOTS",
        CloneVolume = "CLONE_VOLUME",
        PublishReadonly = "PUBLISH_READONLY",
        ExpandVolume = "EXPAND_VOLUME",
        ListVolumesPublishedNodes = "LIST_VOLUMES_PUBLISHED_NODES",
        VolumeCondition = "VOLUME_CONDITION",
        GetVolume = "GET_VOLUME",
        SingleNodeMultiWriter = "SINGLE_NODE_MULTI_WRITER",
        ModifyVolume = "MODIFY_VOLUME",
        GetSnapshot = "GET_SNAPSHOT",
        GetVolumeHealth = "GET_VOLUME_HEALTH",
        ListVolumeHealth = "LIST_VOLUME_HEALTH",
    }
}
capabilities! {
    /// CSI NodeServiceCapability.
    NodeCapability {
        StageUnstageVolume = "STAGE_UNSTAGE_VOLUME",
        GetVolumeStats = "GET_VOLUME_STATS",
        ExpandVolume = "EXPAND_VOLUME",
        VolumeCondition = "VOLUME_CONDITION",
        SingleNodeMultiWriter = "SINGLE_NODE_MULTI_WRITER",
        VolumeMountGroup = "VOLUME_MOUNT_GROUP",
        GetVolumeHealth = "GET_VOLUME_HEALTH",
        GetStorageHealth = "GET_STORAGE_HEALTH",
    }
}
capabilities! {
    /// CSI GroupControllerServiceCapability.
    GroupCapability {
        CreateDeleteGetVolumeGroupSnapshot = "CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT",
    }
}
