//! Making, changing and removing objects.

use super::freeze::thaw_for_the_dead;
use super::make::let_pass;
use super::object::{LockedObject, ObjectDir, set_image_size};
use super::promised::Promised;
use super::trash::{Maker, sweep, unique_name};
use super::types::{Created, Object, ObjectKind, ObjectSpec, PoolConfig, Provisioning};
use crate::dir::Dir;
use crate::error::Context;
use crate::failpoint;
use bulkhead_domain::{Error, ErrorKind, Result, StringMap, limits};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Tries of making an object whose name is taken and free again.
const TRIES: usize = 4;

/// One pool, open.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) path: PathBuf,
    pub(super) root: Dir,
    pub(super) objects: Dir,
    pub(super) tmp: Dir,
    pub(super) trash: Dir,
    pub(super) placing: Dir,
    pub(super) freezing: Dir,
    pub(super) reflinks: bool,
    pub(super) copy_limit_bytes: u64,
    pub(super) directory_mode: Option<u32>,
    pub(super) promised: Promised,
}

/// All pools of a driver. Blocking; may be used from many threads at once, and by several processes.
#[derive(Debug, Default)]
pub struct PoolStore {
    pools: BTreeMap<String, Pool>,
    pub(super) node_id: String,
}

impl PoolStore {
    /// Opens the pools, by name. Makes what belongs in their directories, thaws what dead processes of this machine left
    /// frozen, finishes sets of copies that were cut short and removes what crashes left. `node_id`: the CSI node id of
    /// this machine, by which it knows its own staged volumes again.
    ///
    /// # Errors
    /// InvalidArgument: not a name. FailedPrecondition: no such directory. Unavailable: it can't be used.
    pub fn open(pools: &BTreeMap<String, PoolConfig>, node_id: &str) -> Result<Self> {
        let mut open = BTreeMap::new();
        for (name, config) in pools {
            limits::object_name("pool name", name).map_err(Error::invalid_argument)?;
            let pool = Pool::open(config, node_id).map_err(|e| e.context(format_args!("pool {name}")))?;
            open.insert(name.clone(), pool);
        }
        Ok(Self { pools: open, node_id: node_id.to_owned() })
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
    /// AlreadyExists: the name is taken. ResourceExhausted: no space, or more than the whole pool (nothing is left).
    /// OutOfRange: the file system can't hold a file of that size. InvalidArgument: name, size or metadata. NotFound: no such pool.
    pub fn create_object(&self, pool: &str, spec: &ObjectSpec) -> Result<Object> {
        let (name, pool) = (pool, self.pool_and_name(pool, &spec.name)?);
        check(spec.size_bytes, &spec.metadata)?;
        if spec.kind == ObjectKind::Image && spec.size_bytes == 0 {
            return Err(Error::invalid_argument("an image can't have 0 bytes"));
        }
        // Only to spare the work: what decides is the rename.
        if ObjectDir::open(&pool.objects, &spec.name)?.is_some() {
            return Err(taken(&spec.name));
        }
        self.at_most_all(name, spec.size_bytes)?;
        if (spec.kind, spec.provisioning) == (ObjectKind::Directory, Provisioning::Thick) {
            self.room_to_promise(name, spec.size_bytes)?;
        }
        let maker = Maker::new(&pool.tmp).during(format_args!("cannot make an object in {}", pool.path.display()))?;
        let made = pool.fill(&maker.name, spec).and_then(|object| {
            failpoint::hit("pool-create.written")?;
            let placed = pool.place_one(&maker.name, &spec.name);
            pool.note_change(spec.kind, spec.provisioning);
            placed.map(|()| object)
        });
        if made.is_err() {
            pool.discard(&pool.tmp, &maker.name);
        }
        let object = made?;
        failpoint::hit("pool-create.done")?;
        Ok(object)
    }

    /// As [`PoolStore::create_object`]; where the name is taken, the object that has it.
    ///
    /// # Errors
    /// As [`PoolStore::create_object`], less AlreadyExists. Aborted: the name was taken, and nothing had it, each time.
    pub fn make_object(&self, pool: &str, spec: &ObjectSpec) -> Result<Created> {
        for _ in 0..TRIES {
            match self.create_object(pool, spec) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => return made.map(Created::Made),
            }
            if let Some(object) = self.stat_object(pool, &spec.name)? {
                return Ok(Created::There(object));
            }
        }
        Err(Error::aborted(format_args!("object {} is being removed; ask again", spec.name)))
    }

