//! What this node is to a storage system: found in /etc, /sys and /proc each time it is asked for. Nothing is changed.
//!
//! | file | subject |
//! |---|---|
//! | `names` | iSCSI, NVMe and Fibre Channel names |
//! | `addresses` | addresses of interfaces |
//! | `transports` | what can be reached from here, now |
//! | `slots` | disks that take an attachment slot |

mod addresses;
mod names;
mod slots;
#[cfg(test)]
mod tests;
mod transports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Largest file that is read, in bytes: the list of a kernel's modules has about 1 MiB.
const FILE_BYTES: u64 = 16 << 20;
/// Where programs are.
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What was found. What is absent on the node is absent here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundFacts {
    /// IP addresses of interfaces that are up, those of the default route's interface first; neither loopback nor link-local.
    pub addresses: Vec<String>,
    /// From /etc/iscsi/initiatorname.iscsi.
    pub iscsi_initiators: Vec<String>,
    /// From /etc/nvme/hostnqn.
    pub nvme_host_nqn: Option<String>,
    /// From /etc/nvme/hostid.
    pub nvme_host_id: Option<String>,
    /// From /sys/class/fc_host, 16 lower-case hexadecimal digits each.
    pub fc_wwpns: Vec<String>,
    /// As `node-facts.transports` in the WIT.
    pub transports: Vec<String>,
    /// Disks of the cloud that something other than a volume of ours uses; none where no disk is known to be the cloud's.
    pub used_slots: Option<u32>,
}

/// Looks for facts. What can't be read is logged once, with its path, and again when the reason changes.
#[derive(Debug)]
pub struct FactFinder {
    root: PathBuf,
    programs: Vec<PathBuf>,
    kubelet_root: PathBuf,
    said: Mutex<BTreeMap<PathBuf, String>>,
}

impl FactFinder {
    /// Looks below `root`, which is `/` or the place where a container sees its node's; programs are this process's own, for it is
    /// the one that would run them. What is mounted below `kubelet_root` counts as a volume.
    pub fn new(root: &Path, kubelet_root: &Path) -> Self {
        let programs = PROGRAMS.iter().map(PathBuf::from).collect();
        Self { root: root.to_owned(), programs, kubelet_root: kubelet_root.to_owned(), said: Mutex::default() }
    }

    /// All of it. Blocks for as long as reading a few small files takes.
    pub fn find(&self) -> FoundFacts {
        FoundFacts {
            addresses: self.addresses(),
            iscsi_initiators: self.iscsi_initiators(),
            nvme_host_nqn: self.nvme_host_nqn(),
            nvme_host_id: self.nvme_host_id(),
            fc_wwpns: self.fc_wwpns(),
            transports: self.transports(),
            used_slots: self.used_slots(),
        }
    }

    /// The text of a file below the root; none if it isn't there or can't be read.
    fn read(&self, path: &str) -> Option<String> {
        let full = self.root.join(path);
        match text(&full) {
            Ok(text) => {
                self.silent(&full);
                Some(text)
            }
            Err(e) => {
                self.complain(&full, &e);
                None
            }
        }
    }

    /// Names in a directory below the root, sorted; none of them if it isn't there or can't be read.
    fn list(&self, path: &str) -> BTreeSet<String> {
        let full = self.root.join(path);
        let names = || {
            let entries = fs::read_dir(&full)?.map(|entry| Ok(entry?.file_name()));
            entries.collect::<std::io::Result<Vec<_>>>()
        };
        match names() {
            Ok(names) => {
                self.silent(&full);
                names.into_iter().filter_map(|name| name.into_string().ok()).collect()
            }
            Err(e) => {
                self.complain(&full, &e);
                BTreeSet::new()
            }
        }
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// A program that this process could run.
    fn has_program(&self, name: &str) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let runs = |file: PathBuf| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        self.programs.iter().any(|directory| runs(directory.join(name)))
    }

    fn complain(&self, path: &Path, error: &std::io::Error) {
        // A port that goes while it is looked at, or a device without the attribute, is as good as absent.
        let absent = [ErrorKind::NotFound, ErrorKind::NotADirectory];
        if absent.contains(&error.kind()) || error.raw_os_error() == Some(libc::ENODEV) {
            return self.silent(path);
        }
        let text = error.to_string();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(path.to_owned(), text.clone()).as_ref() != Some(&text) {
            tracing::warn!(path = %path.display(), "can't be read ({text}): what it says of this node stays unknown");
        }
    }

    fn silent(&self, path: &Path) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    let file = fs::File::open(path)?;
    // Opening a pipe or device that somebody put there must not hang or flood the host.
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
