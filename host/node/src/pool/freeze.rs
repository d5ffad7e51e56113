//! Holding file systems still: FIFREEZE and FITHAW of `ioctl_fsfreeze`, <linux/fs.h>.
//!
//! What is frozen stays so when its freezer dies, and everybody who writes there hangs. So before the first freeze a
//! record is written, `freezing/UNIQUE` in the pool (never on what is frozen), locked by its maker; it goes after
//! the thaw. Whoever opens the pool thaws for the dead.

use super::live::{Filesystem, filesystem_on};
use super::object::{IMAGE, ObjectDir};
use super::store::Pool;
use super::trash::unique_name;
use crate::dir::Dir;
use crate::error::{Context, IoResult, io_error};
use crate::loopdev;
use crate::sys::ioctl_value;
use bulkhead_domain::{Error, Result, limits};
use rustix::fs::{FlockOperation, OFlags, flock, fstat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

const FIFREEZE: u32 = 0xC004_5877;
const FITHAW: u32 = 0xC004_5878;
const RECORD_MAX: u64 = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Nothing stays frozen across a boot.
    boot_id: String,
    node_id: String,
    objects: Vec<String>,
}

/// File systems that are frozen for as long as this lives.
pub(super) struct Freezer<'a> {
    pool: &'a Pool,
    record: String,
    _lock: File,
    frozen: Vec<&'a Filesystem>,
    done: bool,
}

impl<'a> Freezer<'a> {
    /// Writes down that the file systems on these objects are about to be frozen.
    pub(super) fn note(pool: &'a Pool, node_id: &str, filesystems: &[&'a Filesystem]) -> Result<Self> {
        let what = || format!("cannot write a record in {}", pool.freezing.path().display());
        let record = Record {
            boot_id: boot_id()?,
            node_id: node_id.to_owned(),
            objects: filesystems.iter().map(|filesystem| filesystem.object.clone()).collect(),
        };
        let bytes = serde_json::to_vec(&record).map_err(|e| Error::internal(format_args!("{}: {e}", what())))?;
        loop {
            let record = unique_name().during(what())?;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            let mut lock = pool.freezing.file(&record, flags, 0o600).during(what())?;
            // Somebody who looks for the dead can come between making and locking the file.
            let locked = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            if locked && fstat(&lock).during(what())?.st_nlink > 0 {
                let freezer =
                    Self { pool, record, _lock: lock.try_clone().during(what())?, frozen: Vec::new(), done: false };
                lock.write_all(&bytes).and_then(|()| lock.sync_all()).during(what())?;
                pool.freezing.sync().during(what())?;
                return Ok(freezer);
            }
        }
    }

    /// Freezes one.
    ///
    /// # Errors
    /// Aborted: somebody else has it frozen. FailedPrecondition: it can't be.
    pub(super) fn freeze(&mut self, filesystem: &'a Filesystem) -> Result<()> {
        let what = || {
            format!(
                "the file system of object {} at {} can't be frozen",
                filesystem.object,
                filesystem.mount_point.display()
            )
        };
        if fstat(&self.pool.objects).during(what())?.st_dev == filesystem.device {
            return Err(Error::failed_precondition(format_args!("{}: the pool is on it", what())));
        }
        loop {
            return match ioctl_value(&filesystem.root, FIFREEZE, 0) {
                Ok(_) => {
                    self.frozen.push(filesystem);
                    Ok(())
                }
                Err(Errno::INTR) => continue,
                Err(Errno::BUSY) => Err(Error::aborted(format_args!(
                    "{}: somebody else has frozen it; ask again when it is thawed (fsfreeze --unfreeze)",
                    what()
                ))),
                Err(Errno::OPNOTSUPP) => {
                    Err(Error::failed_precondition(format_args!("{}: its kind is not made for that", what())))
                }
                Err(e) => Err(io_error(what(), e)),
            };
        }
    }

    /// Thaws all.
    ///
    /// # Errors
    /// Aborted: somebody else had thawed one before; what was done meanwhile may not be of one moment. Unavailable: one
    /// stays frozen; it is thawed when the pool is opened again.
    pub(super) fn thaw(mut self) -> Result<()> {
        self.thaw_all()
    }

    fn thaw_all(&mut self) -> Result<()> {
        self.done = true;
        let mut outcome = Ok(());
        let mut all = true;
        while let Some(filesystem) = self.frozen.pop() {
            match thaw(&filesystem.root) {
                Ok(true) => {}
                Ok(false) => {
                    outcome = outcome.and(Err(Error::aborted(format_args!(
                        "somebody else thawed the file system at {} too early; ask again",
                        filesystem.mount_point.display()
                    ))));
                }
                Err(e) => {
                    all = false;
                    outcome = Err(Error::unavailable(format_args!(
                        "the file system at {} can't be thawed: {e}; run fsfreeze --unfreeze on it",
                        filesystem.mount_point.display()
                    )));
                }
            }
        }
        if all {
            // One that stays behind does no harm: nothing in it is frozen.
            let _ = self.pool.freezing.remove_file(&self.record);
        }
        outcome
    }
}

