//! A file system for reading only whose log is not replayed: a copy of a mounted one, say.
//!
//! Mounted as it is (`noload`, `norecovery`) it would show less than what was synced to it, without a word. So the log is
//! replayed first, as a mount with `ro` does on any device that can be written: content stays what it was. That needs the
//! image for itself for a moment. An image that must never change is refused, unless the plan itself asks to skip the log.

use super::Engine;
use crate::failpoint;
use crate::fs::format::FsKind;
use crate::fs::mount::DetachedMount;
use crate::fs::options::MountOptions;
use crate::journal::Record;
use crate::loopdev;
use crate::pool::LockedObject;
use bulkhead_domain::{Error, ErrorKind, Result};

impl Engine {
    /// Replays the log through a device for writing, then mounts for reading only, unattached.
    ///
    /// # Errors
    /// FailedPrecondition: the image must never change. Aborted: others have it.
    pub(super) fn replay(
        &self,
        record: &mut Record,
        locked: &LockedObject,
        (fs, options): (FsKind, &MountOptions),
    ) -> Result<DetachedMount> {
        let object = record.object()?.object.clone();
        if locked.facts()?.is_none_or(|facts| facts.read_only) {
            let skip = match fs {
                FsKind::Ext4 => "noload",
                FsKind::Xfs => "norecovery",
            };
            return Err(Error::failed_precondition(format_args!(
                "the {} file system on object {object} was not unmounted cleanly, and the object is never to change, so its \
                 log can't be replayed; use a copy of it, or have the plan skip the log (mount option {skip})",
                fs.name()
            )));
        }
        locked.add_user(&self.user(&record.volume_id, false), true).map_err(|error| match error.kind() {
            ErrorKind::FailedPrecondition => {
                Error::aborted(format_args!("the file system's log must be replayed first: {error}"))
            }
            _ => error,
        })?;
        for info in self.loops(record)? {
            loopdev::detach(&info)?;
        }
        tracing::info!(volume = %record.volume_id, fs = fs.name(), "replaying the log of a file system that is used for reading only");
        let number = loopdev::attach(&locked.image(true)?, &self.tag(&record.volume_id), false)?;
        failpoint::hit("stage.replay-attached")?;
        // As it will be mounted, but for writing; dropped again, it is unmounted cleanly.
        let mut writing = MountOptions::default();
        writing.filesystem.extend(options.filesystem.iter().filter(|(key, _)| key == "nouuid").cloned());
        drop(DetachedMount::of_device(fs.name(), &loopdev::device_path(number), &writing)?.ready()?);
        failpoint::hit("stage.replayed")?;
        for info in self.loops(record)? {
            loopdev::detach(&info)?;
        }
        locked.add_user(&self.user(&record.volume_id, true), true)?;
        let device = loopdev::device_path(self.attach(record, &locked.image(false)?)?);
        DetachedMount::of_device(fs.name(), &device, options)?.ready()
    }
}
