//! Which parts of images hold data, and in which parts two images differ.

use super::fiemap::Sharing;
use super::object::{IMAGE, Meta, ObjectDir};
use super::store::{Pool, PoolStore};
use super::types::{EXTENTS_MAX, Extent, ExtentPage, ObjectKind};
use crate::error::{Context, IoResult};
use bulkhead_domain::{Error, Result};
use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::{Errno, pread};
use std::fs::File;

/// What is compared as one.
pub(super) const BLOCK: u64 = 4096;
/// Bytes that are read of each image at once.
const CHUNK: u64 = 1 << 20;
/// A page ends after this much work, so that it comes in time even if nothing differs.
const WORK_MAX: u64 = 1 << 30;
/// What a step that reads nothing counts as.
const STEP: u64 = 64 << 10;

impl PoolStore {
    /// Ranges of an image that hold data, from byte `offset` on: the file system's idea of it, so zeros that were written
    /// count, and with some what was allocated and read. A range that holds `offset` begins there. Of an image in use: as of some moment during the call.
    ///
    /// # Errors
    /// NotFound: no such pool or object. OutOfRange: `offset` is past the end. FailedPrecondition: not an image.
    /// InvalidArgument: not a name.
    pub fn allocated_extents(&self, pool: &str, name: &str, offset: u64) -> Result<ExtentPage> {
        let mut image = Image::open(self.pool_and_name(pool, name)?, name)?;
        check_offset(offset, image.size)?;
        let what = || format!("cannot ask where object {name} holds data");
        let mut pages = Pages::default();
        let mut at = offset;
        loop {
            let (start, end) = image.data_from(at).during(what())?;
            if start >= image.size {
                return Ok(pages.end());
            }
            if !pages.add(start, end.min(image.size)) {
                return Ok(pages.more(start));
            }
            at = end;
        }
    }

    /// Ranges in which two images differ, from byte `offset` on, by blocks of 4 KiB: no block that differs is missing, none
    /// that doesn't is there. Past its end an image counts as zeros, and ranges end at the end of the larger one. A block
    /// that holds `offset` begins there. Of images in use: as of some moment during the call. A page can end before it is
    /// full, or be empty, and have a next one: it ends after a gibibyte was compared.
    ///
    /// # Errors
    /// NotFound: no such pool or object. OutOfRange: `offset` is past the end of the larger one. FailedPrecondition: not
    /// images. InvalidArgument: not a name.
    pub fn differing_extents(&self, pool: &str, base: &str, target: &str, offset: u64) -> Result<ExtentPage> {
        let found = self.pool_and_name(pool, base)?;
        let base = Image::open(found, base)?;
        let target = Image::open(self.pool_and_name(pool, target)?, target)?;
        let size = base.size.max(target.size);
        check_offset(offset, size)?;
        let what = format!("cannot compare objects {} and {}", base.name, target.name);
        // What shares a block with one that never changes can't have got that block later, from somebody else.
        let sharing = if found.reflinks && (base.meta.read_only || target.meta.read_only) {
            Sharing::of(&base.file, &target.file, base.size.min(target.size))
        } else {
            None
        };
        Comparison { base, target, sharing, size, offset, pages: Pages::default() }.run().during(what)
    }
}

fn check_offset(offset: u64, size: u64) -> Result<()> {
    if offset > size {
        return Err(Error::out_of_range(format_args!("offset {offset} is past the end, at {size}")));
    }
    Ok(())
}

/// An open image, and where it holds data next.
struct Image {
    name: String,
    meta: Meta,
    file: File,
    size: u64,
    /// Where the last question was asked, and what came of it.
    known: Option<(u64, u64, u64)>,
}

impl Image {
    fn open(pool: &Pool, name: &str) -> Result<Self> {
        let missing = || Error::not_found(format_args!("no object {name}"));
        let object = ObjectDir::open(&pool.objects, name)?.ok_or_else(missing)?;
        let meta = object.meta()?.ok_or_else(missing)?;
        if meta.kind != ObjectKind::Image {
            return Err(Error::failed_precondition(format_args!(
                "object {name} is a directory; only images have ranges"
            )));
        }
        let what = || format!("cannot open the image of object {name}");
        let file = object.dir.file(IMAGE, OFlags::RDONLY, 0).during(what())?;
        let size = file.metadata().during(what())?.len();
        Ok(Self { name: name.to_owned(), meta, file, size, known: None })
    }

