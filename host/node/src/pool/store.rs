//! Making, changing and removing objects.

use super::object::{DATA, IMAGE, LOCK, LockedObject, META, META_FORMAT, Meta, ObjectDir, USERS};
use super::object::{allocate, set_image_size};
use super::trash::{Maker, remove_tree, sweep, unique_name};
use super::types::{Object, ObjectKind, ObjectSpec, Provisioning};
use crate::dir::Dir;
use crate::error::{Context, io_error};
use crate::failpoint;
use bulkhead_domain::{Error, Result, StringMap, limits};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One pool, open.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) path: PathBuf,
    pub(super) objects: Dir,
    tmp: Dir,
    trash: Dir,
    pub(super) reflinks: bool,
}

/// All pools of a driver. Blocking; may be used from many threads at once, and by several processes.
#[derive(Debug, Default)]
pub struct PoolStore {
    pools: BTreeMap<String, Pool>,
}

impl PoolStore {
    /// Opens the pools: name → directory, which must exist. Makes what belongs in it and removes what crashes left.
    ///
    /// # Errors
    /// InvalidArgument: not a name. FailedPrecondition: no such directory. Unavailable: it can't be used.
    pub fn open(pools: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let mut open = BTreeMap::new();
        for (name, path) in pools {
            limits::object_name("pool name", name).map_err(Error::invalid_argument)?;
            open.insert(name.clone(), Pool::open(path).map_err(|e| e.context(format_args!("pool {name}")))?);
        }
        Ok(Self { pools: open })
    }

