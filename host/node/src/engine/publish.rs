//! NodePublishVolume and NodeUnpublishVolume.

use super::Engine;
use super::device::{Device, Live};
use super::source::expected_at_staging;
use super::standing::{Expected, Standing, standing};
use super::undo::{Leftover, expected_at_target};
use crate::error::Context;
use crate::failpoint;
use crate::fence::{Found, Place};
use crate::fs::mount::DetachedMount;
use crate::fs::options::{MountOptions, attr};
use crate::journal::{PublishPhase, PublishRecord, Record, Source, StagePhase, TargetKind};
use crate::loopdev;
use bulkhead_domain::node::{Publish, Unpublish};
use bulkhead_domain::{Error, Result};
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

impl Engine {
    /// NodePublishVolume: shows a staged volume at a target path, which is made.
    ///
    /// # Errors
    /// InvalidArgument: path or mount flag. AlreadyExists: published there in another way. FailedPrecondition: not staged
    /// at that staging path; published elsewhere and the access mode forbids a second target; the target is in use by
    /// something else, or its parent is missing. Unavailable: ask again.
    pub fn publish(&self, request: &Publish) -> Result<()> {
        let flags = MountOptions::from_flags(request.capability.mount_flags())?;
        self.apart(request)?;
        let place = self.target_place(&request.target_path)?;
        let mut record = self.staged(request)?;
        let live = self.live(&record)?;
        let target = place.canonical().to_owned();
        let publish = PublishRecord {
            phase: PublishPhase::Publishing,
            read_only: request.read_only,
            capability: record.capability_record(&request.capability),
            kind: if record.is_block() { TargetKind::File } else { TargetKind::Directory },
            loop_number: None,
        };
        if self.same_target(&record, &live, request, &place, &publish)? {
            return Ok(());
        }
        self.usable(&record, &live, request)?;
        // What is left there of an earlier publish is not whole.
        self.undo_publish(&mut record, &target, Leftover::Fails)?;
        self.second_target_allowed(&record, &live, request)?;
        target_is_free(&place, publish.kind)?;
        record.publishes.insert(target.clone(), publish.clone());
        self.journal.store(&record)?;
        let read_only = request.read_only
            || request.capability.access_mode.is_reader_only()
            || flags.read_only()
            || record.source.read_only();
        let done = (|| {
            failpoint::hit("publish.intent")?;
            place
                .make(publish.kind == TargetKind::Directory)
                .during(format_args!("cannot make the target path {}", target.display()))?;
            failpoint::hit("publish.target-made")?;
            let loop_number = if publish.kind == TargetKind::File {
                self.show_device(&record, &live, read_only, &place)?
            } else {
                self.show_files(&record, &live, (&flags, read_only), &place)?;
                None
            };
            failpoint::hit("publish.mounted")?;
            if let Some(publish) = record.publishes.get_mut(&target) {
                *publish = PublishRecord { phase: PublishPhase::Published, loop_number, ..publish.clone() };
            }
            self.journal.store(&record)
        })();
        match done {
            Ok(()) => failpoint::hit("publish.done"),
            Err(error) => Err(match self.undo_publish(&mut record, &target, Leftover::Fails) {
                Ok(()) => error,
                Err(second) => Error::unavailable(format_args!("{error}; and undoing it failed: {second}")),
            }),
        }
    }

    /// NodeUnpublishVolume: takes the volume off a target path and removes the path. What is not on record is fine, and
    /// stays as it is.
    ///
    /// # Errors
    /// InvalidArgument: path. FailedPrecondition: something else is mounted over it. Unavailable: in use, or the record
    /// can't be read; ask again.
    pub fn unpublish(&self, request: &Unpublish) -> Result<()> {
        let target = self.fence.canonical("target_path", &request.target_path)?;
        let Some(mut record) = self.journal.load(&request.volume_id)? else { return Ok(()) };
        if record.ephemeral.is_some() {
            return self.unpublish_ephemeral(record, &target);
        }
        if !record.publishes.contains_key(&target) {
            return Ok(());
        }
        self.undo_publish(&mut record, &target, Leftover::Fails)?;
        failpoint::hit("unpublish.done")
    }

