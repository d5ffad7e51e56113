//! Volumes on the host's own disks. A volume is an object of one of the host's pools: a directory, or an image file that
//! becomes a block device.
//!
//! This backend keeps nothing anywhere else. What it must know about a volume (the CSI name it was made for, the digest of
//! the request, the file system) is the object's metadata, which the host writes and removes together with the object.
//! So there is nothing that could disagree with what is on disk, whoever crashes when.
//!
//! Config: `defaultPool`, for StorageClasses without the parameter `pool`; not needed if only one pool is granted.
//! StorageClass parameters: see [`parameters::Class`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod capacity;
mod listing;
mod names;
mod node;
mod parameters;
mod volumes;

use bulkhead_sdk::call::{self, HostRole};
use bulkhead_sdk::pools;
use bulkhead_sdk::prelude::*;

struct Local;

impl Identity for Local {
    fn get_info() -> Info {
        Info {
            promises: Promises::EXPAND_ONLINE | Promises::SINGLE_NODE_MULTI_WRITER,
            loggable_parameters: parameters::KEYS.map(str::to_owned).to_vec(),
            ..Info::new(env!("CARGO_PKG_VERSION"))
        }
    }

    fn probe() -> Result<bool> {
        // On a node pools are closed to backends, and the plan needs none.
        if call::role() == HostRole::Node {
            return Ok(true);
        }
        let pools = pools::pool_names();
        if pools.is_empty() {
            return Err(parameters::no_pool());
        }
        pools.iter().try_for_each(|pool| pools::stat_pool(pool).map(drop))?;
        Ok(true)
    }
}

bulkhead_sdk::backend!(Local: identity, volumes, node, listing, inspection, capacity, expansion);
