//! Volumes and snapshots of Amazon EBS, by EC2's Query API.
//!
//! This backend keeps nothing anywhere but in EC2: what it must know of a volume or snapshot is in tags ([`tags`]). It never sees a key:
//! the host signs its requests. EC2 works in the background, so calls answer `pending` until it is done and the host asks again; and every call may be the second
//! of its kind, so each looks at what is there before it does something.
//!
//! Read on in this order: [`settings`] and [`parameters`], what operators and users ask for; [`ec2`], [`errors`] and [`model`],
//! how EC2 is talked to; [`cloud`], volumes as EC2 has them; then a file for each ability: [`create`] and [`volumes`], [`changes`],
//! [`snapshots`], [`listing`], [`attachment`], [`node`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod attachment;
mod changes;
mod cloud;
mod create;
mod devices;
mod ec2;
mod errors;
#[cfg(test)]
mod fake;
mod host;
mod kinds;
mod limits;
mod listing;
mod model;
mod node;
mod parameters;
mod settings;
mod snapshots;
mod tags;
mod template;
#[cfg(test)]
mod tests;
mod volumes;

use bulkhead_sdk::prelude::*;
use cloud::Cloud;
use create::all_zones;
use settings::Settings;

struct Ebs;

impl Identity for Ebs {
    fn get_info() -> Result<Info> {
        Ok(Info {
            promises: Promises::EXPAND_ONLINE
                | Promises::SINGLE_NODE_MULTI_WRITER
                | Promises::PUBLISHED_NODES
                // Two at once would pick the same device name.
                | Promises::ATTACH_ONE_AT_A_TIME_PER_NODE,
            topology_keys: vec![Settings::configured()?.topology_key],
            loggable_parameters: parameters::LOGGABLE.map(str::to_owned).to_vec(),
            ..Info::new(env!("CARGO_PKG_VERSION"))
        })
    }

    fn probe() -> Result<bool> {
        all_zones(&Cloud::open()?).map(|_| true)
    }
}

bulkhead_sdk::backend!(
    Ebs: identity, volumes, inspection, expansion, modification, snapshots, snapshot_listing, listing, attachment, node,
);
