//! The block device of a volume, as the kernel has it now.

use super::Engine;
use super::source::loops_of;
use crate::disk::{self, OpenDisk, Sysfs};
use crate::error::IoResult;
use crate::journal::{DiskSource, Record, Source};
use crate::loopdev::{self, LoopInfo, Tag};
use bulkhead_domain::Result;
use std::fs::File;
use std::path::PathBuf;

/// A device that really is the volume's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Device {
    /// On the image of an object. Ours to attach and detach.
    Loop(LoopInfo),
    /// The platform's: it stays.
    Disk { name: String, number: u64 },
}

impl Device {
    /// Device number.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Loop(info) => loopdev::device_number(info.number),
            Self::Disk { number, .. } => *number,
        }
    }

    /// The kernel's name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Loop(info) => format!("loop{}", info.number),
            Self::Disk { name, .. } => name.clone(),
        }
    }

    /// `/dev/NAME`.
    pub(super) fn path(&self) -> PathBuf {
        disk::node_path(&self.name())
    }

    /// Opens it for reading, if the node leads to it.
    pub(super) fn open(&self) -> IoResult<File> {
        disk::reopen(&self.name(), self.number())
    }
}

/// What the kernel has of a volume.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    /// Its devices: one, or none. After a crash in the wrong moment it can be more.
    pub(super) devices: Vec<Device>,
    /// Name and number of the disk it was staged from in this boot, which is gone or another one by now. What was mounted of
    /// it is dead, and keeps the number from being given to others.
    pub(super) dead: Option<(String, u64)>,
}

impl Live {
    pub(super) fn first(&self) -> Option<&Device> {
        self.devices.first()
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.devices.iter().map(Device::number).collect()
    }

    /// The loop devices among them.
    pub(super) fn loops(&self) -> impl Iterator<Item = &LoopInfo> {
        self.devices.iter().filter_map(|device| match device {
            Device::Loop(info) => Some(info),
            Device::Disk { .. } => None,
        })
    }
}

impl Engine {
    /// Looks what is there of a volume.
    ///
    /// # Errors
    /// Unavailable: sysfs can't be read.
    pub(super) fn live(&self, record: &Record) -> Result<Live> {
        live_of(&self.tag(&record.volume_id), &self.sysfs(), record)
    }

    pub(super) fn sysfs(&self) -> Sysfs {
        Sysfs::new(&self.devices.sysfs)
    }
}

/// As [`Engine::live`], without the engine.
pub(super) fn live_of(tag: &Tag, sysfs: &Sysfs, record: &Record) -> Result<Live> {
    match &record.source {
        Source::Object(_) => {
            let devices = loops_of(tag, record)?.into_iter().map(Device::Loop).collect();
            Ok(Live { devices, dead: None })
        }
        Source::Disk(source) => live_disk(sysfs, source),
        Source::Export(_) => Ok(Live::default()),
    }
}

fn live_disk(sysfs: &Sysfs, source: &DiskSource) -> Result<Live> {
    if disk::boot_id()? != source.boot {
        return Ok(Live::default());
    }
    let Some(number) = disk::parse_number(&source.device) else { return Ok(Live::default()) };
    let there = sysfs.by_number(number).is_some_and(|(disk, partition)| {
        let same = source.sequence.is_none() || disk.sequence.is_none() || source.sequence == disk.sequence;
        same && disk.identity == source.identity && partition == source.partition
    });
    let name = source.disk.clone();
    Ok(if there {
        Live { devices: vec![Device::Disk { name, number }], dead: None }
    } else {
        Live { devices: Vec::new(), dead: Some((name, number)) }
    })
}

/// How the journal knows a disk that is open.
///
/// # Errors
/// Unavailable: the boot has no name.
pub(super) fn source_of(open: &OpenDisk, place: Option<String>, read_only: bool) -> Result<DiskSource> {
    Ok(DiskSource {
        disk: open.name.clone(),
        device: disk::show_number(open.number),
        identity: open.disk.identity.clone(),
        sequence: open.disk.sequence,
        boot: disk::boot_id()?,
        place,
        partition: open.partition,
        read_only,
    })
}
