//! Sizes of file systems and growing them while mounted.

use super::format::FsKind;
use crate::error::{Context, IoResult};
use crate::sys::ioctl_struct;
use bulkhead_domain::{Error, Result};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// EXT4_IOC_RESIZE_FS, <linux/ext4.h>: `_IOW('f', 16, __u64)`.
const EXT4_IOC_RESIZE_FS: u32 = 0x4008_6610;
/// XFS_IOC_FSGROWFSDATA, xfs_fs.h: `_IOW('X', 110, struct xfs_growfs_data)`.
const XFS_IOC_FSGROWFSDATA: u32 = 0x4010_586e;

/// XFS_IOC_FSGEOMETRY_V1, xfs_fs.h: `_IOR('X', 100, struct xfs_fsop_geom_v1)`.
const XFS_IOC_FSGEOMETRY_V1: u32 = 0x8070_5864;

/// `struct xfs_fsop_geom_v1`.
#[repr(C)]
#[derive(Default)]
struct XfsGeometry {
    block_size: u32,
    unused: [u32; 6],
    max_inode_percent: u32,
    data_blocks: u64,
    rest: [u64; 9],
}

/// `struct xfs_growfs_data`.
#[repr(C)]
struct XfsGrow {
    new_blocks: u64,
    max_inode_percent: u32,
}

/// What a superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) block_bytes: u64,
    pub(crate) blocks: u64,
    /// ext4: the file system ends with a whole group, and a further one needs at least so many blocks.
    next_group_blocks: u64,
}

impl Geometry {
    /// The file system can be made larger on a device of so many bytes.
    pub(crate) fn can_grow_to(&self, device_bytes: u64) -> bool {
        let target = device_bytes / self.block_bytes.max(1);
        target > self.blocks && target - self.blocks >= self.next_group_blocks.max(1)
    }
}

/// Size of the ext4 file system on an image or device.
///
/// # Errors
/// Unavailable: it can't be read. FailedPrecondition: the superblock makes no sense.
pub(crate) fn ext4(source: &File) -> Result<Geometry> {
    let mut superblock = [0u8; 1024];
    source.read_exact_at(&mut superblock, 1024).during("cannot read the superblock")?;
    ext4_geometry(&superblock).ok_or_else(|| Error::failed_precondition("the ext4 superblock makes no sense"))
}

fn ext4_geometry(sb: &[u8]) -> Option<Geometry> {
    let u16_at = |at: usize| Some(u64::from(u16::from_le_bytes(sb.get(at..at + 2)?.try_into().ok()?)));
    let u32_at = |at: usize| Some(u64::from(u32::from_le_bytes(sb.get(at..at + 4)?.try_into().ok()?)));
    let block_bytes = 1024u64.checked_shl(u32::try_from(u32_at(0x18)?).ok()?).filter(|&b| b <= 65536)?;
    let is_64bit = u32_at(0x60)? & 0x80 != 0;
    let blocks = u32_at(0x4)? | if is_64bit { u32_at(0x150)? << 32 } else { 0 };
    let (first, per_group) = (u32_at(0x14)?, u32_at(0x20)?);
    if u16_at(0x38)? != 0xEF53 || per_group == 0 || blocks <= first {
        return None;
    }
    // A last group of fewer than overhead + 50 blocks is left out by mkfs and resize2fs (e2fsprogs, initialize.c), so such
    // a rest of the device is not worth a check of the whole file system at each stage.
    let whole = (blocks - first) % per_group == 0;
    let inode_table = (u32_at(0x28)? * u16_at(0x58)?.max(128)).div_ceil(block_bytes);
    let descriptors = ((blocks - first).div_ceil(per_group) * if is_64bit { 64 } else { 32 }).div_ceil(block_bytes);
    let overhead = 3 + inode_table + descriptors + u16_at(0xCE)?;
    Some(Geometry { block_bytes, blocks, next_group_blocks: if whole { overhead + 50 } else { 1 } })
}

