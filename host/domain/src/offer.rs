//! What a backend offers, and the CSI capabilities that follow from it.
//!
//! **Invariant:** a capability is never claimed, it is derived: from the interfaces that a component exports and from the
//! few promises that no function stands for.

use crate::{StringMap, limits, topology};
use std::collections::BTreeSet;

macro_rules! interfaces {
    ($($(#[$doc:meta])* $case:ident = $name:literal),* $(,)?) => {
        /// An interface that a backend may export.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Interface { $($(#[$doc])* $case),* }

        impl Interface {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// Its name in the WIT, without package and version.
            pub fn name(self) -> &'static str {
                match self { $(Self::$case => $name),* }
            }
        }
    };
}
interfaces! {
    /// What the backend is.
    Identity = "identity",
    /// CREATE_DELETE_VOLUME.
    Volumes = "volumes",
    /// CLONE_VOLUME.
    Cloning = "cloning",
    /// LIST_VOLUMES.
    Listing = "listing",
    /// GET_VOLUME.
    Inspection = "inspection",
    /// GET_CAPACITY.
    Capacity = "capacity",
    /// EXPAND_VOLUME.
    Expansion = "expansion",
    /// MODIFY_VOLUME.
    Modification = "modification",
    /// PUBLISH_UNPUBLISH_VOLUME.
    Attachment = "attachment",
    /// CREATE_DELETE_SNAPSHOT.
    Snapshots = "snapshots",
    /// LIST_SNAPSHOTS and GET_SNAPSHOT.
    SnapshotListing = "snapshot-listing",
    /// GROUP_CONTROLLER_SERVICE.
    GroupSnapshots = "group-snapshots",
    /// SNAPSHOT_METADATA_SERVICE.
    ChangedBlocks = "changed-blocks",
    /// GET_VOLUME_HEALTH.
    Health = "health",
    /// LIST_VOLUME_HEALTH.
    HealthListing = "health-listing",
    /// GET_STORAGE_HEALTH.
    StorageHealth = "storage-health",
    /// The node half: topology, limits, the plan.
    Node = "node",
    /// Inline ephemeral volumes.
    Ephemeral = "ephemeral",
}

impl Interface {
    /// The interface of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|i| i.name() == name)
    }
}

/// Promises that no function stands for; mirror of the flags in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promises {
    /// PUBLISH_READONLY.
    pub publish_readonly: bool,
    /// SINGLE_NODE_MULTI_WRITER.
    pub single_node_multi_writer: bool,
    /// Plugin expansion ONLINE instead of OFFLINE.
    pub expand_online: bool,
    /// LIST_VOLUMES_PUBLISHED_NODES.
    pub published_nodes: bool,
    /// VOLUME_MOUNT_GROUP.
    pub volume_mount_group: bool,
    /// The host runs attach and detach for one node one after the other.
    pub attach_one_at_a_time_per_node: bool,
    /// SNAPSHOT_ACCESSIBILITY_CONSTRAINTS.
    pub snapshot_topology: bool,
}

/// What a backend says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// CSI vendor_version.
    pub vendor_version: String,
    /// CSI manifest.
    pub manifest: StringMap,
    /// What no function stands for.
    pub promises: Promises,
    /// Non-empty = VOLUME_ACCESSIBILITY_CONSTRAINTS.
    pub topology_keys: Vec<String>,
    /// Parameters that hold no secret.
    pub loggable_parameters: Vec<String>,
}

impl Info {
    /// Checks what the backend said.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(&self) -> Result<(), limits::Violation> {
        limits::required_text("vendor-version", &self.vendor_version, limits::STRING_BYTES)?;
        limits::map("manifest", &self.manifest)?;
        if self.topology_keys.len() > limits::LIST_ENTRIES || self.loggable_parameters.len() > limits::LIST_ENTRIES {
            return Err(format!("a list in info has more than {} entries", limits::LIST_ENTRIES));
        }
        for name in &self.loggable_parameters {
            limits::required_text("loggable-parameters", name, limits::STRING_BYTES)?;
        }
        let mut lower = BTreeSet::new();
        let mut prefixes = BTreeSet::new();
        for key in &self.topology_keys {
            topology::check_key(key)?;
            prefixes.insert(key.split_once('/').map_or("", |(prefix, _)| prefix));
            if !lower.insert(key.to_lowercase()) {
                return Err(format!("topology key {key:?} is there twice, regardless of case"));
            }
        }
        if prefixes.len() > 1 {
            return Err("topology keys do not share one prefix".into());
        }
        Ok(())
    }
}

/// Everything a driver offers: the interfaces its backend exports and what it says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What the component exports.
    pub interfaces: BTreeSet<Interface>,
    /// What it says.
    pub info: Info,
}

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
        ExpansionOnline = "VolumeExpansion.ONLINE",
        ExpansionOffline = "VolumeExpansion.OFFLINE",
    }
}

capabilities! {
    /// CSI ControllerServiceCapability.
    ControllerCapability {
        CreateDeleteVolume = "CREATE_DELETE_VOLUME",
        ListVolumes = "LIST_VOLUMES",
        ListVolumesPublishedNodes = "LIST_VOLUMES_PUBLISHED_NODES",
        GetVolume = "GET_VOLUME",
        GetCapacity = "GET_CAPACITY",
        ExpandVolume = "EXPAND_VOLUME",
        SingleNodeMultiWriter = "SINGLE_NODE_MULTI_WRITER",
    }
}

