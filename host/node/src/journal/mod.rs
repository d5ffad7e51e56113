//! What the node half has done and is about to do, one file for each volume: intent, then effect, then done.
//!
//! `STATE/node/DRIVER/SHA256-OF-VOLUME-ID.json`, directory mode 0700. A record is replaced as a whole and synced before
//! the next effect. A record that can't be read, is of a newer format or belongs to something else is never
//! overwritten or removed: what it stands for could no longer be undone.

mod record;
mod source;

pub(crate) use record::{FormatState, PublishPhase, PublishRecord, Record, StagePhase, TargetKind};
pub(crate) use source::{DiskSource, ExportSource, ObjectSource, Source};

use crate::dir::Dir;
use crate::error::Context;
use bulkhead_domain::{Error, Result, volume::VolumeId};
use record::{FORMAT, Head};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A record holds a plan (lists are bounded where it was parsed) and the targets of one volume.
const RECORD_MAX: u64 = 16 * 1024 * 1024;

/// The records of one driver on one node. The caller makes sure that no two calls are about one volume.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: Dir,
    driver: String,
    node_id: String,
    /// What the volumes lie on, of those whose records were read or written: to be had without reading one.
    lie_on: Mutex<HashMap<VolumeId, String>>,
}

/// One file of the journal.
#[derive(Debug)]
pub(crate) enum Entry {
    Record(Box<Record>),
    /// Why it can't be read; names the file.
    Unreadable(Error),
}

impl Journal {
    /// Opens or makes the journal below the state directory, which is made too.
    pub(crate) fn open(state_dir: &Path, driver: &str, node_id: &str) -> Result<Self> {
        let what = || format!("cannot open the journal in {}", state_dir.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).during(what())?;
        let dir = Dir::open(state_dir)
            .and_then(|state| state.ensure_dir("node", 0o700))
            .and_then(|node| node.ensure_dir(driver, 0o700))
            .during(what())?;
        rustix::fs::fchmod(&dir, rustix::fs::Mode::RWXU).during(what())?;
        Ok(Self { dir, driver: driver.to_owned(), node_id: node_id.to_owned(), lie_on: Mutex::default() })
    }

    fn file_name(volume: &str) -> String {
        format!("{}.json", hex::encode(Sha256::digest(volume.as_bytes())))
    }

    /// The record of a volume. None: nothing was done with it, or all of it was undone.
    ///
    /// # Errors
    /// Unavailable: there is a file, and it can't be understood. It names the file.
    pub(crate) fn load(&self, volume: &VolumeId) -> Result<Option<Record>> {
        let name = Self::file_name(volume.as_str());
        let Some(record) = self.read(&name)? else { return Ok(None) };
        if record.volume_id != *volume {
            return Err(self.unusable(&name, "it is about another volume"));
        }
        Ok(Some(record))
    }

