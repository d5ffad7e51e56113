//! Making and checking file systems with their own tools.

use super::options::mkfs_arguments;
use super::probe::Content;
use crate::helper;
use crate::pool::Provisioning;
use bulkhead_domain::plan::{FormatPolicy, FsckPolicy};
use bulkhead_domain::{Error, Result};
use rustix::fs::{FallocateFlags, fallocate};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

/// Longest run of mkfs. It writes a few MiB for each TiB.
const MKFS_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest run of fsck, which reads all metadata.
const FSCK_TIMEOUT: Duration = Duration::from_secs(1800);

/// File systems that this host makes and mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FsKind {
    Ext4,
    Xfs,
}

impl FsKind {
    /// # Errors
    /// FailedPrecondition: another one.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        match name {
            "ext4" | "" => Ok(Self::Ext4),
            "xfs" => Ok(Self::Xfs),
            other => Err(Error::failed_precondition(format_args!(
                "file system {:?} is not supported by this host yet; it knows ext4 and xfs",
                bulkhead_domain::error::clean_text(other, 64)
            ))),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// How a helper opens a device.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tool<'a> {
    /// By a path that leads to nothing else.
    Path(&'a Path),
    /// By this path, which leads through this descriptor.
    Descriptor(&'a Path, BorrowedFd<'a>),
}

impl Tool<'_> {
    fn run(&self, name: &str, mut arguments: Vec<OsString>, timeout: Duration) -> Result<helper::Finished> {
        match self {
            Self::Path(path) => {
                arguments.push(path.into());
                helper::run(name, &arguments, timeout)
            }
            Self::Descriptor(path, descriptor) => {
                arguments.push(path.into());
                helper::run_with(name, &arguments, &[*descriptor], timeout)
            }
        }
    }
}

/// What is to be done with a device before it can be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds the file system.
    Mount,
    /// It is empty and may be formatted.
    Format,
}

/// Decides by what a probe found whether a device is to be formatted. `formatted`: the journal says that this was done before.
///
/// # Errors
/// FailedPrecondition: it holds something else, or is empty and must not be formatted.
pub(crate) fn decide(
    found: Content,
    fs: FsKind,
    policy: FormatPolicy,
    formatted: bool,
    writable: bool,
) -> Result<Verdict> {
    match found {
        Content::Known(found) if found == fs.name() => Ok(Verdict::Mount),
        Content::Known(found) => Err(Error::failed_precondition(format_args!(
            "the device holds {found}, not {}; it is left as it is",
            fs.name()
        ))),
        Content::Unknown(what) => {
            Err(Error::failed_precondition(format_args!("the device holds {what}; it is left as it is")))
        }
        Content::Empty if formatted => Err(Error::failed_precondition(
            "the device is empty although it was formatted before: its data is lost; restore the volume or delete it",
        )),
        Content::Empty if policy == FormatPolicy::Never => {
            Err(Error::failed_precondition("the device is empty and the plan forbids to format it"))
        }
        Content::Empty if !writable => Err(Error::failed_precondition(
            "the device is empty and is used for reading only, so it can't be formatted",
        )),
        Content::Empty => Ok(Verdict::Format),
    }
}

/// Makes a file system. No discard, which would give back what a thick image has allocated; and no force: the tools'
/// own check for other content stands.
///
/// # Errors
/// FailedPrecondition: the tool refuses, or an option is not on the list. DeadlineExceeded: it took too long.
pub(crate) fn make(fs: FsKind, device: Tool<'_>, options: &[String]) -> Result<()> {
    let (tool, fixed): (_, &[&str]) = match fs {
        FsKind::Ext4 => ("mkfs.ext4", &["-q", "-E", "nodiscard"]),
        FsKind::Xfs => ("mkfs.xfs", &["-q", "-K"]),
    };
    let mut arguments: Vec<OsString> = fixed.iter().map(OsString::from).collect();
    arguments.extend(mkfs_arguments(fs, options)?.into_iter().map(OsString::from));
    let done = device.run(tool, arguments, MKFS_TIMEOUT)?;
    if done.code == Some(0) {
        return Ok(());
    }
    Err(Error::failed_precondition(format_args!("{tool} failed, {}", done.output)))
}

/// Checks a file system that is not mounted. xfs needs no repair before a mount: its log is replayed by the mount.
///
/// # Errors
/// FailedPrecondition: it is damaged. DeadlineExceeded: it took too long.
pub(crate) fn check(fs: FsKind, device: Tool<'_>, policy: FsckPolicy) -> Result<()> {
    let mode = match (fs, policy) {
        (_, FsckPolicy::None) | (FsKind::Xfs, FsckPolicy::Preen) => return Ok(()),
        (FsKind::Ext4, FsckPolicy::Preen) => "-p",
        (FsKind::Ext4, FsckPolicy::CheckOnly) => "-n",
        (FsKind::Xfs, FsckPolicy::CheckOnly) => {
            return Err(Error::failed_precondition("checking xfs without repair is not supported by this host yet"));
        }
    };
    e2fsck(device, &[mode])
}

/// 0: clean. 1: errors were corrected.
fn e2fsck(device: Tool<'_>, flags: &[&str]) -> Result<()> {
    let done = device.run("e2fsck", flags.iter().map(OsString::from).collect(), FSCK_TIMEOUT)?;
    match done.code {
        Some(0 | 1) => Ok(()),
        _ => Err(Error::failed_precondition(format_args!(
            "the file system needs a repair by hand (e2fsck, {}); it is not mounted",
            done.output
        ))),
    }
}

/// Grows an ext4 file system that is not mounted to its device's size.
///
/// # Errors
/// FailedPrecondition: it is damaged, or resize2fs refuses. DeadlineExceeded: it took too long.
pub(crate) fn grow_ext4_offline(device: Tool<'_>) -> Result<()> {
    e2fsck(device, &["-f", "-p"])?;
    let done = device.run("resize2fs", Vec::new(), FSCK_TIMEOUT)?;
    if done.code == Some(0) {
        return Ok(());
    }
    Err(Error::failed_precondition(format_args!("resize2fs failed, {}", done.output)))
}

/// Makes an image read as zeros again. No loop device may be on it: what that has cached would be written back.
///
/// # Errors
/// As the kernel says.
pub(crate) fn blank(image: &File, provisioning: Provisioning) -> std::io::Result<()> {
    let size = image.metadata()?.len();
    let mode = match provisioning {
        Provisioning::Thin => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Provisioning::Thick => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
    };
    if fallocate(image, mode, 0, size).is_err() {
        // Where the file system knows neither (NFS before 4.2).
        image.set_len(0)?;
        image.set_len(size)?;
        if provisioning == Provisioning::Thick {
            fallocate(image, FallocateFlags::empty(), 0, size)?;
        }
    }
    image.sync_all()
}