    /// Names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.pools.keys().cloned().collect()
    }

    pub(crate) fn pool(&self, name: &str) -> Result<&Pool> {
        self.pools.get(name).ok_or_else(|| {
            Error::not_found(format_args!("no pool {:?} is granted", bulkhead_domain::error::clean_text(name, 128)))
        })
    }

    pub(super) fn pool_and_name(&self, pool: &str, name: &str) -> Result<&Pool> {
        limits::object_name("object name", name).map_err(Error::invalid_argument)?;
        self.pool(pool)
    }

    /// Makes an object with its metadata, in one step.
    ///
    /// # Errors
    /// AlreadyExists: the name is taken. ResourceExhausted: no space (nothing is left). OutOfRange: the file system
    /// can't hold a file of that size. InvalidArgument: name, size or metadata. NotFound: no such pool.
    pub fn create_object(&self, pool: &str, spec: &ObjectSpec) -> Result<Object> {
        let pool = self.pool_and_name(pool, &spec.name)?;
        check(spec.size_bytes, &spec.metadata)?;
        if spec.kind == ObjectKind::Image && spec.size_bytes == 0 {
            return Err(Error::invalid_argument("an image can't have 0 bytes"));
        }
        // Only to spare the work: what decides is the rename.
        if ObjectDir::open(&pool.objects, &spec.name)?.is_some() {
            return Err(taken(&spec.name));
        }
        let maker = Maker::new(&pool.tmp).during(format_args!("cannot make an object in {}", pool.path.display()))?;
        let made = pool.fill(&maker.name, spec).and_then(|object| {
            failpoint::hit("pool-create.written")?;
            pool.tmp.move_into(&maker.name, &pool.objects, &spec.name).map_err(|e| match e {
                Errno::EXIST => taken(&spec.name),
                e => io_error(format_args!("cannot put object {} in place", spec.name), e),
            })?;
            pool.objects.sync().during(format_args!("cannot sync pool {}", pool.path.display()))?;
            Ok(object)
        });
        if made.is_err() {
            pool.discard(&pool.tmp, &maker.name);
        }
        let object = made?;
        failpoint::hit("pool-create.done")?;
        Ok(object)
    }

    /// Removes an object with its metadata, in one step. A missing one is fine.
    ///
    /// # Errors
    /// FailedPrecondition: somebody has it staged. Aborted: another operation on it is in progress.
    pub fn delete_object(&self, pool: &str, name: &str) -> Result<()> {
        let pool = self.pool_and_name(pool, name)?;
        let Some(locked) = LockedObject::open(&pool.objects, name)? else { return Ok(()) };
        if !locked.object.users()?.is_empty() {
            return Err(Error::failed_precondition(format_args!(
                "object {name} is staged on a node; unstage it first"
            )));
        }
        let what = || format!("cannot delete object {name} of pool {}", pool.path.display());
        let dead = unique_name().during(what())?;
        pool.objects.move_into(name, &pool.trash, &dead).during(what())?;
        pool.objects.sync().during(what())?;
        failpoint::hit("pool-delete.moved")?;
        drop(locked);
        pool.discard(&pool.trash, &dead);
        failpoint::hit("pool-delete.done")
    }

    /// Grows an object to `size_bytes`. One that is that large already stays as it is. The loop devices of a staged
    /// image grow too.
    ///
    /// # Errors
    /// NotFound: no such object. ResourceExhausted: no space (it stays as it is). OutOfRange: the file system can't
    /// hold a file of that size. FailedPrecondition: it is read-only.
    pub fn resize_object(&self, pool: &str, name: &str, size_bytes: u64) -> Result<Object> {
        check(size_bytes, &StringMap::new())?;
        self.change(pool, name, |object, meta| {
            if size_bytes <= meta.size_bytes {
                return Ok(());
            }
            if meta.read_only {
                return Err(Error::failed_precondition(format_args!("object {name} is read-only")));
            }
            if meta.kind == ObjectKind::Image {
                grow_image(object, meta, size_bytes)?;
                failpoint::hit("pool-resize.grown")?;
            }
            meta.size_bytes = size_bytes;
            Ok(())
        })
    }

    /// Changes provisioning and metadata if the object has version `expected`. Thick: the rest of an image is
    /// allocated. Thin: nothing is freed.
    ///
    /// # Errors
    /// Aborted: another version. NotFound: no such object. ResourceExhausted: no space. InvalidArgument: metadata.
    pub fn update_object(
        &self,
        pool: &str,
        name: &str,
        expected: u64,
        provisioning: Provisioning,
        metadata: &StringMap,
    ) -> Result<Object> {
        check(0, metadata)?;
        self.change(pool, name, |object, meta| {
            if meta.version != expected {
                return Err(Error::aborted(format_args!(
                    "object {name} has version {}, not {expected}; read it again",
                    meta.version
                )));
            }
            if provisioning == Provisioning::Thick
                && meta.provisioning == Provisioning::Thin
                && meta.kind == ObjectKind::Image
            {
                let what = format!("cannot allocate the image of object {name}");
                let image = object.dir.file(IMAGE, OFlags::RDWR, 0).during(&what)?;
                allocate(&image, meta.size_bytes).during(&what)?;
                image.sync_all().during(&what)?;
            }
            meta.provisioning = provisioning;
            meta.metadata = metadata.clone();
            Ok(())
        })
    }

    /// Changes an object's metadata under its lock, and its version if anything did change.
    fn change(
        &self,
        pool: &str,
        name: &str,
        change: impl FnOnce(&ObjectDir, &mut Meta) -> Result<()>,
    ) -> Result<Object> {
        let missing = || Error::not_found(format_args!("no object {name}"));
        let pool = self.pool_and_name(pool, name)?;
        let locked = LockedObject::open(&pool.objects, name)?.ok_or_else(missing)?;
        let before = locked.object.meta()?.ok_or_else(missing)?;
        let mut meta = before.clone();
        change(&locked.object, &mut meta)?;
        if meta != before {
            meta.version += 1;
            locked.object.write_meta(&meta)?;
            failpoint::hit("pool-resize.done")?;
        }
        locked.object.describe()?.ok_or_else(missing)
    }
}

fn check(size_bytes: u64, metadata: &StringMap) -> Result<()> {
    limits::map("metadata", metadata).map_err(Error::invalid_argument)?;
    if size_bytes > limits::MAX_BYTES {
        return Err(Error::out_of_range(format_args!("{size_bytes} bytes are more than a file can have")));
    }
    Ok(())
}

