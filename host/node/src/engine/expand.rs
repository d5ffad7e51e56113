//! NodeExpandVolume.

use super::Engine;
use super::source::expected_at_staging;
use super::stage::grow_mounted;
use super::standing::{Standing, standing};
use crate::error::Context;
use crate::failpoint;
use crate::fs::format::FsKind;
use crate::journal::Record;
use crate::loopdev::{self, LoopInfo};
use bulkhead_domain::node::NodeExpand;
use bulkhead_domain::plan::Usage;
use bulkhead_domain::{Error, Result};

impl Engine {
    /// NodeExpandVolume: makes device and file system as large as the object is by now. Gives the volume's size in bytes.
    /// What is that large already stays as it is.
    ///
    /// # Errors
    /// NotFound: not on record, not at that path, or not mounted any more. OutOfRange: larger than the limit.
    /// FailedPrecondition: the object itself is smaller than required, or the file system can't grow while mounted (ext4
    /// without CAP_SYS_RESOURCE: it grows at the next stage). Unavailable: ask again.
    pub fn expand(&self, request: &NodeExpand) -> Result<u64> {
        let (record, _) = self.on_record(&request.volume_id, &request.volume_path)?;
        if record.ephemeral.is_some() {
            return Err(Error::failed_precondition(format_args!(
                "volume {} is an inline ephemeral volume; its size is fixed",
                request.volume_id
            )));
        }
        if !record.is_image() {
            return self.size_of_directory(&record, request);
        }
        let loops = self.loops(&record)?;
        let device = loops.first().ok_or_else(|| {
            Error::not_found(format_args!(
                "volume {} has no device on this node any more; stage it again",
                request.volume_id
            ))
        })?;
        loopdev::grow(device.number)?;
        for target in record.publishes.keys() {
            for view in self.views(&record, target, &loops)? {
                loopdev::grow(view.number)?;
            }
        }
        failpoint::hit("expand.capacity")?;
        let size = loopdev::open(device.number, false)
            .and_then(|device| loopdev::size_of_device(&device))
            .during("cannot read the size of the device")?;
        let size = within(request, size)?;
        if let Usage::Filesystem(filesystem) = &record.plan.usage {
            let fs = FsKind::parse(if filesystem.fs_type.is_empty() {
                &record.capability.fs_type
            } else {
                &filesystem.fs_type
            })?;
            self.grow_filesystem(&record, &loops, device, fs)?;
        }
        failpoint::hit("expand.grown")?;
        Ok(size)
    }

    /// Through the staging mount: a target may be read-only.
    fn grow_filesystem(&self, record: &Record, loops: &[LoopInfo], device: &LoopInfo, fs: FsKind) -> Result<()> {
        let gone = || {
            Error::failed_precondition(format_args!(
                "volume {} is not mounted at its staging path any more; stage it again",
                record.volume_id
            ))
        };
        let expected = expected_at_staging(record, loops).ok_or_else(gone)?;
        let staging = self.fence.resolve("staging path", &record.staging_path)?.ok_or_else(gone)?;
        let root = staging.open().during("cannot open the staging path")?;
        if standing(&staging, &expected)? != Standing::Ours {
            return Err(gone());
        }
        grow_mounted(&root, fs, &loopdev::device_path(device.number))
    }

    /// Nothing holds a directory to its size, so nothing is to be done.
    fn size_of_directory(&self, record: &Record, request: &NodeExpand) -> Result<u64> {
        let facts = match self.open_recorded(&record.source)? {
            Some(locked) => locked.facts()?,
            None => None,
        };
        match facts {
            Some(facts) => within(request, facts.size_bytes),
            None => Err(Error::not_found(format_args!("object {} is gone", record.source.object))),
        }
    }
}

/// Checks a size against the request. A device has whole sectors of 512 bytes: the last part of one counts as had.
fn within(request: &NodeExpand, size: u64) -> Result<u64> {
    let size = match request.required_bytes {
        Some(required) if required > size && required - size < 512 => required,
        _ => size,
    };
    if let Some(required) = request.required_bytes.filter(|&required| required > size) {
        return Err(Error::failed_precondition(format_args!(
            "volume {} has {size} bytes, {required} are required: the controller has not expanded it yet",
            request.volume_id
        )));
    }
    if let Some(limit) = request.limit_bytes.filter(|&limit| limit < size) {
        return Err(Error::out_of_range(format_args!(
            "volume {} has {size} bytes already, more than the limit of {limit}",
            request.volume_id
        )));
    }
    Ok(size)
}
