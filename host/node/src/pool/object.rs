//! One object on disk.

use super::types::{Object, ObjectKind, ObjectSpec, Provisioning};
use crate::dir::Dir;
use crate::error::{Context, IoResult};
use bulkhead_domain::{Error, Result, StringMap};
use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, OFlags, fallocate, flock, ftruncate, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::time::{Duration, Instant};

/// Version of `meta.json` that this host writes, and the newest that it reads.
pub(crate) const META_FORMAT: u32 = 1;
pub(super) const META: &str = "meta.json";
pub(super) const LOCK: &str = "lock";
pub(super) const IMAGE: &str = "image";
pub(super) const DATA: &str = "data";
pub(super) const USERS: &str = "users";
/// A map of 4 KiB can take six times that as JSON, if every byte is escaped.
const META_MAX: u64 = 64 * 1024;
/// What holds an object's lock takes milliseconds, except where it is staged for the first time, or a thick image is being
/// allocated, or it is being copied to where extents can't be shared.
const LOCK_WAIT: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(2);

/// `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) format: u32,
    /// Random; tells an object from a later one of the same name.
    pub(super) uid: String,
    pub(super) kind: ObjectKind,
    pub(super) size_bytes: u64,
    pub(super) provisioning: Provisioning,
    pub(super) metadata: StringMap,
    pub(super) version: u64,
    pub(super) created_at_ms: u64,
    pub(super) read_only: bool,
}

/// The directory of an object.
#[derive(Debug)]
pub(crate) struct ObjectDir {
    pub(super) dir: Dir,
    pub(super) name: String,
}

impl ObjectDir {
    /// None: no such object.
    pub(super) fn open(objects: &Dir, name: &str) -> Result<Option<Self>> {
        match objects.dir(name) {
            Ok(dir) => Ok(Some(Self { dir, name: name.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e).during(format_args!("cannot open object {}", objects.join(name).display())),
        }
    }

    /// None: the object was deleted meanwhile.
    pub(super) fn meta(&self) -> Result<Option<Meta>> {
        let path = self.dir.join(META);
        let Some(bytes) = self.dir.read(META, META_MAX)? else { return Ok(None) };
        let meta: Meta = serde_json::from_slice(&bytes).map_err(|e| {
            Error::unavailable(format_args!("{} cannot be read ({e}); restore it or remove the object", path.display()))
        })?;
        if meta.format > META_FORMAT {
            return Err(Error::unavailable(format_args!(
                "{} was written by a newer version of this host",
                path.display()
            )));
        }
        Ok(Some(meta))
    }

    pub(super) fn write_meta(&self, meta: &Meta) -> Result<()> {
        let bytes = serde_json::to_vec(meta).map_err(|e| {
            Error::internal(format_args!("cannot write {} as JSON: {e}", self.dir.join(META).display()))
        })?;
        self.dir.replace(META, &bytes)
    }

    /// The object as it is; none if it was deleted meanwhile.
    pub(super) fn describe(&self) -> Result<Option<Object>> {
        let Some(meta) = self.meta()? else { return Ok(None) };
        let payload = match meta.kind {
            ObjectKind::Image => IMAGE,
            ObjectKind::Directory => DATA,
        };
        let allocated_bytes = match statat(&self.dir, payload, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => u64::try_from(found.st_blocks).unwrap_or(0) * 512,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e).during(format_args!("cannot read object {}", self.dir.path().display())),
        };
        let in_use = !self.users()?.is_empty();
        Ok(Some(Object {
            spec: ObjectSpec {
                name: self.name.clone(),
                kind: meta.kind,
                size_bytes: meta.size_bytes,
                provisioning: meta.provisioning,
                metadata: meta.metadata,
            },
            version: meta.version,
            allocated_bytes,
            created_at_ms: meta.created_at_ms,
            in_use,
            read_only: meta.read_only,
        }))
    }
}

/// An object that nobody else may stage, delete or change until this is dropped.
#[derive(Debug)]
pub(crate) struct LockedObject {
    pub(super) object: ObjectDir,
    lock: File,
}

impl Drop for LockedObject {
    /// Closing would do, but for copies of the descriptor in a child that another thread is starting.
    fn drop(&mut self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl LockedObject {
    /// Takes the lock, waiting at most 5 seconds. None: no such object.
    ///
    /// # Errors
    /// Aborted if somebody else keeps it.
    pub(crate) fn open(objects: &Dir, name: &str) -> Result<Option<Self>> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            let Some(object) = ObjectDir::open(objects, name)? else { return Ok(None) };
            let what = format!("cannot lock object {}", object.dir.path().display());
            let lock = match object.dir.file(LOCK, OFlags::RDWR, 0) {
                Ok(lock) => lock,
                // Deleted between the two opens: look again.
                Err(Errno::NOENT) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(e) => return Err(e).during(what),
            };
            if !try_lock_until(&lock, deadline).during(&what)? {
                return Err(Error::aborted(format_args!("{what}: another operation on it is in progress; ask again")));
            }
            if still_there(objects, &object).during(&what)? {
                return Ok(Some(Self { object, lock }));
            }
        }
    }
}

/// What the node engine needs to know of an object.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Tells it from a later object of the same name.
    pub(crate) uid: String,
    pub(crate) kind: ObjectKind,
    pub(crate) size_bytes: u64,
    pub(crate) provisioning: Provisioning,
    pub(crate) read_only: bool,
}

impl LockedObject {
    /// None: it is only half there.
    pub(crate) fn facts(&self) -> Result<Option<Facts>> {
        Ok(self.object.meta()?.map(|meta| Facts {
            uid: meta.uid,
            kind: meta.kind,
            size_bytes: meta.size_bytes,
            provisioning: meta.provisioning,
            read_only: meta.read_only,
        }))
    }
}

/// False: somebody else kept the lock until the deadline.
fn try_lock_until(lock: &File, deadline: Instant) -> IoResult<bool> {
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// A lock is worth something only while the object is still reached by its name.
fn still_there(objects: &Dir, object: &ObjectDir) -> IoResult<bool> {
    let held = rustix::fs::fstat(&object.dir)?;
    match statat(objects, object.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Gives a new or growing image its size: allocated if thick, else as a hole. On failure a growing image is as before.
pub(super) fn set_image_size(image: &File, provisioning: Provisioning, old: u64, new: u64) -> IoResult<()> {
    let grown = match provisioning {
        Provisioning::Thin => ftruncate(image, new),
        Provisioning::Thick => allocate(image, new),
    };
    if grown.is_err() {
        let _ = ftruncate(image, old);
    }
    grown
}

/// fallocate(2) of the first `size` bytes; bytes that are there already are kept.
pub(super) fn allocate(image: &File, size: u64) -> IoResult<()> {
    loop {
        match fallocate(image, FallocateFlags::empty(), 0, size) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
