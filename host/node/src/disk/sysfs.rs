//! Disks as sysfs shows them. Documentation/ABI/{stable,testing}/sysfs-block in the kernel's source, and sysfs-class-nvme.
//!
//! The root can be another directory, so that every kind of disk can be shown in a test.

use super::device::parse_number;
use super::identity::{sysfs_wwid, text, unique, vpd_serial, vpd_wwid};
use crate::error::io_error;
use bulkhead_domain::plan::DeviceIdentity;
use bulkhead_domain::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Sectors of sysfs have this many bytes, whatever those of the disk have.
const SECTOR: u64 = 512;
/// Largest VPD page that is read.
const PAGE_MAX: usize = 4096;

/// A tree like /sys.
#[derive(Debug, Clone)]
pub(crate) struct Sysfs {
    root: PathBuf,
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// `nvme0n1`, `sda`.
    pub(crate) name: String,
    /// Device number.
    pub(crate) number: u64,
    pub(crate) size_bytes: u64,
    /// It takes no writes.
    pub(crate) read_only: bool,
    /// All that it says about itself.
    pub(crate) identity: DeviceIdentity,
    /// SCSI: the logical unit number.
    pub(crate) lun: Option<u32>,
    /// The kernel's count of disks at its appearance; Linux 5.15.
    pub(crate) sequence: Option<u64>,
    /// Devices made of it: device mapper, md, ...
    pub(crate) holders: Vec<String>,
    pub(crate) partitions: Vec<Partition>,
    /// Where it is in the tree.
    path: PathBuf,
}

/// A partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// 1-based.
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) size_bytes: u64,
    pub(crate) read_only: bool,
    pub(crate) holders: Vec<String>,
}

impl Sysfs {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// All disks but the single paths that the kernel hides behind a multipath NVMe disk. What vanishes while it is looked at
    /// is left out.
    ///
    /// # Errors
    /// Unavailable: there is no such tree.
    pub(crate) fn disks(&self) -> Result<Vec<Disk>> {
        let block = self.root.join("block");
        let entries =
            std::fs::read_dir(&block).map_err(|e| io_error(format_args!("cannot read {}", block.display()), e))?;
        let mut disks: Vec<Disk> = entries.flatten().filter_map(|entry| disk(&entry.path())).collect();
        disks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(disks)
    }

    /// The disk of a device number, or the disk that the partition of that number is on, and then the partition.
    pub(crate) fn by_number(&self, number: u64) -> Option<(Disk, Option<u32>)> {
        let link = self.root.join("dev/block").join(super::show_number(number));
        let path = link.canonicalize().ok()?;
        let partition = line(&path, "partition").and_then(|index| index.parse().ok());
        let of = if partition.is_some() { path.parent()? } else { &path };
        Some((disk(of)?, partition))
    }

