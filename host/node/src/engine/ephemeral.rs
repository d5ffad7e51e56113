//! Inline ephemeral volumes: NodePublishVolume without staging. The object lives as long as the record.
//!
//! The file system, or the directory, is mounted at the target itself: no staging place has to be kept and found again.
//! The record names the object before that is made, so whatever is cut short, unpublishing alone finds all of it. What
//! the name leads to is removed only if its metadata says that it is this volume's.

use super::Engine;
use super::publish::target_is_free;
use super::source::{Payload, expected_at_staging};
use super::standing::{Standing, standing};
use super::undo::{Leftover, in_the_way};
use super::wanted::{Use, Wanted};
use crate::dir::Dir;
use crate::error::{Context, io_error};
use crate::failpoint;
use crate::fence::Place;
use crate::journal::{ObjectSource, PublishPhase, PublishRecord, Record, Source, StagePhase, TargetKind};
use crate::loopdev;
use crate::pool::{LockedObject, ObjectKind, ObjectSpec, PoolConfig, PoolStore, Provisioning};
use bulkhead_domain::node::PublishEphemeral;
use bulkhead_domain::plan::{FormatPolicy, Plan, PoolObject, Scratch, Usage};
use bulkhead_domain::volume::VolumeId;
use bulkhead_domain::{Error, ErrorKind, Result, StringMap, limits};
use rustix::io::Errno;
use std::path::Path;

/// What an earlier record leaves to do.
enum Rest {
    /// Nothing: it is published.
    Nothing,
    /// The object and its data are there, the mount is not: after a reboot, say.
    Mount(Box<Record>),
    /// Everything.
    All,
}

impl Engine {
    /// NodePublishVolume of an inline ephemeral volume: makes its object, and a file system on an image, and mounts it at
    /// the target path, which is made too. [`Engine::unpublish`] removes all of it, data included.
    ///
    /// Asking again for what is there does nothing; what was cut short is undone and done again. A volume that was
    /// published and is not mounted any more is mounted again with its data.
    ///
    /// # Errors
    /// InvalidArgument: path or mount flag. AlreadyExists: published there with other arguments or another plan.
    /// FailedPrecondition: raw block; published at another target, or staged; the target is in use by something else, or
    /// its parent is missing; a plan that this host can't carry out. NotFound: no such pool. ResourceExhausted: no space.
    /// Unavailable, Aborted, DeadlineExceeded: ask again.
    pub fn publish_ephemeral(&self, request: &PublishEphemeral) -> Result<()> {
        let plan = self.scratch_plan(request)?;
        let mut wanted = Wanted::new(&writable(&plan), &request.capability, self.volume_mount_group)?;
        if request.read_only || plan.usage.read_only() || request.capability.access_mode.is_reader_only() {
            wanted.set_read_only();
        }
        let place = self.target_place(&request.target_path)?;
        let rest = match self.journal.load(&request.volume_id)? {
            Some(record) => self.rest_of_ephemeral(record, request, &plan, &place)?,
            None => Rest::All,
        };
        match rest {
            Rest::Nothing => Ok(()),
            Rest::Mount(record) => self.mount_again(*record, &wanted, &place),
            Rest::All => self.publish_all(request, &plan, &wanted, &place),
        }
    }

    /// The plan of an ordinary volume on the object that will be made.
    fn scratch_plan(&self, request: &PublishEphemeral) -> Result<Plan> {
        let refuse = |why: &str| Err(Error::failed_precondition(format_args!("volume {}: {why}", request.volume_id)));
        let plan = &request.plan;
        if request.capability.is_block() {
            return refuse("an inline ephemeral volume is mounted; it can't be a raw block device");
        }
        if plan.size_bytes == 0 || plan.size_bytes > limits::MAX_BYTES {
            return refuse("the backend's plan has a size that no volume can have");
        }
        if matches!(&plan.scratch, Scratch::Image(filesystem) if filesystem.format == FormatPolicy::Never) {
            return refuse("the backend's plan forbids to format an image that is always a new one");
        }
        let object = PoolObject { pool: plan.pool.clone(), name: self.scratch_name(&request.volume_id) };
        Ok(Plan {
            access: plan.scratch.access(object),
            usage: plan.scratch.usage(),
            encryption: None,
            expected_size_bytes: Some(plan.size_bytes),
        })
    }

    /// `e-` and 32 hexadecimal digits over driver, node and volume.
    fn scratch_name(&self, volume: &VolumeId) -> String {
        format!("e-{}", self.user(volume, false).id())
    }

