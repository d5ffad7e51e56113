//! NodeUnstageVolume, and taking back what was cut short. Needs only the record and the kernel.

use super::Engine;
use super::device::{Device, Live};
use super::export;
use super::source::expected_at_staging;
use super::standing::{Expected, Standing, standing};
use crate::error::Context;
use crate::failpoint;
use crate::fence::{Place, detach, unmount};
use crate::fs::format;
use crate::journal::{FormatState, ObjectSource, PublishPhase, PublishRecord, Record, Source, StagePhase, TargetKind};
use crate::loopdev::{self, LoopInfo, Tag};
use crate::mounts;
use bulkhead_domain::node::Unstage;
use bulkhead_domain::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Mounts of ours on top of each other that are taken off one path. More than one comes only from calls that were cut short.
const STACK_MAX: usize = 16;

/// What to do about something at a target that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// It stays, and the target is forgotten: it is dead and only in the way of another operation.
    Stays,
    /// The operation fails: it was asked for this target.
    Fails,
}

impl Engine {
    /// NodeUnstageVolume: takes back what staging did. A volume that is not staged there is fine.
    ///
    /// # Errors
    /// InvalidArgument: path. FailedPrecondition: still published, or something is mounted over it. Unavailable: still in
    /// use by something, or the record can't be read; ask again.
    pub fn unstage(&self, request: &Unstage) -> Result<()> {
        let path = self.fence.canonical("staging_target_path", &request.staging_path)?;
        let Some(mut record) = self.journal.load(&request.volume_id)? else { return Ok(()) };
        if record.staging_path != path {
            return Ok(());
        }
        let live = self.live(&record)?;
        let targets = self.targets(&record, &live, Standing::is_mounted)?;
        if let Some(target) = targets.first() {
            return Err(Error::failed_precondition(format_args!(
                "volume {} is published at {}; unpublish it there first",
                request.volume_id,
                target.display()
            )));
        }
        // Asked before the record says that it is being undone: refused here, the volume stays as usable as it was.
        if let Some(expected) = expected_at_staging(&record, &live)
            && matches!(self.standing_at(&path, &expected)?, Standing::Covered | Standing::Foreign)
        {
            return Err(in_the_way(&path));
        }
        self.undo_stage(&mut record)?;
        failpoint::hit("unstage.done")
    }

    /// Undoes all of a record that has no live targets, and removes it.
    pub(super) fn undo_stage(&self, record: &mut Record) -> Result<()> {
        for target in record.publishes.keys().cloned().collect::<Vec<_>>() {
            self.undo_publish(record, &target, Leftover::Stays)?;
        }
        // From here on the phase lets nobody trust the hint.
        record.phase = StagePhase::Unstaging;
        self.note(record)?;
        failpoint::hit("unstage.intent")?;
        let live = self.live(record)?;
        if let Some(expected) = expected_at_staging(record, &live) {
            self.take_off(&record.staging_path, &expected, Leftover::Fails)?;
        }
        failpoint::hit("unstage.unmounted")?;
        for info in live.loops() {
            loopdev::detach(info)?;
        }
        failpoint::hit("unstage.detached")?;
        match &record.source {
            Source::Object(source) => self.release(record, source)?,
            Source::Disk(_) => self.release_disk(record, &live)?,
            Source::Export(_) => {}
        }
        self.journal.remove(&record.volume_id)
    }

    /// Gives the object back: blanks what a cut-short mkfs left, and removes the marker.
    fn release(&self, record: &Record, source: &ObjectSource) -> Result<()> {
        let Some(locked) = self.open_recorded(source)? else { return Ok(()) };
        let user = self.user(&record.volume_id, source.read_only);
        // Without the marker somebody else may have used the image since.
        if record.formatted == FormatState::Started && locked.has_user(&user)? {
            let what = format!("cannot blank the image of object {} after a format that was cut short", source.object);
            let provisioning = locked.facts()?.map_or(crate::pool::Provisioning::Thin, |facts| facts.provisioning);
            format::blank(&locked.image(true)?, provisioning).during(what)?;
        }
        failpoint::hit("unstage.blanked")?;
        locked.remove_user(&user)?;
        failpoint::hit("unstage.unmarked")
    }

    /// Undoes one publish and takes it off the record. The target itself goes too if it is empty.
    pub(super) fn undo_publish(&self, record: &mut Record, target: &Path, leftover: Leftover) -> Result<()> {
        let Some(publish) = record.publishes.get_mut(target) else { return Ok(()) };
        publish.phase = PublishPhase::Unpublishing;
        let publish = publish.clone();
        self.note(record)?;
        failpoint::hit("unpublish.intent")?;
        let live = self.live(record)?;
        let views = self.views(record, target, &live)?;
        let expected = expected_at_target(record, &publish, &live, &views);
        let place = self.take_off(target, &expected, leftover)?;
        failpoint::hit("unpublish.unmounted")?;
        for view in &views {
            loopdev::detach(view)?;
        }
        failpoint::hit("unpublish.detached")?;
        if let Some(place) = place {
            match place.remove() {
                Err(error) if leftover == Leftover::Stays => {
                    tracing::warn!(target = %target.display(), %error, "a target path of a volume stays behind");
                }
                removed => removed.during(format_args!("cannot remove the target path {}", target.display()))?,
            }
        }
        failpoint::hit("unpublish.target-removed")?;
        record.publishes.remove(target);
        self.note(record)
    }

