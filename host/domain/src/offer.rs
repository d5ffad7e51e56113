//! What a backend offers, and the CSI capabilities that follow from it.
//!
//! **Invariant:** a capability is never claimed, it is derived: from the interfaces that a component exports and from the
//! few promises that no function stands for.

mod capabilities;
mod expansion;

pub use capabilities::{ControllerCapability, GroupCapability, NodeCapability, PluginCapability};
pub use expansion::ExpandedBy;

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

/// A generation of CSI. They differ in alpha capabilities: 1.13 has health calls where 1.12 has a volume condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CsiVersion {
    /// 1.12, the default: clients of that generation may refuse capabilities that they do not know.
    #[default]
    V1_12,
    /// 1.13.
    V1_13,
}

/// Everything a driver offers: the interfaces its backend exports and what it says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which generation of CSI is spoken.
    pub csi: CsiVersion,
    /// What the component exports.
    pub interfaces: BTreeSet<Interface>,
    /// What it says.
    pub info: Info,
    /// The operator wants nothing said about health, also not what the node sees by itself.
    pub health_withheld: bool,
    /// Which half grows volumes, if `expansion` is exported.
    pub expanded_by: ExpandedBy,
}

impl Offer {
    /// All of these interfaces, in the oldest generation of CSI that is spoken by default, with nothing withheld.
    pub fn of(interfaces: BTreeSet<Interface>, info: Info) -> Self {
        Self {
            csi: CsiVersion::default(),
            interfaces,
            info,
            health_withheld: false,
            expanded_by: ExpandedBy::default(),
        }
    }

    /// A promise stands for something that is exported.
    ///
    /// # Errors
    /// Says which does not.
    pub fn check(&self) -> Result<(), limits::Violation> {
        use Interface as I;
        let promises = &self.info.promises;
        for (promised, what, needs) in [
            (promises.publish_readonly, "publish-readonly", &[I::Attachment][..]),
            (promises.attach_one_at_a_time_per_node, "attach-one-at-a-time-per-node", &[I::Attachment]),
            (promises.expand_online, "expand-online", &[I::Expansion]),
            (promises.published_nodes, "published-nodes", &[I::Listing, I::Inspection]),
            (promises.snapshot_topology, "snapshot-topology", &[I::Snapshots]),
            (promises.volume_mount_group, "volume-mount-group", &[I::Node]),
            (self.has(I::HealthListing), "health-listing", &[I::Health]),
        ] {
            if promised && !needs.iter().any(|interface| self.has(*interface)) {
                return Err(format!("{what} is promised, but {} is not exported", needs[0].name()));
            }
        }
        Ok(())
    }

    /// The backend exports `interface`.
    pub fn has(&self, interface: Interface) -> bool {
        self.interfaces.contains(&interface)
    }

    /// It has a controller half: anything but identity and the node's interfaces.
    pub fn has_controller(&self) -> bool {
        self.interfaces.iter().any(|i| !matches!(i, Interface::Identity | Interface::Node | Interface::Ephemeral))
    }

    /// Speaks CSI 1.13.
    pub fn is_1_13(&self) -> bool {
        self.csi >= CsiVersion::V1_13
    }

    /// VOLUME_CONDITION of the controller: the backend knows about health, and the client is of the older generation.
    pub fn shows_volume_condition(&self) -> bool {
        self.has(Interface::Health) && !self.is_1_13()
    }

    /// What the node sees by itself is shown as VOLUME_CONDITION.
    pub fn shows_node_condition(&self) -> bool {
        !self.health_withheld && !self.is_1_13()
    }

    /// What the node sees by itself is shown as NodeGetVolumeHealth.
    pub fn shows_node_health(&self) -> bool {
        !self.health_withheld && self.is_1_13()
    }

    /// CSI GetPluginCapabilities.
    pub fn plugin_capabilities(&self) -> Vec<PluginCapability> {
        use PluginCapability as C;
        let promises = &self.info.promises;
        let topology = !self.info.topology_keys.is_empty();
        let expansion = self.has(Interface::Expansion);
        offered([
            (self.has_controller(), C::ControllerService),
            (topology, C::VolumeAccessibilityConstraints),
            (self.has(Interface::GroupSnapshots), C::GroupControllerService),
            (self.has(Interface::ChangedBlocks), C::SnapshotMetadataService),
            (topology && promises.snapshot_topology && self.is_1_13(), C::SnapshotAccessibilityConstraints),
            (expansion && promises.expand_online, C::ExpansionOnline),
            (expansion && !promises.expand_online, C::ExpansionOffline),
        ])
    }

