//! NodeGetVolumeStats.

use super::Engine;
use super::device::Live;
use super::export::{self, Said};
use super::source::expected_at_staging;
use super::standing::{Expected, Standing, standing};
use super::undo::expected_at_target;
use crate::error::Context;
use crate::fence::Place;
use crate::journal::{Record, Source};
use crate::loopdev;
use bulkhead_domain::node::{Stats, Usage, UsageUnit};
use bulkhead_domain::volume::VolumeId;
use bulkhead_domain::{Error, Result};
use std::path::Path;
use std::time::Duration;

impl Engine {
    /// NodeGetVolumeStats: bytes and inodes of a file system, size of a raw device.
    ///
    /// A file system that does not answer costs one thread, not the caller: at most `timeout` is waited, and while that
    /// thread hangs every further question about the volume is refused at once.
    ///
    /// # Errors
    /// NotFound: not on record, not at that path, or not mounted there any more. DeadlineExceeded: no answer.
    pub fn stats(&self, request: &Stats, timeout: Duration) -> Result<Vec<Usage>> {
        let (record, path) = self.on_record(&request.volume_id, &request.volume_path)?;
        let live = self.live(&record)?;
        let gone =
            || Error::not_found(format_args!("volume {} is not mounted at this path any more", request.volume_id));
        if record.is_block() {
            let device = live.first().ok_or_else(gone)?;
            if path != record.staging_path {
                self.check_target(&record, &path, &live)?.then_some(()).ok_or_else(gone)?;
            }
            let size = device
                .open()
                .and_then(|device| loopdev::size_of_device(&device))
                .during("cannot read the size of the device")?;
            return Ok(vec![Usage { unit: UsageUnit::Bytes, total: size, used: None, available: None }]);
        }
        let expected = expected_at_staging(&record, &live).ok_or_else(gone)?;
        let place = self.fence.resolve("volume_path", &path)?.ok_or_else(gone)?;
        if let Source::Export(_) = record.source {
            return export_usage(&request.volume_id, &place, &expected, timeout)?.ok_or_else(gone);
        }
        let about = (&request.volume_id, self.lies_on(&request.volume_id));
        self.questions.ask(about, timeout, move || usage(&place, &expected))?.ok_or_else(gone)
    }

    fn check_target(&self, record: &Record, path: &Path, live: &Live) -> Result<bool> {
        let Some(publish) = record.publishes.get(path) else { return Ok(false) };
        let expected = expected_at_target(record, publish, live, &self.views(record, path, live)?);
        Ok(self.standing_at(path, &expected)? == Standing::Ours)
    }
}

/// Of an export, whose server may not answer: then the process that asks is killed.
fn export_usage(
    volume: &VolumeId,
    place: &Place,
    expected: &Expected,
    timeout: Duration,
) -> Result<Option<Vec<Usage>>> {
    if standing(place, expected)? != Standing::Ours {
        return Ok(None);
    }
    match export::look(place, timeout)? {
        Said::Well(found) => {
            let bytes = |blocks: u64| blocks.saturating_mul(found.block_bytes);
            let (total, free) = (bytes(found.blocks), bytes(found.blocks_free));
            Ok(Some(vec![
                line(UsageUnit::Bytes, total, free, bytes(found.blocks_available)),
                line(UsageUnit::Inodes, found.inodes, found.inodes_free, found.inodes_available),
            ]))
        }
        Said::Dead(errno) | Said::Ill(errno) => {
            Err(errno).during(format_args!("cannot read the usage of {}", place.canonical().display()))
        }
        Said::Nothing => {
            Err(Error::deadline_exceeded(format_args!("the NFS server of volume {volume} does not answer")))
        }
    }
}

fn line(unit: UsageUnit, total: u64, free: u64, available: u64) -> Usage {
    Usage { unit, total, used: Some(total.saturating_sub(free)), available: Some(available) }
}

fn usage(place: &Place, expected: &Expected) -> Result<Option<Vec<Usage>>> {
    let what = || format!("cannot read the usage of {}", place.canonical().display());
    if standing(place, expected)? != Standing::Ours {
        return Ok(None);
    }
    let root = place.open().during(what())?;
    let found = rustix::fs::fstatvfs(&root).during(what())?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Some(vec![
        line(UsageUnit::Bytes, bytes(found.f_blocks), bytes(found.f_bfree), bytes(found.f_bavail)),
        line(UsageUnit::Inodes, found.f_files, found.f_ffree, found.f_favail),
    ]))
}