    fn read(&self, name: &str) -> Result<Option<Record>> {
        let Some(bytes) = self.dir.read(name, RECORD_MAX)? else { return Ok(None) };
        let head: Head = serde_json::from_slice(&bytes).map_err(|e| self.unusable(name, e))?;
        if head.format != FORMAT {
            return Err(self.unusable(name, format_args!("it has format {}, this host knows {FORMAT}", head.format)));
        }
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| self.unusable(name, e))?;
        if record.driver != self.driver || record.node_id != self.node_id {
            return Err(
                self.unusable(name, format_args!("it belongs to driver {} on node {}", record.driver, record.node_id))
            );
        }
        Ok(Some(record))
    }

    fn unusable(&self, name: &str, why: impl std::fmt::Display) -> Error {
        Error::unavailable(format_args!(
            "the journal record {} cannot be used: {why}; nothing is done with its volume until the file is repaired, or \
             removed after its mounts and devices are gone",
            self.dir.join(name).display()
        ))
    }

    /// Puts a record in place, durably.
    pub(crate) fn store(&self, record: &Record) -> Result<()> {
        let name = Self::file_name(record.volume_id.as_str());
        let bytes = serde_json::to_vec_pretty(record)
            .map_err(|e| Error::unavailable(format_args!("cannot write the journal record {name} as JSON: {e}")))?;
        self.dir.replace(&name, &bytes)?;
        self.remember(record);
        Ok(())
    }

    /// What a volume on record lies on together with others; none if it is not known.
    pub(crate) fn lies_on(&self, volume: &VolumeId) -> Option<String> {
        self.lie_on.lock().unwrap_or_else(PoisonError::into_inner).get(volume).cloned()
    }

    fn remember(&self, record: &Record) {
        let mut known = self.lie_on.lock().unwrap_or_else(PoisonError::into_inner);
        match record.source.lies_on() {
            Some(what) if known.get(&record.volume_id) == Some(&what) => {}
            Some(what) => drop(known.insert(record.volume_id.clone(), what)),
            None => drop(known.remove(&record.volume_id)),
        }
    }

    /// Removes a record, durably, when all that it stands for is undone.
    pub(crate) fn remove(&self, volume: &VolumeId) -> Result<()> {
        let name = Self::file_name(volume.as_str());
        let what = || format!("cannot remove {}", self.dir.join(&name).display());
        self.dir.remove_file(&name).during(what())?;
        self.lie_on.lock().unwrap_or_else(PoisonError::into_inner).remove(volume);
        self.dir.sync().during(what())
    }

    /// Driver and node id, as a new record has them.
    pub(crate) fn owner(&self) -> (&str, &str) {
        (&self.driver, &self.node_id)
    }

    /// All records, in no order.
    pub(crate) fn all(&self) -> Result<Vec<Entry>> {
        let names = self.dir.names().during(format_args!("cannot read the journal {}", self.dir.path().display()))?;
        let mut entries = Vec::new();
        for name in names.iter().filter_map(|name| name.to_str()) {
            if name.starts_with('.') {
                continue;
            }
            match self.read(name) {
                Ok(Some(record)) if Self::file_name(record.volume_id.as_str()) == name => {
                    self.remember(&record);
                    entries.push(Entry::Record(Box::new(record)));
                }
                Ok(Some(_)) => entries.push(Entry::Unreadable(self.unusable(name, "its name does not fit its volume"))),
                Ok(None) => {}
                Err(e) => entries.push(Entry::Unreadable(e)),
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::capability::{AccessMode, AccessType, MountAccess, MountFlags, VolumeCapability};
    use bulkhead_domain::plan::{Access, BlockUsage, Plan, PoolObject, Usage};
    use std::path::PathBuf;

    fn record(volume: &str, flags: &[&str]) -> Record {
        let mount = MountAccess {
            mount_flags: MountFlags::new(flags.iter().map(|&flag| flag.to_owned()).collect()),
            ..Default::default()
        };
        let plan = Plan {
            access: Access::PoolImage(PoolObject { pool: "p".into(), name: "o".into() }),
            usage: Usage::Block(BlockUsage { read_only: false }),
            encryption: None,
            expected_size_bytes: None,
        };
        let source = Source::Object(ObjectSource {
            pool: "p".into(),
            pool_path: "/pool".into(),
            object: "o".into(),
            uid: "u".into(),
            dev: 1,
            ino: u64::MAX,
            bind: Some(("0:1".into(), "/".into())),
            read_only: false,
        });
        let capability =
            VolumeCapability { access_type: AccessType::Mount(mount), access_mode: AccessMode::SingleNodeWriter };
        let volume = VolumeId::parse(volume).unwrap();
        Record::new(("d", "n"), &volume, &plan, &capability, PathBuf::from("/kubelet/x"), source).unwrap()
    }

    #[test]
    fn records_come_back_as_they_were() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::open(state.path(), "d", "n").unwrap();
        for volume in ["v", "../../etc/passwd", "with space", &"x".repeat(128)] {
            let stored = record(volume, &[]);
            assert_eq!(journal.load(&stored.volume_id).unwrap(), None);
            journal.store(&stored).unwrap();
            assert_eq!(journal.load(&stored.volume_id).unwrap(), Some(stored));
        }
        assert_eq!(journal.all().unwrap().len(), 4);
        journal.remove(&VolumeId::parse("v").unwrap()).unwrap();
        journal.remove(&VolumeId::parse("v").unwrap()).unwrap();
        assert_eq!(journal.all().unwrap().len(), 3);
    }

    #[test]
    fn flags_are_told_apart_and_not_stored() {
        let (one, two) = (record("v", &["hunter2", "b"]), record("v", &["hunter2", "b"]));
        assert_ne!(one.capability.flags_digest, two.capability.flags_digest, "salted");
        assert!(!serde_json::to_string(&one).unwrap().contains("hunter2"));
        let again = |flags: &[&str]| {
            let mount = MountAccess {
                mount_flags: MountFlags::new(flags.iter().map(|&flag| flag.to_owned()).collect()),
                ..Default::default()
            };
            one.capability_record(&VolumeCapability {
                access_type: AccessType::Mount(mount),
                access_mode: AccessMode::SingleNodeWriter,
            })
        };
        assert_eq!(again(&["hunter2", "b"]), one.capability);
        for other in [&["hunter2b"][..], &["hunter2"], &["b", "hunter2"], &[]] {
            assert_ne!(again(other), one.capability);
        }
    }

    #[test]
    fn a_record_under_another_volumes_name_is_not_used() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::open(state.path(), "d", "n").unwrap();
        journal.store(&record("v", &[])).unwrap();
        let dir = state.path().join("node/d");
        std::fs::rename(dir.join(Journal::file_name("v")), dir.join(Journal::file_name("w"))).unwrap();
        let refused = journal.load(&VolumeId::parse("w").unwrap()).unwrap_err();
        assert!(refused.message().contains("another volume"), "{refused}");
        assert!(matches!(journal.all().unwrap()[..], [Entry::Unreadable(_)]));
    }
}
