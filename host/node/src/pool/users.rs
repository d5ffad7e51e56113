//! Who has an object staged: one file for each volume of a node, in the object's `users` directory.
//!
//! A marker is written before anything is done with the object and removed when everything is undone. It outlives the
//! process and the machine's memory, so an object is in use also while the node that has it staged restarts.

use super::object::{LockedObject, ObjectDir, USERS};
use crate::dir::Dir;
use crate::error::Context;
use bulkhead_domain::{Error, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// A volume of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) driver: String,
    pub(crate) node_id: String,
    pub(crate) volume_id: String,
    /// Only reads.
    pub(crate) read_only: bool,
}

impl User {
    /// 32 hexadecimal digits over all but `read_only`.
    pub(crate) fn id(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.driver, &self.node_id, &self.volume_id] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hex::encode(&hash.finalize()[..16])
    }
}

impl ObjectDir {
    /// File names of all users. Empty also if the object vanishes meanwhile.
    pub(super) fn users(&self) -> Result<Vec<String>> {
        let what = || format!("cannot read the users of object {}", self.dir.path().display());
        match self.dir.dir(USERS).and_then(Dir::into_names) {
            Ok(names) => Ok(names
                .into_iter()
                .map(|name| name.to_string_lossy().into_owned())
                .filter(|name| !name.starts_with('.'))
                .collect()),
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(e) => Err(e).during(what()),
        }
    }
}

impl ObjectDir {
    /// All users with the files they are noted in. None: what is in the file can't be understood.
    pub(super) fn known_users(&self) -> Result<Vec<(PathBuf, Option<User>)>> {
        let mut found = Vec::new();
        for id in self.users()? {
            let users = self.dir.dir(USERS).during("cannot open the users of an object")?;
            let Some(bytes) = users.read(&id, 4096)? else { continue };
            found.push((users.join(&id), serde_json::from_slice(&bytes).ok()));
        }
        Ok(found)
    }
}

impl LockedObject {
    /// Notes a user, durably. Noting one twice is fine.
    ///
    /// # Errors
    /// With `exclusive`: FailedPrecondition if there is another user, unless both only read.
    pub(crate) fn add_user(&self, user: &User, exclusive: bool) -> Result<()> {
        let what = || format!("cannot note a user of object {}", self.object.dir.path().display());
        let users = self.object.dir.ensure_dir(USERS, 0o700).during(what())?;
        let id = user.id();
        if exclusive {
            for other in self.object.users()?.into_iter().filter(|other| *other != id) {
                let known: Option<User> =
                    users.read(&other, 4096)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
                if user.read_only && known.as_ref().is_some_and(|known| known.read_only) {
                    continue;
                }
                let whose = known.map_or("an unknown user".to_owned(), |known| {
                    format!("volume {} of driver {} on node {}", known.volume_id, known.driver, known.node_id)
                });
                return Err(Error::failed_precondition(format_args!(
                    "object {} is staged as {whose}; unstage it there first, or, if that node is gone for good, remove {}",
                    self.object.name,
                    users.join(&other).display()
                )));
            }
        }
        let bytes = serde_json::to_vec(user).map_err(|e| Error::internal(format_args!("{}: {e}", what())))?;
        users.replace(&id, &bytes)
    }

    /// The user is on record.
    pub(crate) fn has_user(&self, user: &User) -> Result<bool> {
        Ok(self.object.users()?.contains(&user.id()))
    }

    /// Removes a user. A missing one is fine.
    pub(crate) fn remove_user(&self, user: &User) -> Result<()> {
        let what = || format!("cannot remove a user of object {}", self.object.dir.path().display());
        let users = match self.object.dir.dir(USERS) {
            Ok(users) => users,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e).during(what()),
        };
        users.remove_file(user.id()).during(what())?;
        users.sync().during(what())
    }

    /// Opens the image.
    pub(crate) fn image(&self, write: bool) -> Result<std::fs::File> {
        let flags = if write { OFlags::RDWR } else { OFlags::RDONLY };
        self.object
            .dir
            .file(super::object::IMAGE, flags, 0)
            .during(format_args!("cannot open the image of object {}", self.object.dir.path().display()))
    }

    /// Opens the directory that holds a directory object's files.
    pub(crate) fn data(&self) -> Result<Dir> {
        self.object
            .dir
            .dir(super::object::DATA)
            .during(format_args!("cannot open the files of object {}", self.object.dir.path().display()))
    }
}
