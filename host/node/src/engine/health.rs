//! NodeGetVolumeHealth: what the node itself can see. Nothing is changed or repaired.

use super::Engine;
use super::device::{Live, live_of};
use super::export::{self, Said};
use super::source::expected_at_staging;
use super::standing::{Expected, Standing, standing};
use super::undo::{expected_at_target, views_of};
use crate::dir::Dir;
use crate::disk::Sysfs;
use crate::fence::Place;
use crate::journal::{ObjectSource, PublishPhase, Record, Source, StagePhase};
use crate::loopdev::Tag;
use crate::mounts;
use bulkhead_domain::error::clean_text;
use bulkhead_domain::health::{VolumeHealth, VolumeProblem};
use bulkhead_domain::node::NodeHealth;
use bulkhead_domain::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, fstat};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest message of a problem in bytes.
const MESSAGE_BYTES: usize = 1024;

impl Engine {
    /// NodeGetVolumeHealth: what is wrong with a volume, seen from this node; the worst first, empty if nothing is.
    /// With a path only that one and what is behind it is looked at, else every path on record.
    ///
    /// | reason | status | cause |
    /// |---|---|---|
    /// | `ObjectGone` | data loss | the object is not in its pool any more |
    /// | `PoolGone` | inaccessible | the pool's directory is not there |
    /// | `DeviceGone` | inaccessible | the volume's loop device is not attached any more |
    /// | `NotMounted` | inaccessible | its mount is gone, or something else is mounted there |
    /// | `Covered` | inaccessible | something else is mounted over it |
    /// | `FilesystemReadOnly` | inaccessible | the kernel stopped writing after an error |
    /// | `IoError` | inaccessible | the root can't be read, or the file system is shut down |
    /// | `NotAnswering` | inaccessible | no answer within `timeout` |
    ///
    /// As for [`Engine::stats`], a file system that does not answer costs one thread.
    ///
    /// # Errors
    /// NotFound: not on record, not at that path, or a stage or publish that was cut short. Unavailable: ask again.
    pub fn health(&self, request: &NodeHealth, timeout: Duration) -> Result<Vec<VolumeProblem>> {
        let volume = &request.volume_id;
        let missing = |why: &str| Error::not_found(format_args!("volume {volume} {why}"));
        let (record, paths) = match &request.volume_path {
            Some(path) => {
                let (record, path) = self.on_record(volume, path)?;
                (record, vec![path])
            }
            None => {
                let record = self.journal.load(volume)?.ok_or_else(|| missing("is not staged on this node"))?;
                let paths = whole_paths(&record);
                (record, paths)
            }
        };
        let whole = whole_paths(&record);
        if record.phase != StagePhase::Staged || paths.iter().any(|path| !whole.contains(path)) {
            return Err(missing("is not there: an operation on it was cut short"));
        }
        let mut places = Vec::new();
        for path in paths {
            // A parent that can't be reached any more is as good as none.
            let place = self.fence.resolve("volume_path", &path).unwrap_or_default();
            places.push((path, place));
        }
        let paths = u32::try_from(places.len()).unwrap_or(u32::MAX).max(1);
        let server = timeout * 3 / 4 / paths;
        let look = Look { server, tag: self.tag(volume), sysfs: self.sysfs(), record, places };
        match self.questions.ask((volume, self.lies_on(volume)), timeout, move || look.problems()) {
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
                let mut found = Problems::default();
                found.add(VolumeHealth::Inaccessible, "NotAnswering", error.message());
                Ok(found.0)
            }
            answer => answer,
        }
    }
}

/// Paths at which the volume must be, by the record.
fn whole_paths(record: &Record) -> Vec<PathBuf> {
    let staging = (!record.staging_path.as_os_str().is_empty()).then(|| record.staging_path.clone());
    let whole = record.publishes.iter().filter(|(_, publish)| publish.phase == PublishPhase::Published);
    staging.into_iter().chain(whole.map(|(target, _)| target.clone())).collect()
}

