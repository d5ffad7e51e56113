//! Growing objects.

use super::object::{IMAGE, LockedObject, Meta, ObjectDir, set_image_size};
use super::store::{Pool, PoolStore, check};
use super::types::{Object, ObjectKind, Provisioning};
use crate::error::Context;
use crate::failpoint;
use bulkhead_domain::{Error, Result, StringMap};
use rustix::fs::OFlags;

impl PoolStore {
    /// Grows an object to `size_bytes`, or to more if growing it to more was cut short. One that is that large already stays
    /// as it is. The loop devices of a staged
    /// image grow too.
    ///
    /// # Errors
    /// NotFound: no such object. ResourceExhausted: no space (it stays as it is). OutOfRange: more than the whole pool, or
    /// the file system can't hold a file of that size. FailedPrecondition: it is read-only.
    pub fn resize_object(&self, pool: &str, name: &str, size_bytes: u64) -> Result<Object> {
        check(size_bytes, &StringMap::new())?;
        let missing = || Error::not_found(format_args!("no object {name}"));
        let open = self.pool_and_name(pool, name)?;
        let locked = LockedObject::open(&open.objects, name)?.ok_or_else(missing)?;
        self.resize_locked(pool, &locked, size_bytes)?;
        locked.object.describe()?.ok_or_else(missing)
    }

    /// As [`PoolStore::resize_object`], for an object of that pool that the caller has locked.
    pub(crate) fn resize_locked(&self, pool: &str, locked: &LockedObject, size_bytes: u64) -> Result<()> {
        check(size_bytes, &StringMap::new())?;
        let (name, open) = (pool, self.pool(pool)?);
        let object = &locked.object;
        let before = object.meta()?.ok_or_else(|| Error::not_found(format_args!("no object {}", object.name)))?;
        if size_bytes <= before.size_bytes {
            return Ok(());
        }
        if before.read_only {
            return Err(Error::failed_precondition(format_args!("object {} is read-only", object.name)));
        }
        if let Some(why) = self.larger_than_all(name, size_bytes)? {
            return Err(Error::out_of_range(format_args!("object {} can't grow: {why}", object.name)));
        }
        let mut meta = before;
        if meta.kind == ObjectKind::Image {
            meta.size_bytes = self.grow_image(name, object, &meta, size_bytes)?;
            failpoint::hit("pool-resize.grown")?;
        } else {
            self.room_to_grow(name, &meta, meta.size_bytes, size_bytes)?;
            meta.size_bytes = size_bytes;
        }
        write_down(open, object, &mut meta)
    }

    /// Grows the file first: a crash before the metadata is written leaves an image that is too large, and asking again puts
    /// that right. One that is larger than what is asked for stays so, for its size may have been seen: the size that it has.
    fn grow_image(&self, pool: &str, object: &ObjectDir, meta: &Meta, size_bytes: u64) -> Result<u64> {
        let what = format!("cannot grow the image of object {} to {size_bytes} bytes", object.name);
        let image = object.dir.file(IMAGE, OFlags::RDWR, 0).during(&what)?;
        let old = image.metadata().during(&what)?.len();
        if old < size_bytes {
            self.room_to_grow(pool, meta, old, size_bytes)?;
            set_image_size(&image, meta.provisioning, old, size_bytes).during(&what)?;
            image.sync_all().during(&what)?;
        }
        if !object.users()?.is_empty() {
            crate::loopdev::grow_all_of(&image, &object.name)?;
        }
        Ok(old.max(size_bytes))
    }

    /// What is thick takes all of it. Looked at before anything is allocated: others would find the pool full meanwhile.
    fn room_to_grow(&self, pool: &str, meta: &Meta, from: u64, to: u64) -> Result<()> {
        match meta.provisioning {
            Provisioning::Thin => Ok(()),
            Provisioning::Thick => self.room_to_promise(pool, to - from),
        }
    }
}

fn write_down(pool: &Pool, object: &ObjectDir, meta: &mut Meta) -> Result<()> {
    meta.version += 1;
    let written = object.write_meta(meta);
    pool.note_change(meta.kind, meta.provisioning);
    written?;
    failpoint::hit("pool-resize.done")
}
