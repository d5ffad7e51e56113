//! Is what is mounted at a path ours?
//!
//! Asked of the kernel each time: what the journal says was mounted may have been unmounted, covered or replaced since.

use crate::disk::show_number;
use crate::error::{Context, IoResult};
use crate::fence::Place;
use crate::journal::{ExportSource, ObjectSource};
use crate::loopdev;
use crate::mounts::{self, Mount};
use bulkhead_domain::Result;
use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags, makedev, statx};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// What is expected at a path.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// Nothing of ours.
    Nothing,
    /// The file system on one of these devices; and what is left of the one on a disk that is gone.
    Filesystem { numbers: Vec<u64>, dead: Option<u64> },
    /// A bind mount of one of these devices' nodes, by name and number; and of the node of a disk that is gone.
    Node { nodes: Vec<(String, u64)>, dead: Option<(String, u64)> },
    /// A bind mount of the node of a loop device that is not attached any more: one of these numbers, which may be somebody
    /// else's by now, or any free one.
    DeadNode(Vec<u32>),
    /// A bind mount of this directory.
    Directory(Box<ObjectSource>),
    /// This export. Only the mount table is asked: a server that does not answer would keep whoever looks at the path.
    Export(Box<ExportSource>),
}

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is mounted there.
    Nothing,
    /// Ours is on top.
    Ours,
    /// Something else is on top, ours is beneath.
    Covered,
    /// Ours is on top and dead: its disk is gone.
    Stale,
    /// Something else.
    Foreign,
}

impl Standing {
    /// Ours is there and can be used.
    pub(super) fn is_live(self) -> bool {
        matches!(self, Self::Ours | Self::Covered)
    }

    /// Ours is there, dead or not.
    pub(super) fn is_mounted(self) -> bool {
        self.is_live() || self == Self::Stale
    }
}

/// Looks at what is mounted at a place.
///
/// # Errors
/// Unavailable: the mount table can't be read.
pub(super) fn standing(place: &Place, expected: &Expected) -> Result<Standing> {
    let top = if matches!(expected, Expected::Export(_)) { Top::Unreadable } else { Top::look(place) };
    if matches!(top, Top::NotMounted) {
        return Ok(Standing::Nothing);
    }
    let mounts = mounts::at(place.canonical())?;
    let Some((last, below)) = mounts.split_last() else { return Ok(Standing::Nothing) };
    Ok(if expected.fits(last) || expected.fits_top(&top) {
        Standing::Ours
    } else if expected.fits_dead(last) {
        Standing::Stale
    } else if below.iter().any(|mount| expected.fits(mount) || expected.fits_dead(mount)) {
        Standing::Covered
    } else {
        Standing::Foreign
    })
}

/// What statx(2) says about a path.
enum Top {
    NotMounted,
    /// Device and inode number; and the device it is, if a block device.
    Mounted {
        file: (u64, u64),
        device: Option<u64>,
    },
    /// A dead file system: only the mount table tells.
    Unreadable,
}

impl Top {
    fn look(place: &Place) -> Self {
        let found = place.open().and_then(|file| statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS));
        match found {
            Ok(found) => {
                if found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
                    && !found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
                {
                    return Self::NotMounted;
                }
                let block = FileType::from_raw_mode(found.stx_mode.into()) == FileType::BlockDevice;
                Self::Mounted {
                    file: (makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino),
                    device: block.then(|| makedev(found.stx_rdev_major, found.stx_rdev_minor)),
                }
            }
            Err(Errno::NOENT) => Self::NotMounted,
            Err(_) => Self::Unreadable,
        }
    }
}

impl Expected {
    /// By the mount table.
    fn fits(&self, mount: &Mount) -> bool {
        match self {
            Self::Nothing => false,
            Self::Filesystem { numbers, .. } => numbers.iter().any(|&number| is_filesystem(mount, number)),
            Self::Node { nodes, .. } => nodes.iter().any(|(name, _)| is_node(mount, name)),
            Self::DeadNode(known) => {
                loop_node(mount).is_some_and(|number| known.contains(&number) || loopdev::is_free(number))
            }
            Self::Directory(source) => source
                .bind
                .as_ref()
                .is_some_and(|(device, root)| *device == mount.device && Path::new(root) == mount.root),
            Self::Export(export) => {
                is_nfs(mount) && export.exports.iter().any(|known| mount.source == Path::new(known))
            }
        }
    }

    /// It was ours, and its disk is gone.
    fn fits_dead(&self, mount: &Mount) -> bool {
        match self {
            Self::Filesystem { dead: Some(number), .. } => is_filesystem(mount, *number),
            Self::Node { dead: Some((name, _)), .. } => is_node(mount, name),
            _ => false,
        }
    }

    /// By the file itself; finds a directory also after the pool was moved.
    fn fits_top(&self, top: &Top) -> bool {
        match (self, top) {
            (Self::Directory(source), Top::Mounted { file, .. }) => *file == (source.dev, source.ino),
            (Self::Node { nodes, .. }, Top::Mounted { device: Some(device), .. }) => {
                nodes.iter().any(|(_, number)| number == device)
            }
            _ => false,
        }
    }
}

fn is_filesystem(mount: &Mount, number: u64) -> bool {
    mount.root == Path::new("/") && mount.device == show_number(number)
}

/// The node of a device of that name is mounted. One that was removed since is shown as such.
fn is_node(mount: &Mount, name: &str) -> bool {
    let root = mount.root.to_string_lossy();
    let node = crate::disk::node_path(name);
    Path::new(root.trim_end_matches("//deleted")).file_name() == node.file_name()
}

/// Number of the loop device whose node is mounted.
fn loop_node(mount: &Mount) -> Option<u32> {
    mount.root.file_name()?.to_str()?.strip_prefix("loop")?.parse().ok()
}

/// An NFS mount, of any version.
pub(super) fn is_nfs(mount: &Mount) -> bool {
    matches!(mount.kind.as_str(), "nfs" | "nfs4")
}

/// What mountinfo will show as device and root of a bind mount of an open directory. None where it can't be told.
pub(super) fn bind_identity(directory: &crate::dir::Dir) -> Result<Option<(String, String)>> {
    let what = || format!("cannot read where {} is mounted", directory.path().display());
    let id: IoResult<u64> = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|found| found.stx_mnt_id);
    let Some(mount) = mounts::by_id(id.during(what())?)? else { return Ok(None) };
    let here: PathBuf = std::fs::read_link(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(directory))
    ))
    .during(what())?;
    let Ok(rest) = here.strip_prefix(&mount.mount_point) else { return Ok(None) };
    let root = if rest.as_os_str().is_empty() { mount.root } else { mount.root.join(rest) };
    Ok(root.to_str().map(|root| (mount.device, root.to_owned())))
}
