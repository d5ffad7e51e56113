//! Which half grows volumes.

use super::{Interface, Offer};

/// Which half grows the volumes of a backend that exports `expansion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpandedBy {
    /// The controller grows the volume, the node what is mounted from it.
    #[default]
    Both,
    /// The controller alone: a file system grows when it is staged the next time.
    Controller,
    /// The node alone, the object in its pool included.
    Node,
}

impl Offer {
    /// The controller half offers EXPAND_VOLUME.
    pub fn controller_expands(&self) -> bool {
        self.has(Interface::Expansion) && self.expanded_by != ExpandedBy::Node
    }

    /// The node half offers EXPAND_VOLUME, where there is one.
    pub fn node_expands(&self) -> bool {
        self.has(Interface::Expansion) && self.expanded_by != ExpandedBy::Controller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::{ControllerCapability, CsiVersion, Info, NodeCapability, PluginCapability, Promises};

    fn capabilities(expanded_by: ExpandedBy) -> (bool, bool, Vec<PluginCapability>) {
        let offer = Offer {
            csi: CsiVersion::V1_12,
            interfaces: [Interface::Volumes, Interface::Node, Interface::Expansion].into(),
            info: Info { promises: Promises { expand_online: true, ..Promises::default() }, ..Info::default() },
            health_withheld: false,
            expanded_by,
        };
        let controller = offer.controller_capabilities().contains(&ControllerCapability::ExpandVolume);
        let node = offer.node_capabilities(true).contains(&NodeCapability::ExpandVolume);
        (controller, node, offer.plugin_capabilities())
    }

    #[test]
    fn each_half_says_what_it_does_and_the_plugin_that_it_is_done() {
        use ExpandedBy::{Both, Controller, Node};
        for (by, controller, node) in [(Both, true, true), (Controller, true, false), (Node, false, true)] {
            let found = capabilities(by);
            assert_eq!((found.0, found.1), (controller, node), "{by:?}");
            assert!(found.2.contains(&PluginCapability::ExpansionOnline), "{by:?}");
        }
    }
}
