//! Who can be writing to an image right now: loop devices of this machine, and file systems mounted from them.

use super::object::LockedObject;
use crate::error::Context;
use crate::fs::mount::DetachedMount;
use crate::loopdev::{self, Tag};
use crate::mounts::{self, Mount};
use bulkhead_domain::{Error, Result};
use rustix::fs::{Mode, OFlags, fstat, major, minor};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// How an image is in use.
#[derive(Debug)]
pub(super) enum Activity {
    /// Nobody can write to it, and as long as its lock is held that stays so.
    Quiet,
    /// Only through file systems, all of which can be frozen.
    Mounted(Vec<Filesystem>),
    /// Through devices on which no mount is visible here.
    Raw(Vec<u32>),
}

/// A file system on a loop device.
#[derive(Debug)]
pub(super) struct Filesystem {
    /// Name of the object.
    pub(super) object: String,
    /// For messages.
    pub(super) mount_point: PathBuf,
    /// Number of its device.
    pub(super) device: u64,
    /// A directory in it, through a mount of its own: nobody is kept from unmounting the others.
    pub(super) root: OwnedFd,
}

/// Looks who can write to the image of a locked object.
///
/// # Errors
/// FailedPrecondition: somebody on another node, who can't be seen from here. Unavailable: the kernel's tables can't be
/// read.
pub(super) fn look(locked: &LockedObject, image: &File, node_id: &str) -> Result<Activity> {
    let object = &locked.object.name;
    let mut loops = loopdev::all_of(image, object)?;
    for (file, user) in locked.object.known_users()? {
        let elsewhere = match user {
            Some(user) if user.read_only || user.node_id == node_id => continue,
            // Drivers of one machine may have node ids of their own.
            Some(user) => {
                let tag = Tag::volume(&user.driver, &user.node_id, &user.volume_id);
                if loops.iter().any(|info| tag.is_on(info)) {
                    continue;
                }
                format!("staged on node {}; it can only be cut there", user.node_id)
            }
            None => format!("staged by an unknown user, see {}", file.display()),
        };
        return Err(Error::failed_precondition(format_args!("object {object} is {elsewhere}")));
    }
    loops.retain(|info| !info.read_only);
    if loops.is_empty() {
        return Ok(Activity::Quiet);
    }
    let mut mounted = Vec::new();
    for info in &loops {
        match filesystem_on(object, info.number)? {
            Some(filesystem) => mounted.push(filesystem),
            None => return Ok(Activity::Raw(loops.iter().map(|info| info.number).collect())),
        }
    }
    Ok(Activity::Mounted(mounted))
}

/// The file system that is mounted from a loop device. None: no mount of it can be reached from here.
pub(super) fn filesystem_on(object: &str, number: u32) -> Result<Option<Filesystem>> {
    let device = loopdev::device_number(number);
    for mount in mounts::of_device(&format!("{}:{}", major(device), minor(device)))? {
        if let Some(root) = open(&mount, device) {
            return Ok(Some(Filesystem { object: object.to_owned(), mount_point: mount.mount_point, device, root }));
        }
    }
    Ok(None)
}

/// None: it can't be opened, or something else is on top of it.
fn open(mount: &Mount, device: u64) -> Option<OwnedFd> {
    let on_it = |fd: &OwnedFd| fstat(fd).is_ok_and(|stat| stat.st_dev == device);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::open(&mount.mount_point, flags, Mode::empty()).ok().filter(on_it)?;
    let own = DetachedMount::clone_of(&place).and_then(|clone| clone.open_root());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    own.or_else(|_| rustix::fs::openat(&place, ".", flags, Mode::empty())).ok().filter(on_it)
}

/// Writes out what is in memory, so that little is left to do while the file system is frozen.
pub(super) fn write_out(filesystems: &[Filesystem], image: &File) -> Result<()> {
    for filesystem in filesystems {
        rustix::fs::syncfs(&filesystem.root)
            .during(format_args!("cannot sync the file system at {}", filesystem.mount_point.display()))?;
    }
    rustix::fs::fdatasync(image).during("cannot sync an image")
}

/// Writes out what is in the memory of devices.
pub(super) fn flush(devices: &[u32]) -> Result<()> {
    for &number in devices {
        loopdev::open(number, false)
            .and_then(rustix::fs::fsync)
            .during(format_args!("cannot flush {}", loopdev::device_path(number).display()))?;
    }
    Ok(())
}