    /// Asks the disk for its size anew: NVMe by its controllers, SCSI by itself. Others tell without being asked.
    ///
    /// # Errors
    /// Unavailable: the kernel refuses.
    pub(crate) fn rescan_size(&self, disk: &Disk) -> Result<()> {
        let device = disk.path.join("device");
        let mut files = vec![device.join("rescan_controller"), device.join("rescan")];
        // With multipath the disk belongs to a subsystem, whose controllers are beneath it.
        for entry in std::fs::read_dir(&device).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("nvme") {
                files.push(entry.path().join("rescan_controller"));
            }
        }
        for file in files.iter().filter(|file| file.exists()) {
            match std::fs::write(file, "1") {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(io_error(format_args!("cannot write to {}", file.display()), e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets all SCSI hosts look for a logical unit. Best effort: a host that can't is not the one.
    pub(crate) fn scan_hosts(&self, lun: u32) {
        for entry in std::fs::read_dir(self.root.join("class/scsi_host")).into_iter().flatten().flatten() {
            let _ = std::fs::write(entry.path().join("scan"), format!("- - {lun}"));
        }
    }
}

impl Disk {
    /// By number.
    pub(crate) fn partition(&self, index: u32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.index == index)
    }
}

fn read(dir: &Path, name: &str) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(dir.join(name)).ok()?;
    bytes.truncate(PAGE_MAX);
    Some(bytes)
}

fn line(dir: &Path, name: &str) -> Option<String> {
    Some(String::from_utf8(read(dir, name)?).ok()?.trim().to_owned())
}

fn number(dir: &Path, name: &str) -> Option<u64> {
    line(dir, name)?.parse().ok()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// None: it is gone, hidden, or no disk.
fn disk(path: &Path) -> Option<Disk> {
    if line(path, "hidden").is_some_and(|hidden| hidden == "1") {
        return None;
    }
    let name = path.file_name()?.to_str()?.to_owned();
    let partitions = names(path).into_iter().filter(|child| child.starts_with(&name)).filter_map(|child| {
        let dir = path.join(&child);
        Some(Partition {
            index: line(&dir, "partition")?.parse().ok()?,
            name: child,
            number: parse_number(&line(&dir, "dev")?)?,
            size_bytes: number(&dir, "size")?.checked_mul(SECTOR)?,
            read_only: number(&dir, "ro") == Some(1),
            holders: names(&dir.join("holders")),
        })
    });
    Some(Disk {
        number: parse_number(&line(path, "dev")?)?,
        size_bytes: number(path, "size")?.checked_mul(SECTOR)?,
        read_only: number(path, "ro") == Some(1),
        identity: identity(path),
        lun: lun(path),
        sequence: number(path, "diskseq"),
        holders: names(&path.join("holders")),
        partitions: partitions.collect(),
        path: path.to_owned(),
        name: name.clone(),
    })
}

fn identity(path: &Path) -> DeviceIdentity {
    let device = path.join("device");
    let serial = || read(&device, "serial").or_else(|| read(path, "serial")).and_then(|bytes| text(&bytes));
    let wwid = || line(&device, "wwid").or_else(|| line(path, "wwid")).and_then(|line| sysfs_wwid(&line));
    DeviceIdentity {
        wwid: read(&device, "vpd_pg83").and_then(|page| vpd_wwid(&page)).or_else(wwid),
        serial: read(&device, "vpd_pg80").and_then(|page| vpd_serial(&page)).or_else(serial),
        uuid: line(path, "uuid").and_then(unique),
        nguid: line(path, "nguid").and_then(unique),
    }
}

/// From the name of the SCSI device, `HOST:CHANNEL:TARGET:LUN`.
fn lun(path: &Path) -> Option<u32> {
    let device = path.join("device").canonicalize().ok()?;
    let mut parts = device.file_name()?.to_str()?.split(':');
    let lun = parts.by_ref().nth(3)?.parse().ok()?;
    parts.next().is_none().then_some(lun)
}

impl Disk {
    /// As an error for a disk that is there but can't be used.
    pub(crate) fn refuse(&self, why: impl std::fmt::Display) -> Error {
        Error::failed_precondition(format_args!("disk {} ({}) {why}", self.name, super::describe(&self.identity)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn every_kind_of_disk_says_who_it_is() {
        let fake = Fake::new();
        fake.nvme("nvme0n1", "259:0", "vol0123456789abcdef0", 10 << 30);
        fake.nvme_multipath("nvme1n1", "259:1", "S/N 7", "1b4e28ba-2fa1-11d2-883f-0016d3cca427");
        fake.scsi("sda", "8:0", "0:0:1:7", "beaf11", "60000c29abcdef01", 1 << 30);
        fake.virtio("vda", "254:0", "root-disk", 1 << 30);
        fake.bare("loop3", "7:3", 1 << 20);
        let disks = fake.sysfs().disks().unwrap();
        let by_name = |name: &str| disks.iter().find(|disk| disk.name == name).unwrap();
        assert_eq!(by_name("nvme0n1").identity.serial.as_deref(), Some("vol0123456789abcdef0"));
        assert_eq!((by_name("nvme0n1").size_bytes, by_name("nvme0n1").lun), (10 << 30, None));
        let many = by_name("nvme1n1");
        assert_eq!(many.identity.serial.as_deref(), Some("S/N 7"));
        assert_eq!(many.identity.uuid.as_deref(), Some("1b4e28ba-2fa1-11d2-883f-0016d3cca427"));
        assert!(disks.iter().all(|disk| disk.name != "nvme1c1n1"), "a hidden path is no disk");
        let lun = by_name("sda");
        assert_eq!((lun.identity.serial.as_deref(), lun.lun), (Some("beaf11"), Some(7)));
        assert_eq!(lun.identity.wwid.as_deref(), Some("60000c29abcdef01"));
        assert_eq!(by_name("vda").identity.serial.as_deref(), Some("root-disk"));
        assert_eq!(by_name("loop3").identity, DeviceIdentity::default());
    }

    #[test]
    fn numbers_lead_to_disks_and_partitions() {
        let fake = Fake::new();
        fake.nvme("nvme0n1", "259:0", "a", 1 << 30);
        fake.partition("nvme0n1", "nvme0n1p2", 2, "259:5", 1 << 20);
        let (disk, partition) = fake.sysfs().by_number(parse_number("259:0").unwrap()).unwrap();
        assert_eq!((disk.name.as_str(), partition), ("nvme0n1", None));
        let (disk, partition) = fake.sysfs().by_number(parse_number("259:5").unwrap()).unwrap();
        assert_eq!((disk.name.as_str(), partition), ("nvme0n1", Some(2)));
        assert_eq!(disk.partition(2).map(|p| (p.name.as_str(), p.size_bytes)), Some(("nvme0n1p2", 1 << 20)));
        assert_eq!(disk.partition(1), None);
        fake.unplug("nvme0n1");
        assert_eq!(fake.sysfs().by_number(parse_number("259:0").unwrap()), None);
    }

    #[test]
    fn sizes_are_asked_for_where_the_kernel_takes_the_question() {
        let fake = Fake::new();
        fake.nvme("nvme0n1", "259:0", "a", 1 << 30);
        fake.scsi("sda", "8:0", "0:0:1:7", "b", "60000c29abcdef01", 1 << 30);
        fake.bare("loop3", "7:3", 1 << 20);
        for disk in fake.sysfs().disks().unwrap() {
            fake.sysfs().rescan_size(&disk).unwrap();
        }
        assert_eq!(fake.read("nvme0n1/device/rescan_controller"), "1");
        assert_eq!(fake.read("sda/device/rescan"), "1");
        fake.sysfs().scan_hosts(9);
        assert_eq!(fake.scan(), "- - 9");
    }
}