/// Problems, one for each status and reason.
#[derive(Default)]
struct Problems(Vec<VolumeProblem>);

impl Problems {
    fn add(&mut self, status: VolumeHealth, reason: &str, message: impl std::fmt::Display) {
        let message = message.to_string();
        match self.0.iter_mut().find(|known| known.status == status && known.reason == reason) {
            Some(known) if known.message == message => {}
            Some(known) => known.message = clean_text(&format!("{}; {message}", known.message), MESSAGE_BYTES),
            None => {
                self.0.push(VolumeProblem {
                    status,
                    reason: reason.to_owned(),
                    message: clean_text(&message, MESSAGE_BYTES),
                });
            }
        }
    }

    fn has(&self, reason: &str) -> bool {
        self.0.iter().any(|known| known.reason == reason)
    }
}

/// All that is needed to look at a volume on a thread that may hang.
struct Look {
    /// How long a server may take to answer for one path.
    server: Duration,
    tag: Tag,
    sysfs: Sysfs,
    record: Record,
    places: Vec<(PathBuf, Option<Place>)>,
}

impl Look {
    fn problems(&self) -> Result<Vec<VolumeProblem>> {
        let mut found = Problems::default();
        if let Source::Object(source) = &self.record.source {
            self.object(source, &mut found);
        }
        let live = live_of(&self.tag, &self.sysfs, &self.record)?;
        if self.record.has_device() && live.devices.is_empty() {
            found.add(VolumeHealth::Inaccessible, "DeviceGone", self.device_gone());
        }
        for (path, place) in &self.places {
            if let Some(expected) = self.expected(path, &live)? {
                self.path(path, place.as_ref(), &expected, &mut found)?;
            }
        }
        found.0.sort_by_key(|problem| std::cmp::Reverse(problem.status));
        Ok(found.0)
    }

    fn device_gone(&self) -> String {
        match &self.record.source {
            Source::Disk(disk) => {
                let who = crate::disk::describe(&disk.identity);
                format!("disk {} ({who}) is not attached to this node any more", disk.disk)
            }
            Source::Object(source) => format!("the loop device on object {} is not attached any more", source.object),
            Source::Export(_) => String::new(),
        }
    }

    /// None: nothing is mounted there, or a device that is gone anyway.
    fn expected(&self, path: &Path, live: &Live) -> Result<Option<Expected>> {
        if self.record.is_block() && live.devices.is_empty() {
            return Ok(None);
        }
        let Some(publish) = self.record.publishes.get(path) else {
            return Ok(expected_at_staging(&self.record, live));
        };
        let views = views_of(&self.tag, &self.record, path, live)?;
        Ok(Some(expected_at_target(&self.record, publish, live, &views)))
    }