    fn scratch_metadata(&self, volume: &VolumeId) -> StringMap {
        let (driver, node_id) = self.journal.owner();
        [("ephemeral", "true"), ("driver", driver), ("node-id", node_id), ("volume-id", volume.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// Meets an earlier record. What was cut short is undone.
    fn rest_of_ephemeral(
        &self,
        mut record: Record,
        request: &PublishEphemeral,
        plan: &Plan,
        place: &Place,
    ) -> Result<Rest> {
        let volume = &request.volume_id;
        let Some(target) = &record.ephemeral else {
            return Err(Error::failed_precondition(format_args!(
                "volume {volume} is staged at {}, so it can't be an inline ephemeral volume",
                record.staging_path.display()
            )));
        };
        if target != place.canonical() {
            return Err(Error::failed_precondition(format_args!(
                "volume {volume} is published at {}; an inline ephemeral volume has one target, unpublish it there first",
                target.display()
            )));
        }
        if record.phase != StagePhase::Staged {
            self.undo_ephemeral(&mut record)?;
            return Ok(Rest::All);
        }
        let wanted = published(&record, request);
        let same = record.publishes.get(target) == Some(&wanted) && record.plan == *plan;
        if !same {
            return Err(Error::already_exists(format_args!(
                "volume {volume} is published at {} with other arguments or another plan",
                target.display()
            )));
        }
        let live = self.live(&record)?;
        let found = match expected_at_staging(&record, &live) {
            Some(expected) => standing(place, &expected)?,
            None => Standing::Nothing,
        };
        match found {
            Standing::Ours => Ok(Rest::Nothing),
            Standing::Covered => Err(in_the_way(place.canonical())),
            Standing::Nothing | Standing::Stale | Standing::Foreign
                if self.open_recorded(record.object()?)?.is_some() =>
            {
                Ok(Rest::Mount(Box::new(record)))
            }
            Standing::Nothing | Standing::Stale | Standing::Foreign => {
                tracing::warn!(%volume, object = record.object()?.object, "the object of an ephemeral volume is gone; it begins anew");
                self.undo_ephemeral(&mut record)?;
                Ok(Rest::All)
            }
        }
    }

    fn publish_all(&self, request: &PublishEphemeral, plan: &Plan, wanted: &Wanted, place: &Place) -> Result<()> {
        target_is_free(place, TargetKind::Directory)?;
        let object = wanted.object()?;
        let source = ObjectSource {
            pool: object.pool.clone(),
            pool_path: self.pools.pool(&object.pool)?.path().to_owned(),
            object: object.name.clone(),
            uid: String::new(),
            dev: 0,
            ino: 0,
            bind: None,
            read_only: false,
        };
        let owner = self.journal.owner();
        let nowhere = std::path::PathBuf::new();
        let source = Source::Object(source);
        let mut record = Record::new(owner, &request.volume_id, plan, &request.capability, nowhere, source)?;
        let publish = PublishRecord { phase: PublishPhase::Publishing, ..published(&record, request) };
        record.publishes.insert(place.canonical().to_owned(), publish.clone());
        record.ephemeral = Some(place.canonical().to_owned());
        self.journal.store(&record)?;
        let done = (|| {
            failpoint::hit("ephemeral.intent")?;
            self.make_scratch(&record, wanted)?;
            failpoint::hit("ephemeral.made")?;
            let (locked, payload, source) = self.open_wanted(wanted, object)?;
            record.source = Source::Object(source);
            self.journal.store(&record)?;
            failpoint::hit("ephemeral.noted")?;
            locked.add_user(&self.user(&request.volume_id, false), true)?;
            failpoint::hit("ephemeral.marked")?;
            self.mount_at(&mut record, wanted, (&locked, &payload), place)?;
            record.phase = StagePhase::Staged;
            let whole = PublishRecord { phase: PublishPhase::Published, ..publish.clone() };
            record.publishes.insert(place.canonical().to_owned(), whole);
            self.journal.store(&record)
        })();
        match done {
            Ok(()) => failpoint::hit("ephemeral.done"),
            Err(error) => Err(match self.undo_ephemeral(&mut record) {
                Ok(()) => error,
                Err(second) => Error::unavailable(format_args!("{error}; and undoing it failed: {second}")),
            }),
        }
    }

    /// Makes the object. One that is there under the name and is this volume's is of a record that was lost: it goes.
    fn make_scratch(&self, record: &Record, wanted: &Wanted) -> Result<()> {
        let object = wanted.object()?;
        let spec = ObjectSpec {
            name: object.name.clone(),
            kind: match wanted.usage {
                Use::Directory { .. } => ObjectKind::Directory,
                Use::Filesystem { .. } | Use::Block | Use::Export => ObjectKind::Image,
            },
            size_bytes: wanted.expected_size_bytes.unwrap_or(0),
            provisioning: Provisioning::Thin,
            metadata: self.scratch_metadata(&record.volume_id),
        };
        let make = || self.pools.create_object(&object.pool, &spec);
        let made = match make() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.remove_scratch(record)?;
                make()
            }
            other => other,
        };
        made.map(drop).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::failed_precondition(format_args!(
                "object {} of pool {} is in the way and is not this volume's; remove it",
                object.name, object.pool
            )),
            _ => error,
        })
    }

    fn mount_at(
        &self,
        record: &mut Record,
        wanted: &Wanted,
        object: (&LockedObject, &Payload),
        place: &Place,
    ) -> Result<()> {
        place.make(true).during(format_args!("cannot make the target path {}", place.canonical().display()))?;
        failpoint::hit("ephemeral.target-made")?;
        self.effect(record, wanted, object, place)
    }

    /// Mounts a volume again whose data is there. On failure the data stays, and the record: what is attached or mounted by
    /// then is found by the next call, as after a crash.
    fn mount_again(&self, mut record: Record, wanted: &Wanted, place: &Place) -> Result<()> {
        target_is_free(place, TargetKind::Directory)?;
        record.loop_number = None;
        for info in self.loops(&record)? {
            loopdev::detach(&info)?;
        }
        let (locked, payload, source) = self.open_wanted(wanted, wanted.object()?)?;
        locked.add_user(&self.user(&record.volume_id, false), true)?;
        record.source = Source::Object(source);
        self.mount_at(&mut record, wanted, (&locked, &payload), place)?;
        self.journal.store(&record)
    }

    /// NodeUnpublishVolume of an inline ephemeral volume.
    pub(super) fn unpublish_ephemeral(&self, mut record: Record, target: &Path) -> Result<()> {
        if record.ephemeral.as_deref() != Some(target) {
            return Ok(());
        }
        // Asked before the record says that it is being undone, as for unstaging.
        let live = self.live(&record)?;
        if let Some(expected) = expected_at_staging(&record, &live)
            && matches!(self.standing_at(target, &expected)?, Standing::Covered | Standing::Foreign)
        {
            return Err(in_the_way(target));
        }
        self.undo_ephemeral(&mut record)?;
        failpoint::hit("unpublish.done")
    }

    /// Undoes all of a record and removes it.
    pub(super) fn undo_ephemeral(&self, record: &mut Record) -> Result<()> {
        record.phase = StagePhase::Unstaging;
        self.note(record)?;
        failpoint::hit("ephemeral.undoing")?;
        for target in record.publishes.keys().cloned().collect::<Vec<_>>() {
            self.undo_publish(record, &target, Leftover::Fails)?;
        }
        for info in &self.loops(record)? {
            loopdev::detach(info)?;
        }
        failpoint::hit("ephemeral.detached")?;
        self.remove_scratch(record)?;
        failpoint::hit("ephemeral.removed")?;
        self.journal.remove(&record.volume_id)
    }

    /// Deletes the object that a record names, if it is there and this volume's. The pool need not be configured any more.
    fn remove_scratch(&self, record: &Record) -> Result<()> {
        let (source, volume) = (record.object()?, &record.volume_id);
        let opened;
        let pools: &PoolStore = match self.pools.pool(&source.pool) {
            Ok(pool) if pool.path() == source.pool_path => &self.pools,
            _ => match Dir::open(&source.pool_path).and_then(|pool| pool.dir("objects")) {
                Ok(_) => {
                    let pool = PoolConfig::new(&source.pool_path);
                    opened = PoolStore::open(&[(source.pool.clone(), pool)].into(), self.journal.owner().1)?;
                    &opened
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    tracing::warn!(%volume, pool = %source.pool_path.display(), "the pool of an ephemeral volume is gone");
                    return Ok(());
                }
                Err(e) => return Err(io_error(format_args!("cannot open pool {}", source.pool_path.display()), e)),
            },
        };
        let Some(object) = pools.stat_object(&source.pool, &source.object)? else { return Ok(()) };
        if object.spec.metadata != self.scratch_metadata(volume) {
            tracing::warn!(%volume, object = source.object, "an object of an ephemeral volume's name is not its own; it stays");
            return Ok(());
        }
        if let Some(locked) = LockedObject::open(pools.pool(&source.pool)?.objects(), &source.object)? {
            locked.remove_user(&self.user(volume, false))?;
        }
        failpoint::hit("ephemeral.unmarked")?;
        pools.delete_object(&source.pool, &source.object)
    }
}

/// How the one target stands in the record once it is published.
fn published(record: &Record, request: &PublishEphemeral) -> PublishRecord {
    PublishRecord {
        phase: PublishPhase::Published,
        read_only: request.read_only,
        capability: record.capability_record(&request.capability),
        kind: TargetKind::Directory,
        loop_number: None,
    }
}

/// A new image must be written once, also for a volume that is then only read.
fn writable(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    match &mut plan.usage {
        Usage::Filesystem(filesystem) => filesystem.read_only = false,
        Usage::Directory(directory) => directory.read_only = false,
        Usage::Block(_) => {}
    }
    plan
}