    /// CSI ControllerGetCapabilities.
    pub fn controller_capabilities(&self) -> Vec<ControllerCapability> {
        use ControllerCapability as C;
        let promises = &self.info.promises;
        let has = |interface| self.has(interface);
        offered([
            (has(Interface::Volumes), C::CreateDeleteVolume),
            (has(Interface::Attachment), C::PublishUnpublishVolume),
            (has(Interface::Listing), C::ListVolumes),
            (has(Interface::Capacity), C::GetCapacity),
            (has(Interface::Snapshots), C::CreateDeleteSnapshot),
            (has(Interface::SnapshotListing), C::ListSnapshots),
            (has(Interface::Cloning), C::CloneVolume),
            (has(Interface::Attachment) && promises.publish_readonly, C::PublishReadonly),
            (self.controller_expands(), C::ExpandVolume),
            // Without attachment there is nothing to tell of nodes.
            (
                has(Interface::Listing) && has(Interface::Attachment) && promises.published_nodes,
                C::ListVolumesPublishedNodes,
            ),
            (self.shows_volume_condition(), C::VolumeCondition),
            (has(Interface::Inspection), C::GetVolume),
            (promises.single_node_multi_writer, C::SingleNodeMultiWriter),
            (has(Interface::Modification), C::ModifyVolume),
            (has(Interface::SnapshotListing), C::GetSnapshot),
            (has(Interface::Health) && self.is_1_13(), C::GetVolumeHealth),
            (has(Interface::Health) && has(Interface::HealthListing) && self.is_1_13(), C::ListVolumeHealth),
        ])
    }

    /// CSI NodeGetCapabilities. Staging, statistics and what the node sees of a volume's health are the host's own and always
    /// there. `controller`: this process serves the controller half too, which is asked about the storage system.
    pub fn node_capabilities(&self, controller: bool) -> Vec<NodeCapability> {
        use NodeCapability as C;
        if !self.has(Interface::Node) {
            return vec![];
        }
        let promises = &self.info.promises;
        offered([
            (true, C::StageUnstageVolume),
            (true, C::GetVolumeStats),
            (self.node_expands(), C::ExpandVolume),
            (self.shows_node_condition(), C::VolumeCondition),
            (promises.single_node_multi_writer, C::SingleNodeMultiWriter),
            (promises.volume_mount_group, C::VolumeMountGroup),
            (self.shows_node_health(), C::GetVolumeHealth),
            (controller && self.has(Interface::StorageHealth) && self.is_1_13(), C::GetStorageHealth),
        ])
    }

    /// CSI GroupControllerGetCapabilities.
    pub fn group_capabilities(&self) -> Vec<GroupCapability> {
        offered([(self.has(Interface::GroupSnapshots), GroupCapability::CreateDeleteGetVolumeGroupSnapshot)])
    }
}

fn offered<C, const N: usize>(all: [(bool, C); N]) -> Vec<C> {
    all.into_iter().filter_map(|(offered, capability)| offered.then_some(capability)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(interfaces: &[Interface], promises: Promises) -> Offer {
        let info = Info { vendor_version: "1".into(), promises, ..Default::default() };
        Offer {
            csi: CsiVersion::V1_12,
            interfaces: interfaces.iter().copied().collect(),
            info,
            health_withheld: false,
            expanded_by: ExpandedBy::Both,
        }
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
        assert!(bare.controller_capabilities().is_empty() && bare.node_capabilities(true).is_empty());
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
    fn the_generations_speak_of_health_differently() {
        let exported = [Interface::Identity, Interface::Node, Interface::Health, Interface::StorageHealth];
        let old = offer(&exported, Promises::default());
        assert_eq!(old.controller_capabilities(), [ControllerCapability::VolumeCondition]);
        assert!(old.node_capabilities(true).contains(&NodeCapability::VolumeCondition));
        let new = Offer { csi: CsiVersion::V1_13, ..old.clone() };
        assert_eq!(new.controller_capabilities(), [ControllerCapability::GetVolumeHealth]);
        assert!(new.node_capabilities(true).contains(&NodeCapability::GetStorageHealth));
        assert!(!new.node_capabilities(false).contains(&NodeCapability::GetStorageHealth), "nobody to ask");
        let silent = Offer { health_withheld: true, ..new };
        assert!(!silent.node_capabilities(true).contains(&NodeCapability::GetVolumeHealth));
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
