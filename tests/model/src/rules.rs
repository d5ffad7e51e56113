//! What the recorder keeps: one record for each volume, in one file.

use bulkhead_domain::{
    Error, Result,
    capability::{AccessType, VolumeCapability},
    plan::{Access, FormatPolicy, Plan, Usage},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// One target path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Not cut short.
    pub whole: bool,
    pub read_only: bool,
    pub capability: String,
    /// The access mode allows another target beside it.
    pub shares: bool,
}

/// A volume that is staged, or an inline one that is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub volume: String,
    /// Not cut short.
    pub whole: bool,
    /// Empty of an inline volume.
    pub staging: PathBuf,
    pub capability: String,
    /// All of an inline volume's plan.
    pub plan: String,
    pub read_only: bool,
    pub block: bool,
    pub image: bool,
    pub pool: String,
    pub object: String,
    pub inline: Option<PathBuf>,
    pub targets: BTreeMap<PathBuf, Target>,
}

/// All records, as they are on disk.
pub struct Journal {
    path: PathBuf,
    records: Mutex<BTreeMap<String, Record>>,
}

impl Journal {
    /// Reads what an earlier process left.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open(path: PathBuf) -> anyhow::Result<Self> {
        let records = if path.exists() { serde_json::from_slice(&fs::read(&path)?)? } else { BTreeMap::new() };
        Ok(Self { path, records: Mutex::new(records) })
    }

    pub fn load(&self, volume: &str) -> Option<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).get(volume).cloned()
    }

    pub fn store(&self, record: &Record) -> Result<()> {
        self.change(|records| {
            records.insert(record.volume.clone(), record.clone());
        })
    }

    pub fn remove(&self, volume: &str) -> Result<()> {
        self.change(|records| {
            records.remove(volume);
        })
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Record>)) -> Result<()> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut records);
        let broken = |e: &dyn std::fmt::Display| Error::unavailable(format_args!("the recorder's journal: {e}"));
        let bytes = serde_json::to_vec_pretty(&*records).map_err(|e| broken(&e))?;
        let aside = self.path.with_extension("tmp");
        fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, &self.path)).map_err(|e| broken(&e))
    }
}

/// A capability in one line; mount flags don't show and are not told apart.
pub fn text(capability: &VolumeCapability) -> String {
    match &capability.access_type {
        AccessType::Block => format!("{:?} block", capability.access_mode),
        AccessType::Mount(mount) => format!("{:?} mount {:?}", capability.access_mode, mount.fs_type),
    }
}

/// What a plan wants.
pub struct Wanted {
    pub pool: String,
    pub object: String,
    pub image: bool,
    pub block: bool,
    pub fs: String,
    pub read_only: bool,
    pub never_format: bool,
}

impl Wanted {
    /// # Errors
    /// FailedPrecondition: the local backend makes no such plan.
    pub fn of(plan: &Plan) -> Result<Self> {
        let (object, image) = match &plan.access {
            Access::PoolImage(object) => (object, true),
            Access::PoolDirectory(object) => (object, false),
            other => return Err(Error::failed_precondition(format_args!("access by {}", other.name()))),
        };
        let (fs, block, never_format) = match &plan.usage {
            Usage::Block(_) => (String::new(), true, true),
            Usage::Filesystem(fs) => (fs.fs_type.clone(), false, fs.format == FormatPolicy::Never),
            Usage::Directory(_) => (String::new(), false, true),
        };
        let (pool, object, read_only) = (object.pool.clone(), object.name.clone(), plan.usage.read_only());
        Ok(Self { pool, object, image, block, fs, read_only, never_format })
    }
}

/// Bytes at the start of an image that stand for a file system.
const HEAD: &[u8; 8] = b"MODELFS:";
/// Where the test writes what a pod would have written to an image.
const TAG_AT: u64 = 1 << 20;
/// As mkfs.xfs.
const XFS_MIN: u64 = 300 << 20;

/// Makes a file system, or finds the one that is there.
///
/// # Errors
/// As the engine's.
pub fn format(image: &Path, wanted: &Wanted) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let failed = |e: std::io::Error| Error::unavailable(format_args!("{}: {e}", image.display()));
    let file = fs::OpenOptions::new().read(true).write(true).open(image).map_err(failed)?;
    let (mut head, mut tag) = ([0; 12], [0; 8]);
    file.read_exact_at(&mut head, 0).map_err(failed)?;
    file.read_exact_at(&mut tag, TAG_AT).map_err(failed)?;
    let mut ours = [0; 12];
    ours[..8].copy_from_slice(HEAD);
    ours[8..8 + wanted.fs.len()].copy_from_slice(wanted.fs.as_bytes());
    let refuse = |why: &str| Err(Error::failed_precondition(why));
    if head == ours {
        return Ok(());
    }
    if head != [0; 12] || tag != [0; 8] {
        return refuse("the device holds something else");
    }
    if wanted.never_format || wanted.read_only {
        return refuse("the device is empty and must not be formatted");
    }
    if wanted.fs == "xfs" && file.metadata().map_err(failed)?.len() < XFS_MIN {
        return refuse("mkfs.xfs refuses such a small device");
    }
    file.write_all_at(&ours, 0).and_then(|()| file.sync_all()).map_err(failed)
}