fn taken(name: &str) -> Error {
    Error::already_exists(format_args!("object {name} exists"))
}

/// Grows the file first: a crash before the metadata is written leaves an image that is too large, and asking again puts
/// that right.
fn grow_image(object: &ObjectDir, meta: &Meta, size_bytes: u64) -> Result<()> {
    let what = format!("cannot grow the image of object {} to {size_bytes} bytes", object.name);
    let image = object.dir.file(IMAGE, OFlags::RDWR, 0).during(&what)?;
    let old = image.metadata().during(&what)?.len();
    if old < size_bytes {
        set_image_size(&image, meta.provisioning, old, size_bytes).during(&what)?;
        image.sync_all().during(&what)?;
    }
    if !object.users()?.is_empty() {
        crate::loopdev::grow_all_of(&image, &object.name)?;
    }
    Ok(())
}

impl Pool {
    fn open(path: &Path) -> Result<Self> {
        let root = Dir::open(path).map_err(|e| {
            Error::failed_precondition(format_args!(
                "{} cannot be opened: {}; make the directory or correct the configuration",
                path.display(),
                std::io::Error::from(e)
            ))
        })?;
        let ensure =
            |name| root.ensure_dir(name, 0o700).during(format_args!("cannot make {}", root.join(name).display()));
        let (objects, tmp, trash) = (ensure("objects")?, ensure("tmp")?, ensure("trash")?);
        let what = || format!("cannot use {}", path.display());
        sweep(&tmp, &trash).during(what())?;
        let reflinks = super::stat::probe_reflinks(&tmp).during(what())?;
        Ok(Self { path: path.to_owned(), objects, tmp, trash, reflinks })
    }

    /// The directory `objects`.
    pub(crate) fn objects(&self) -> &Dir {
        &self.objects
    }

    /// Where the pool is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything of a new object into a directory in `tmp`, durably.
    fn fill(&self, name: &str, spec: &ObjectSpec) -> Result<Object> {
        let what = || format!("cannot make object {}", spec.name);
        self.tmp.make_dir(name, 0o700).during(what())?;
        failpoint::hit("pool-create.made")?;
        let dir = self.tmp.dir(name).during(what())?;
        dir.file(LOCK, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, 0o600).during(what())?;
        dir.make_dir(USERS, 0o700).during(what())?;
        match spec.kind {
            ObjectKind::Directory => dir.make_dir(DATA, 0o755).during(what())?,
            ObjectKind::Image => {
                let image = dir.file(IMAGE, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, 0o600).during(what())?;
                set_image_size(&image, spec.provisioning, 0, spec.size_bytes).during(what())?;
                image.sync_all().during(what())?;
            }
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let meta = Meta {
            format: META_FORMAT,
            uid: unique_name().during(what())?,
            kind: spec.kind,
            size_bytes: spec.size_bytes,
            provisioning: spec.provisioning,
            metadata: spec.metadata.clone(),
            version: 1,
            created_at_ms: u64::try_from(now.as_millis()).unwrap_or(0),
            read_only: false,
        };
        // The last write: it syncs the directory too.
        let object = ObjectDir { dir, name: spec.name.clone() };
        object.write_meta(&meta)?;
        object.describe()?.ok_or_else(|| Error::unavailable(format_args!("{}: {META} vanished", what())))
    }

    /// Removes what is of no use any more. What can't be removed costs space until the pool is opened again.
    fn discard(&self, from: &Dir, name: &str) {
        let removed = (|| {
            let mut name = name.to_owned();
            if !std::ptr::eq(from, &self.trash) {
                let dead = unique_name()?;
                from.move_into(&name, &self.trash, &dead)?;
                name = dead;
            }
            remove_tree(&self.trash, name.into())
        })();
        if let Err(error) = removed
            && error != Errno::NOENT
        {
            tracing::warn!(pool = %self.path.display(), %error, "cannot remove a dead object; it goes at the next start");
        }
    }
}