fn xfs_geometry(root: &File) -> IoResult<Geometry> {
    let mut found = XfsGeometry::default();
    // SAFETY: XfsGeometry is struct xfs_fsop_geom_v1, which XFS_IOC_FSGEOMETRY_V1 fills.
    unsafe { ioctl_struct(root, XFS_IOC_FSGEOMETRY_V1, &mut found) }?;
    Ok(Geometry { block_bytes: u64::from(found.block_size), blocks: found.data_blocks, next_group_blocks: 1 })
}

/// Grows a mounted file system to its device's size. `root` is any file or directory on it, open and writable as a mount.
///
/// # Errors
/// FailedPrecondition: mounted read-only; or ext4, and the node lacks CAP_SYS_RESOURCE, which the kernel asks for: then
/// it grows at the next stage.
pub(crate) fn mounted(root: &File, fs: FsKind, device: &File) -> Result<()> {
    let what = format!("cannot grow the mounted {} file system", fs.name());
    let size = crate::loopdev::size_of_device(device).during(&what)?;
    let geometry = match fs {
        FsKind::Ext4 => ext4(device)?,
        FsKind::Xfs => xfs_geometry(root).during(&what)?,
    };
    if !geometry.can_grow_to(size) {
        return Ok(());
    }
    let mut blocks = size / geometry.block_bytes;
    let grown = match fs {
        // SAFETY: EXT4_IOC_RESIZE_FS reads a u64.
        FsKind::Ext4 => unsafe { ioctl_struct(root, EXT4_IOC_RESIZE_FS, &mut blocks) },
        FsKind::Xfs => grow_xfs(root, blocks),
    };
    match (grown, fs) {
        (Err(Errno::PERM), FsKind::Ext4) => Err(Error::failed_precondition(
            "the kernel lets ext4 grow while mounted only with CAP_SYS_RESOURCE, which this node lacks; the volume's \
             device has its new size, and the file system grows when the volume is staged the next time",
        )),
        (Err(Errno::ROFS), _) => Err(Error::failed_precondition(format_args!("{what}: it is staged read-only"))),
        (result, _) => result.during(what),
    }
}

fn grow_xfs(root: &File, new_blocks: u64) -> IoResult<()> {
    let mut now = XfsGeometry::default();
    // SAFETY: as in xfs_geometry.
    unsafe { ioctl_struct(root, XFS_IOC_FSGEOMETRY_V1, &mut now) }?;
    let mut order = XfsGrow { new_blocks, max_inode_percent: now.max_inode_percent };
    // SAFETY: XfsGrow is struct xfs_growfs_data, which XFS_IOC_FSGROWFSDATA reads.
    match unsafe { ioctl_struct(root, XFS_IOC_FSGROWFSDATA, &mut order) } {
        // What is left over is too small for an allocation group (XFS_MIN_AG_BLOCKS): nothing to gain.
        Err(Errno::INVAL) if new_blocks - now.data_blocks < 64 => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_too_small_for_a_group_is_left() {
        let whole = Geometry { block_bytes: 4096, blocks: 32768, next_group_blocks: 600 };
        assert!(
            !whole.can_grow_to(32768 * 4096) && !whole.can_grow_to(33000 * 4096) && whole.can_grow_to(33368 * 4096)
        );
        let partial = Geometry { next_group_blocks: 1, ..whole };
        assert!(partial.can_grow_to(32769 * 4096) && !partial.can_grow_to(32769 * 4096 - 1));
    }

    #[test]
    fn structures_have_the_kernels_size() {
        assert_eq!((size_of::<XfsGeometry>(), size_of::<XfsGrow>()), (112, 16));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(ext4_geometry(&[0; 1024]), None);
        assert_eq!(ext4_geometry(&[0xff; 1024]), None);
        assert_eq!(ext4_geometry(&[]), None);
    }
}
