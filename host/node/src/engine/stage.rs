//! NodeStageVolume.

use super::Engine;
use super::export::mount_any;
use super::group;
use super::medium::Medium;
use super::source::{Payload, expected_at_staging};
use super::standing::{Expected, Standing, is_nfs, standing};
use super::undo::in_the_way;
use super::wanted::{Origin, Use, Wanted};
use crate::error::Context;
use crate::failpoint;
use crate::fence::{Found, Place};
use crate::fs::format::{self, FsKind, Tool, Verdict};
use crate::fs::grow;
use crate::fs::mount::{DetachedMount, Opened};
use crate::fs::options::MountOptions;
use crate::fs::probe::probe;
use crate::journal::{FormatState, Record, Source, StagePhase};
use crate::loopdev;
use crate::mounts;
use crate::pool::LockedObject;
use bulkhead_domain::node::Stage;
use bulkhead_domain::plan::{Filesystem, PoolObject};
use bulkhead_domain::{Error, Result};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// What an earlier record leaves to do.
enum Rest {
    /// Nothing: it is staged.
    Nothing,
    /// Everything. What is named has been formatted before.
    All { formatted: Option<Box<Source>> },
    /// Only the mount at the staging path: it was taken away while targets are in use.
    Remount(Box<Record>),
}

impl Engine {
    /// NodeStageVolume: makes the volume ready on this node, at the staging path.
    ///
    /// Asking again for what is there does nothing; what was cut short is undone and done again. On failure nothing is
    /// left, or the error's kind says that the outcome isn't certain and the record stays.
    ///
    /// # Errors
    /// InvalidArgument: path or mount flag. AlreadyExists: staged there with another capability. NotFound: no such
    /// object. FailedPrecondition: staged elsewhere; path in use or missing; a plan that this host can't carry out; a
    /// device that holds something else, is too small, or must not be formatted. ResourceExhausted: no space. Unavailable,
    /// Aborted, DeadlineExceeded: ask again.
    pub fn stage(&self, request: &Stage) -> Result<()> {
        let wanted = Wanted::new(&request.plan, &request.capability, self.volume_mount_group)?;
        let place = self.staging_place(&request.staging_path, matches!(wanted.origin, Origin::Export(_)))?;
        let rest = match self.journal.load(&request.volume_id)? {
            Some(record) => self.rest_of(record, request, &place)?,
            None => Rest::All { formatted: None },
        };
        match (rest, &wanted.origin) {
            (Rest::Nothing, _) => Ok(()),
            (Rest::Remount(record), _) => self.remount(&record, &wanted, &place, request.timeout),
            (Rest::All { formatted }, Origin::Object(object)) => {
                self.stage_object(request, (&wanted, object), &place, formatted)
            }
            (Rest::All { formatted }, Origin::Disk(device)) => {
                self.stage_disk(request, (&wanted, device), &place, formatted)
            }
            (Rest::All { .. }, Origin::Export(export)) => self.stage_export(request, (&wanted, export), &place),
        }
    }

    fn staging_place(&self, path: &Path, is_export: bool) -> Result<Place> {
        let what = "staging_target_path";
        let missing =
            || Error::failed_precondition(format_args!("{what}: there is no such directory; the CO makes it"));
        let place = self.fence.resolve(what, path)?.ok_or_else(missing)?;
        // Looking at the path would ask the server.
        if is_export && mounts::at(place.canonical())?.last().is_some_and(is_nfs) {
            return Ok(place);
        }
        match place.found() {
            Ok(Found::Nothing) => Err(missing()),
            Ok(Found::Other) => Err(Error::invalid_argument(format_args!("{what}: leads through a symbolic link"))),
            Ok(Found::File | Found::BlockDevice) => {
                Err(Error::invalid_argument(format_args!("{what}: is not a directory")))
            }
            // A dead file system of ours may be mounted there.
            Ok(Found::Directory) | Err(_) => Ok(place),
        }
    }

