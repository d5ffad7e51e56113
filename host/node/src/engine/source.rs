//! The object behind a volume, from a plan or from a record.

use super::Engine;
use super::device::Live;
use super::standing::{Expected, bind_identity};
use super::wanted::{Use, Wanted};
use crate::dir::Dir;
use crate::error::{Context, io_error};
use crate::journal::{ObjectSource, Record, Source};
use crate::loopdev::{self, LoopInfo, Tag};
use crate::pool::{LockedObject, ObjectKind};
use bulkhead_domain::plan::PoolObject;
use bulkhead_domain::{Error, Result};
use rustix::fs::fstat;
use rustix::io::Errno;
use std::fs::File;

/// An object, open, as it is to be staged.
pub(super) enum Payload {
    Image(File),
    Directory(Dir),
}

impl Engine {
    /// Opens the object that a plan names, under its lock.
    ///
    /// # Errors
    /// NotFound: no such pool or object. FailedPrecondition: of another kind, read-only, or smaller than expected.
    pub(super) fn open_wanted(
        &self,
        wanted: &Wanted,
        object: &PoolObject,
    ) -> Result<(LockedObject, Payload, ObjectSource)> {
        let name = &object.name;
        bulkhead_domain::limits::object_name("object name", name).map_err(Error::failed_precondition)?;
        let pool = self.pools.pool(&object.pool)?;
        let missing = || Error::not_found(format_args!("pool {} has no object {name}", object.pool));
        let locked = LockedObject::open(pool.objects(), name)?.ok_or_else(missing)?;
        let facts = locked.facts()?.ok_or_else(missing)?;
        if facts.read_only && !wanted.read_only {
            return Err(Error::failed_precondition(format_args!("object {name} is read-only, the plan is not")));
        }
        let kind = match wanted.usage {
            Use::Directory { .. } => ObjectKind::Directory,
            Use::Filesystem { .. } | Use::Block | Use::Export => ObjectKind::Image,
        };
        if facts.kind != kind {
            return Err(Error::failed_precondition(format_args!(
                "object {name} is not what the backend's plan takes it for: it is {}",
                match facts.kind {
                    ObjectKind::Directory => "a directory",
                    ObjectKind::Image => "an image",
                }
            )));
        }
        let what = || format!("cannot read object {name}");
        let (payload, stat, bind) = if kind == ObjectKind::Image {
            let image = locked.image(!wanted.read_only)?;
            let stat = fstat(&image).during(what())?;
            large_enough(wanted, object, u64::try_from(stat.st_size).unwrap_or(0))?;
            (Payload::Image(image), stat, None)
        } else {
            let data = locked.data()?;
            let (stat, bind) = (fstat(&data).during(what())?, bind_identity(&data)?);
            (Payload::Directory(data), stat, bind)
        };
        let source = ObjectSource {
            pool: object.pool.clone(),
            pool_path: pool.path().to_owned(),
            object: name.clone(),
            uid: facts.uid,
            dev: stat.st_dev,
            ino: stat.st_ino,
            bind,
            read_only: wanted.read_only,
        };
        Ok((locked, payload, source))
    }

    /// Opens the object that a record names, under its lock. None: it is gone, or is another object by now, or the pool
    /// is gone.
    ///
    /// # Errors
    /// Unavailable: it may be there, but can't be opened.
    pub(super) fn open_recorded(&self, source: &ObjectSource) -> Result<Option<LockedObject>> {
        let objects = match Dir::open(&source.pool_path).and_then(|pool| pool.dir("objects")) {
            Ok(objects) => objects,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                tracing::warn!(pool = %source.pool_path.display(), "the pool of a staged volume is gone");
                return Ok(None);
            }
            Err(e) => return Err(io_error(format_args!("cannot open pool {}", source.pool_path.display()), e)),
        };
        let Some(locked) = LockedObject::open(&objects, &source.object)? else { return Ok(None) };
        let same = locked.facts()?.is_some_and(|facts| facts.uid == source.uid);
        Ok(same.then_some(locked))
    }

    /// The loop devices of a volume: one, or none. After a crash in the wrong moment it can be more.
    pub(super) fn loops(&self, record: &Record) -> Result<Vec<LoopInfo>> {
        loops_of(&self.tag(&record.volume_id), record)
    }
}

/// As [`Engine::loops`], without the engine.
pub(super) fn loops_of(tag: &Tag, record: &Record) -> Result<Vec<LoopInfo>> {
    let source = match &record.source {
        Source::Object(source) if record.has_device() => source,
        _ => return Ok(Vec::new()),
    };
    let backing = (source.dev, source.ino);
    // A hint may only be trusted to be all there is once staging was finished.
    let all = record.phase != crate::journal::StagePhase::Staged;
    loopdev::find_volume(tag, &source.object, backing, record.loop_number, all)
}

/// What must be mounted at a staging path. None: nothing is, for a raw device.
pub(super) fn expected_at_staging(record: &Record, live: &Live) -> Option<Expected> {
    match &record.source {
        Source::Object(source) if !record.has_device() => Some(Expected::Directory(Box::new(source.clone()))),
        Source::Export(export) => Some(Expected::Export(Box::new(export.clone()))),
        _ if record.is_block() => None,
        _ => {
            Some(Expected::Filesystem { numbers: live.numbers(), dead: live.dead.as_ref().map(|(_, number)| *number) })
        }
    }
}

fn large_enough(wanted: &Wanted, object: &PoolObject, size: u64) -> Result<()> {
    match wanted.expected_size_bytes {
        Some(expected) if expected > size => Err(Error::failed_precondition(format_args!(
            "object {} has {size} bytes, the backend's plan expects at least {expected}; it is left as it is",
            object.name
        ))),
        _ => Ok(()),
    }
}