    /// Staging and target path are not within each other.
    fn apart(&self, request: &Publish) -> Result<()> {
        let what = "target_path";
        let staging = self.fence.canonical("staging_target_path", &request.staging_path)?;
        let target = self.fence.canonical(what, &request.target_path)?;
        if target.starts_with(&staging) || staging.starts_with(&target) {
            return Err(Error::invalid_argument(format_args!("{what}: lies within the staging path, or holds it")));
        }
        Ok(())
    }

    pub(super) fn target_place(&self, path: &Path) -> Result<Place> {
        let what = "target_path";
        self.fence.resolve(what, path)?.ok_or_else(|| {
            Error::failed_precondition(format_args!("{what}: its parent directory is missing; the CO makes it"))
        })
    }

    /// The record of a volume that is staged.
    fn staged(&self, request: &Publish) -> Result<Record> {
        let volume = &request.volume_id;
        let refuse = |why: &str| Err(Error::failed_precondition(format_args!("volume {volume} {why}")));
        let Some(record) = self.journal.load(volume)? else {
            return refuse("is not staged on this node; stage it first");
        };
        if record.ephemeral.is_some() {
            return refuse("is an inline ephemeral volume and is not staged");
        }
        if record.phase != StagePhase::Staged {
            return refuse("is not staged: that was cut short; stage it again");
        }
        Ok(record)
    }

    /// It really is staged where the request says, and for what the request asks.
    fn usable(&self, record: &Record, live: &Live, request: &Publish) -> Result<()> {
        let volume = &request.volume_id;
        let refuse = |why: &str| Err(Error::failed_precondition(format_args!("volume {volume} {why}")));
        let staging = self.fence.canonical("staging_target_path", &request.staging_path)?;
        if record.staging_path != staging {
            return refuse(&format!("is staged at {}, not there", record.staging_path.display()));
        }
        if record.capability.block != request.capability.is_block() {
            return refuse("is staged with the other access type (block or mount)");
        }
        let group = record.capability_record(&request.capability).group;
        if !group.is_empty() && group != record.capability.group {
            return refuse("is staged for another volume_mount_group");
        }
        let there = match expected_at_staging(record, live) {
            Some(expected) => self.standing_at(&staging, &expected)? == Standing::Ours,
            None => !live.devices.is_empty(),
        };
        if there { Ok(()) } else { refuse("is not mounted at its staging path any more; stage it again") }
    }

    /// The specification's table for a second call (NodePublishVolume), row "same target path". True: this publish is there
    /// already. False: nothing is, or nothing whole.
    ///
    /// # Errors
    /// AlreadyExists: it is there with other arguments. FailedPrecondition: something else is mounted over it.
    fn same_target(
        &self,
        record: &Record,
        live: &Live,
        request: &Publish,
        place: &Place,
        wanted: &PublishRecord,
    ) -> Result<bool> {
        let target = place.canonical();
        let Some(earlier) = record.publishes.get(target) else { return Ok(false) };
        let expected = expected_at_target(record, earlier, live, &self.views(record, target, live)?);
        let found = standing(place, &expected)?;
        if found == Standing::Covered {
            return Err(Error::failed_precondition(format_args!(
                "something else is mounted over {}; unmount it first",
                target.display()
            )));
        }
        let device_gone = record.has_device() && live.devices.is_empty();
        if earlier.phase != PublishPhase::Published || found != Standing::Ours || device_gone {
            return Ok(false);
        }
        let staging = self.fence.canonical("staging_target_path", &request.staging_path)?;
        let whole = PublishPhase::Published;
        let same = PublishRecord { phase: whole, loop_number: earlier.loop_number, ..wanted.clone() } == *earlier;
        if same && record.staging_path == staging {
            return Ok(true);
        }
        Err(Error::already_exists(format_args!(
            "volume {} is published at {} with another capability, read-only setting or staging path",
            record.volume_id,
            target.display()
        )))
    }

    /// The same table, row "another target path".
    ///
    /// # Errors
    /// FailedPrecondition: the access mode of this call or of an earlier one allows one target only.
    fn second_target_allowed(&self, record: &Record, live: &Live, request: &Publish) -> Result<()> {
        let allowed =
            |publish: &PublishRecord| publish.capability.mode.allows_second_target(self.single_node_multi_writer);
        if request.capability.access_mode.allows_second_target(self.single_node_multi_writer)
            && record.publishes.values().all(allowed)
        {
            return Ok(());
        }
        match self.targets(record, live, Standing::is_mounted)?.first() {
            None => Ok(()),
            Some(other) => Err(Error::failed_precondition(format_args!(
                "volume {} is published at {} and its access mode allows only one target",
                record.volume_id,
                other.display()
            ))),
        }
    }

