//! Loop devices. Each of ours carries a tag in `lo_file_name`, so that it is found again without any memory.
//!
//! Loop devices are not in any namespace: all processes of the machine share them. So a device is ours only if the
//! tag and what is behind it both fit, and that is asked on the very descriptor on which it is detached: while a
//! descriptor is open the kernel does not give the number to something else.
//!
//! Detaching is lazy: with another opener it takes effect when the last one closes.

use crate::error::{Context, IoResult, io_error};
use crate::sys::{ioctl_struct, ioctl_value};
use bulkhead_domain::{Error, Result};
use rustix::fs::{Mode, OFlags, fstat, makedev};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

// <linux/loop.h>
const LOOP_CLR_FD: u32 = 0x4C01;
const LOOP_GET_STATUS64: u32 = 0x4C05;
const LOOP_SET_CAPACITY: u32 = 0x4C07;
const LOOP_CONFIGURE: u32 = 0x4C0A;
const LOOP_CTL_GET_FREE: u32 = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LOOP_MAJOR: u32 = 7;
/// BLKGETSIZE64, <linux/fs.h>.
const BLKGETSIZE64: u32 = 0x8008_1272;

const TAG_ROOT: &str = "bulkhead/";
/// How long a device may take to be gone after it was detached, and a device node to appear.
const SETTLE: Duration = Duration::from_secs(10);
/// Others on the machine may take the free number that was offered first; so many times in a row they don't.
const ATTACH_TRIES: u32 = 1000;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl RawInfo {
    const ZERO: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        sizelimit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// `struct loop_config`.
#[repr(C)]
struct RawConfig {
    fd: u32,
    block_size: u32,
    info: RawInfo,
    reserved: [u64; 8],
}

/// Names what a loop device is for: a volume of a driver on a node, or a read-only view of that for one target path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag(String);

impl Tag {
    /// The volume's own device.
    pub(crate) fn volume(driver: &str, node_id: &str, volume_id: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [driver, node_id, volume_id] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self(format!("{TAG_ROOT}{}", hex::encode(&hash.finalize()[..16])))
    }

    /// A read-only device on top of the volume's own, for one target path.
    pub(crate) fn read_only_view(&self, target: &Path) -> Self {
        let hash = Sha256::digest(target.as_os_str().as_encoded_bytes());
        Self(format!("{}/ro-{}", self.0, hex::encode(&hash[..8])))
    }

    /// The device carries this tag.
    pub(crate) fn is_on(&self, info: &LoopInfo) -> bool {
        info.tag == self.0
    }
}

/// A loop device in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoopInfo {
    pub(crate) number: u32,
    /// Device and inode number of what is behind it.
    pub(crate) backing: (u64, u64),
    /// Device number of what is behind it, if that is a device.
    pub(crate) backing_device: u64,
    /// `lo_file_name`.
    pub(crate) tag: String,
    /// The device refuses writes.
    pub(crate) read_only: bool,
}

/// Device number of loop device `number`.
pub(crate) fn device_number(number: u32) -> u64 {
    makedev(LOOP_MAJOR, number)
}