    /// Meets an earlier record. What of it is not whole any more is undone.
    fn rest_of(&self, mut record: Record, request: &Stage, place: &Place) -> Result<Rest> {
        let volume = &request.volume_id;
        if let Some(target) = &record.ephemeral {
            return Err(Error::failed_precondition(format_args!(
                "volume {volume} is an inline ephemeral volume, published at {}; unpublish it there first",
                target.display()
            )));
        }
        let live = self.live(&record)?;
        let there = match expected_at_staging(&record, &live) {
            Some(expected) => self.standing_at(&record.staging_path, &expected)? == Standing::Ours,
            None => !live.devices.is_empty(),
        };
        let targets = self.targets(&record, &live, Standing::is_live)?;
        if record.phase == StagePhase::Staged && (there || !targets.is_empty()) {
            if record.staging_path != place.canonical() {
                return Err(Error::failed_precondition(format_args!(
                    "volume {volume} is staged at {}; unstage it there first",
                    record.staging_path.display()
                )));
            }
            if record.capability != record.capability_record(&request.capability) {
                return Err(Error::already_exists(format_args!(
                    "volume {volume} is staged there with another capability"
                )));
            }
            if !there {
                return Ok(Rest::Remount(Box::new(record)));
            }
            if !self.is_dead_export(&record, place)? {
                return Ok(Rest::Nothing);
            }
        }
        let formatted = (record.formatted == FormatState::Done).then(|| Box::new(record.source.clone()));
        self.undo_stage(&mut record)?;
        Ok(Rest::All { formatted })
    }

    /// The record of the intent to stage, stored. Nothing may be mounted at the place.
    pub(super) fn begin(
        &self,
        request: &Stage,
        place: &Place,
        source: Source,
        formatted: Option<Box<Source>>,
    ) -> Result<Record> {
        let expected = match &source {
            Source::Export(export) => Expected::Export(Box::new(export.clone())),
            Source::Object(_) | Source::Disk(_) => Expected::Nothing,
        };
        if standing(place, &expected)? != Standing::Nothing {
            return Err(in_the_way(place.canonical()));
        }
        let before = formatted.is_some_and(|formatted| formatted.is_same(&source));
        let staging_path = place.canonical().to_owned();
        let (owner, plan) = (self.journal.owner(), &request.plan);
        let mut record = Record::new(owner, &request.volume_id, plan, &request.capability, staging_path, source)?;
        if before {
            record.formatted = FormatState::Done;
        }
        self.journal.store(&record)?;
        Ok(record)
    }

    /// Undoes what failed half way.
    pub(super) fn end(&self, record: &mut Record, done: Result<()>) -> Result<()> {
        match done {
            Ok(()) => failpoint::hit("stage.done"),
            Err(error) => Err(match self.undo_stage(record) {
                Ok(()) => error,
                Err(second) => Error::unavailable(format_args!("{error}; and undoing it failed: {second}")),
            }),
        }
    }

    fn stage_object(
        &self,
        request: &Stage,
        (wanted, object): (&Wanted, &PoolObject),
        place: &Place,
        formatted: Option<Box<Source>>,
    ) -> Result<()> {
        let (locked, payload, source) = self.open_wanted(wanted, object)?;
        let mut record = self.begin(request, place, Source::Object(source), formatted)?;
        let done = (|| {
            failpoint::hit("stage.intent")?;
            // Two writers on one image would destroy it; directories can be shared.
            let exclusive = matches!(payload, Payload::Image(_));
            // Kept until all is done: nobody is to copy an image that is being formatted, checked or grown.
            locked.add_user(&self.user(&request.volume_id, wanted.read_only), exclusive)?;
            failpoint::hit("stage.marked")?;
            self.effect(&mut record, wanted, (&locked, &payload), place)?;
            record.phase = StagePhase::Staged;
            self.journal.store(&record)
        })();
        // Undoing takes the lock itself.
        drop(locked);
        self.end(&mut record, done)
    }

    /// All that staging does to the machine. The object stays locked by the caller.
    pub(super) fn effect(
        &self,
        record: &mut Record,
        wanted: &Wanted,
        (locked, payload): (&LockedObject, &Payload),
        place: &Place,
    ) -> Result<()> {
        match (&wanted.usage, payload) {
            (Use::Directory { options }, Payload::Directory(data)) => {
                if let Some(group) = wanted.group.filter(|_| !options.read_only()) {
                    group::give(data, group)?;
                }
                bind(data, options, place)?;
                failpoint::hit("stage.mounted")
            }
            (Use::Block, Payload::Image(image)) => self.attach(record, image).map(drop),
            (Use::Filesystem { plan, fs, options }, Payload::Image(image)) => {
                self.stage_filesystem(record, (plan, *fs, options), (locked, image), place)
            }
            _ => Err(Error::internal("the object is of another kind than the plan")),
        }
    }

    pub(super) fn attach(&self, record: &mut Record, image: &File) -> Result<u32> {
        let number = loopdev::attach(image, &self.tag(&record.volume_id), record.source.read_only())?;
        failpoint::hit("stage.attached")?;
        record.loop_number = Some(number);
        Ok(number)
    }

