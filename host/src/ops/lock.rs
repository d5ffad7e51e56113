//! One operation at a time for each object.
//!
//! CSI lets a plugin refuse a second operation on the same object with ABORTED, and the CO retries. So nothing ever waits
//! for a lock: a key is either free or the call is refused. What only reads an object (a clone reads its source) shares
//! it with others that only read. There is no lock over all objects anywhere.

use bulkhead_domain::{Error, Result};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

/// What an operation works on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A volume that is being made, by its CSI name: its id is not known yet.
    Name(String),
    /// A volume, by its id.
    Volume(String),
    /// A snapshot that is being cut, by its CSI name.
    SnapshotName(String),
    /// A snapshot, by its id.
    Snapshot(String),
    /// A group snapshot that is being cut, by its CSI name.
    GroupName(String),
    /// A group snapshot, by its id.
    Group(String),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "a volume named {name:?}"),
            Self::Volume(id) => write!(f, "volume {id}"),
            Self::SnapshotName(name) => write!(f, "a snapshot named {name:?}"),
            Self::Snapshot(id) => write!(f, "snapshot {id}"),
            Self::GroupName(name) => write!(f, "a group snapshot named {name:?}"),
            Self::Group(id) => write!(f, "group snapshot {id}"),
        }
    }
}

/// How many share a key; none: one has it for itself.
type Sharers = Option<usize>;

/// All keys in use of one driver. A `std` mutex: it is held for a hash-map operation and never across an await.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    taken: Arc<Mutex<HashMap<Key, Sharers>>>,
}

/// Keeps a key taken until it is dropped. It moves into the task that does the work, so that a client that gives up
/// does not free the object early.
#[derive(Debug)]
pub struct Guard {
    locks: Locks,
    key: Key,
}

impl Locks {
    /// Takes `key` for one operation alone, or answers ABORTED at once if another operation has it.
    ///
    /// # Errors
    /// ABORTED.
    pub fn try_lock(&self, key: Key) -> Result<Guard> {
        self.take(key, |entry| match entry {
            Entry::Vacant(free) => {
                free.insert(None);
                true
            }
            Entry::Occupied(_) => false,
        })
    }

    /// Takes `key` together with others that share it, or answers ABORTED at once if an operation has it for itself.
    ///
    /// # Errors
    /// ABORTED.
    pub fn try_share(&self, key: Key) -> Result<Guard> {
        self.take(key, |entry| match entry {
            Entry::Vacant(free) => {
                free.insert(Some(1));
                true
            }
            Entry::Occupied(mut taken) => match taken.get_mut() {
                Some(sharers) => {
                    *sharers += 1;
                    true
                }
                None => false,
            },
        })
    }

    fn take(&self, key: Key, take: impl FnOnce(Entry<'_, Key, Sharers>) -> bool) -> Result<Guard> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if take(taken.entry(key.clone())) {
            return Ok(Guard { locks: self.clone(), key });
        }
        Err(Error::aborted(format_args!("an operation on {key} is in progress: try again")))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut taken = self.locks.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.key) {
            Some(Some(sharers)) if *sharers > 1 => *sharers -= 1,
            _ => {
                taken.remove(&self.key);
            }
        }
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
        assert_eq!(locks.try_share(key()).unwrap_err().kind(), ErrorKind::Aborted);
        let name = locks.try_lock(Key::Name("v".into()));
        assert!(name.is_ok(), "a name and an id are different keys");
        drop(guard);
        assert!(locks.try_lock(key()).is_ok());
    }

    #[test]
    fn readers_share_and_keep_others_out() {
        let locks = Locks::default();
        let key = || Key::Snapshot("s".into());
        let (one, two) = (locks.try_share(key()).unwrap(), locks.try_share(key()).unwrap());
        assert!(locks.try_lock(key()).is_err());
        drop(one);
        assert!(locks.try_lock(key()).is_err(), "the second still reads");
        drop(two);
        assert!(locks.try_lock(key()).is_ok());
    }
}