/// `/dev/loopN`.
pub(crate) fn device_path(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// Opens a loop device and makes sure that the node leads to it.
pub(crate) fn open(number: u32, write: bool) -> IoResult<File> {
    let flags = if write { OFlags::RDWR } else { OFlags::RDONLY };
    let file = rustix::fs::open(device_path(number), flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = fstat(&file)?;
    if stat.st_rdev == device_number(number) { Ok(file.into()) } else { Err(Errno::NXIO) }
}

/// What a loop device is attached to. None: to nothing.
fn info_of(device: &File, number: u32) -> IoResult<Option<LoopInfo>> {
    let mut raw = RawInfo::ZERO;
    // SAFETY: RawInfo is struct loop_info64, which LOOP_GET_STATUS64 fills.
    match unsafe { ioctl_struct(device, LOOP_GET_STATUS64, &mut raw) } {
        Ok(()) => {}
        Err(Errno::NXIO) => return Ok(None),
        Err(e) => return Err(e),
    }
    let end = raw.file_name.iter().position(|&byte| byte == 0).unwrap_or(raw.file_name.len());
    Ok(Some(LoopInfo {
        number,
        backing: (raw.device, raw.inode),
        backing_device: raw.rdevice,
        tag: String::from_utf8_lossy(&raw.file_name[..end]).into_owned(),
        read_only: raw.flags & LO_FLAGS_READ_ONLY != 0,
    }))
}

/// As [`info_of`], by number. None also if there is no such device.
fn info(number: u32) -> IoResult<Option<LoopInfo>> {
    match open(number, false) {
        Ok(device) => info_of(&device, number),
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Ok(None),
        Err(e) => Err(e),
    }
}

/// What is behind a device, as sysfs has it: a path that may be out of date. None: nothing is.
fn backing_path(number: u32) -> Option<Vec<u8>> {
    let mut path = std::fs::read(format!("/sys/block/loop{number}/loop/backing_file")).ok()?;
    path.truncate(path.strip_suffix(b"\n").unwrap_or(&path).len());
    path.truncate(path.strip_suffix(b" (deleted)").unwrap_or(&path).len());
    Some(path)
}

/// All loop devices of this host software that `wanted` accepts, see [`find_any`].
fn find(path_end: &str, wanted: impl Fn(&LoopInfo) -> bool) -> Result<Vec<LoopInfo>> {
    find_any(path_end, |info| info.tag.starts_with(TAG_ROOT) && wanted(info))
}

/// All loop devices that `wanted` accepts, among those with something behind them whose path ends so. Others are not even
/// opened: that would put off their detaching, and could hang where their file does.
fn find_any(path_end: &str, wanted: impl Fn(&LoopInfo) -> bool) -> Result<Vec<LoopInfo>> {
    let what = "cannot look through the loop devices in /sys/block";
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/block").during(what)? {
        let name = entry.during(what)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("loop")).and_then(|n| n.parse().ok());
        let Some(number) = number else { continue };
        if !backing_path(number).is_some_and(|path| path.ends_with(path_end.as_bytes())) {
            continue;
        }
        if let Some(info) = info(number).during(format_args!("{what} (loop{number})"))?
            && wanted(&info)
        {
            found.push(info);
        }
    }
    Ok(found)
}

fn image_path_end(object: &str) -> String {
    format!("/{object}/image")
}

/// The devices that carry exactly this tag and have exactly this file behind them, the image of `object`. `hint` is looked
/// at first; if it fits it is the answer, or part of it if `all` are wanted. An image that was moved is found by it alone.
pub(crate) fn find_volume(
    tag: &Tag,
    object: &str,
    backing: (u64, u64),
    hint: Option<u32>,
    all: bool,
) -> Result<Vec<LoopInfo>> {
    let fits = |info: &LoopInfo| info.tag == tag.0 && info.backing == backing;
    let hinted = hint.and_then(|number| info(number).ok().flatten()).filter(fits);
    match hinted {
        Some(hinted) if !all => Ok(vec![hinted]),
        hinted => {
            let mut found = find(&image_path_end(object), fits)?;
            found.extend(hinted.filter(|hinted| !found.contains(hinted)));
            Ok(found)
        }
    }
}

/// Nothing is behind the device of that number.
pub(crate) fn is_free(number: u32) -> bool {
    backing_path(number).is_none()
}

/// The loop devices on top of block device `/dev/BELOW` that carry this tag.
pub(crate) fn find_views(tag: &Tag, below: &str, number: u64) -> Result<Vec<LoopInfo>> {
    find(&format!("/{below}"), |info| info.tag == tag.0 && info.backing_device == number)
}

/// Attaches a file or block device. Gives the number.
pub(crate) fn attach(backing: &File, tag: &Tag, read_only: bool) -> Result<u32> {
    let what = "cannot attach a loop device";
    let control = File::options().read(true).write(true).open("/dev/loop-control").map_err(|e| {
        io_error(
            format_args!("{what}: /dev/loop-control (is the kernel's loop driver there, and the host's /dev mounted?)"),
            e,
        )
    })?;
    let mut file_name = [0; 64];
    file_name[..tag.0.len()].copy_from_slice(tag.0.as_bytes());
    let flags = if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    let fd = u32::try_from(backing.as_raw_fd()).map_err(|_| io_error(what, Errno::BADF))?;
    for attempt in 0..ATTACH_TRIES {
        let number = ioctl_value(&control, LOOP_CTL_GET_FREE, 0).during(what)?;
        let device = open_new(number, !read_only).during(format_args!("{what}: {}", device_path(number).display()))?;
        let info = RawInfo { file_name, flags, ..RawInfo::ZERO };
        let mut config = RawConfig { fd, block_size: 0, info, reserved: [0; 8] };
        // SAFETY: RawConfig is struct loop_config, which LOOP_CONFIGURE reads.
        match unsafe { ioctl_struct(&device, LOOP_CONFIGURE, &mut config) } {
            Ok(()) => return Ok(number),
            Err(Errno::BUSY) => std::thread::sleep(Duration::from_micros(u64::from(attempt.min(50)) * 20)),
            Err(e) => return Err(e).during(format_args!("{what}: {}", device_path(number).display())),
        }
    }
    Err(Error::unavailable(format_args!("{what}: others took every free one; ask again")))
}

