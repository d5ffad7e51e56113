//! Making what an object is made of, aside in `tmp`, and throwing it away.

use super::object::{DATA, IMAGE, LOCK, META, META_FORMAT, Meta, ObjectDir, USERS};
use super::store::Pool;
use super::trash::{remove_tree, unique_name};
use super::types::{Object, ObjectKind, ObjectSpec};
use crate::dir::Dir;
use crate::error::Context;
use bulkhead_domain::{Error, Result};
use rustix::fs::{Mode, OFlags, fchmod, fstat};
use rustix::io::Errno;
use std::fs::File;
use std::time::SystemTime;

/// Everybody may go through and look at nothing.
const PASSAGE: Mode = Mode::from_raw_mode(0o711);

/// Makes a directory one that everybody may go through.
///
/// # Errors
/// FailedPrecondition: it isn't, and belongs to somebody else.
pub(super) fn let_pass(dir: &Dir) -> Result<()> {
    let what = || format!("cannot change the mode of {}", dir.path().display());
    let mode = Mode::from_raw_mode(fstat(dir).during(what())?.st_mode);
    if mode.contains(Mode::XGRP | Mode::XOTH) {
        return Ok(());
    }
    match fchmod(dir, PASSAGE) {
        Err(Errno::PERM | Errno::ACCESS) => Err(Error::failed_precondition(format_args!(
            "{} can't be passed through by others, as directoryMode wants, and belongs to somebody else: chmod 0711 it",
            dir.path().display()
        ))),
        changed => changed.during(what()),
    }
}

/// A directory in `tmp` with all of an object but its bytes and its metadata.
pub(super) struct Skeleton {
    pub(super) dir: Dir,
    /// Empty; only an image has one.
    pub(super) image: Option<File>,
}

impl Pool {
    /// Fills the empty directory `name` in `tmp`.
    pub(super) fn skeleton(&self, name: &str, kind: ObjectKind) -> crate::error::IoResult<Skeleton> {
        let new = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let dir = self.tmp.dir(name)?;
        dir.file(LOCK, new, 0o600)?;
        dir.make_dir(USERS, 0o700)?;
        let image = match kind {
            ObjectKind::Directory => {
                dir.make_dir(DATA, 0o755)?;
                if let Some(mode) = self.directory_mode {
                    // Not with mkdir(2), which the umask takes bits from.
                    fchmod(dir.dir(DATA)?, Mode::from_raw_mode(mode))?;
                    fchmod(&dir, PASSAGE)?;
                }
                None
            }
            ObjectKind::Image => Some(dir.file(IMAGE, new, 0o600)?),
        };
        Ok(Skeleton { dir, image })
    }

    /// Writes the metadata of a new object: the last thing that is written, for it syncs the directory too.
    pub(super) fn complete(dir: Dir, spec: &ObjectSpec, read_only: bool) -> Result<Object> {
        let what = || format!("cannot make object {}", spec.name);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let meta = Meta {
            format: META_FORMAT,
            uid: unique_name().during(what())?,
            kind: spec.kind,
            size_bytes: spec.size_bytes,
            provisioning: spec.provisioning,
            metadata: spec.metadata.clone(),
            version: 1,
            created_at_ms: u64::try_from(now.as_millis()).unwrap_or(0),
            read_only,
        };
        let object = ObjectDir { dir, name: spec.name.clone() };
        object.write_meta(&meta)?;
        object.describe()?.ok_or_else(|| Error::unavailable(format_args!("{}: {META} vanished", what())))
    }

    /// Removes what is of no use any more. What can't be removed costs space until the pool is opened again.
    pub(super) fn discard(&self, from: &Dir, name: &str) {
        let removed = (|| {
            let mut name = name.to_owned();
            if !std::ptr::eq(from, &self.trash) {
                let dead = unique_name()?;
                from.move_into(&name, &self.trash, &dead)?;
                name = dead;
            }
            remove_tree(&self.trash, name.into())
        })();
        if let Err(error) = removed
            && error != Errno::NOENT
        {
            tracing::warn!(pool = %self.path.display(), %error, "cannot remove a dead object; it goes at the next start");
        }
    }
}