    fn stage_filesystem(
        &self,
        record: &mut Record,
        (plan, fs, options): (&Filesystem, FsKind, &MountOptions),
        (locked, image): (&LockedObject, &File),
        place: &Place,
    ) -> Result<()> {
        let writable = !record.source.read_only();
        let verdict = format::decide(probe(image)?, fs, plan.format, record.formatted == FormatState::Done, writable)?;
        let device = loopdev::device_path(self.attach(record, image)?);
        let medium = Medium { device: &device, tool: Tool::Path(&device), content: image, size_bytes: size_of(image)? };
        self.prepare(record, (plan, fs), verdict, &medium)?;
        let mount = match DetachedMount::of_device(fs.name(), &device, options)? {
            Opened::Mount(mount) => mount,
            Opened::LogNotReplayed => self.replay(record, locked, (fs, options))?,
        };
        self.show(mount, (plan, fs, options), &medium, writable, place)
    }

    /// Makes the device's content fit to be mounted: a file system, checked, and as large as the device where it can't grow
    /// while it is mounted.
    pub(super) fn prepare(
        &self,
        record: &mut Record,
        (plan, fs): (&Filesystem, FsKind),
        verdict: Verdict,
        medium: &Medium<'_>,
    ) -> Result<()> {
        match verdict {
            Verdict::Format => {
                record.formatted = FormatState::Started;
                self.journal.store(record)?;
                failpoint::hit("stage.format-intent")?;
                tracing::info!(volume = %record.volume_id, fs = fs.name(), device = %medium.device.display(), "formatting an empty device");
                format::make(fs, medium.tool, &plan.mkfs_options)?;
                failpoint::hit("stage.formatted")?;
                record.formatted = FormatState::Done;
                self.journal.store(record)?;
                failpoint::hit("stage.format-done")?;
            }
            Verdict::Mount if !record.source.read_only() => {
                format::check(fs, medium.tool, plan.fsck)?;
                if fs == FsKind::Ext4 && plan.grow && grow::ext4(medium.content)?.can_grow_to(medium.size_bytes) {
                    format::grow_ext4_offline(medium.tool)?;
                    failpoint::hit("stage.grown-offline")?;
                }
            }
            Verdict::Mount => {}
        }
        Ok(())
    }

    /// Shows a file system at the staging path, and lets one grow that can do so only there.
    pub(super) fn show(
        &self,
        mount: DetachedMount,
        (plan, fs, options): (&Filesystem, FsKind, &MountOptions),
        medium: &Medium<'_>,
        writable: bool,
        place: &Place,
    ) -> Result<()> {
        let root = mount.attach(place)?;
        failpoint::hit("stage.mounted")?;
        if fs == FsKind::Xfs && plan.grow && writable && !options.read_only() {
            grow_mounted(&root, fs, medium.device)?;
            failpoint::hit("stage.grown-online")?;
        }
        Ok(())
    }

    /// Mounts a staged volume again whose targets are in use.
    fn remount(&self, record: &Record, wanted: &Wanted, place: &Place, timeout: Duration) -> Result<()> {
        let live = self.live(record)?;
        match (&wanted.usage, live.first()) {
            (Use::Filesystem { fs, options, .. }, Some(device)) => {
                let device = device.path();
                DetachedMount::of_device(fs.name(), &device, options)?.ready()?.attach(place).map(drop)
            }
            (Use::Export, _) => {
                let Origin::Export(export) = &wanted.origin else {
                    return Err(Error::internal("an export that is none"));
                };
                mount_any(export, timeout)?.attach(place).map(drop)
            }
            (Use::Directory { options }, _) => {
                let source = record.object()?;
                let gone = || Error::failed_precondition(format_args!("object {} is gone", source.object));
                let locked = self.open_recorded(source)?.ok_or_else(gone)?;
                bind(&locked.data()?, options, place)
            }
            _ => {
                Err(Error::unavailable("the volume's device is gone while its targets are in use; unpublish it first"))
            }
        }
    }
}

fn bind(data: &crate::dir::Dir, options: &MountOptions, place: &Place) -> Result<()> {
    let what = format!("cannot bind {}", data.path().display());
    let mount = DetachedMount::clone_of(data).during(&what)?;
    mount.set_attributes(options.set, options.clear).during(&what)?;
    mount.attach(place).map(drop)
}

fn size_of(image: &File) -> Result<u64> {
    Ok(image.metadata().during("cannot read the size of the image")?.len())
}

/// `root` is a descriptor of the mount's root, good for paths only.
pub(super) fn grow_mounted(root: &impl std::os::fd::AsFd, fs: FsKind, device: &Path) -> Result<()> {
    let what = "cannot open the mounted file system";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(root, ".", flags, Mode::empty()).during(what)?;
    let device = File::open(device).during(format_args!("cannot open {}", device.display()))?;
    grow::mounted(&File::from(root), fs, &device)
}
