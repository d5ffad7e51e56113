//! What is staged, as the journal keeps it: enough to find it again, and to tell it from anything else of the same name.

use bulkhead_domain::plan::{DeviceIdentity, storage};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is behind a volume. Told apart by their fields: the first host knew objects only, and wrote them as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Source {
    /// An object of a pool.
    Object(ObjectSource),
    /// A disk that the platform attached.
    Disk(DiskSource),
    /// An export of an NFS server.
    Export(ExportSource),
}

impl Source {
    /// Nothing is written to it, whoever asks.
    pub(crate) fn read_only(&self) -> bool {
        match self {
            Self::Object(object) => object.read_only,
            Self::Disk(disk) => disk.read_only,
            Self::Export(export) => export.read_only,
        }
    }

    /// What it lies on together with other volumes, see [`bulkhead_domain::plan::storage`].
    pub(crate) fn lies_on(&self) -> Option<String> {
        match self {
            Self::Object(object) => Some(storage::pool(&object.pool)),
            Self::Export(export) => {
                let first = export.exports.first()?;
                let server = first.split_once(":/").map_or(first.as_str(), |(server, _)| server);
                Some(storage::server(server.trim_start_matches('[').trim_end_matches(']')))
            }
            Self::Disk(_) => None,
        }
    }

    /// Content that one has is the content of the other: they are one object or one disk, whatever it is called by now.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(a), Self::Object(b)) => a.uid == b.uid,
            (Self::Disk(a), Self::Disk(b)) => a.is_same(b),
            _ => false,
        }
    }
}

/// An object of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectSource {
    /// Name of the pool in the configuration at the time.
    pub(crate) pool: String,
    /// Where the pool was: undoing needs no configuration.
    pub(crate) pool_path: PathBuf,
    /// Name of the object.
    pub(crate) object: String,
    /// The object's own id; empty while the object of an ephemeral volume is being made.
    pub(crate) uid: String,
    /// Device number of the image or directory.
    pub(crate) dev: u64,
    /// Inode number of the image or directory.
    pub(crate) ino: u64,
    /// Of a directory: `major:minor` and root as mountinfo will show them for a bind mount of it.
    pub(crate) bind: Option<(String, String)>,
    /// The loop device is attached for reading only.
    pub(crate) read_only: bool,
}

/// A disk, or a partition of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskSource {
    /// The kernel's name of the disk or partition: `nvme1n1`, `sdc2`.
    pub(crate) disk: String,
    /// `major:minor`. Means something in this boot only, see `boot`.
    pub(crate) device: String,
    /// All that the disk said about itself when it was staged.
    pub(crate) identity: DeviceIdentity,
    /// The kernel's count of disks at its appearance (Linux 5.15): another one of the same number has another.
    pub(crate) sequence: Option<u64>,
    /// /proc/sys/kernel/random/boot_id at the time.
    pub(crate) boot: String,
    /// Where the plan found it, where the disk says nothing about itself.
    pub(crate) place: Option<String>,
    /// 1-based; none: the whole disk.
    pub(crate) partition: Option<u32>,
    /// Staged for reading only.
    pub(crate) read_only: bool,
}

impl DiskSource {
    /// One disk at two times. Without an identity only the place and the kernel's count can say so.
    fn is_same(&self, other: &Self) -> bool {
        let known = self.identity != DeviceIdentity::default();
        let instance = self.boot == other.boot && self.device == other.device && self.sequence == other.sequence;
        self.partition == other.partition
            && if known { self.identity == other.identity } else { self.place == other.place || instance }
    }
}

/// An export of an NFS server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExportSource {
    /// As the mount table may show it: `server:/export` of each server of the plan.
    pub(crate) exports: Vec<String>,
    /// Mounted for reading only.
    pub(crate) read_only: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(identity: DeviceIdentity, sequence: u64, boot: &str) -> DiskSource {
        DiskSource {
            disk: "nvme1n1".into(),
            device: "259:1".into(),
            identity,
            sequence: Some(sequence),
            boot: boot.into(),
            place: None,
            partition: None,
            read_only: false,
        }
    }

    #[test]
    fn disks_are_told_apart_by_what_they_say_and_not_by_their_names() {
        let serial = |text: &str| DeviceIdentity { serial: Some(text.to_owned()), ..Default::default() };
        let one = disk(serial("vol01"), 7, "a");
        assert!(one.is_same(&DiskSource {
            disk: "nvme9n1".into(),
            device: "259:8".into(),
            ..disk(serial("vol01"), 9, "b")
        }));
        assert!(!one.is_same(&disk(serial("vol02"), 7, "a")), "another disk under the same number");
        assert!(!one.is_same(&DiskSource { partition: Some(1), ..one.clone() }));
    }

    #[test]
    fn kinds_are_told_apart_by_their_fields() {
        let disk = Source::Disk(disk(DeviceIdentity::default(), 7, "a"));
        let export = Source::Export(ExportSource { exports: vec!["s:/e".into()], read_only: true });
        for source in [disk, export] {
            let text = serde_json::to_string(&source).unwrap();
            assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source);
        }
        let old =
            r#"{"pool":"p","pool_path":"/p","object":"o","uid":"u","dev":1,"ino":2,"bind":null,"read_only":false}"#;
        assert!(matches!(serde_json::from_str::<Source>(old).unwrap(), Source::Object(object) if object.uid == "u"));
    }
}
