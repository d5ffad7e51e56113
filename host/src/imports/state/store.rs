//! The file of one driver. Everything here blocks.
//!
//! **Invariants:** an acknowledged write is on disk; a version is given once; a file that is not sound is never written to.

use super::{ENTRY_BYTES, Entry, KeyPage, PAGE, StateConfig, StateError, Write, Written, failed};
use bulkhead_domain::{Error, Result};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, backends::FileBackend};
use std::{
    fmt::Display,
    fs::{self, DirBuilder, File, OpenOptions},
    io::ErrorKind,
    ops::Bound,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

/// Version and value by key.
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
/// Numbers about the whole.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// The version that was given last, to whatever key: so none is given twice, also not to a key that was gone meanwhile.
const LAST_VERSION: &str = "last-version";
/// What counts towards the quota, in bytes.
const USED: &str = "used";
/// How the file is to be read.
const FORMAT: &str = "format";
const THIS_FORMAT: u64 = 1;
/// Memory for pages of the file, in bytes: the library's default is a gigabyte.
const CACHE_BYTES: usize = 4 << 20;

/// An open file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    quota: u64,
    /// None after a failure, until it is opened again: the library doesn't touch a file any more on which I/O has failed once, a
    /// full disk for example.
    database: RwLock<Option<Database>>,
}

type Outcome<T> = std::result::Result<T, StateError>;

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It can't be read or written, or is damaged.
    pub(super) fn open(config: &StateConfig) -> Result<Self> {
        let path = config.path.clone();
        let error = |what: &dyn Display| Error::unavailable(format_args!("the state in {} {what}", path.display()));
        let io = |e: std::io::Error| error(&format_args!("can't be used ({e}): see to its directory"));
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                make(&path).map_err(|e| error(&format_args!("can't be made ({e})")))?
            }
            Err(e) => return Err(io(e)),
            Ok(found) if !found.is_file() => return Err(error(&"is not a file: move it away")),
            Ok(_) => {}
        }
        const ADVICE: &str = "put a copy of it from before in its place, or move it away to begin with none";
        check(&path).map_err(|e| match e {
            Unsound::Io(e) => io(e),
            Unsound::Damaged(why) => error(&format_args!("is damaged ({why}) and was left as it is: {ADVICE}")),
            Unsound::Newer(format) => {
                error(&format_args!("has format {format}, which this host does not know: use a newer host"))
            }
        })?;
        let database = open(&path).map_err(|e| error(&format_args!("can't be opened ({e}): {ADVICE}")))?;
        Ok(Self { path, quota: config.quota, database: RwLock::new(Some(database)) })
    }

    pub(super) fn get(&self, key: &str) -> Outcome<Option<Entry>> {
        self.with(|database| {
            let entries = database.begin_read()?.open_table(ENTRIES)?;
            Ok(entries.get(key)?.map(|found| {
                let (version, value) = found.value();
                Entry { value: value.to_vec(), version }
            }))
        })
    }

    pub(super) fn list_keys(&self, prefix: &str, after: Option<&str>) -> Outcome<KeyPage> {
        self.with(|database| {
            let entries = database.begin_read()?.open_table(ENTRIES)?;
            let from = match after {
                Some(after) if after >= prefix => Bound::Excluded(after),
                _ => Bound::Included(prefix),
            };
            let (mut keys, mut next) = (Vec::new(), None);
            for entry in entries.range::<&str>((from, Bound::Unbounded))? {
                let (key, _) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                if keys.len() == PAGE {
                    next = keys.last().cloned();
                    break;
                }
                keys.push(key.value().to_owned());
            }
            Ok(KeyPage { keys, next })
        })
    }

    /// Writes all that can be, and has it on disk when it returns. One outcome for each.
    ///
    /// # Errors
    /// Of none is it known whether it was written.
    pub(super) fn write(&self, writes: &[Write]) -> Outcome<Vec<Written>> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            // What a backend writes may be made to look like a finished commit; with two phases nobody has to guess.
            transaction.set_two_phase_commit(true);
            let mut outcomes = Vec::with_capacity(writes.len());
            {
                let (mut entries, mut numbers) = (transaction.open_table(ENTRIES)?, transaction.open_table(NUMBERS)?);
                let number = |name: &str| Ok::<_, redb::Error>(numbers.get(name)?.map_or(0, |found| found.value()));
                let mut totals = Totals { version: number(LAST_VERSION)?, used: number(USED)?, quota: self.quota };
                for write in writes {
                    outcomes.push(totals.apply(&mut entries, write)?);
                }
                numbers.insert(LAST_VERSION, totals.version)?;
                numbers.insert(USED, totals.used)?;
            }
            if outcomes.iter().any(|outcome| outcome.is_ok()) {
                transaction.commit()?
            } else {
                transaction.abort()?
            }
            Ok(outcomes)
        })
    }

    /// After a failure the file is closed, and opened anew by the next one that needs it.
    fn with<T>(&self, work: impl FnOnce(&Database) -> std::result::Result<T, redb::Error>) -> Outcome<T> {
        let unavailable = |what: &str, e: &dyn Display| {
            tracing::error!(file = %self.path.display(), "{what}: {e}");
            StateError::Unavailable(what.to_owned())
        };
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if database.is_none() {
                *database = Some(open(&self.path).map_err(|e| unavailable("the file can't be opened again", &e))?);
            }
        }
        let done = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let database = database.as_ref().ok_or_else(failed)?;
            // Of a file that was damaged since it was opened the library may say so by panicking.
            catch_unwind(AssertUnwindSafe(|| work(database)))
        };
        let error = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(e)) => unavailable("the file can't be read or written", &e),
            Err(_) => unavailable("the file can't be read or written", &"the library has panicked"),
        };
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        Err(error)
    }
}

