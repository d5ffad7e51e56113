//! System calls that rustix does not have.

use crate::error::IoResult;
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Fills `buffer` with random bytes, getrandom(2).
pub(crate) fn random(buffer: &mut [u8]) -> IoResult<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        // SAFETY: pointer and length are those of one live, writable slice.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) if last_error() == Errno::INTR => {}
            Err(_) => return Err(last_error()),
        }
    }
    Ok(())
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Debug, Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets and clears attributes of one mount, mount_setattr(2), Linux >= 5.12. `mount` is a descriptor of the mount's root,
/// of a detached one too.
pub(crate) fn mount_setattr(mount: impl AsFd, set: u64, clear: u64) -> IoResult<()> {
    let attr = MountAttr { attr_set: set, attr_clr: clear, ..MountAttr::default() };
    // SAFETY: the path is an empty NUL-terminated string, `attr` is a live mount_attr of the size that is passed, and the
    // kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// The kernel has mount_setattr(2). Asks to change nothing, which any descriptor will do for and nobody is refused.
pub(crate) fn has_mount_setattr(descriptor: impl AsFd) -> bool {
    mount_setattr(descriptor, 0, 0) != Err(Errno::NOSYS)
}

/// ioctl(2) with a number or nothing as its argument; gives the call's non-negative result.
pub(crate) fn ioctl_value(fd: impl AsFd, request: u32, value: libc::c_ulong) -> IoResult<u32> {
    // SAFETY: requests passed here take a plain number, so the kernel follows no pointer.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as _, value) };
    u32::try_from(result).map_err(|_| last_error())
}

/// ioctl(2) with a structure that the kernel reads or fills.
///
/// # Safety
/// `T` must be the structure that `request` stands for: plain old data of the kernel's layout and size.
pub(crate) unsafe fn ioctl_struct<T>(fd: impl AsFd, request: u32, argument: &mut T) -> IoResult<()> {
    // SAFETY: the pointer is to a live, writable T, which the caller promises is what the kernel expects.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as _, std::ptr::from_mut(argument)) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}
