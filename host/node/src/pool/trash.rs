//! Removing trees, and what crashes leave behind.

use crate::dir::Dir;
use crate::error::IoResult;
use rustix::fs::{AtFlags, FileType, FlockOperation, OFlags, flock, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::time::Duration;

const LOCK_SUFFIX: &str = ".lock";
/// Longest wait for files that are removed and still open, which an NFS client keeps under another name.
const SILLY_WAIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// What an NFS client calls a file that was removed while a process of this machine had it open.
pub(super) fn is_silly(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".nfs")
}

/// A name that nobody else uses: 32 random hexadecimal digits.
pub(super) fn unique_name() -> IoResult<String> {
    let mut bytes = [0u8; 16];
    crate::sys::random(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// Removes the tree `name` in `trash`.
///
/// Files that tenants made can be nested deeper than a stack or a table of descriptors: each directory found is moved up
/// into `trash` and emptied there in its turn. So at most two are open at once, no path gets long, and a crash
/// leaves only what the next sweep removes the same way. Never leaves the file system: a mount point is an error (`EBUSY`).
pub(super) fn remove_tree(trash: &Dir, name: OsString) -> IoResult<()> {
    let (mut left, mut waited) = (vec![name], Duration::ZERO);
    while let Some(name) = left.pop() {
        let dir = match trash.dir(&name) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => continue,
            // Not a directory, or a link.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                trash.remove_file(&name)?;
                continue;
            }
            Err(e) => return Err(e),
        };
        for entry in dir.names()? {
            match statat(&dir, &entry, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e),
                Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                    let lifted: OsString = unique_name()?.into();
                    match rustix::fs::renameat(&dir, &entry, trash, &lifted) {
                        Ok(()) => left.push(lifted),
                        Err(Errno::NOENT) => {}
                        Err(e) => return Err(e),
                    }
                }
                Ok(_) => match dir.remove_file(&entry) {
                    // Somebody has it open; it goes when they close it, and then its directory can.
                    Err(Errno::BUSY) if is_silly(&entry) && waited < SILLY_WAIT => {
                        std::thread::sleep(PAUSE);
                        waited += PAUSE;
                    }
                    other => other?,
                },
            }
        }
        match trash.remove_dir(&name) {
            // Somebody else put something in meanwhile: once more.
            Err(Errno::NOTEMPTY) => left.push(name),
            other => other?,
        }
    }
    Ok(())
}

/// The right to make something in `tmp`: as long as it lives, nobody sweeps that away.
#[derive(Debug)]
pub(super) struct Maker<'a> {
    tmp: &'a Dir,
    /// Name in `tmp` for what is made.
    pub(super) name: String,
    _lock: File,
}

impl<'a> Maker<'a> {
    /// Takes a new name.
    pub(super) fn new(tmp: &'a Dir) -> IoResult<Self> {
        loop {
            let name = unique_name()?;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            let lock = tmp.file(lock_name(&name), flags, 0o600)?;
            // A sweeper can come between making and locking the file; then the file is gone, or about to be.
            let locked = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            if locked && rustix::fs::fstat(&lock)?.st_nlink > 0 {
                return Ok(Self { tmp, name, _lock: lock });
            }
        }
    }
}

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        let _ = self.tmp.remove_file(lock_name(&self.name));
    }
}

fn lock_name(name: &str) -> String {
    format!("{name}{LOCK_SUFFIX}")
}

/// Removes what is left in `tmp` and `trash`, but for what is `claimed`: that is to become objects. What can't be removed stays
/// and is logged: it costs space only.
pub(super) fn sweep(tmp: &Dir, trash: &Dir, claimed: impl Fn(&str) -> bool) -> IoResult<()> {
    let mut names = tmp.names()?;
    names.retain(|name| !is_silly(name));
    for name in names.iter().filter_map(|name| name.to_str()).filter(|name| !name.ends_with(LOCK_SUFFIX)) {
        let swept = sweep_one(tmp, trash, name, &claimed);
        report(tmp, name, swept);
    }
    // Lock files whose maker came no further.
    for name in names.iter().filter_map(|name| name.to_str()?.strip_suffix(LOCK_SUFFIX)) {
        let swept = sweep_one(tmp, trash, name, &claimed);
        report(tmp, name, swept);
    }
    for name in trash.names()? {
        report(trash, &name.to_string_lossy(), remove_tree(trash, name.clone()));
    }
    Ok(())
}

fn report(dir: &Dir, name: &str, outcome: IoResult<()>) {
    if let Err(error) = outcome
        && error != Errno::NOENT
    {
        tracing::warn!(path = %dir.join(name).display(), %error, "cannot remove what a crash left in the pool");
    }
}

/// Moves one thing from `tmp` to `trash`, unless its maker is alive.
fn sweep_one(tmp: &Dir, trash: &Dir, name: &str, claimed: impl Fn(&str) -> bool) -> IoResult<()> {
    let lock = match tmp.file(lock_name(name), OFlags::RDWR, 0) {
        Ok(lock) => match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Some(lock),
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(e) => return Err(e),
        },
        Err(Errno::NOENT) => None,
        Err(e) => return Err(e),
    };
    // Asked only now that its maker is known to be dead: from here on nobody can claim it any more.
    if claimed(name) {
        return Ok(());
    }
    match tmp.move_into(name, trash, unique_name()?) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    if lock.is_some() { tmp.remove_file(lock_name(name)) } else { Ok(()) }
}