/// What a transaction counts.
struct Totals {
    version: u64,
    used: u64,
    quota: u64,
}

impl Totals {
    fn apply(
        &mut self,
        entries: &mut redb::Table<'_, &str, (u64, &[u8])>,
        write: &Write,
    ) -> std::result::Result<Written, redb::Error> {
        let key = write.key.as_str();
        let size = |value: usize| key.len() as u64 + value as u64 + ENTRY_BYTES;
        let present = entries.get(key)?.map(|found| {
            let (version, value) = found.value();
            (version, size(value.len()))
        });
        let (version, freed) = present.unzip();
        let freed = freed.unwrap_or_default();
        match (&write.value, write.expected) {
            (None, expected) => match version {
                None => Ok(Ok(expected.unwrap_or_default())),
                Some(version) if Some(version) == expected => {
                    entries.remove(key)?;
                    self.used = self.used.saturating_sub(freed);
                    Ok(Ok(version))
                }
                other => Ok(Err(StateError::Conflict(other))),
            },
            (Some(_), expected) if version != expected => Ok(Err(StateError::Conflict(version))),
            (Some(value), _) => {
                let taken = size(value.len());
                let used = self.used.saturating_sub(freed) + taken;
                // What doesn't grow is let through, also where the quota was lowered since.
                if used > self.quota && taken > freed {
                    return Ok(Err(StateError::QuotaExceeded));
                }
                self.version += 1;
                self.used = used;
                entries.insert(key, (self.version, value.as_slice()))?;
                Ok(Ok(self.version))
            }
        }
    }
}

/// Makes an empty store beside `path` and moves it there: an empty file is never taken for a new one.
fn make(path: &Path) -> std::result::Result<(), redb::Error> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let new = path.with_extension("new");
    remove(&new)?;
    let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(private(&new)?)?)?;
    let transaction = database.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(NUMBERS)?.insert(FORMAT, THIS_FORMAT)?;
    transaction.commit()?;
    database.close()?;
    fs::rename(&new, path)?;
    Ok(File::open(dir)?.sync_all()?)
}

/// A new file that is nobody else's business.
fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> std::result::Result<Database, redb::Error> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.len() == 0 {
        return Err(redb::Error::Corrupted("it is empty".to_owned()));
    }
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?)
}

/// Why a file is not opened.
enum Unsound {
    Io(std::io::Error),
    Damaged(String),
    Newer(u64),
}

