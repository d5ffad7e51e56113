//! Putting new objects in place: one by a rename, a set of them by a record and then renames.
//!
//! A set is there once its record is: `placing/UNIQUE` says what goes from `tmp` to which name, and whoever finds one that
//! its maker did not get to the end of makes the renames and removes it. No name of a record can be taken by anybody else:
//! names are given out under the lock `names.lock`, shared for one object, exclusive for a set from before its record
//! is written until after it is removed. So a record that is met under the lock is a dead one.

use super::store::{Pool, taken};
use super::trash::{is_silly, unique_name};
use crate::dir::Dir;
use crate::error::{Context, IoResult, io_error};
use crate::failpoint;
use bulkhead_domain::{Error, Result, limits};
use rustix::fs::{AtFlags, FlockOperation, OFlags, flock, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::time::{Duration, Instant};

const NAMES_LOCK: &str = "names.lock";
/// Whoever holds the lock makes a few renames.
const NAMES_WAIT: Duration = Duration::from_secs(5);
const RECORD_FORMAT: u32 = 1;
/// A thousand copies with the longest names take 180 KiB.
const RECORD_MAX: u64 = 16 << 20;

/// One object of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    /// In `tmp`.
    pub(super) from: String,
    /// Name of the object.
    pub(super) object: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    format: u32,
    moves: Vec<Move>,
}

/// The right to give names to objects.
struct Names(File);

impl Drop for Names {
    /// Closing would do, but for copies of the descriptor in a child that another thread is starting.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// A set whose record is written: it will be there, whatever happens.
pub(super) struct Committed<'a> {
    pool: &'a Pool,
    record: String,
    moves: Vec<Move>,
    names: Names,
}

impl Pool {
    fn lock_names(&self, shared: bool) -> Result<Names> {
        let what = || format!("cannot lock {}", self.root.join(NAMES_LOCK).display());
        let file = self.root.file(NAMES_LOCK, OFlags::RDWR | OFlags::CREATE, 0o600).during(what())?;
        let how = if shared { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
        let deadline = Instant::now() + NAMES_WAIT;
        loop {
            match flock(&file, how) {
                Ok(()) => return Ok(Names(file)),
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::aborted(format_args!("{}: another operation has it; ask again", what())));
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e).during(what()),
            }
        }
    }

    /// Puts one object in place.
    ///
    /// # Errors
    /// AlreadyExists: the name is taken, maybe by a set of copies that is not all there yet.
    pub(super) fn place_one(&self, from: &str, object: &str) -> Result<()> {
        for last in [false, true] {
            let names = self.lock_names(true)?;
            let claimed = records(&self.placing)?.into_iter().find(|(_, record)| self.claims(record, object));
            match claimed {
                None => {
                    self.rename(from, object).map_err(|e| not_placed(object, e))?;
                    drop(names);
                    return self.objects.sync().during(format_args!("cannot sync pool {}", self.path.display()));
                }
                Some((record, _)) if last => {
                    return Err(Error::unavailable(format_args!(
                        "object {object} belongs to a set of copies that can't be put in place, see {}",
                        self.placing.join(record).display()
                    )));
                }
                Some(_) => {}
            }
            drop(names);
            self.settle()?;
        }
        Err(taken(object))
    }

    fn rename(&self, from: &str, object: &str) -> IoResult<()> {
        self.tmp.move_into(from, &self.objects, object)
    }

    /// Decides that a set is to be there.
    ///
    /// # Errors
    /// AlreadyExists: a name is taken. On every error nothing was decided, unless the kind is Unavailable.
    pub(super) fn commit(&self, moves: Vec<Move>) -> Result<Committed<'_>> {
        self.settle()?;
        let names = self.lock_names(false)?;
        let claims = records(&self.placing)?;
        for step in &moves {
            let there = statat(&self.objects, &step.object, AtFlags::SYMLINK_NOFOLLOW);
            let claimed = claims.iter().any(|(_, record)| self.claims(record, &step.object));
            match there {
                Err(Errno::NOENT) if !claimed => {}
                Ok(_) | Err(Errno::NOENT) => return Err(taken(&step.object)),
                Err(e) => return Err(e).during(format_args!("cannot look for object {}", step.object)),
            }
        }
        let what = || format!("cannot write a record in {}", self.placing.path().display());
        let record = unique_name().during(what())?;
        let bytes = serde_json::to_vec(&Record { format: RECORD_FORMAT, moves: moves.clone() })
            .map_err(|e| Error::internal(format_args!("{}: {e}", what())))?;
        if let Err(error) = self.placing.replace(&record, &bytes) {
            self.placing.remove_file(&record).map_err(|e| {
                Error::unavailable(format_args!("{error}; and it can't be removed ({e}): the copies may appear"))
            })?;
            let _ = self.placing.remove_file(format!(".{record}.tmp"));
            return Err(error);
        }
        Ok(Committed { pool: self, record, moves, names })
    }

    /// Finishes all sets that were cut short. One that can't be is logged and stays.
    ///
    /// # Errors
    /// Aborted: others kept the lock. Unavailable: records can't be read or removed.
    pub(super) fn settle(&self) -> Result<()> {
        let what = || format!("cannot read {}", self.placing.path().display());
        if self.placing.names().during(what())?.is_empty() {
            return Ok(());
        }
        let _names = self.lock_names(false)?;
        for name in self.placing.names().during(what())? {
            // Records that were never written to their end. What an NFS client keeps can't be removed, and goes by itself.
            if name.to_string_lossy().starts_with('.') && !is_silly(&name) {
                self.placing.remove_file(&name).during(what())?;
            }
        }
        for (name, record) in records(&self.placing)? {
            match self.finish(&name, &record.moves, |_| Ok(())) {
                Ok(()) => tracing::info!(pool = %self.path.display(), "finished a set of copies that was cut short"),
                Err(error) => {
                    tracing::error!(record = %self.placing.join(&name).display(), %error,
                        "a set of copies can't be put in place; make room for it, it is tried again");
                }
            }
        }
        Ok(())
    }

    /// Makes the renames of a record and removes it. Those that are made already are fine.
    fn finish(&self, record: &str, moves: &[Move], after: impl Fn(&Move) -> Result<()>) -> Result<()> {
        for step in moves {
            match self.rename(&step.from, &step.object) {
                // Made before; the object may even be deleted by now.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(not_placed(&step.object, e)),
            }
            // What was copied isn't known here.
            self.promised.changed();
            after(step)?;
        }
        self.objects.sync().during(format_args!("cannot sync pool {}", self.path.display()))?;
        failpoint::hit("pool-copy.placed")?;
        let what = || format!("cannot remove {}", self.placing.join(record).display());
        self.placing.remove_file(record).during(what())?;
        self.placing.sync().during(what())
    }

    /// The record will give this name away. One whose object has got it already does not, even if the record can't be removed: that
    /// object may be deleted by now, and its name free.
    fn claims(&self, record: &Record, object: &str) -> bool {
        let made = |from: &str| matches!(statat(&self.tmp, from, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT));
        record.moves.iter().any(|step| step.object == object && !made(&step.from))
    }

    /// A record names this entry of `tmp`: it is not to be swept. Also if that can't be known.
    pub(super) fn is_claimed(placing: &Dir, from: &str) -> bool {
        records(placing).map_or(true, |all| all.iter().any(|(_, record)| record.moves.iter().any(|m| m.from == from)))
    }
}

