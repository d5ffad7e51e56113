//! A folder with one file for each node, written by that node's host alone and replaced as a whole: a reader sees the old entry or the
//! new one. Entries outlive the host that wrote them, for the node may come back; an operator removes those of nodes that don't.

use crate::ops::ports::{KnownNode, NodeDirectory};
use bulkhead_domain::{Error, Result, node::NodeFacts, volume::NodeId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

/// Version of what is in the files. Fields may be added without a new one: what is missing has its default.
const SCHEMA: u32 = 1;
/// Largest file that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;
/// An entry is old when it was not written anew for so many of its writer's intervals.
const MISSED: u32 = 3;
/// What a writer that was killed has left behind goes after this time: another one may be at work until then.
const LEFTOVER: Duration = Duration::from_secs(60);
/// Bytes of a node's id that its file's name begins with, for people.
const READABLE: usize = 64;

/// What is in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    schema: u32,
    /// RFC 3339, by the node's clock.
    written_at: String,
    /// After how many seconds it is going to be written again.
    interval_seconds: u64,
    facts: NodeFacts,
}

/// The part of an entry that every version has.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// A folder of nodes.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// How often this process writes its own entry.
    interval: Duration,
    /// What was said about which file.
    pub(super) said: Mutex<HashMap<PathBuf, String>>,
    written: AtomicU64,
}

impl Folder {
    /// The folder at `path`, which is made when the first node writes to it. Readers call an entry of this process old when it was not
    /// written for three times `interval`.
    pub fn new(path: &Path, interval: Duration) -> Self {
        Self { path: path.to_owned(), interval, said: Mutex::default(), written: AtomicU64::new(0) }
    }

    /// Ids are 256 bytes of anything; a file's name is not.
    pub(super) fn file_of(&self, node_id: &str) -> PathBuf {
        let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '.';
        let readable: String = node_id.chars().filter(plain).take(READABLE).collect();
        let readable = readable.trim_start_matches('.');
        self.path.join(format!("{readable}_{}.json", hex::encode(&Sha256::digest(node_id)[..16])))
    }

    fn write(&self, facts: &NodeFacts) -> std::io::Result<()> {
        fs::create_dir_all(&self.path)?;
        let path = self.file_of(&facts.node_id);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if self.written.fetch_add(1, Relaxed) == 0 {
            self.sweep(&name);
        }
        let now = SystemTime::now();
        let entry = Entry {
            schema: SCHEMA,
            written_at: humantime::format_rfc3339_seconds(now).to_string(),
            interval_seconds: self.interval.as_secs().max(1),
            facts: facts.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&entry)?;
        // Every container's process has the same id: the time tells them apart.
        let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let aside = self.path.join(format!(".{name}.{}-{nanos}.tmp", std::process::id()));
        let written = self.write_aside(&aside, &bytes).and_then(|()| fs::rename(&aside, &path));
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        written?;
        fs::File::open(&self.path)?.sync_all()
    }

    /// Readable for its owner and group, who are the folder's: a controller that isn't root reads what root writes.
    fn write_aside(&self, aside: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
        let folder = fs::metadata(&self.path)?;
        // Only root may give files away; others write their own.
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
        file.set_permissions(fs::Permissions::from_mode(0o640))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Removes what earlier writers of `name` have left behind.
    fn sweep(&self, name: &str) {
        let prefix = format!(".{name}.");
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let left = entry.file_name().to_string_lossy().into_owned();
            let age = entry.metadata().and_then(|m| m.modified()).map(|at| at.elapsed().unwrap_or_default());
            if left.starts_with(&prefix) && left.ends_with(".tmp") && age.is_ok_and(|age| age > LEFTOVER) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Logs it once for each file, and again when it is another problem.
    fn say(&self, path: &Path, problem: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(path.to_owned(), problem.to_owned()).as_deref() != Some(problem) {
            tracing::warn!(file = %path.display(), "node directory: {problem}");
        }
    }

    fn well(&self, path: &Path) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    fn known(&self, path: &Path, entry: Entry, written: SystemTime) -> KnownNode {
        // A clock that runs ahead makes nothing old.
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        let patience = Duration::from_secs(entry.interval_seconds).saturating_mul(MISSED);
        let stale = Some(age).filter(|age| *age > patience);
        match stale {
            Some(_) => self.say(path, "the entry is old: the node's host has stopped writing it, or clocks differ"),
            None => self.well(path),
        }
        KnownNode { facts: entry.facts, stale }
    }
}

impl NodeDirectory for Folder {
    fn publish(&self, facts: &NodeFacts) -> Result<()> {
        let folder = self.path.display();
        self.write(facts).map_err(|e| {
            Error::unavailable(format_args!("can't make this node known in {folder} (node.directory): {e}"))
        })
    }

    fn find(&self, node_id: &NodeId) -> Result<Option<KnownNode>> {
        let path = self.file_of(node_id.as_str());
        let what = format!("node {node_id}: its entry {}", path.display());
        let bytes = match read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::unavailable(format_args!("{what} can't be read: {e}"))),
            Ok(bytes) => bytes,
        };
        match parse(&bytes, node_id) {
            Ok((entry, written)) => Ok(Some(self.known(&path, entry, written))),
            Err(Unusable::Newer(schema)) => {
                let problem = format!(
                    "is of schema {schema}, and this version knows none above {SCHEMA}: update this controller"
                );
                self.say(&path, &format!("the entry {problem}"));
                Err(Error::unavailable(format_args!("{what} {problem}")))
            }
            Err(Unusable::Garbage(why)) => {
                let problem = format!("is ignored ({why}): the node's host writes a new one when it runs");
                self.say(&path, &format!("the entry {problem}"));
                Err(Error::not_found(format_args!("{what} {problem}")))
            }
        }
    }
}

/// Why an entry can't be used.
enum Unusable {
    Newer(u32),
    Garbage(String),
}

fn parse(bytes: &[u8], node_id: &NodeId) -> std::result::Result<(Entry, SystemTime), Unusable> {
    let garbage = |why: serde_json::Error| Unusable::Garbage(format!("not an entry: {why}"));
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Unusable::Garbage("too large".into()));
    }
    let version: Version = serde_json::from_slice(bytes).map_err(garbage)?;
    if version.schema > SCHEMA {
        return Err(Unusable::Newer(version.schema));
    }
    let entry: Entry = serde_json::from_slice(bytes).map_err(garbage)?;
    if entry.facts.node_id != node_id.as_str() {
        return Err(Unusable::Garbage("it is of another node".into()));
    }
    let written = humantime::parse_rfc3339(&entry.written_at);
    let written = written.map_err(|e| Unusable::Garbage(format!("writtenAt: {e}")))?;
    Ok((entry, written))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    fs::File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
