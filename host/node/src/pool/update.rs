//! Changing provisioning and metadata of an object.

use super::fiemap;
use super::freeze::Freezer;
use super::live::{Activity, Filesystem, look, write_out};
use super::object::{LockedObject, Meta, allocate};
use super::store::{Pool, PoolStore, check};
use super::types::{ObjectKind, Provisioning, Updated};
use crate::error::{Context, IoResult};
use crate::failpoint;
use bulkhead_domain::{Error, Result, StringMap};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;
use std::fs::File;

impl PoolStore {
    /// Changes provisioning and metadata if the object has version `expected`. Thick: the rest of an image is
    /// allocated. Thin: what was never written is given back; file systems on the image are frozen meanwhile.
    ///
    /// # Errors
    /// Aborted: somebody else has a file system on it frozen. NotFound: no such object. ResourceExhausted: no space (it stays
    /// as it is). InvalidArgument: metadata; to be thin, where the pool's file system can't give space back.
    /// FailedPrecondition: to be thin, but in use as a raw device, or on another node: then nobody can say what is
    /// written at this moment.
    pub fn update_object(
        &self,
        pool: &str,
        name: &str,
        expected: u64,
        provisioning: Provisioning,
        metadata: &StringMap,
    ) -> Result<Updated> {
        check(0, metadata)?;
        let missing = || Error::not_found(format_args!("no object {name}"));
        let (pool_name, pool) = (pool, self.pool_and_name(pool, name)?);
        let locked = LockedObject::open(&pool.objects, name)?.ok_or_else(missing)?;
        let before = locked.object.meta()?.ok_or_else(missing)?;
        if before.version != expected {
            return Ok(Updated::Conflict(before.version));
        }
        let mut wanted = Meta { provisioning, metadata: metadata.clone(), ..before.clone() };
        if wanted != before {
            wanted.version += 1;
            let change = Change { pool, node_id: &self.node_id, locked: &locked, before: &before, wanted: &wanted };
            match (before.kind, before.provisioning, provisioning) {
                (ObjectKind::Image, Provisioning::Thin, Provisioning::Thick) => change.to_thick()?,
                (ObjectKind::Image, Provisioning::Thick, Provisioning::Thin) => change.to_thin()?,
                (kind, old, after) => {
                    if (old, after) == (Provisioning::Thin, Provisioning::Thick) {
                        self.room_to_promise(pool_name, before.size_bytes)?;
                    }
                    let written = locked.object.write_meta(&wanted);
                    [old, after].into_iter().for_each(|provisioning| pool.note_change(kind, provisioning));
                    written?;
                }
            }
            failpoint::hit("pool-resize.done")?;
        }
        locked.object.describe()?.ok_or_else(missing).map(Updated::Done)
    }
}

/// One change of an image's provisioning, under its lock.
struct Change<'a> {
    pool: &'a Pool,
    node_id: &'a str,
    locked: &'a LockedObject,
    before: &'a Meta,
    wanted: &'a Meta,
}

impl Change<'_> {
    fn image(&self) -> Result<File> {
        self.locked.image(true)
    }

    /// Allocated first: thick is said only of what is. Bytes that others write meanwhile stay.
    fn to_thick(&self) -> Result<()> {
        let what = || format!("cannot allocate the image of object {}", self.locked.object.name);
        let image = self.image()?;
        let allocated = allocate(&image, self.before.size_bytes).and_then(|()| rustix::fs::fsync(&image));
        let done = allocated.during(what()).and_then(|()| self.locked.object.write_meta(self.wanted));
        if done.is_err()
            && let Err(error) = self.quietly(&image, || punch_unwritten(&image).during(what()))
        {
            tracing::warn!(object = self.locked.object.name, %error, "what was allocated in vain can't be given back");
        }
        done
    }

    /// Called thin first: if this is cut short, thick is still said only of what is.
    fn to_thin(&self) -> Result<()> {
        let object = &self.locked.object;
        let image = self.image()?;
        self.quietly(&image, || {
            object.write_meta(self.wanted)?;
            let given_back = failpoint::hit("pool-thin.noted").and_then(|()| {
                punch_unwritten(&image).map_err(|e| match e {
                    Errno::OPNOTSUPP | Errno::NOSYS => Error::invalid_argument(format_args!(
                        "the file system of pool {} can't give back space of object {}",
                        self.pool.path.display(),
                        object.name
                    )),
                    e => crate::error::io_error(format_args!("cannot give back space of object {}", object.name), e),
                })?;
                failpoint::hit("pool-thin.punched")
            });
            given_back.map_err(|error| match self.back_to_thick(&image) {
                Ok(()) => error,
                Err(second) => Error::unavailable(format_args!("{error}; it is thin now, for {second}")),
            })
        })
    }

    /// The version goes on: somebody may have read the one that is taken back.
    fn back_to_thick(&self, image: &File) -> Result<()> {
        let object = &self.locked.object;
        allocate(image, self.before.size_bytes)
            .during(format_args!("the image of object {} can't be allocated again", object.name))?;
        object.write_meta(&Meta { version: self.wanted.version + 1, ..self.before.clone() })
    }

    /// Does something that nobody may write to the image during.
    fn quietly(&self, image: &File, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let filesystems = match look(self.locked, image, self.node_id)? {
            Activity::Quiet => return work(),
            Activity::Raw(_) => {
                return Err(Error::failed_precondition(format_args!(
                    "object {} is in use as a raw device; a thick one can become thin only while it is not",
                    self.locked.object.name
                )));
            }
            Activity::Mounted(filesystems) => filesystems,
        };
        write_out(&filesystems, image)?;
        let all: Vec<&Filesystem> = filesystems.iter().collect();
        let mut freezer = Freezer::note(self.pool, self.node_id, &all)?;
        for filesystem in all {
            freezer.freeze(filesystem)?;
        }
        let done = work();
        let thawed = freezer.thaw();
        done.and(thawed)
    }
}

/// Frees what is allocated and was never written. Nobody may write meanwhile: what is written between the asking and the
/// freeing would be lost.
fn punch_unwritten(image: &File) -> IoResult<()> {
    let mut at = 0;
    loop {
        let found = match fiemap::unwritten(image, at) {
            Err(Errno::OPNOTSUPP | Errno::NOTTY) => return punch_holes(image),
            other => other?,
        };
        for (start, end) in found.ranges {
            punch(image, start, end)?;
        }
        match found.next {
            Some(next) => at = next,
            None => return rustix::fs::fsync(image),
        }
    }
}

/// As [`punch_unwritten`], where only lseek(2) can be asked: it may leave some.
fn punch_holes(image: &File) -> IoResult<()> {
    let size = u64::try_from(rustix::fs::fstat(image)?.st_size).unwrap_or(0);
    let mut data = 0;
    while data < size {
        let hole = seek(image, SeekFrom::Hole(data))?;
        data = match seek(image, SeekFrom::Data(hole)) {
            Ok(data) => data,
            Err(Errno::NXIO) => size,
            Err(e) => return Err(e),
        };
        if hole < data {
            punch(image, hole, data)?;
        }
    }
    rustix::fs::fsync(image)
}

fn punch(image: &File, start: u64, end: u64) -> IoResult<()> {
    loop {
        match fallocate(image, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, start, end - start) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
