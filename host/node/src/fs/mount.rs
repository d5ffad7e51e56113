//! Mounting through file descriptors: nothing shows anywhere before it is as it shall be.

use super::options::{MountOptions, attr};
use crate::error::{Context, IoResult};
use crate::fence::Place;
use crate::sys::mount_setattr;
use bulkhead_domain::{Error, Result};
use rustix::fs::{AtFlags, OFlags, StatxFlags, makedev, statx};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A mount that is not attached anywhere yet. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct DetachedMount(OwnedFd);

/// What came of mounting a device.
#[derive(Debug)]
pub(crate) enum Opened {
    Mount(DetachedMount),
    /// The device can't be written, and what its log holds must be written to the file system first (EROFS of ext4 and xfs).
    LogNotReplayed,
}

impl Opened {
    /// # Errors
    /// FailedPrecondition: the log is not replayed.
    pub(crate) fn ready(self) -> Result<DetachedMount> {
        match self {
            Self::Mount(mount) => Ok(mount),
            Self::LogNotReplayed => Err(Error::failed_precondition(
                "the file system was not unmounted cleanly and its log can't be replayed on a read-only device; stage it \
                 once for writing",
            )),
        }
    }
}

impl DetachedMount {
    /// Mounts a device's file system, unattached.
    ///
    /// # Errors
    /// FailedPrecondition: the kernel refuses the file system or an option. Mount flags never show in it.
    pub(crate) fn of_device(fs_name: &str, device: &Path, options: &MountOptions) -> Result<Opened> {
        let what = || format!("cannot mount {} as {fs_name}", device.display());
        match mount_source(fs_name, device, options.read_only(), &options.filesystem) {
            Ok(mount) => {
                let mount = Self(mount);
                // For reading only by the file system; the rest is the mount's own.
                mount.set_attributes(options.set, options.clear & attr::ATIME).during(what())?;
                Ok(Opened::Mount(mount))
            }
            Err(Failure { errno: Errno::ROFS, .. }) if options.read_only() => Ok(Opened::LogNotReplayed),
            Err(Failure { errno: Errno::NODEV, text }) if text.is_empty() => {
                Err(Error::failed_precondition(format_args!("{}: this kernel does not know it", what())))
            }
            Err(Failure { errno, text }) => Err(refused(&what(), errno, &text)),
        }
    }

    /// One that another process made.
    pub(crate) fn of_descriptor(mount: OwnedFd) -> Self {
        Self(mount)
    }

    /// A second mount of what is mounted at, or of the file or directory at, `source`.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn clone_of(source: impl AsFd) -> IoResult<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        rustix::mount::open_tree(source, "", flags).map(Self)
    }

    /// Opens the root of what is mounted, which must be a directory. The descriptor keeps the file system alive, but no
    /// other mount of it busy.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn open_root(&self) -> IoResult<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, ".", flags, rustix::fs::Mode::empty())
    }

    /// Device number of the file system, without asking a server.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn device(&self) -> IoResult<u64> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(&self.0, "", flags, StatxFlags::empty())?;
        Ok(makedev(found.stx_dev_major, found.stx_dev_minor))
    }

    /// Sets and clears attributes, MOUNT_ATTR_*.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn set_attributes(&self, set: u64, clear: u64) -> IoResult<()> {
        if set == 0 && clear == 0 { Ok(()) } else { mount_setattr(&self.0, set, clear) }
    }

    /// Attaches it on top of what is at `place`, which is opened through the fence and not looked up again.
    ///
    /// # Errors
    /// Unavailable, naming the place.
    pub(crate) fn attach(self, place: &Place) -> Result<OwnedFd> {
        let what = || format!("cannot mount on {}", place.canonical().display());
        let target = place.open().during(what())?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.0, "", &target, "", flags).during(what())?;
        Ok(self.0)
    }
}

/// Why a file system could not be mounted.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) errno: Errno,
    /// What the kernel says of it, without options.
    pub(crate) text: String,
}

/// Mounts a file system, unattached.
///
/// # Errors
/// What the kernel says, which may hold the source, and no option.
pub(crate) fn mount_source(
    fs_name: &str,
    source: &Path,
    read_only: bool,
    options: &[(String, Option<String>)],
) -> std::result::Result<OwnedFd, Failure> {
    let plain = |errno| Failure { errno, text: String::new() };
    let context = rustix::mount::fsopen(fs_name, FsOpenFlags::FSOPEN_CLOEXEC).map_err(plain)?;
    rustix::mount::fsconfig_set_string(&context, "source", source).map_err(plain)?;
    if read_only {
        rustix::mount::fsconfig_set_flag(&context, "ro").map_err(plain)?;
    }
    for (index, (key, value)) in options.iter().enumerate() {
        let set = match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key.as_str(), value.as_str()),
            None => rustix::mount::fsconfig_set_flag(&context, key.as_str()),
        };
        // What the kernel wrote about it holds the option itself.
        set.map_err(|errno| Failure {
            errno,
            text: format!("option {} of the file system is not accepted", index + 1),
        })?;
    }
    rustix::mount::fsconfig_create(&context)
        .map_err(|errno| Failure { errno, text: kernel_messages(&context, options) })?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(plain)
}

/// What the kernel refuses for good is the volume's or the client's fault; the rest may pass.
fn refused(what: &str, error: Errno, detail: &str) -> Error {
    let text = format!("{what}: {}{}{detail}", std::io::Error::from(error), if detail.is_empty() { "" } else { "; " });
    match error {
        Errno::INVAL | Errno::UCLEAN | Errno::NODEV | Errno::ROFS | Errno::FBIG | Errno::OPNOTSUPP => {
            Error::failed_precondition(text)
        }
        _ => Error::unavailable(text),
    }
}

/// What the kernel wrote into a file system context, without lines that repeat an option.
fn kernel_messages(context: &OwnedFd, options: &[(String, Option<String>)]) -> String {
    let mut messages = Vec::new();
    let mut buffer = [0u8; 1024];
    // Each read gives one message; ENODATA is the end. A bound all the same.
    while let (Ok(got), true) = (rustix::io::read(context, &mut buffer), messages.len() < 8) {
        messages.push(String::from_utf8_lossy(&buffer[..got]).trim().to_owned());
    }
    let repeats_option = |message: &String| {
        options.iter().any(|(key, value)| {
            message.contains(key.as_str()) || value.as_ref().is_some_and(|value| message.contains(value.as_str()))
        })
    };
    messages.retain(|message| !repeats_option(message));
    messages.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_show_options() {
        let options = MountOptions::from_flags(&["hunter2=secret".to_owned()]).unwrap();
        // Fails on every machine: without root at fsopen, with root at the option.
        let refused = DetachedMount::of_device("tmpfs", Path::new("none"), &options).unwrap_err();
        assert!(!refused.message().contains("hunter2") && !refused.message().contains("secret"), "{refused}");
    }
}
