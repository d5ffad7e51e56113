//! Where the bytes of files are on disk, and which parts of two files are the same blocks: FS_IOC_FIEMAP,
//! Documentation/filesystems/fiemap.rst.

use super::extents::BLOCK;
use crate::error::IoResult;
use crate::sys::ioctl_struct;
use rustix::fs::fstatfs;
use std::fs::File;

const FS_IOC_FIEMAP: u32 = 0xC020_660B;
const FS_IOC_FSGETXATTR: u32 = 0x801C_581F;
/// Dirty pages are written out first, so that what is in memory only has a place on disk.
const FIEMAP_FLAG_SYNC: u32 = 1;
const FIEMAP_EXTENT_LAST: u32 = 0x1;
const FIEMAP_EXTENT_UNWRITTEN: u32 = 0x800;
/// The only other flags of an extent whose bytes are on disk as they are, and in two files.
const FIEMAP_EXTENT_MERGED: u32 = 0x1000;
const FIEMAP_EXTENT_SHARED: u32 = 0x2000;
const FS_XFLAG_REALTIME: u32 = 1;
const XFS_SUPER_MAGIC: u64 = 0x5846_5342;
const EXTENTS: usize = 256;

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap` with room for extents.
#[repr(C)]
struct RawMap {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    extents: [RawExtent; EXTENTS],
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct RawAttributes {
    xflags: u32,
    rest: [u32; 4],
    padding: [u8; 8],
}

/// The first extents of a file that end after `start`, and where to ask on. Its dirty pages are written out first.
fn extents(file: &File, start: u64) -> IoResult<(Vec<RawExtent>, Option<u64>)> {
    let mut raw = RawMap {
        start,
        length: u64::MAX - start,
        flags: FIEMAP_FLAG_SYNC,
        mapped_extents: 0,
        extent_count: EXTENTS as u32,
        reserved: 0,
        extents: [RawExtent::default(); EXTENTS],
    };
    // SAFETY: RawMap is struct fiemap followed by as many extents as it says.
    unsafe { ioctl_struct(file, FS_IOC_FIEMAP, &mut raw) }?;
    let found = raw.extents.get(..raw.mapped_extents as usize).unwrap_or(&raw.extents);
    let next = match found.last() {
        Some(last) if last.flags & FIEMAP_EXTENT_LAST == 0 => Some(last.logical.saturating_add(last.length)),
        _ => None,
    };
    Ok((found.to_vec(), next.filter(|&next| next > start)))
}

/// Ranges that are allocated but were never written.
pub(super) struct Unwritten {
    /// Start and end of each.
    pub(super) ranges: Vec<(u64, u64)>,
    /// Where to ask on; none = the end.
    pub(super) next: Option<u64>,
}

/// Looks for ranges from `start` on that were never written. lseek(2) does not tell: what was read of such a range and is
/// still in memory it takes for data.
pub(super) fn unwritten(file: &File, start: u64) -> IoResult<Unwritten> {
    let known = FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_MERGED | FIEMAP_EXTENT_UNWRITTEN;
    let (found, next) = extents(file, start)?;
    let unwritten = found
        .iter()
        .filter(|extent| extent.flags & FIEMAP_EXTENT_UNWRITTEN != 0 && extent.flags & !known == 0)
        .map(|extent| (extent.logical, extent.logical.saturating_add(extent.length)));
    Ok(Unwritten { ranges: unwritten.collect(), next })
}

/// Part of a file that lies on disk in one piece, shared with some other file.
#[derive(Clone, Copy)]
struct Piece {
    start: u64,
    end: u64,
    physical: u64,
}

/// The shared pieces of a file, asked for as they are needed.
struct Map {
    file: File,
    /// In order.
    pieces: Vec<Piece>,
    /// Nothing is known from here on.
    known_to: u64,
}

impl Map {
    /// The first shared piece that ends after `at`. None: there is none. What ends before `low` is not asked for any more.
    fn from(&mut self, at: u64, low: u64) -> IoResult<Option<Piece>> {
        loop {
            let next = self.pieces.partition_point(|piece| piece.end <= at);
            if let Some(&piece) = self.pieces.get(next) {
                return Ok(Some(piece));
            }
            if self.known_to == u64::MAX {
                return Ok(None);
            }
            self.pieces.retain(|piece| piece.end > low);
            self.ask(self.known_to.max(low))?;
        }
    }

    fn ask(&mut self, start: u64) -> IoResult<()> {
        let (found, next) = extents(&self.file, start)?;
        self.known_to = next.unwrap_or(u64::MAX);
        let plain = FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_MERGED | FIEMAP_EXTENT_SHARED;
        self.pieces.extend(
            found.iter().filter(|extent| extent.flags & FIEMAP_EXTENT_SHARED != 0 && extent.flags & !plain == 0).map(
                |extent| Piece {
                    start: extent.logical,
                    end: extent.logical.saturating_add(extent.length),
                    physical: extent.physical,
                },
            ),
        );
        Ok(())
    }
}

/// Where two files are the same blocks.
pub(super) struct Sharing {
    a: Map,
    b: Map,
    /// Size of the smaller file: a last block holds other bytes behind the end of each.
    size: u64,
}

impl Sharing {
    /// None: it can't be told. Only for XFS, and not for files on its real-time device, whose addresses are others.
    pub(super) fn of(a: &File, b: &File, size: u64) -> Option<Self> {
        let map = |file: &File| {
            let mut attributes = RawAttributes::default();
            // SAFETY: RawAttributes is struct fsxattr, which FS_IOC_FSGETXATTR fills.
            unsafe { ioctl_struct(file, FS_IOC_FSGETXATTR, &mut attributes) }.ok()?;
            let xfs = u64::try_from(fstatfs(file).ok()?.f_type).ok()? == XFS_SUPER_MAGIC;
            let usable = xfs && attributes.xflags & FS_XFLAG_REALTIME == 0;
            usable.then_some(Map { file: file.try_clone().ok()?, pieces: Vec::new(), known_to: 0 })
        };
        Some(Self { a: map(a)?, b: map(b)?, size: size / BLOCK * BLOCK })
    }

    /// The first range of whole blocks that both files have in common and that ends after `at`, but begins before `until`; it
    /// may begin before `at`. Calls must not go back.
    pub(super) fn within(&mut self, at: u64, until: u64) -> IoResult<Option<(u64, u64)>> {
        let mut from = at;
        while from < self.size.min(until) {
            let (Some(a), Some(b)) = (self.a.from(from, at)?, self.b.from(from, at)?) else { return Ok(None) };
            let (start, end) = (a.start.max(b.start), a.end.min(b.end));
            if start < end && a.physical.wrapping_sub(a.start) == b.physical.wrapping_sub(b.start) {
                let (first, last) = (start.next_multiple_of(BLOCK), end.min(self.size) / BLOCK * BLOCK);
                if first < last && last > at {
                    return Ok((first < until).then_some((first, last)));
                }
            }
            from = end.max(from + 1);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_size() {
        assert_eq!(size_of::<RawExtent>(), 56);
        assert_eq!(size_of::<RawMap>(), 32 + EXTENTS * 56);
        assert_eq!(size_of::<RawAttributes>(), 28);
    }
}
