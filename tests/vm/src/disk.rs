//! What the kernel says of a disk, and the links to it that udev would make.

use crate::machine::{get, require};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

/// The directory of a device node in sysfs, by the node's number: `/dev/sda` and any other node of that disk give
/// `/sys/block/sda`.
///
/// # Panics
/// It is no disk.
pub fn sysfs(device: &Path) -> PathBuf {
    find(device).unwrap_or_else(|| panic!("{} is no disk", device.display()))
}

/// Size in bytes, as sysfs says; 0 if the disk is gone.
pub fn size(device: &Path) -> u64 {
    find(device).and_then(|dir| get(dir.join("size")).parse::<u64>().ok()).unwrap_or(0) * 512
}

fn find(device: &Path) -> Option<PathBuf> {
    let number = fs::metadata(device).ok()?.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()
}

/// A link in `/dev/disk/by-id`, which the VM has no udev to make. Removed when it is dropped.
#[derive(Debug)]
pub struct ById(PathBuf);

/// Makes the link `/dev/disk/by-id/NAME` to a device, also in the place of one that is there.
///
/// # Panics
/// Outside the VM; the file system refuses.
pub fn by_id(name: &str, device: &Path) -> ById {
    require();
    let dir = Path::new("/dev/disk/by-id");
    fs::create_dir_all(dir).expect("a directory");
    let link = dir.join(name);
    let _ = fs::remove_file(&link);
    symlink(device, &link).expect("a link");
    ById(link)
}

impl ById {
    /// The link.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ById {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
