//! The disks behind moto's volumes: a sparse file for each volume and each snapshot, and an NVMe disk for each volume that is attached
//! to this machine.

use bulkhead_ec2::Change;
use bulkhead_vm::{NvmeController, NvmeTarget, machine::run};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A volume that is attached. The initiator goes before the target.
struct Attached {
    initiator: NvmeController,
    target: NvmeTarget,
}

pub struct Disks {
    dir: PathBuf,
    /// Which instance this machine is.
    instance: String,
    attached: Mutex<BTreeMap<String, Attached>>,
}

impl Disks {
    /// Files are made in `dir`.
    pub fn new(dir: PathBuf, instance: &str) -> Self {
        Self { dir, instance: instance.into(), attached: Mutex::default() }
    }

    /// Makes a change true.
    pub fn apply(&self, change: Change) {
        match change {
            Change::Created { volume, bytes, snapshot } => {
                let file = self.file(&volume);
                match snapshot {
                    Some(snapshot) => copy(&self.file(&snapshot), &file),
                    None => drop(fs::File::create_new(&file).unwrap()),
                }
                fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(bytes).unwrap();
            }
            Change::Attached { volume, instance, .. } if instance == self.instance => {
                let target = NvmeTarget::ebs_over(&volume, &self.file(&volume));
                let initiator = target.connect();
                assert!(self.attached().insert(volume, Attached { initiator, target }).is_none());
            }
            Change::Attached { .. } => {}
            Change::Detached { volume } => drop(self.attached().remove(&volume)),
            Change::Grown { volume, bytes } => match self.attached().get(&volume) {
                Some(attached) => attached.target.resize(1, bytes),
                None => fs::OpenOptions::new().write(true).open(self.file(&volume)).unwrap().set_len(bytes).unwrap(),
            },
            Change::Cut { snapshot, volume } => copy(&self.file(&volume), &self.file(&snapshot)),
            Change::Deleted { volume: id } | Change::Dropped { snapshot: id } => {
                fs::remove_file(self.file(&id)).unwrap();
            }
        }
    }

    /// The node of a volume that is attached.
    pub fn device(&self, volume: &str) -> Option<PathBuf> {
        self.attached().get(volume).map(|attached| attached.initiator.disk(1))
    }

    /// Volumes and snapshots that there are, by their ids.
    pub fn files(&self) -> Vec<String> {
        bulkhead_vm::machine::names(&self.dir)
    }

    /// Takes all disks away.
    pub fn clear(&self) {
        self.attached().clear();
    }

    fn file(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    fn attached(&self) -> MutexGuard<'_, BTreeMap<String, Attached>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has reached the disk by now, holes as holes.
fn copy(from: &Path, to: &Path) {
    run("cp", ["--sparse=always".as_ref(), from, to]);
}
