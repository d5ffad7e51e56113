//! Who uses a disk: what is mounted from it, swaps on it, devices made of it.

use super::sysfs::{Disk, Partition};
use crate::mounts::Mount;
use std::path::Path;

/// What the kernel says is in use.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) mounts: Vec<Mount>,
    /// /proc/swaps.
    pub(super) swaps: String,
}

impl Usage {
    /// # Errors
    /// Unavailable: the mount table can't be read.
    pub(super) fn now() -> bulkhead_domain::Result<Self> {
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        Ok(Self { mounts: crate::mounts::all()?, swaps })
    }

    /// Uses of a disk and of all that is on it, for people. Mounts in other namespaces are not seen; opening the disk
    /// exclusively tells those.
    pub(super) fn of_disk(&self, disk: &Disk) -> Vec<String> {
        let mut found = self.of(&disk.name, disk.number, &disk.holders);
        for partition in &disk.partitions {
            found.extend(self.of_partition(partition));
        }
        found
    }

    pub(super) fn of_partition(&self, partition: &Partition) -> Vec<String> {
        self.of(&partition.name, partition.number, &partition.holders)
    }

    fn of(&self, name: &str, number: u64, holders: &[String]) -> Vec<String> {
        let (path, device) = (format!("/dev/{name}"), super::show_number(number));
        let mut found: Vec<String> = holders.iter().map(|holder| format!("{name} is part of {holder}")).collect();
        // btrfs shows numbers of its own, and its device as the source.
        let mounted = self.mounts.iter().find(|mount| mount.device == device || mount.source == Path::new(&path));
        found.extend(mounted.map(|mount| format!("{name} is mounted at {}", mount.mount_point.display())));
        if self.swaps.lines().skip(1).any(|line| line.split_whitespace().next() == Some(&path)) {
            found.push(format!("{name} is used as swap"));
        }
        found
    }
}
