//! Volumes on the host's own disks. A volume is an object of one of the host's pools: a directory, or an image file that
//! becomes a block device.
//!
//! This backend keeps nothing anywhere else. What it must know about a volume or snapshot (the CSI name it was made for, the
//! digest of the request, the file system, the nodes it is attached to) is the object's metadata, which the host writes and
//! removes together with the object. So there is nothing that could disagree with what is on disk, whoever crashes when.
//!
//! Config: see [`settings::Settings`]. Parameters: see [`parameters`]. Metadata: see [`records::key`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod attachment;
mod blocks;
mod capacity;
mod copies;
mod ephemeral;
#[cfg(test)]
mod fake;
mod groups;
mod health;
mod host;
mod listing;
mod modification;
mod names;
mod node;
mod nodes;
mod parameters;
mod placement;
mod records;
mod settings;
mod snapshots;
#[cfg(test)]
mod tests;
mod volumes;
mod walk;

use bulkhead_sdk::prelude::*;
use host::pools;
use placement::Pools;
use settings::Settings;

struct Local;

impl Identity for Local {
    fn get_info() -> Result<Info> {
        let settings = Settings::configured()?;
        let mut promises = Promises::EXPAND_ONLINE
            | Promises::SINGLE_NODE_MULTI_WRITER
            | Promises::PUBLISH_READONLY
            | Promises::PUBLISHED_NODES;
        // A count of a node's volumes is only right if nobody attaches another one meanwhile.
        if settings.max_volumes_per_node.is_some() {
            promises = promises | Promises::ATTACH_ONE_AT_A_TIME_PER_NODE;
        }
        if !settings.topology_keys.is_empty() {
            promises = promises | Promises::SNAPSHOT_TOPOLOGY;
        }
        Ok(Info {
            promises,
            topology_keys: settings.topology_keys,
            loggable_parameters: parameters::KEYS.map(str::to_owned).to_vec(),
            ..Info::new(env!("CARGO_PKG_VERSION"))
        })
    }

    fn probe() -> Result<bool> {
        let configured = Pools::configured()?;
        configured.check()?;
        configured.all().iter().try_for_each(|pool| pools::stat_pool(pool).map(drop))?;
        Ok(true)
    }
}

bulkhead_sdk::backend!(
    Local: identity, volumes, cloning, listing, inspection, capacity, expansion, modification, attachment, snapshots,
    snapshot_listing, group_snapshots, changed_blocks, health, health_listing, storage_health, node, ephemeral,
);
