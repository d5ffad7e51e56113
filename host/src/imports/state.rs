//! Small durable facts of one driver.
//!
//! One file for each driver: a file that is damaged, full or slow is nobody else's, each has a writer of its own, and removing a
//! driver's state is removing its file.
//!
//! Writes are slow, for each has to be on disk before it is acknowledged. So those that come while one is on its way are
//! written together after it, by one thread, however many calls wait.

mod store;
#[cfg(test)]
mod tests;

use bulkhead_domain::Result;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use store::Store;
use tokio::sync::oneshot;

/// Longest key in bytes.
pub const KEY_BYTES: usize = 256;
/// Longest value in bytes.
pub const VALUE_BYTES: usize = 64 << 10;
/// Most keys of one page.
pub const PAGE: usize = 1000;
/// What an entry counts beside its key and value, in bytes.
pub const ENTRY_BYTES: u64 = 64;

/// Where a driver's state is, and how much there may be of it.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// The file; made with mode 0600 when it is not there, as is its directory with mode 0700.
    pub path: PathBuf,
    /// Most bytes of all keys and values, [`ENTRY_BYTES`] added for each.
    pub quota: u64,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The key has another version than expected: this one, or there is no such key.
    #[error("the key has another version")]
    Conflict(Option<u64>),
    /// The quota is used up.
    #[error("the driver's quota is used up")]
    QuotaExceeded,
    /// Not granted, or beyond the limits.
    #[error("{0}")]
    Denied(&'static str),
    /// The store does not answer; a write may or may not have happened.
    #[error("the state can't be used now: {0}")]
    Unavailable(String),
}

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// At most [`VALUE_BYTES`].
    pub value: Vec<u8>,
    /// Never the same again for a key.
    pub version: u64,
}

/// Some keys, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// At most [`PAGE`].
    pub keys: Vec<String>,
    /// After which key to go on; none: that was the end.
    pub next: Option<String>,
}

/// A change of one key.
#[derive(Debug)]
struct Write {
    key: String,
    /// What the key must have; none: it must not be there.
    expected: Option<u64>,
    /// None: remove it.
    value: Option<Vec<u8>>,
}

/// The new version; of a removed key the one that it had.
type Written = std::result::Result<u64, StateError>;

/// The state of one driver. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: StateConfig,
    store: OnceLock<Store>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Write, oneshot::Sender<Written>)>,
    /// A thread is writing, and will look into the queue again.
    led: bool,
}

impl State {
    /// Nothing is touched before [`State::open`].
    pub fn new(config: StateConfig) -> Self {
        Self(Arc::new(Inner { config, store: OnceLock::new(), queue: Mutex::default() }))
    }

    /// Opens the file, for calls to come. Blocks: all of it is read, and proven sound.
    ///
    /// # Errors
    /// The file can't be used. It is left as it is.
    pub fn open(&self) -> Result<()> {
        let store = Store::open(&self.0.config)?;
        // A second time changes nothing.
        let _ = self.0.store.set(store);
        Ok(())
    }

    /// The entry under `key`.
    ///
    /// # Errors
    /// Denied, unavailable.
    pub async fn get(&self, key: String) -> std::result::Result<Option<Entry>, StateError> {
        check_key(&key)?;
        self.read(move |store| store.get(&key)).await
    }

    /// Keys that begin with `prefix` and come after `after`.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn list_keys(&self, prefix: String, after: Option<String>) -> std::result::Result<KeyPage, StateError> {
        self.read(move |store| store.list_keys(&prefix, after.as_deref())).await
    }

    /// Writes if the key has version `expected`, or is not there and that is none: the new version. On disk when it returns. Dropped
    /// before, it may or may not be written.
    ///
    /// # Errors
    /// All of them.
    pub async fn compare_and_swap(&self, key: String, expected: Option<u64>, value: Vec<u8>) -> Written {
        check_key(&key)?;
        if value.len() > VALUE_BYTES {
            return Err(StateError::Denied("a value is longer than 64 KiB"));
        }
        self.write(Write { key, expected, value: Some(value) }).await
    }

    /// Removes the key if it has version `expected`. A missing key is ok.
    ///
    /// # Errors
    /// All but the quota's.
    pub async fn delete(&self, key: String, expected: u64) -> std::result::Result<(), StateError> {
        check_key(&key)?;
        self.write(Write { key, expected: Some(expected), value: None }).await.map(drop)
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Store) -> std::result::Result<T, StateError> + Send + 'static,
    ) -> std::result::Result<T, StateError> {
        let inner = self.0.clone();
        let looked = tokio::task::spawn_blocking(move || look(inner.store()?)).await;
        looked.unwrap_or_else(|_| Err(failed()))
    }

    async fn write(&self, write: Write) -> Written {
        let (answer, answered) = oneshot::channel();
        let lead = {
            let mut queue = self.0.queue();
            queue.waiting.push((write, answer));
            !std::mem::replace(&mut queue.led, true)
        };
        if lead {
            let inner = self.0.clone();
            tokio::task::spawn_blocking(move || inner.lead());
        }
        // Without an answer the thread has panicked, or the process ends.
        answered.await.unwrap_or_else(|_| Err(failed()))
    }
}

impl Inner {
    fn store(&self) -> std::result::Result<&Store, StateError> {
        self.store.get().ok_or_else(|| StateError::Unavailable("it is not open yet".to_owned()))
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, all of it at once, until nothing does.
    fn lead(&self) {
        let mut over = Over(Some(self));
        loop {
            let waiting = {
                let mut queue = self.queue();
                if queue.waiting.is_empty() {
                    queue.led = false;
                    over.0 = None;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let (writes, answers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            let written = self.store().and_then(|store| store.write(&writes));
            for (n, answer) in answers.into_iter().enumerate() {
                let one = match &written {
                    Ok(each) => each.get(n).cloned().unwrap_or_else(|| Err(failed())),
                    Err(e) => Err(e.clone()),
                };
                // Who asked may be gone.
                let _ = answer.send(one);
            }
        }
    }
}

/// Lets another thread write when this one has panicked. Those that waited for it get no answer, and know what that means.
struct Over<'a>(Option<&'a Inner>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if let Some(inner) = self.0 {
            *inner.queue() = Queue::default();
        }
    }
}

fn failed() -> StateError {
    StateError::Unavailable("the store has failed, its log says why".to_owned())
}

fn check_key(key: &str) -> std::result::Result<(), StateError> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._/-".contains(&c);
    match key.len() {
        1..=KEY_BYTES if key.bytes().all(plain) => Ok(()),
        1..=KEY_BYTES => Err(StateError::Denied("a key holds something else than A-Z a-z 0-9 . _ / -")),
        _ => Err(StateError::Denied("a key has no or more than 256 bytes")),
    }
}