impl From<std::io::Error> for Unsound {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Proves that a file is sound, on a copy: opening it repairs what can be repaired, and that would be done to the only
/// evidence that there is.
fn check(path: &Path) -> std::result::Result<(), Unsound> {
    let copy = path.with_extension("check");
    remove(&copy)?;
    let checked = copied(path, &copy).and_then(|()| {
        let looked = catch_unwind(AssertUnwindSafe(|| sound(&copy)));
        looked.unwrap_or_else(|_| Err(Unsound::Damaged("it can't be read".to_owned())))
    });
    remove(&copy)?;
    checked
}

fn copied(path: &Path, copy: &Path) -> std::result::Result<(), Unsound> {
    let mut from = File::open(path)?;
    if from.metadata()?.len() == 0 {
        return Err(Unsound::Damaged("it is empty".to_owned()));
    }
    std::io::copy(&mut from, &mut private(copy)?)?;
    Ok(())
}

/// Every page is what was written, and the entries add up.
fn sound(copy: &Path) -> std::result::Result<(), Unsound> {
    let damaged = |e: redb::Error| match e {
        redb::Error::Io(e) if e.kind() != ErrorKind::InvalidData => Unsound::Io(e),
        e => Unsound::Damaged(e.to_string()),
    };
    let file = OpenOptions::new().read(true).write(true).open(copy)?;
    let read = || -> std::result::Result<_, redb::Error> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let database = builder.create_with_backend(FileBackend::new(file)?)?;
        let transaction = database.begin_read()?;
        let numbers = transaction.open_table(NUMBERS)?;
        let number = |name: &str| Ok::<_, redb::Error>(numbers.get(name)?.map_or(0, |found| found.value()));
        let (mut used, mut last) = (0, 0);
        for entry in transaction.open_table(ENTRIES)?.iter()? {
            let (key, value) = entry?;
            let (version, value) = value.value();
            used += key.value().len() as u64 + value.len() as u64 + ENTRY_BYTES;
            last = last.max(version);
        }
        let adds_up = used == number(USED)? && last <= number(LAST_VERSION)?;
        Ok((number(FORMAT)?, adds_up))
    };
    match read().map_err(damaged)? {
        (THIS_FORMAT, true) => Ok(()),
        (THIS_FORMAT, false) => Err(Unsound::Damaged("its entries don't add up".to_owned())),
        (0, _) => Err(Unsound::Damaged("it has no format".to_owned())),
        (newer, _) => Err(Unsound::Newer(newer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Store {
        /// Keeps all writers waiting until it is dropped.
        pub(in super::super) fn occupy(&self) -> redb::WriteTransaction {
            self.database.read().unwrap().as_ref().unwrap().begin_write().unwrap()
        }
    }

    #[test]
    fn after_a_failure_the_file_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&StateConfig { path: dir.path().join("a.redb"), quota: 1 << 20 }).unwrap();
        let write = || [Write { key: "k".into(), expected: None, value: Some(vec![1]) }];
        assert_eq!(store.write(&write()), Ok(vec![Ok(1)]));
        let failed: Outcome<()> = store.with(|_| Err(std::io::Error::other("the disk is on fire").into()));
        assert!(matches!(failed, Err(StateError::Unavailable(_))));
        assert_eq!(store.get("k").unwrap().unwrap().value, [1]);
        let panicked: Outcome<()> = store.with(|_| panic!("what was read can't be"));
        assert!(matches!(panicked, Err(StateError::Unavailable(_))));
        assert_eq!(store.write(&write()), Ok(vec![Err(StateError::Conflict(Some(1)))]));
        // Not as long as it can't be opened.
        let away = dir.path().join("away");
        fs::rename(&store.path, &away).unwrap();
        let failed: Outcome<()> = store.with(|_| Err(std::io::Error::other("again").into()));
        assert!(failed.is_err() && store.get("k").is_err());
        fs::rename(&away, &store.path).unwrap();
        assert_eq!(store.get("k").unwrap().unwrap().version, 1);
    }
}
