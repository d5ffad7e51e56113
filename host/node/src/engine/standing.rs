//! Is what is mounted at a path ours?
//!
//! Asked of the kernel each time: what the journal says was mounted may have been unmounted, covered or replaced since.

use crate::error::{Context, IoResult};
use crate::fence::Place;
use crate::journal::Source;
use crate::loopdev::{self, device_number};
use crate::mounts::{self, Mount};
use bulkhead_domain::Result;
use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags, major, makedev, minor, statx};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// What is expected at a path.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// The file system on one of these loop devices.
    Filesystem(Vec<u32>),
    /// A bind mount of one of these loop devices' nodes.
    Node(Vec<u32>),
    /// A bind mount of the node of a loop device that is not attached any more: the one of this number, or any free one.
    DeadNode(Option<u32>),
    /// A bind mount of this directory.
    Directory(Box<Source>),
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
    /// Something else.
    Foreign,
}

impl Standing {
    /// Ours is there.
    pub(super) fn is_live(self) -> bool {
        matches!(self, Self::Ours | Self::Covered)
    }
}

/// Looks at what is mounted at a place.
///
/// # Errors
/// Unavailable: the mount table can't be read.
pub(super) fn standing(place: &Place, expected: &Expected) -> Result<Standing> {
    let top = Top::look(place);
    if matches!(top, Top::NotMounted) {
        return Ok(Standing::Nothing);
    }
    let mounts = mounts::at(place.canonical())?;
    let Some((last, below)) = mounts.split_last() else { return Ok(Standing::Nothing) };
    Ok(if expected.fits(last) || expected.fits_top(&top) {
        Standing::Ours
    } else if below.iter().any(|mount| expected.fits(mount)) {
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
            Self::Filesystem(numbers) => {
                mount.root == Path::new("/")
                    && numbers.iter().any(|&number| mount.device == format_device(device_number(number)))
            }
            Self::Node(numbers) => loop_node(mount).is_some_and(|number| numbers.contains(&number)),
            Self::DeadNode(known) => {
                loop_node(mount).is_some_and(|number| *known == Some(number) || loopdev::is_free(number))
            }
            Self::Directory(source) => source
                .bind
                .as_ref()
                .is_some_and(|(device, root)| *device == mount.device && Path::new(root) == mount.root),
        }
    }

    /// By the file itself; finds a directory also after the pool was moved.
    fn fits_top(&self, top: &Top) -> bool {
        match (self, top) {
            (Self::Directory(source), Top::Mounted { file, .. }) => *file == (source.dev, source.ino),
            (Self::Node(numbers), Top::Mounted { device: Some(device), .. }) => {
                numbers.iter().any(|&number| device_number(number) == *device)
            }
            _ => false,
        }
    }
}

/// Number of the loop device whose node is mounted.
fn loop_node(mount: &Mount) -> Option<u32> {
    mount.root.file_name()?.to_str()?.strip_prefix("loop")?.parse().ok()
}

fn format_device(device: u64) -> String {
    format!("{}:{}", major(device), minor(device))
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
