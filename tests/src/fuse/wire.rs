//! Messages of FUSE as bytes: `<linux/fuse.h>`, version 7.31 and later.

use rustix::{
    fs::{Stat, StatVfs},
    io::Errno,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Bytes of `fuse_in_header`.
const HEADER: usize = 40;

/// A request.
pub(super) struct Request<'a> {
    pub(super) opcode: u32,
    pub(super) unique: u64,
    pub(super) node: u64,
    pub(super) body: Body<'a>,
}

impl<'a> Request<'a> {
    /// None: too short to be one.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(HEADER)?;
        let mut header = Body(header);
        let (_len, opcode, unique, node) = (header.u32(), header.u32(), header.u64(), header.u64());
        Some(Self { opcode, unique, node, body: Body(body) })
    }
}

/// What follows the header; what is read is taken off its front. What is missing is zero.
#[derive(Clone, Copy)]
pub(super) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(super) fn u32(&mut self) -> u32 {
        self.take(4).try_into().map_or(0, u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> u64 {
        self.take(8).try_into().map_or(0, u64::from_ne_bytes)
    }

    /// Up to the next zero byte.
    pub(super) fn name(&mut self) -> &'a OsStr {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        let name = self.take(end);
        self.take(1);
        OsStr::from_bytes(name)
    }
}

/// An answer, put together piece by piece.
#[derive(Default)]
pub(super) struct Answer(Vec<u8>);

impl Answer {
    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `fuse_attr`.
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "the kernel's own numbers, passed on")]
    pub(super) fn attributes(self, stat: &Stat) -> Self {
        let device = rustix::fs::major(stat.st_rdev) << 8 | rustix::fs::minor(stat.st_rdev);
        self.u64(stat.st_ino)
            .u64(stat.st_size as u64)
            .u64(stat.st_blocks as u64)
            .u64(stat.st_atime as u64)
            .u64(stat.st_mtime as u64)
            .u64(stat.st_ctime as u64)
            .u32(stat.st_atime_nsec as u32)
            .u32(stat.st_mtime_nsec as u32)
            .u32(stat.st_ctime_nsec as u32)
            .u32(stat.st_mode)
            .u32(stat.st_nlink as u32)
            .u32(stat.st_uid)
            .u32(stat.st_gid)
            .u32(device)
            .u32(stat.st_blksize as u32)
            .u32(0)
    }

    /// `fuse_attr_out`; nothing may be cached.
    pub(super) fn of_attributes(stat: &Stat) -> Self {
        Self::default().zeros(16).attributes(stat)
    }

    /// `fuse_entry_out`; nothing may be cached.
    pub(super) fn of_entry(node: u64, stat: &Stat) -> Self {
        Self::default().u64(node).zeros(8 + 24).attributes(stat)
    }

    /// `fuse_open_out`, with the handle.
    pub(super) fn opened(self, handle: u64) -> Self {
        self.u64(handle).zeros(8)
    }

    /// `fuse_statfs_out`.
    #[expect(clippy::cast_possible_truncation, reason = "sizes of blocks and names are small")]
    pub(super) fn of_statfs(found: &StatVfs) -> Self {
        Self::default()
            .u64(found.f_blocks)
            .u64(found.f_bfree)
            .u64(found.f_bavail)
            .u64(found.f_files)
            .u64(found.f_ffree)
            .u32(found.f_bsize as u32)
            .u32(found.f_namemax as u32)
            .u32(found.f_frsize as u32)
            .zeros(28)
    }

    /// A `fuse_dirent`.
    #[expect(clippy::cast_possible_truncation, reason = "names have at most 255 bytes")]
    pub(super) fn entry(self, inode: u64, offset: u64, kind: u32, name: &[u8]) -> Self {
        let padding = name.len().next_multiple_of(8) - name.len();
        self.u64(inode).u64(offset).u32(name.len() as u32).u32(kind).bytes(name).zeros(padding)
    }

    /// With `fuse_out_header`.
    #[expect(clippy::cast_possible_truncation, reason = "answers are shorter than what is asked for, at most 128 KiB")]
    pub(super) fn framed(unique: u64, outcome: Result<Self, Errno>) -> Vec<u8> {
        let (error, body) = match outcome {
            Ok(answer) => (0, answer.0),
            Err(errno) => (-errno.raw_os_error(), vec![]),
        };
        let header = Self::default().u32(16 + body.len() as u32).bytes(&error.to_ne_bytes()).u64(unique);
        header.bytes(&body).0
    }
}