capabilities! {
    /// CSI NodeServiceCapability.
    NodeCapability {
        StageUnstageVolume = "STAGE_UNSTAGE_VOLUME",
        GetVolumeStats = "GET_VOLUME_STATS",
        ExpandVolume = "EXPAND_VOLUME",
        SingleNodeMultiWriter = "SINGLE_NODE_MULTI_WRITER",
        VolumeMountGroup = "VOLUME_MOUNT_GROUP",
    }
}

impl Offer {
    /// The backend exports `interface`.
    pub fn has(&self, interface: Interface) -> bool {
        self.interfaces.contains(&interface)
    }

    /// It has a controller half: anything but identity and the node's interfaces.
    pub fn has_controller(&self) -> bool {
        self.interfaces.iter().any(|i| !matches!(i, Interface::Identity | Interface::Node | Interface::Ephemeral))
    }

    /// CSI GetPluginCapabilities. Only what this host serves: an interface whose RPCs it does not serve yet adds nothing.
    pub fn plugin_capabilities(&self) -> Vec<PluginCapability> {
        let mut out = vec![];
        if self.has_controller() {
            out.push(PluginCapability::ControllerService);
        }
        if !self.info.topology_keys.is_empty() {
            out.push(PluginCapability::VolumeAccessibilityConstraints);
        }
        if self.has(Interface::Expansion) {
            out.push(if self.info.promises.expand_online {
                PluginCapability::ExpansionOnline
            } else {
                PluginCapability::ExpansionOffline
            });
        }
        out
    }

    /// CSI ControllerGetCapabilities.
    pub fn controller_capabilities(&self) -> Vec<ControllerCapability> {
        use ControllerCapability as C;
        let promises = &self.info.promises;
        [
            (self.has(Interface::Volumes), C::CreateDeleteVolume),
            (self.has(Interface::Listing), C::ListVolumes),
            (self.has(Interface::Listing) && promises.published_nodes, C::ListVolumesPublishedNodes),
            (self.has(Interface::Inspection), C::GetVolume),
            (self.has(Interface::Capacity), C::GetCapacity),
            (self.has(Interface::Expansion), C::ExpandVolume),
            (promises.single_node_multi_writer, C::SingleNodeMultiWriter),
        ]
        .into_iter()
        .filter_map(|(offered, capability)| offered.then_some(capability))
        .collect()
    }

    /// CSI NodeGetCapabilities. Staging and statistics are the host's own and always there.
    pub fn node_capabilities(&self) -> Vec<NodeCapability> {
        use NodeCapability as C;
        if !self.has(Interface::Node) {
            return vec![];
        }
        let promises = &self.info.promises;
        [
            (true, C::StageUnstageVolume),
            (true, C::GetVolumeStats),
            (self.has(Interface::Expansion), C::ExpandVolume),
            (promises.single_node_multi_writer, C::SingleNodeMultiWriter),
            (promises.volume_mount_group, C::VolumeMountGroup),
        ]
        .into_iter()
        .filter_map(|(offered, capability)| offered.then_some(capability))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(interfaces: &[Interface], promises: Promises) -> Offer {
        let info = Info { vendor_version: "1".into(), promises, ..Default::default() };
        Offer { interfaces: interfaces.iter().copied().collect(), info }
    }

    #[test]
    fn names_lead_back() {
        for interface in Interface::ALL {
            assert_eq!(Interface::from_name(interface.name()), Some(*interface));
        }
        assert_eq!(Interface::from_name("teleport"), None);
    }

    #[test]
    fn capabilities_follow_from_exports() {
        let bare = offer(&[Interface::Identity], Promises::default());
        assert!(bare.plugin_capabilities().is_empty());
        assert!(bare.controller_capabilities().is_empty() && bare.node_capabilities().is_empty());
        let some = offer(&[Interface::Identity, Interface::Volumes, Interface::Expansion], Promises::default());
        assert_eq!(
            some.plugin_capabilities(),
            [PluginCapability::ControllerService, PluginCapability::ExpansionOffline]
        );
        let promises = Promises { expand_online: true, published_nodes: true, ..Default::default() };
        let online = offer(&[Interface::Identity, Interface::Expansion], promises);
        assert!(online.plugin_capabilities().contains(&PluginCapability::ExpansionOnline));
        assert_eq!(online.controller_capabilities(), [ControllerCapability::ExpandVolume], "no listing, no nodes");
    }

    #[test]
    fn info_is_checked() {
        let with = |keys: &[&str]| Info {
            vendor_version: "1".into(),
            topology_keys: keys.iter().map(|k| (*k).to_owned()).collect(),
            ..Default::default()
        };
        assert!(with(&["a.b/zone", "a.b/rack"]).check().is_ok());
        assert!(with(&["a.b/zone", "a.b/Zone"]).check().is_err());
        assert!(with(&["a.b/zone", "c.d/rack"]).check().is_err());
        assert!(Info::default().check().is_err());
    }
}