impl Committed<'_> {
    /// Puts the set in place.
    ///
    /// # Errors
    /// Unavailable: not all of it is there yet. It is put there when the pool is next opened, or the next object is made.
    pub(super) fn place(self) -> Result<()> {
        let Self { pool, record, moves, names } = self;
        let placed = failpoint::hit("pool-copy.committed")
            .and_then(|()| pool.finish(&record, &moves, |_| failpoint::hit("pool-copy.placing")));
        drop(names);
        let Err(error) = placed else { return Ok(()) };
        // Once more, so that nobody meets a part of it; whether that helped shows in the record.
        let settled = pool.settle().is_ok() && !pool.placing.names().is_ok_and(|names| names.contains(&record.into()));
        if settled {
            tracing::warn!(%error, "putting a set of copies in place took two tries");
            return Ok(());
        }
        Err(Error::unavailable(format_args!("{error}; the copies are complete and will appear; ask again")))
    }
}

fn not_placed(object: &str, error: Errno) -> Error {
    match error {
        Errno::EXIST => taken(object),
        e => io_error(format_args!("cannot put object {object} in place"), e),
    }
}

/// All records, with their names.
fn records(placing: &Dir) -> Result<Vec<(String, Record)>> {
    let mut found = Vec::new();
    for name in placing.names().during(format_args!("cannot read {}", placing.path().display()))? {
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        // None: its maker has just finished.
        let Some(bytes) = placing.read(name, RECORD_MAX)? else { continue };
        let unusable = |why: &dyn std::fmt::Display| {
            Error::unavailable(format_args!("{} can't be used: {why}; remove it", placing.join(name).display()))
        };
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| unusable(&e))?;
        if record.format > RECORD_FORMAT {
            return Err(unusable(&"it was written by a newer version of this host"));
        }
        for step in &record.moves {
            for name in [&step.from, &step.object] {
                limits::object_name("a name in it", name).map_err(|e| unusable(&e))?;
            }
        }
        found.push((name.to_owned(), record));
    }
    Ok(found)
}
