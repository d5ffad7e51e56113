//! Copying the bytes of one image.

use crate::error::IoResult;
use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite};
use std::fs::File;

/// How bytes get from one file into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Extents are shared, FICLONE: of one moment by itself, and done at once.
    Shared,
    /// Bytes are copied, holes are not.
    Copied,
}

/// Most bytes of one copy_file_range(2).
const STEP: u64 = 64 << 20;
const BUFFER: usize = 1 << 20;

/// Makes the empty file `to` what `from` is.
pub(super) fn copy(from: &File, to: &File, how: How) -> IoResult<()> {
    match how {
        How::Shared => retry(|| ioctl_ficlone(to, from)),
        How::Copied => sparse(from, to, range),
    }
}

/// As [`copy`] with [`How::Copied`], but nothing is shared, not even where copy_file_range(2) would.
pub(super) fn copy_apart(from: &File, to: &File) -> IoResult<()> {
    sparse(from, to, by_hand)
}

/// Gives `file` blocks of its own. False: its file system does not know how.
pub(super) fn unshare(file: &File, size: u64) -> IoResult<bool> {
    match retry(|| fallocate(file, FallocateFlags::UNSHARE_RANGE, 0, size)) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(false),
        Err(e) => Err(e),
    }
}

fn retry<T>(call: impl Fn() -> IoResult<T>) -> IoResult<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn sparse(from: &File, to: &File, range: impl Fn(&File, &File, u64, u64) -> IoResult<()>) -> IoResult<()> {
    let size = u64::try_from(rustix::fs::fstat(from)?.st_size).unwrap_or(0);
    ftruncate(to, size)?;
    let mut at = 0;
    while at < size {
        let start = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e),
        };
        at = seek(from, SeekFrom::Hole(start))?.min(size);
        range(from, to, start, at)?;
    }
    Ok(())
}

/// Lets the kernel copy what it can.
fn range(from: &File, to: &File, start: u64, end: u64) -> IoResult<()> {
    let mut at = start;
    while at < end {
        let (mut read, mut written) = (at, at);
        let step = usize::try_from((end - at).min(STEP)).unwrap_or(BUFFER);
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), step) {
            Ok(0) => return Err(Errno::IO),
            Ok(got) => at += got as u64,
            Err(Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL) => return by_hand(from, to, at, end),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn by_hand(from: &File, to: &File, start: u64, end: u64) -> IoResult<()> {
    let mut buffer = vec![0; BUFFER];
    let mut at = start;
    while at < end {
        let step = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
        let got = match pread(from, &mut buffer[..step], at) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let mut rest = &buffer[..got];
        // It shrank, which images never do.
        if rest.is_empty() {
            return Err(Errno::IO);
        }
        while !rest.is_empty() {
            let put = retry(|| pwrite(to, rest, at))?;
            rest = &rest[put..];
            at += put as u64;
        }
    }
    Ok(())
}
