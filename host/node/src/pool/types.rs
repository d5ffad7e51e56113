//! Mirror of the interface `pools` in the WIT.

use bulkhead_domain::StringMap;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Most objects in one page of [`crate::pool::PoolStore::list_objects`].
pub const LIST_MAX: usize = 1000;

/// Most bytes that the objects of one page take, about as a 32-bit guest has them in memory. One object fits always.
pub const LIST_BYTES: usize = 256 << 10;

/// Default of [`PoolConfig::copy_limit_bytes`]: 256 MiB, about a second on a slow disk.
pub const DEFAULT_COPY_LIMIT_BYTES: u64 = 256 << 20;

/// What the operator says of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// A directory, which must exist.
    pub path: PathBuf,
    /// Most bytes that are copied while file systems are frozen, for all volumes of one cut together. Counts only where
    /// extents can't be shared: there a cut takes as long as copying does, and pods stall meanwhile.
    pub copy_limit_bytes: u64,
    /// Permission bits of the files' directory of new directory objects, for pools whose directories others use by a way of their
    /// own: nodes that mount them from an NFS server. What lies above can then be passed through by everybody, but not listed.
    /// None: 0755, and only the pool's owner gets there.
    pub directory_mode: Option<u32>,
}

impl PoolConfig {
    /// A pool in the directory `path`, all else as by default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), copy_limit_bytes: DEFAULT_COPY_LIMIT_BYTES, directory_mode: None }
    }
}

/// What an object is on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKind {
    /// A directory.
    Directory,
    /// A file that becomes a block device.
    Image,
}

/// When the bytes of an image are allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provisioning {
    /// When they are written.
    Thin,
    /// When the object is made or grown. For a directory: its size is taken off what is available.
    Thick,
}

/// What an object is to be, and what it was made as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSpec {
    /// 1 to 128 bytes of `[A-Za-z0-9._-]`, not starting with a dot.
    pub name: String,
    /// Directory or image.
    pub kind: ObjectKind,
    /// Bytes. An image has exactly this size; for a directory it is only noted.
    pub size_bytes: u64,
    /// Thin or thick.
    pub provisioning: Provisioning,
    /// The backend's own, at most 4 KiB, keys and values added up.
    pub metadata: StringMap,
}

/// An object as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it was made as; size, provisioning and metadata as they are now.
    pub spec: ObjectSpec,
    /// Grows with every change, from 1.
    pub version: u64,
    /// Bytes in use on disk. Of a directory object only the top directory itself: walking the tree has no bound.
    pub allocated_bytes: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_at_ms: u64,
    /// Somebody has it staged.
    pub in_use: bool,
    /// It can be read, copied and deleted, not staged for writing.
    pub read_only: bool,
}

/// What [`crate::pool::PoolStore::make_object`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    Made(Object),
    /// An object of that name is there.
    There(Object),
}

/// What [`crate::pool::PoolStore::update_object`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Updated {
    /// It is as it was to be.
    Done(Object),
    /// It has this version, and was not changed.
    Conflict(u64),
}

/// One page of objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectPage {
    /// Sorted by name (bytewise).
    pub objects: Vec<Object>,
    /// The next page begins after this name; none = the end.
    pub next: Option<String>,
}

/// A pool as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolInfo {
    /// Size of the file system, bytes.
    pub total_bytes: u64,
    /// Bytes free for an ordinary user, less the sizes of thick directories. A thick image needs no subtracting: its
    /// bytes are allocated, so the file system does not count them as free.
    pub available_bytes: u64,
    /// The file system can share extents between files.
    pub reflinks: bool,
    /// Sizes of directories are enforced. Never, in this version.
    pub directory_quotas: bool,
}

/// One copy of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOrder {
    /// Name of an object in the same pool.
    pub source: String,
    /// Of the source's kind and at least its size.
    pub target: ObjectSpec,
    /// The copy is never to change.
    pub read_only: bool,
}

/// A range of an image, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// From the image's start.
    pub byte_offset: u64,
    /// Never 0.
    pub size_bytes: u64,
}

/// Most ranges in one [`ExtentPage`].
pub const EXTENTS_MAX: usize = 1000;

/// One page of ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtentPage {
    /// Rising, not overlapping; at most [`EXTENTS_MAX`].
    pub extents: Vec<Extent>,
    /// Offset of the next page; none = the end.
    pub next_offset: Option<u64>,
}
