//! Disks that the platform attaches: which one is meant, what it says about itself, who uses it.
//!
//! **Invariant:** a disk is known by what sysfs says of the disk that is open, never by a name or a link alone.

mod device;
#[cfg(test)]
mod fake;
mod find;
mod identity;
mod sysfs;
mod used;

pub(crate) use device::{OpenDisk, boot_id, node_path, parse_number, reopen, show_number};
pub(crate) use find::{place_of, wait_for};
pub(crate) use identity::describe;
pub(crate) use sysfs::Sysfs;

use std::path::PathBuf;

/// Where disks are looked for.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// What a path of a plan must begin with: `/dev/pxd/` or `/dev/xvd`. Empty: no plan may name a path.
    pub prefixes: Vec<String>,
    /// `/sys`, but for tests.
    pub sysfs: PathBuf,
    /// `/dev/disk/by-id`, but for tests.
    pub by_id: PathBuf,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { prefixes: Vec::new(), sysfs: "/sys".into(), by_id: "/dev/disk/by-id".into() }
    }
}