    /// Removes an object with its metadata, in one step. A missing one is fine.
    ///
    /// # Errors
    /// FailedPrecondition: somebody has it staged. Aborted: another operation on it is in progress.
    pub fn delete_object(&self, pool: &str, name: &str) -> Result<()> {
        let pool = self.pool_and_name(pool, name)?;
        // A set of copies that was cut short is whole first: what is deleted must not come back.
        pool.settle()?;
        let Some(locked) = LockedObject::open(&pool.objects, name)? else { return Ok(()) };
        if !locked.object.users()?.is_empty() {
            return Err(Error::failed_precondition(format_args!(
                "object {name} is staged on a node; unstage it first"
            )));
        }
        let what = || format!("cannot delete object {name} of pool {}", pool.path.display());
        let dead = unique_name().during(what())?;
        // What can't be read can be deleted all the same.
        let meta = locked.object.meta().ok().flatten();
        pool.objects.move_into(name, &pool.trash, &dead).during(what())?;
        meta.map_or_else(|| pool.promised.changed(), |meta| pool.note_change(meta.kind, meta.provisioning));
        pool.objects.sync().during(what())?;
        failpoint::hit("pool-delete.moved")?;
        drop(locked);
        pool.discard(&pool.trash, &dead);
        failpoint::hit("pool-delete.done")
    }
}

pub(super) fn check(size_bytes: u64, metadata: &StringMap) -> Result<()> {
    limits::map("metadata", metadata).map_err(Error::invalid_argument)?;
    if size_bytes > limits::MAX_BYTES {
        return Err(Error::out_of_range(format_args!("{size_bytes} bytes are more than a file can have")));
    }
    Ok(())
}

pub(super) fn taken(name: &str) -> Error {
    Error::already_exists(format_args!("object {name} exists"))
}

impl Pool {
    fn open(config: &PoolConfig, node_id: &str) -> Result<Self> {
        let path = config.path.as_path();
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
        let (placing, freezing) = (ensure("placing")?, ensure("freezing")?);
        let what = || format!("cannot use {}", path.display());
        // First of all: whoever writes to what is frozen hangs.
        thaw_for_the_dead(&freezing, &objects, node_id)?;
        let (path, copy_limit_bytes, directory_mode) =
            (path.to_owned(), config.copy_limit_bytes, config.directory_mode);
        if directory_mode.is_some() {
            let_pass(&objects)?;
        }
        let (reflinks, promised) = (false, Promised::default());
        let mut pool = Self {
            path,
            root,
            objects,
            tmp,
            trash,
            placing,
            freezing,
            reflinks,
            copy_limit_bytes,
            directory_mode,
            promised,
        };
        // Before the sweep, which would take the parts of a set away. It spares those of one that can't be finished.
        if let Err(error) = pool.settle() {
            tracing::error!(pool = %pool.path.display(), %error, "cannot finish what was being put in place");
        }
        sweep(&pool.tmp, &pool.trash, |name| Self::is_claimed(&pool.placing, name)).during(what())?;
        pool.reflinks = super::stat::probe_reflinks(&pool.tmp).during(what())?;
        Ok(pool)
    }

    /// An object of that kind came, went or changed.
    pub(super) fn note_change(&self, kind: ObjectKind, provisioning: Provisioning) {
        if (kind, provisioning) == (ObjectKind::Directory, Provisioning::Thick) {
            self.promised.changed();
        }
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
        let made = self.skeleton(name, spec.kind).during(what())?;
        if let Some(image) = &made.image {
            set_image_size(image, spec.provisioning, 0, spec.size_bytes).during(what())?;
            image.sync_all().during(what())?;
        }
        Self::complete(made.dir, spec, false)
    }
}
