//! One process for each state directory.

use crate::error::Context;
use bulkhead_domain::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Name of the lock file in a locked directory.
pub const LOCK_FILE: &str = ".lock";

/// Holds the lock until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct LockGuard {
    file: File,
}

impl Drop for LockGuard {
    /// Closing would do, but for copies of the descriptor in a child that another thread is starting.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Locks the directory `path` against other processes with flock(2) on `path/.lock`, without waiting. The file stays
/// behind when the lock is given up; it says who had it last.
///
/// # Errors
/// FailedPrecondition if another process has it, with that process's id where it is known. Unavailable if the file
/// can't be opened or written.
pub fn lock_dir(path: &Path) -> Result<LockGuard> {
    let name = path.join(LOCK_FILE);
    let what = |verb: &str| format!("cannot {verb} {}", name.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&name)
        .during(what("open"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _ = (&file).take(32).read_to_string(&mut holder);
            let holder =
                holder.trim().parse::<u32>().map_or("another process".to_owned(), |pid| format!("process {pid}"));
            return Err(Error::failed_precondition(format_args!(
                "{} is in use by {holder}; stop it or choose another directory",
                path.display()
            )));
        }
        Err(e) => return Err(e).during(what("lock")),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .during(what("write"))?;
    Ok(LockGuard { file })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    #[test]
    fn the_second_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock_dir(dir.path()).unwrap();
        let refused = lock_dir(dir.path()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
        assert!(refused.message().contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        lock_dir(dir.path()).unwrap();
    }
}