impl Drop for Freezer<'_> {
    /// After [`Freezer::thaw`] there is nothing left to do; else something failed, maybe with a panic.
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = self.thaw_all()
        {
            tracing::error!(%error, "after a failed operation");
        }
    }
}

/// False: it was not frozen.
fn thaw(root: impl AsFd) -> IoResult<bool> {
    loop {
        match ioctl_value(&root, FITHAW, 0) {
            Ok(_) => return Ok(true),
            Err(Errno::INVAL) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(std::fs::read_to_string(path).during(format_args!("cannot read {path}"))?.trim().to_owned())
}

/// Thaws what dead processes of this machine left frozen. What can't be thawed is logged, and keeps its record.
pub(super) fn thaw_for_the_dead(freezing: &Dir, objects: &Dir, node_id: &str) -> Result<()> {
    let names = freezing.names().during(format_args!("cannot read {}", freezing.path().display()))?;
    if names.is_empty() {
        return Ok(());
    }
    let boot_id = boot_id()?;
    let (mut dead, mut alive) = (Vec::new(), Vec::new());
    for name in names.iter().filter_map(|name| name.to_str()) {
        let Ok(lock) = freezing.file(name, OFlags::RDWR, 0) else { continue };
        let record = freezing.read(name, RECORD_MAX).ok().flatten();
        let record: Option<Record> = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => dead.push((name, lock, record)),
            Err(_) => alive.extend(record.into_iter().flat_map(|record| record.objects)),
        }
    }
    for (name, _lock, record) in dead {
        let done = match record {
            // Not written to its end: nothing was frozen yet.
            None => true,
            Some(record) if record.boot_id == boot_id => {
                let left = record.objects.iter().filter(|object| !alive.contains(object));
                left.filter(|object| !thaw_object(objects, object)).count() == 0
            }
            // Another machine's, or from before this one was started.
            Some(record) => record.node_id == node_id,
        };
        if done {
            let _ = freezing.remove_file(name);
        }
    }
    Ok(())
}

/// False: it may still be frozen.
fn thaw_object(objects: &Dir, object: &str) -> bool {
    let outcome = (|| {
        limits::object_name("object name", object).map_err(Error::unavailable)?;
        let Some(found) = ObjectDir::open(objects, object)? else { return Ok(()) };
        let image = found.dir.file(IMAGE, OFlags::RDONLY, 0).during("cannot open its image")?;
        for info in loopdev::all_of(&image, object)? {
            let device = loopdev::device_path(info.number);
            let filesystem = filesystem_on(object, info.number)?.ok_or_else(|| {
                Error::unavailable(format_args!("no mount of {} is visible to this process", device.display()))
            })?;
            let thawed = thaw(&filesystem.root).during(format_args!("{}", device.display()))?;
            if thawed {
                tracing::warn!(object, mount = %filesystem.mount_point.display(), "thawed a file system that a dead process had left frozen");
            }
        }
        Ok(())
    })();
    outcome.inspect_err(|error: &Error| {
        tracing::error!(object, %error, "its file system may be frozen since a process died, and can't be thawed; if writers hang, run fsfreeze --unfreeze on its mount point");
    }).is_ok()
}