    /// Mounts the staged file system at the target too.
    fn show_files(
        &self,
        record: &Record,
        live: &Live,
        (flags, read_only): (&MountOptions, bool),
        place: &Place,
    ) -> Result<()> {
        let what = format!("cannot mount the volume at {}", place.canonical().display());
        let gone = || Error::failed_precondition("the staging path is not ours any more; stage the volume again");
        let set = flags.set | if read_only { attr::RDONLY } else { 0 };
        // A target never has more than the staging mount: only how access times are kept can be chosen anew.
        let clear = flags.clear & attr::ATIME;
        if let Source::Export(_) = record.source {
            let staging = self.fence.resolve("staging_target_path", &record.staging_path)?.ok_or_else(gone)?;
            let mount = self.clone_export(record, &staging)?;
            mount.set_attributes(set, clear).during(&what)?;
            return mount.attach(place).map(drop);
        }
        let expected = expected_at_staging(record, live).ok_or_else(gone)?;
        let staging = self.fence.resolve("staging_target_path", &record.staging_path)?.ok_or_else(gone)?;
        // Opened before it is looked at: what was checked is what is cloned, unless somebody covers it in between.
        let source: OwnedFd = staging.open().during(&what)?;
        if standing(&staging, &expected)? != Standing::Ours {
            return Err(gone());
        }
        let mount = DetachedMount::clone_of(&source).during(&what)?;
        drop(source);
        mount.set_attributes(set, clear).during(&what)?;
        mount.attach(place).map(drop)
    }

    /// Mounts the device's node on the target. A read-only one is a device of its own, on top of the volume's: the access
    /// mode of a node can't be taken from root, a read-only device refuses writes to everybody. Gives that one's number.
    fn show_device(&self, record: &Record, live: &Live, read_only: bool, place: &Place) -> Result<Option<u32>> {
        let what = format!("cannot show the device at {}", place.canonical().display());
        let below = live.first().ok_or_else(|| Error::unavailable(format_args!("{what}: it is gone")))?;
        let (mut path, mut own) = (below.path(), None);
        // A disk of the platform's stays as it is, so reading only always takes a device on top of it.
        if read_only && !(record.source.read_only() && matches!(below, Device::Loop(_))) {
            let tag = self.tag(&record.volume_id).read_only_view(place.canonical());
            let number = loopdev::attach(&below.open().during(&what)?, &tag, true)?;
            (path, own) = (loopdev::device_path(number), Some(number));
            failpoint::hit("publish.attached")?;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::open(path, flags, Mode::empty()).during(&what)?;
        DetachedMount::clone_of(&node).during(&what)?.attach(place).map(|_| own)
    }
}

/// Nothing is at the target, or an empty directory or file that the CO made.
pub(super) fn target_is_free(place: &Place, kind: TargetKind) -> Result<()> {
    let path = place.canonical().display();
    let taken = |what: &str| Err(Error::failed_precondition(format_args!("target_path: {path} {what}")));
    if standing(place, &Expected::Nothing)? != Standing::Nothing {
        return taken("has something else mounted on it");
    }
    match (place.found().during(format_args!("cannot look at {path}"))?, kind) {
        (Found::Nothing, _) => Ok(()),
        (Found::Other, _) => Err(Error::invalid_argument("target_path: is a symbolic link or a special file")),
        (Found::Directory, TargetKind::Directory) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let names = crate::dir::open_beneath(place.parent(), place.name().as_ref(), flags, Mode::empty())
                .and_then(|fd| Ok(rustix::fs::Dir::read_from(fd)?.take(3).count()));
            // Two are `.` and `..`.
            if names.during(format_args!("cannot look into {path}"))? > 2 {
                return taken("is a directory with something in it");
            }
            Ok(())
        }
        (Found::File, TargetKind::File) => Ok(()),
        (Found::Directory | Found::File | Found::BlockDevice, _) => taken("is there and of the wrong kind"),
    }
}
