//! NodeStageVolume.

use super::Engine;
use super::group;
use super::source::{Payload, expected_at_staging};
use super::standing::{Expected, Standing, standing};
use super::wanted::{Use, Wanted};
use crate::error::Context;
use crate::failpoint;
use crate::fence::{Found, Place};
use crate::fs::format::{self, FsKind, Verdict};
use crate::fs::grow;
use crate::fs::mount::{DetachedMount, Opened};
use crate::fs::options::MountOptions;
use crate::journal::{FormatState, Record, StagePhase};
use crate::loopdev;
use crate::pool::LockedObject;
use bulkhead_domain::node::Stage;
use bulkhead_domain::plan::Filesystem;
use bulkhead_domain::{Error, Result};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::path::Path;

/// What an earlier record leaves to do.
enum Rest {
    /// Nothing: it is staged.
    Nothing,
    /// Everything. The image has been formatted before.
    All { formatted: Option<String> },
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
        let place = self.staging_place(&request.staging_path)?;
        let rest = match self.journal.load(&request.volume_id)? {
            Some(record) => self.rest_of(record, request, &place)?,
            None => Rest::All { formatted: None },
        };
        match rest {
            Rest::Nothing => Ok(()),
            Rest::Remount(record) => self.remount(&record, &wanted, &place),
            Rest::All { formatted } => self.stage_all(request, &wanted, &place, formatted),
        }
    }

    fn staging_place(&self, path: &Path) -> Result<Place> {
        let what = "staging_target_path";
        let missing =
            || Error::failed_precondition(format_args!("{what}: there is no such directory; the CO makes it"));
        let place = self.fence.resolve(what, path)?.ok_or_else(missing)?;
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
        let loops = self.loops(&record)?;
        let there = match expected_at_staging(&record, &loops) {
            Some(expected) => self.standing_at(&record.staging_path, &expected)? == Standing::Ours,
            None => !loops.is_empty(),
        };
        let live = self.live_targets(&record, &loops)?;
        if record.phase == StagePhase::Staged && (there || !live.is_empty()) {
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
            return Ok(if there { Rest::Nothing } else { Rest::Remount(Box::new(record)) });
        }
        let formatted = (record.formatted == FormatState::Done).then(|| record.source.uid.clone());
        self.undo_stage(&mut record)?;
        Ok(Rest::All { formatted })
    }

    fn stage_all(&self, request: &Stage, wanted: &Wanted, place: &Place, formatted: Option<String>) -> Result<()> {
        let (locked, payload, source) = self.open_wanted(wanted)?;
        if standing(place, &Expected::Filesystem(Vec::new()))? != Standing::Nothing {
            return Err(Error::failed_precondition(format_args!(
                "something else is mounted on {}; unmount it first",
                place.canonical().display()
            )));
        }
        let before = formatted.is_some_and(|uid| uid == source.uid);
        let staging_path = place.canonical().to_owned();
        let mut record = Record::new(
            self.journal.owner(),
            &request.volume_id,
            &request.plan,
            &request.capability,
            staging_path,
            source,
        )?;
        if before {
            record.formatted = FormatState::Done;
        }
        self.journal.store(&record)?;
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
        match done {
            Ok(()) => failpoint::hit("stage.done"),
            Err(error) => Err(match self.undo_stage(&mut record) {
                Ok(()) => error,
                Err(second) => Error::unavailable(format_args!("{error}; and undoing it failed: {second}")),
            }),
        }
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
        let number = loopdev::attach(image, &self.tag(&record.volume_id), record.source.read_only)?;
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
        let writable = !record.source.read_only;
        let verdict = format::decide(image, fs, plan.format, record.formatted == FormatState::Done, writable)?;
        let device = loopdev::device_path(self.attach(record, image)?);
        match verdict {
            Verdict::Format => {
                record.formatted = FormatState::Started;
                self.journal.store(record)?;
                failpoint::hit("stage.format-intent")?;
                tracing::info!(volume = %record.volume_id, fs = fs.name(), device = %device.display(), "formatting an empty device");
                format::make(fs, &device, &plan.mkfs_options)?;
                failpoint::hit("stage.formatted")?;
                record.formatted = FormatState::Done;
                self.journal.store(record)?;
                failpoint::hit("stage.format-done")?;
            }
            Verdict::Mount if writable => {
                format::check(fs, &device, plan.fsck)?;
                if fs == FsKind::Ext4 && plan.grow && grow::ext4(image)?.can_grow_to(size_of(image)?) {
                    format::grow_ext4_offline(&device)?;
                    failpoint::hit("stage.grown-offline")?;
                }
            }
            Verdict::Mount => {}
        }
        let mount = match DetachedMount::of_device(fs.name(), &device, options)? {
            Opened::Mount(mount) => mount,
            Opened::LogNotReplayed => self.replay(record, locked, (fs, options))?,
        };
        let root = mount.attach(place)?;
        failpoint::hit("stage.mounted")?;
        if fs == FsKind::Xfs && plan.grow && writable && !options.read_only() {
            grow_mounted(&root, fs, &device)?;
            failpoint::hit("stage.grown-online")?;
        }
        Ok(())
    }

    /// Mounts a staged volume again whose targets are in use.
    fn remount(&self, record: &Record, wanted: &Wanted, place: &Place) -> Result<()> {
        let loops = self.loops(record)?;
        match (&wanted.usage, loops.first()) {
            (Use::Filesystem { fs, options, .. }, Some(info)) => {
                let device = loopdev::device_path(info.number);
                DetachedMount::of_device(fs.name(), &device, options)?.ready()?.attach(place).map(drop)
            }
            (Use::Directory { options }, _) => {
                let gone = || Error::failed_precondition(format_args!("object {} is gone", record.source.object));
                let locked = self.open_recorded(&record.source)?.ok_or_else(gone)?;
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
