//! Volumes as directories of NFS shares, on any server.
//!
//! The controller reaches a share as one of the host's pools, on a directory where somebody has mounted the share; a volume is a
//! directory of that pool. Nodes never see the pool: each mounts a volume's directory from the server by itself, as the plan says.
//! Volumes that were on a share before, in directories of their own, are served too, and never removed.
//!
//! This backend keeps nothing anywhere else: what it must know about a volume or snapshot is the metadata of its object.
//!
//! Config: see [`settings::Settings`]. Parameters: see [`parameters`]. Metadata: see [`records::key`]. Ids: see [`names`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod attachment;
mod capacity;
mod copies;
#[cfg(test)]
mod fake;
mod health;
mod host;
mod listing;
mod names;
mod node;
mod parameters;
mod records;
mod settings;
mod shares;
mod snapshots;
#[cfg(test)]
mod tests;
mod volumes;
mod walk;

use bulkhead_sdk::prelude::*;
use host::pools;
use settings::Settings;
use shares::Shares;

struct Share;

impl Identity for Share {
    fn get_info() -> Result<Info> {
        Settings::configured()?;
        let promises = Promises::EXPAND_ONLINE
            | Promises::SINGLE_NODE_MULTI_WRITER
            | Promises::PUBLISH_READONLY
            | Promises::PUBLISHED_NODES;
        Ok(Info {
            promises,
            loggable_parameters: parameters::KEYS.map(str::to_owned).to_vec(),
            ..Info::new(env!("CARGO_PKG_VERSION"))
        })
    }

    fn probe() -> Result<bool> {
        let shares = Shares::configured()?;
        shares.check()?;
        shares.all().iter().try_for_each(|share| pools::stat_pool(share).map(drop))?;
        Ok(true)
    }
}

bulkhead_sdk::backend!(
    Share: identity, volumes, cloning, listing, inspection, capacity, expansion, attachment, snapshots, snapshot_listing,
    health, node,
);
