//! What is to be copied: opened, locked, and found fit for it.

use crate::dir::Dir;
use crate::error::Context;
use crate::pool::live::{Activity, look};
use crate::pool::object::{LockedObject, Meta};
use crate::pool::store::Pool;
use crate::pool::types::{CopyOrder, ObjectKind};
use bulkhead_domain::{Error, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// The bytes of an object.
pub(super) enum Payload {
    Image(File),
    Directory(Dir),
}

/// An object that is to be copied. Nobody stages, deletes or grows it meanwhile.
pub(super) struct Source {
    locked: LockedObject,
    pub(super) meta: Meta,
    pub(super) payload: Payload,
    pub(super) activity: Activity,
}

impl Source {
    pub(super) fn name(&self) -> &str {
        &self.locked.object.name
    }

    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.activity, Activity::Quiet)
    }
}

/// Opens and locks all sources, in the order of their names: two sets with the same ones don't wait for each other in a circle.
pub(super) fn open_all(pool: &Pool, copies: &[CopyOrder], node_id: &str) -> Result<Vec<Source>> {
    let names: BTreeSet<&str> = copies.iter().map(|order| order.source.as_str()).collect();
    let mut sources = Vec::with_capacity(names.len());
    for name in names {
        let source = open(pool, name, node_id)?;
        for order in copies.iter().filter(|order| order.source == name) {
            check_order(order, &source)?;
        }
        sources.push(source);
    }
    Ok(sources)
}

fn open(pool: &Pool, name: &str, node_id: &str) -> Result<Source> {
    let missing = || Error::not_found(format_args!("no object {name}"));
    let locked = LockedObject::open(&pool.objects, name)?.ok_or_else(missing)?;
    let meta = locked.object.meta()?.ok_or_else(missing)?;
    let (payload, activity) = match meta.kind {
        ObjectKind::Image => {
            let image = locked.image(false)?;
            let activity = look(&locked, &image, node_id)?;
            (Payload::Image(image), activity)
        }
        ObjectKind::Directory => {
            let writer = |(_, user): &(_, Option<crate::pool::User>)| !user.as_ref().is_some_and(|user| user.read_only);
            if locked.object.known_users()?.iter().any(writer) {
                return Err(Error::failed_precondition(format_args!(
                    "directory {name} is staged for writing: its files are on the pool's own file system, which can't be \
                     held still while it takes the copy; unstage it first, or use an image"
                )));
            }
            (Payload::Directory(locked.data()?), Activity::Quiet)
        }
    };
    Ok(Source { locked, meta, payload, activity })
}

fn check_order(order: &CopyOrder, source: &Source) -> Result<()> {
    let (name, target) = (source.name(), &order.target);
    if target.kind != source.meta.kind {
        return Err(Error::invalid_argument(format_args!("copy {} is to be of another kind than {name}", target.name)));
    }
    if target.size_bytes < source.meta.size_bytes {
        return Err(Error::invalid_argument(format_args!(
            "copy {} is to have {} bytes, {name} has {}",
            target.name, target.size_bytes, source.meta.size_bytes
        )));
    }
    let Payload::Image(image) = &source.payload else { return Ok(()) };
    let size = image.metadata().during(format_args!("cannot read object {name}"))?.len();
    if target.size_bytes < size {
        return Err(Error::failed_precondition(format_args!(
            "growing object {name} to {size} bytes was cut short; grow it again first"
        )));
    }
    Ok(())
}

/// Checks what can't be said of one source alone.
///
/// # Errors
/// FailedPrecondition: they can't be cut at one moment, or that would take too long.
pub(super) fn check_together(pool: &Pool, sources: &[Source]) -> Result<()> {
    let mut frozen_bytes = 0u64;
    for source in sources {
        let (name, Payload::Image(image)) = (source.name(), &source.payload) else { continue };
        match source.activity {
            Activity::Quiet => {}
            Activity::Raw(_) if !pool.reflinks => {
                return Err(Error::failed_precondition(format_args!(
                    "object {name} is in use as a raw device, and pool {} can't share extents: its bytes would change \
                     while they are copied; unstage it first",
                    pool.path.display()
                )));
            }
            Activity::Raw(_) if sources.len() > 1 => {
                return Err(Error::failed_precondition(format_args!(
                    "object {name} is in use as a raw device, which can't be held still: it can only be copied by itself"
                )));
            }
            Activity::Raw(_) => {}
            Activity::Mounted(_) => {
                let stat = image.metadata().during(format_args!("cannot read object {name}"))?;
                frozen_bytes = frozen_bytes.saturating_add(stat.blocks().saturating_mul(512));
            }
        }
    }
    if !pool.reflinks && frozen_bytes > pool.copy_limit_bytes {
        return Err(Error::failed_precondition(format_args!(
            "{frozen_bytes} bytes would have to be copied while file systems are frozen, more than the limit of {} of pool \
             {}, which can't share extents: refused rather than have pods stall; unstage first, raise the limit, or use \
             a pool on XFS",
            pool.copy_limit_bytes,
            pool.path.display()
        )));
    }
    Ok(())
}
