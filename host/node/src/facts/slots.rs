//! Disks that take one of a cloud instance's attachment slots without being a volume of ours: the root disk, and what the operator has
//! attached. Told from volumes by where they are mounted, so that a host that is started again while volumes are
//! staged counts the same.

use super::FactFinder;
use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// Model by which a disk of Amazon's cloud shows itself on the NVMe bus. Instance stores have another one and take no slot.
const EBS_MODEL: &str = "Amazon Elastic Block Store";
/// How deep devices on top of devices are followed: partition, RAID, encryption, LVM and one to spare.
const DEPTH: u32 = 5;

/// What is in use outside of kubelet's directory.
struct Users {
    /// `major:minor` of everything that is mounted there.
    mounted: HashSet<String>,
    /// Names of devices that are swapped to.
    swap: HashSet<String>,
}

impl FactFinder {
    pub(super) fn used_slots(&self) -> Option<u32> {
        let disks: Vec<String> = self.list("sys/block").into_iter().filter(|name| self.is_cloud_disk(name)).collect();
        if disks.is_empty() {
            return None;
        }
        let users = self.users()?;
        let used = disks.iter().filter(|disk| self.is_used(&format!("sys/block/{disk}"), disk, &users, DEPTH));
        u32::try_from(used.count()).ok()
    }

    fn is_cloud_disk(&self, name: &str) -> bool {
        let xen = name.strip_prefix("xvd").is_some_and(|rest| !rest.is_empty());
        let model = || self.read(&format!("sys/block/{name}/device/model"));
        xen || (name.starts_with("nvme") && model().is_some_and(|model| model.trim() == EBS_MODEL))
    }

    /// The device, one of its partitions or something on top of them.
    fn is_used(&self, path: &str, name: &str, users: &Users, depth: u32) -> bool {
        let number = self.read(&format!("{path}/dev")).unwrap_or_default();
        if users.mounted.contains(number.trim()) || users.swap.contains(name) {
            return true;
        }
        if depth == 0 {
            return false;
        }
        let partition = |child: &String| self.exists(&format!("{path}/{child}/partition"));
        let partitions: BTreeSet<String> =
            self.list(path).into_iter().filter(|child| child.starts_with(name)).filter(partition).collect();
        let holders = self.list(&format!("{path}/holders"));
        partitions.iter().any(|child| self.is_used(&format!("{path}/{child}"), child, users, depth - 1))
            || holders.iter().any(|top| self.is_used(&format!("sys/block/{top}"), top, users, depth - 1))
    }

    fn users(&self) -> Option<Users> {
        // The first process's table is the node's; where it can't be seen, this process's own has the root disk at least.
        let table = self.read("proc/1/mountinfo").or_else(|| self.read("proc/self/mountinfo"))?;
        let mut mounted = HashSet::new();
        for line in table.lines() {
            let mut fields = line.split(' ').skip(2);
            let (Some(device), Some(place)) = (fields.next(), fields.nth(1)) else { continue };
            let place = crate::mounts::unescape(place.as_bytes()).into_owned();
            if !self.is_volume(&PathBuf::from(OsString::from_vec(place))) {
                mounted.insert(device.to_owned());
            }
        }
        let swaps = self.read("proc/swaps").unwrap_or_default();
        let name = |line: &str| Some(line.split_ascii_whitespace().next()?.strip_prefix("/dev/")?.to_owned());
        Some(Users { mounted, swap: swaps.lines().skip(1).filter_map(name).collect() })
    }

    fn is_volume(&self, place: &Path) -> bool {
        place != self.kubelet_root && place.starts_with(&self.kubelet_root)
    }
}