/// The node of a device that was just made appears a little later.
fn open_new(number: u32, write: bool) -> IoResult<File> {
    let deadline = Instant::now() + SETTLE;
    loop {
        match open(number, write) {
            Err(Errno::NOENT | Errno::NXIO) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5))
            }
            other => return other,
        }
    }
}

/// Detaches a device and waits until it is gone. One that is attached to something else by now is left alone.
///
/// # Errors
/// Unavailable: something still has it open after 10 seconds. It goes when that closes it.
pub(crate) fn detach(ours: &LoopInfo) -> Result<()> {
    let what = || format!("cannot detach {}", device_path(ours.number).display());
    let deadline = Instant::now() + SETTLE;
    let mut pause = Duration::from_micros(200);
    loop {
        match open(ours.number, false) {
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => return Ok(()),
            Err(e) => return Err(e).during(what()),
            Ok(device) => {
                if info_of(&device, ours.number).during(what())?.as_ref() != Some(ours) {
                    return Ok(());
                }
                match ioctl_value(&device, LOOP_CLR_FD, 0) {
                    Ok(_) | Err(Errno::NXIO | Errno::BUSY) => {}
                    Err(e) => return Err(e).during(what()),
                }
            }
        }
        if backing_path(ours.number).is_none() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::unavailable(format_args!(
                "{}: something still has it open (a process, or a mount in another namespace)",
                what()
            )));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Makes a device as large as what is behind it, LOOP_SET_CAPACITY.
pub(crate) fn grow(number: u32) -> Result<()> {
    open(number, false)
        .and_then(|device| ioctl_value(&device, LOOP_SET_CAPACITY, 0))
        .map(|_| ())
        .during(format_args!("cannot grow {}", device_path(number).display()))
}

/// All devices on this image of `object`, whoever attached them.
pub(crate) fn all_of(image: &File, object: &str) -> Result<Vec<LoopInfo>> {
    let stat = fstat(image).during("cannot read an image's number")?;
    find_any(&image_path_end(object), |info| info.backing == (stat.st_dev, stat.st_ino))
}

/// Makes all our devices on this image, and the read-only ones on top of them, as large as the image is.
pub(crate) fn grow_all_of(image: &File, object: &str) -> Result<()> {
    let stat = fstat(image).during("cannot read an image's number")?;
    for below in find(&image_path_end(object), |info| info.backing == (stat.st_dev, stat.st_ino))? {
        grow(below.number)?;
        let end = format!("/loop{}", below.number);
        for view in find(&end, |info| info.backing_device == device_number(below.number))? {
            grow(view.number)?;
        }
    }
    Ok(())
}

/// Size of an open block device in bytes.
pub(crate) fn size_of_device(device: &File) -> IoResult<u64> {
    let mut size = 0u64;
    // SAFETY: BLKGETSIZE64 fills a u64.
    unsafe { ioctl_struct(device, BLKGETSIZE64, &mut size) }?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_size() {
        assert_eq!(size_of::<RawInfo>(), 232);
        assert_eq!(size_of::<RawConfig>(), 304);
    }

    #[test]
    fn tags_fit_and_differ() {
        let tag = Tag::volume("local.csi.bulkhead.dev", "node", &"v".repeat(128));
        let view = tag.read_only_view(Path::new("/var/lib/kubelet/x"));
        assert!(view.0.len() < 64 && view.0.starts_with(&tag.0), "{}", view.0);
        assert_ne!(tag, Tag::volume("local.csi.bulkhead.dev", "nod", &format!("e{}", "v".repeat(127))));
        assert_ne!(view, tag.read_only_view(Path::new("/var/lib/kubelet/y")));
    }
}