    /// The first range of data that ends after `at`, clipped to begin there. (`u64::MAX`, `u64::MAX`): there is none.
    fn data_from(&mut self, at: u64) -> IoResult<(u64, u64)> {
        if let Some((asked, start, end)) = self.known
            && (asked..end).contains(&at)
        {
            return Ok((start.max(at), end));
        }
        let found = match seek(&self.file, SeekFrom::Data(at)) {
            Ok(start) => (start, seek(&self.file, SeekFrom::Hole(start))?),
            Err(Errno::NXIO) => (u64::MAX, u64::MAX),
            Err(e) => return Err(e),
        };
        self.known = Some((at, found.0, found.1));
        Ok(found)
    }

    /// Fills the buffer with what is at `at`; zeros past the end.
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> IoResult<()> {
        let mut filled = 0;
        if self.data_from(at)?.0 < at + buffer.len() as u64 {
            while filled < buffer.len() {
                match pread(&self.file, &mut buffer[filled..], at + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        buffer[filled..].fill(0);
        Ok(())
    }
}

struct Comparison {
    base: Image,
    target: Image,
    sharing: Option<Sharing>,
    size: u64,
    offset: u64,
    pages: Pages,
}

impl Comparison {
    fn run(mut self) -> IoResult<ExtentPage> {
        let (mut a, mut b) = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
        // Whole blocks are compared; what comes before `offset` is cut off at the end.
        let mut at = self.offset / BLOCK * BLOCK;
        let mut work = 0;
        while at.max(self.offset) < self.size {
            if work >= WORK_MAX {
                return Ok(self.pages.more(at.max(self.offset)));
            }
            let start = self.base.data_from(at)?.0.min(self.target.data_from(at)?.0) / BLOCK * BLOCK;
            // Holes in both.
            if start > at {
                at = start;
                continue;
            }
            let mut end = (at + CHUNK).min(self.size);
            match self.shared(at, end) {
                Some((from, to)) if from <= at => {
                    at = to;
                    work += STEP;
                    continue;
                }
                Some((from, _)) => end = from,
                None => {}
            }
            // Not further than there is data: holes behind it are not read.
            let data = [self.base.data_from(at)?, self.target.data_from(at)?];
            let data_end = data.into_iter().filter(|data| data.0 < end).map(|data| data.1).max().unwrap_or(end);
            end = end.min(data_end.next_multiple_of(BLOCK));
            let length = usize::try_from(end - at).unwrap_or(0);
            self.base.read(at, &mut a[..length])?;
            self.target.read(at, &mut b[..length])?;
            if let Some(full) = self.note(at, &a[..length], &b[..length]) {
                return Ok(self.pages.more(full));
            }
            work += (end - at).max(STEP);
            at = end;
        }
        Ok(self.pages.end())
    }

    /// The next range that both have in common on disk. Where that can't be told, bytes will.
    fn shared(&mut self, at: u64, until: u64) -> Option<(u64, u64)> {
        let found = self.sharing.as_mut()?.within(at, until);
        found.unwrap_or_else(|error| {
            tracing::debug!(%error, "FIEMAP failed; all bytes are compared");
            self.sharing = None;
            None
        })
    }

    /// Some: there is no room for a range that begins there.
    fn note(&mut self, at: u64, a: &[u8], b: &[u8]) -> Option<u64> {
        if a == b {
            return None;
        }
        let mut start = at;
        for (a, b) in a.chunks(BLOCK as usize).zip(b.chunks(BLOCK as usize)) {
            let end = start + a.len() as u64;
            if a != b && !self.pages.add(start.max(self.offset), end) {
                return Some(start.max(self.offset));
            }
            start = end;
        }
        None
    }
}

/// A page in the making.
#[derive(Default)]
struct Pages {
    extents: Vec<Extent>,
}

impl Pages {
    /// False: there is no room.
    fn add(&mut self, start: u64, end: u64) -> bool {
        let full = self.extents.len() == EXTENTS_MAX;
        match self.extents.last_mut() {
            Some(last) if last.byte_offset + last.size_bytes == start => last.size_bytes = end - last.byte_offset,
            _ if full => return false,
            _ => self.extents.push(Extent { byte_offset: start, size_bytes: end - start }),
        }
        true
    }

    fn end(self) -> ExtentPage {
        ExtentPage { extents: self.extents, next_offset: None }
    }

    fn more(self, next_offset: u64) -> ExtentPage {
        ExtentPage { extents: self.extents, next_offset: Some(next_offset) }
    }
}
