//! A disk that is open, which keeps its device number from being given to another one.

use super::sysfs::{Disk, Sysfs};
use crate::error::{Context, IoResult, io_error};
use crate::loopdev::size_of_device;
use crate::sys::ioctl_value;
use bulkhead_domain::{Error, Result};
use rustix::fs::{Mode, OFlags, fstat, major, makedev, minor};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// BLKFLSBUF, <linux/fs.h>.
const BLKFLSBUF: u32 = 0x1261;

/// `major:minor`.
pub(crate) fn show_number(number: u64) -> String {
    format!("{}:{}", major(number), minor(number))
}

/// Reads `major:minor`.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let (major, minor) = text.trim().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// Names this boot of the machine.
pub(crate) fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(std::fs::read_to_string(path).during(format_args!("cannot read {path}"))?.trim().to_owned())
}

/// A disk or a partition of it, open for reading.
#[derive(Debug)]
pub(crate) struct OpenDisk {
    /// As sysfs showed it once it was open.
    pub(crate) disk: Disk,
    pub(crate) partition: Option<u32>,
    /// Kernel's name of the disk or partition.
    pub(crate) name: String,
    pub(crate) number: u64,
    file: File,
}

impl AsFd for OpenDisk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl OpenDisk {
    /// Opens a disk or partition by its number, and looks only then who it is.
    ///
    /// # Errors
    /// Unavailable: it is gone, or another one by now.
    pub(crate) fn open(sysfs: &Sysfs, name: &str, number: u64) -> Result<Self> {
        let what = || format!("cannot open /dev/{name}");
        let file = open_node(name, number, OFlags::empty()).during(what())?;
        let gone = || Error::unavailable(format_args!("{}: it is being taken away", what()));
        let (disk, partition) = sysfs.by_number(number).ok_or_else(gone)?;
        Ok(Self { disk, partition, name: name.to_owned(), number, file })
    }

    /// `/dev/NAME`.
    pub(crate) fn path(&self) -> PathBuf {
        node_path(&self.name)
    }

    /// A path by which a program that has this descriptor opens this device, whatever `/dev/NAME` is by then.
    pub(crate) fn tool_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// For reading.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Size of the disk or partition in bytes.
    pub(crate) fn size_bytes(&self) -> Result<u64> {
        size_of_device(&self.file).during(format_args!("cannot read the size of {}", self.path().display()))
    }

    /// Sysfs says that it takes no writes.
    pub(crate) fn read_only(&self) -> bool {
        let partition = self.partition.and_then(|index| self.disk.partition(index));
        self.disk.read_only || partition.is_some_and(|partition| partition.read_only)
    }

    /// Opens the same device for writing.
    pub(crate) fn writable(&self) -> Result<File> {
        open_node(&self.name, self.number, OFlags::RDWR)
            .during(format_args!("cannot open {} for writing", self.path().display()))
    }

    /// Nobody has it for himself: no mount in any namespace, no device made of it, no swap.
    ///
    /// # Errors
    /// FailedPrecondition: in use, by whom if that can be told.
    pub(crate) fn is_free(&self) -> Result<()> {
        match open_node(&self.name, self.number, OFlags::EXCL) {
            Ok(_) => Ok(()),
            Err(Errno::BUSY) => {
                let usage = super::used::Usage::now()?;
                let mut users = usage.of_disk(&self.disk);
                if users.is_empty() {
                    users.push("a mount in another namespace, or a program, has it for itself".to_owned());
                }
                Err(self.disk.refuse(format_args!("is in use: {}; it is left as it is", users.join("; "))))
            }
            Err(e) => Err(io_error(format_args!("cannot open {}", self.path().display()), e)),
        }
    }

    /// Writes to the disk what the kernel still has of it, and forgets what it has read. A later node may change it.
    pub(crate) fn flush(&self) -> Result<()> {
        let what = || format!("cannot flush {}", self.path().display());
        self.file.sync_all().during(what())?;
        ioctl_value(&self.file, BLKFLSBUF, 0).map(drop).during(what())
    }
}

/// The node of a device by the kernel's name for it, in which sysfs shows `!` for a slash.
pub(crate) fn node_path(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

/// Opens `/dev/NAME` if it leads to the device of that number.
fn open_node(name: &str, number: u64, flags: OFlags) -> IoResult<File> {
    let file = rustix::fs::open(
        node_path(name),
        flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK,
        Mode::empty(),
    )?;
    if fstat(&file)?.st_rdev == number { Ok(file.into()) } else { Err(Errno::NXIO) }
}

/// The same, for a device that was staged.
pub(crate) fn reopen(name: &str, number: u64) -> IoResult<File> {
    open_node(name, number, OFlags::empty())
}

/// The device is taken by a mount, another device or swap. False where it can't be opened at all.
pub(super) fn is_claimed(name: &str, number: u64) -> bool {
    matches!(open_node(name, number, OFlags::EXCL), Err(Errno::BUSY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_shown() {
        for text in ["259:0", "8:17", "7:1003", "253:1048575"] {
            assert_eq!(show_number(parse_number(text).unwrap()), text);
        }
        for bad in ["", "8", "8:", ":1", "a:1", "8:1:2"] {
            assert_eq!(parse_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_boot_has_a_name() {
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
