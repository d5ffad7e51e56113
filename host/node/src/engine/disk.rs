//! NodeStageVolume of a disk that the platform attaches, and giving it back.
//!
//! The disk is known by what it says about itself, asked once it is open; every program that works on it opens the very same
//! device through that descriptor, and what is mounted is compared with it before it shows anywhere.

use super::Engine;
use super::device::{Device, Live, source_of};
use super::medium::Medium;
use super::wanted::{Use, Wanted};
use crate::disk::{self, OpenDisk};
use crate::error::Context;
use crate::failpoint;
use crate::fence::Place;
use crate::fs::format::{self, FsKind, Tool};
use crate::fs::mount::DetachedMount;
use crate::fs::options::MountOptions;
use crate::fs::probe::{Disk as ProbedDisk, probe, wipe};
use crate::journal::{DiskSource, Entry, FormatState, Record, Source, StagePhase};
use bulkhead_domain::node::Stage;
use bulkhead_domain::plan::{Filesystem, LocalDevice};
use bulkhead_domain::{Error, Result};
use std::time::{Duration, Instant};

/// How long a disk may take to show a size that it was given elsewhere.
const RESIZE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

impl Engine {
    pub(super) fn stage_disk(
        &self,
        request: &Stage,
        (wanted, device): (&Wanted, &LocalDevice),
        place: &Place,
        formatted: Option<Box<Source>>,
    ) -> Result<()> {
        let open = disk::wait_for(&self.devices, device, request.timeout)?;
        self.fit(&open, wanted)?;
        open.is_free()?;
        let source = source_of(&open, disk::place_of(device), wanted.read_only)?;
        self.apart_from_others(&request.volume_id, &source)?;
        let mut record = self.begin(request, place, Source::Disk(source.clone()), formatted)?;
        let done = (|| {
            failpoint::hit("stage.intent")?;
            // Again: of two that begin at once, each finds the other's record now.
            self.apart_from_others(&request.volume_id, &source)?;
            failpoint::hit("stage.claimed")?;
            if let Use::Filesystem { plan, fs, options } = &wanted.usage {
                self.stage_filesystem_of_disk(&mut record, (plan, *fs, options), &open, place)?;
            }
            record.phase = StagePhase::Staged;
            self.journal.store(&record)
        })();
        drop(open);
        self.end(&mut record, done)
    }

    /// Large enough, and writable if it is to be written. A size that was changed elsewhere may not have come through yet.
    fn fit(&self, open: &OpenDisk, wanted: &Wanted) -> Result<()> {
        if open.read_only() && !wanted.read_only {
            return Err(open
                .disk
                .refuse("takes no writes, and the plan is not for reading only; attach it for writing"));
        }
        let Some(expected) = wanted.expected_size_bytes else { return Ok(()) };
        let mut size = open.size_bytes()?;
        if size < expected {
            size = self.wait_for_size(&Device::Disk { name: open.name.clone(), number: open.number }, expected)?;
        }
        if size < expected {
            return Err(open.disk.refuse(format_args!(
                "has {size} bytes, the backend's plan expects at least {expected}; it is left as it is"
            )));
        }
        Ok(())
    }

    /// No other volume of this driver is on the disk: a raw device can be opened by any number.
    fn apart_from_others(&self, volume: &bulkhead_domain::volume::VolumeId, source: &DiskSource) -> Result<()> {
        let source = Source::Disk(source.clone());
        for entry in self.journal.all()? {
            if let Entry::Record(other) = entry
                && other.volume_id != *volume
                && other.source.is_same(&source)
            {
                return Err(Error::failed_precondition(format_args!(
                    "the disk is staged as volume {} at {}; unstage it there first",
                    other.volume_id,
                    other.staging_path.display()
                )));
            }
        }
        Ok(())
    }

    fn stage_filesystem_of_disk(
        &self,
        record: &mut Record,
        (plan, fs, options): (&Filesystem, FsKind, &MountOptions),
        open: &OpenDisk,
        place: &Place,
    ) -> Result<()> {
        let (size_bytes, writable) = (open.size_bytes()?, !record.source.read_only());
        let found = probe(&ProbedDisk { file: open.file(), size: size_bytes })?;
        let formatted = record.formatted == FormatState::Done;
        let verdict = format::decide(found, fs, plan.format, formatted, writable)?;
        let (device, tool) = (open.path(), open.tool_path());
        let tool = Tool::Descriptor(&tool, rustix::fd::AsFd::as_fd(open));
        let medium = Medium { device: &device, tool, content: open.file(), size_bytes };
        self.prepare(record, (plan, fs), verdict, &medium)?;
        let another = || Error::unavailable(format_args!("{} became another disk; ask again", device.display()));
        // The kernel takes only a name, and shows it in the mount table. Asked before, for mounting alone writes; and after, for
        // nothing keeps the name in between.
        disk::reopen(&open.name, open.number).map_err(|_| another())?;
        let mount = DetachedMount::of_device(fs.name(), &device, options)?.ready()?;
        if mount.device().during("cannot look at the file system that was mounted")? != open.number {
            return Err(another());
        }
        self.show(mount, (plan, fs, options), &medium, writable, place)
    }

    /// Gives a disk back: zeros what a mkfs that was cut short may have written where the probe looks, and flushes. A disk
    /// that is gone has nothing to give back.
    pub(super) fn release_disk(&self, record: &Record, live: &Live) -> Result<()> {
        for device in &live.devices {
            let Ok(open) = OpenDisk::open(&self.sysfs(), &device.name(), device.number()) else { continue };
            if record.formatted == FormatState::Started {
                open.is_free()?;
                wipe(&open.writable()?, open.size_bytes()?)
                    .during(format_args!("cannot blank {} after a format that was cut short", open.path().display()))?;
            }
            failpoint::hit("unstage.wiped")?;
            if let Err(error) = open.flush() {
                // What was not written is lost with a disk that takes no more writes; it must not keep the volume here.
                tracing::warn!(volume = %record.volume_id, %error, "a disk could not be flushed when it was given back");
            }
        }
        failpoint::hit("unstage.flushed")
    }

    /// Lets the disk look how large it is by now.
    pub(super) fn rescan(&self, device: &Device, required: Option<u64>) -> Result<()> {
        self.wait_for_size(device, required.unwrap_or(0)).map(drop)
    }

    /// Size, once it is at least `expected` or some seconds have gone by.
    fn wait_for_size(&self, device: &Device, expected: u64) -> Result<u64> {
        let (sysfs, deadline) = (self.sysfs(), Instant::now() + RESIZE);
        let what = "cannot read the size of the device";
        if let Some((disk, _)) = sysfs.by_number(device.number()) {
            sysfs.rescan_size(&disk)?;
        }
        let open = device.open().during(what)?;
        loop {
            let size = crate::loopdev::size_of_device(&open).during(what)?;
            if size >= expected || Instant::now() >= deadline {
                return Ok(size);
            }
            std::thread::sleep(PAUSE);
        }
    }
}
