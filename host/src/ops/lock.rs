//! One operation at a time for each object.
//!
//! CSI lets a plugin refuse a second operation on the same object with ABORTED, and the CO retries. So nothing ever waits
//! for a lock: a key is either free or the call is refused. There is no lock over all objects anywhere.

use bulkhead_domain::{Error, Result};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// What an operation works on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A volume that is being made, by its CSI name: its id is not known yet.
    Name(String),
    /// A volume, by its id.
    Volume(String),
}

/// All keys in use of one driver. A `std` mutex: it is held for a hash-set operation and never across an await.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    taken: Arc<Mutex<HashSet<Key>>>,
}

/// Keeps a key taken until it is dropped. It moves into the task that does the work, so that a client that gives up
/// does not free the object early.
#[derive(Debug)]
pub struct Guard {
    locks: Locks,
    key: Key,
}

impl Locks {
    /// Takes `key`, or answers ABORTED at once if another operation has it.
    ///
    /// # Errors
    /// ABORTED.
    pub fn try_lock(&self, key: Key) -> Result<Guard> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.insert(key.clone()) {
            return Ok(Guard { locks: self.clone(), key });
        }
        let what = match &key {
            Key::Name(name) => format!("a volume named {name:?}"),
            Key::Volume(id) => format!("volume {id}"),
        };
        Err(Error::aborted(format_args!("an operation on {what} is in progress: try again")))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.locks.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    #[test]
    fn second_is_aborted_until_the_guard_is_dropped() {
        let locks = Locks::default();
        let key = || Key::Volume("v".into());
        let guard = locks.try_lock(key()).unwrap();
        assert_eq!(locks.try_lock(key()).unwrap_err().kind(), ErrorKind::Aborted);
        let name = locks.try_lock(Key::Name("v".into()));
        assert!(name.is_ok(), "a name and an id are different keys");
        drop(guard);
        assert!(locks.try_lock(key()).is_ok());
    }
}