    /// Writes down how far undoing is. A full disk is no reason to keep mounts: everything here looks at what the kernel
    /// has, so an older record only means to look once more.
    pub(super) fn note(&self, record: &Record) -> Result<()> {
        match self.journal.store(record) {
            Err(error) if error.kind() == ErrorKind::ResourceExhausted => {
                tracing::warn!(volume = %record.volume_id, %error, "undoing goes on without the journal");
                Ok(())
            }
            stored => stored,
        }
    }

    /// Takes our mounts off a recorded path. Gives the place; none if there is nothing more to do there.
    fn take_off(&self, path: &Path, expected: &Expected, leftover: Leftover) -> Result<Option<Place>> {
        let Some(place) = self.recorded_place(path)? else { return Ok(None) };
        for _ in 0..STACK_MAX {
            match standing(&place, expected)? {
                Standing::Nothing => return Ok(Some(place)),
                Standing::Ours if matches!(expected, Expected::Export(_)) => export::unmount(&place)?,
                Standing::Ours => unmount(&place)?,
                // Whoever has files open on it has lost them already.
                Standing::Stale => detach(&place)?,
                Standing::Foreign if leftover == Leftover::Stays => return Ok(None),
                Standing::Covered | Standing::Foreign => {
                    return Err(in_the_way(path));
                }
            }
        }
        Err(Error::unavailable(format_args!("{} has more mounts than this host makes", path.display())))
    }

    /// A path on record. None: it can't be reached any more, and nothing is mounted there.
    fn recorded_place(&self, path: &Path) -> Result<Option<Place>> {
        match self.fence.resolve("path", path) {
            Ok(place) => Ok(place),
            Err(_) if mounts::at(path)?.is_empty() => Ok(None),
            Err(e) => Err(Error::unavailable(format_args!(
                "{} is on record and mounted, but can't be reached beneath the kubelet root ({e})",
                path.display()
            ))),
        }
    }

    /// What stands at a recorded path.
    pub(super) fn standing_at(&self, path: &Path, expected: &Expected) -> Result<Standing> {
        match self.recorded_place(path)? {
            Some(place) => standing(&place, expected),
            None => Ok(Standing::Nothing),
        }
    }

    /// Targets at which the volume stands as asked.
    pub(super) fn targets(&self, record: &Record, live: &Live, stands: fn(Standing) -> bool) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for (target, publish) in &record.publishes {
            let views = self.views(record, target, live)?;
            let expected = expected_at_target(record, publish, live, &views);
            if stands(self.standing_at(target, &expected)?) {
                found.push(target.clone());
            }
        }
        Ok(found)
    }

    /// Read-only devices that were made for a target.
    pub(super) fn views(&self, record: &Record, target: &Path, live: &Live) -> Result<Vec<LoopInfo>> {
        views_of(&self.tag(&record.volume_id), record, target, live)
    }
}

/// As [`Engine::views`], without the engine.
pub(super) fn views_of(tag: &Tag, record: &Record, target: &Path, live: &Live) -> Result<Vec<LoopInfo>> {
    let mut views = Vec::new();
    if record.publishes.get(target).is_some_and(|publish| publish.kind == TargetKind::File) {
        let tag = tag.read_only_view(target);
        let dead = live.dead.iter().cloned();
        for (name, number) in live.devices.iter().map(|device| (device.name(), device.number())).chain(dead) {
            views.extend(loopdev::find_views(&tag, &name, number)?);
        }
    }
    Ok(views)
}

pub(super) fn in_the_way(path: &Path) -> Error {
    Error::failed_precondition(format_args!("something else is mounted on {}; unmount it first", path.display()))
}

/// What must be mounted at a target.
pub(super) fn expected_at_target(
    record: &Record,
    publish: &PublishRecord,
    live: &Live,
    views: &[LoopInfo],
) -> Expected {
    let on_a_disk = matches!(record.source, Source::Disk(_));
    match publish.kind {
        // Its device was taken away: the mount of the node is all that is left, and can show nothing of the volume.
        TargetKind::File if live.devices.is_empty() && !on_a_disk => {
            Expected::DeadNode(record.loop_number.into_iter().chain(publish.loop_number).collect())
        }
        TargetKind::File => {
            let views = views.iter().cloned().map(Device::Loop);
            let nodes = live.devices.iter().cloned().chain(views).map(|device| (device.name(), device.number()));
            Expected::Node { nodes: nodes.collect(), dead: live.dead.clone() }
        }
        TargetKind::Directory => expected_at_staging(record, live).unwrap_or(Expected::Nothing),
    }
}