    /// The file or directory in the pool, without its lock: whoever is at work on it keeps nobody from looking.
    fn object(&self, source: &ObjectSource, found: &mut Problems) {
        let objects = match Dir::open(&source.pool_path).and_then(|pool| pool.dir("objects")) {
            Ok(objects) => objects,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let message = format_args!("there is no pool at {} any more", source.pool_path.display());
                return found.add(VolumeHealth::Inaccessible, "PoolGone", message);
            }
            Err(e) => return self.unreadable(&source.pool_path, e, found),
        };
        let name = if self.record.has_device() { "image" } else { "data" };
        let payload = objects.dir(&source.object).and_then(|object| object.file(name, OFlags::PATH, 0));
        match payload.and_then(fstat) {
            // The number of the device that a pool lies on may change with a reboot; the inode's does not.
            Ok(stat) if stat.st_ino == source.ino => {}
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {
                let message = format_args!("object {} is not in pool {} any more", source.object, source.pool);
                found.add(VolumeHealth::DataLoss, "ObjectGone", message);
            }
            Err(e) => self.unreadable(&objects.join(&source.object), e, found),
        }
    }

    fn unreadable(&self, path: &Path, error: Errno, found: &mut Problems) {
        let message = format_args!("cannot read {}: {}", path.display(), std::io::Error::from(error));
        found.add(VolumeHealth::Inaccessible, "IoError", message);
    }

    fn path(&self, path: &Path, place: Option<&Place>, expected: &Expected, found: &mut Problems) -> Result<()> {
        let bad = VolumeHealth::Inaccessible;
        let standing = place.map_or(Ok(Standing::Nothing), |place| standing(place, expected))?;
        let shown = path.display();
        match (standing, place) {
            (Standing::Ours, Some(place)) if matches!(expected, Expected::Export(_)) => self.export(place, found)?,
            (Standing::Ours, Some(place)) if !self.record.is_block() => self.filesystem(place, found)?,
            (Standing::Ours, _) => {}
            (Standing::Nothing, _) => {
                found.add(bad, "NotMounted", format_args!("it is not mounted at {shown} any more"))
            }
            (Standing::Foreign, _) => {
                found.add(bad, "NotMounted", format_args!("something else is mounted at {shown}"))
            }
            (Standing::Stale, _) => {
                found.add(bad, "NotMounted", format_args!("what is mounted at {shown} is dead: its disk is gone"));
            }
            (Standing::Covered, _) => found.add(bad, "Covered", format_args!("something else is mounted over {shown}")),
        }
        Ok(())
    }

    /// Asks the server, apart: a thread that hangs could not be stopped.
    fn export(&self, place: &Place, found: &mut Problems) -> Result<()> {
        let shown = place.canonical().display();
        match export::look(place, self.server)? {
            Said::Well(_) => {}
            Said::Dead(errno) | Said::Ill(errno) => self.unreadable(place.canonical(), errno, found),
            Said::Nothing => found.add(
                VolumeHealth::Inaccessible,
                "NotAnswering",
                format_args!("the server of what is mounted at {shown} does not answer"),
            ),
        }
        Ok(())
    }

    /// Reads the root's first entries, and what the kernel says of the file system.
    fn filesystem(&self, place: &Place, found: &mut Problems) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let read =
            place.open().and_then(|root| rustix::fs::openat(&root, ".", flags, Mode::empty())).and_then(|root| {
                rustix::fs::fstatvfs(&root)?;
                rustix::fs::Dir::read_from(&root)?.take(8).try_for_each(|entry| entry.map(drop))
            });
        match read {
            Ok(()) => {}
            // The root of a directory that was removed.
            Err(Errno::NOENT) if found.has("ObjectGone") => {}
            Err(e) => self.unreadable(place.canonical(), e, found),
        }
        let paths = whole_paths(&self.record);
        let Some(ours) = mounts::at(place.canonical())?.pop() else { return Ok(()) };
        let all = mounts::of_device(&ours.device)?;
        let says = |option: &str| ours.filesystem.iter().any(|known| known == option);
        if says("shutdown") {
            found.add(VolumeHealth::Inaccessible, "IoError", "the kernel has shut the file system down");
        }
        // Mounted for writing, and the file system refuses: that was not the host's doing.
        let for_writing = all.iter().any(|mount| !mount.read_only && paths.contains(&mount.mount_point));
        if says("emergency_ro") || (says("ro") && for_writing) {
            let message = "the kernel made the file system read-only, as it does after an error";
            found.add(VolumeHealth::Inaccessible, "FilesystemReadOnly", message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_reason_are_unique_and_messages_short() {
        let mut found = Problems::default();
        for n in 0..200 {
            found.add(
                VolumeHealth::Inaccessible,
                "NotMounted",
                format_args!("it is not mounted at /path/{n} any more"),
            );
            found.add(VolumeHealth::DataLoss, "ObjectGone", "gone");
        }
        assert_eq!(found.0.len(), 2);
        assert!(found.0[0].message.contains("/path/1 ") && found.0[0].message.len() <= MESSAGE_BYTES);
        assert_eq!(found.0[1].message, "gone");
    }
}
