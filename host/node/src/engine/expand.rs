//! NodeExpandVolume.

use super::Engine;
use super::device::{Device, Live};
use super::source::expected_at_staging;
use super::stage::grow_mounted;
use super::standing::{Standing, standing};
use crate::error::Context;
use crate::failpoint;
use crate::fs::format::FsKind;
use crate::journal::{Record, Source};
use crate::loopdev;
use bulkhead_domain::node::NodeExpand;
use bulkhead_domain::plan::Usage;
use bulkhead_domain::{Error, ErrorKind, Result, limits};

/// Objects that grow here are made of whole blocks of this size, the page size of the machines that use them.
const BLOCK: u64 = 4096;

impl Engine {
    /// NodeExpandVolume: makes device and file system as large as the object is by now, which is grown first if this node
    /// is the one that does that. Gives the volume's size in bytes. What is that large already stays as it is.
    ///
    /// # Errors
    /// NotFound: not on record, not at that path, or not mounted any more. OutOfRange: larger than the limit, or than the
    /// pool has room for; nothing is changed then.
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
        if self.grows_objects && matches!(record.source, Source::Object(_)) {
            self.grow_object(&record, request)?;
            failpoint::hit("expand.object")?;
        }
        if let Source::Export(_) = record.source {
            return Ok(request.required_bytes.unwrap_or(0));
        }
        if !record.has_device() {
            return self.size_of_directory(&record, request);
        }
        let live = self.live(&record)?;
        let device = live.first().ok_or_else(|| {
            Error::not_found(format_args!(
                "volume {} has no device on this node any more; stage it again",
                request.volume_id
            ))
        })?;
        match device {
            Device::Loop(info) => loopdev::grow(info.number)?,
            Device::Disk { .. } => self.rescan(device, request.required_bytes)?,
        }
        for target in record.publishes.keys() {
            for view in self.views(&record, target, &live)? {
                loopdev::grow(view.number)?;
            }
        }
        failpoint::hit("expand.capacity")?;
        let size = device
            .open()
            .and_then(|device| loopdev::size_of_device(&device))
            .during("cannot read the size of the device")?;
        let size = within(request, size)?;
        if let Usage::Filesystem(filesystem) = &record.plan.usage {
            let fs = FsKind::parse(if filesystem.fs_type.is_empty() {
                &record.capability.fs_type
            } else {
                &filesystem.fs_type
            })?;
            self.grow_filesystem(&record, &live, device, fs)?;
        }
        failpoint::hit("expand.grown")?;
        Ok(size)
    }

    /// Grows the object that is staged to what is required, in whole blocks, as a backend would have it done. What was grown
    /// and not written down, for a crash, is written down.
    fn grow_object(&self, record: &Record, request: &NodeExpand) -> Result<()> {
        let source = record.object()?;
        let refuse = |why: &str| Err(Error::failed_precondition(format_args!("volume {} {why}", request.volume_id)));
        let gone = || Error::not_found(format_args!("object {} is gone", source.object));
        let locked = self.open_recorded(source)?.ok_or_else(gone)?;
        let facts = locked.facts()?.ok_or_else(gone)?;
        let had = match record.has_device() {
            true => locked.image(false)?.metadata().during("cannot read the size of an image")?.len(),
            false => facts.size_bytes,
        };
        let size = had.max(blocks(request, facts.size_bytes)?);
        if size <= facts.size_bytes {
            return Ok(());
        }
        if source.read_only {
            return refuse("is staged for reading only; it can grow where it is staged for writing");
        }
        if self.pools.pool(&source.pool).is_ok_and(|pool| pool.path() == source.pool_path) {
            return self.pools.resize_locked(&source.pool, &locked, size).map_err(|e| match e.kind() {
                // For a CO that would ask for the same again and again: this size can't be had.
                ErrorKind::ResourceExhausted => Error::out_of_range(e.message()),
                _ => e,
            });
        }
        refuse("was staged from a pool that the config does not grant any more, or has elsewhere; it can't grow there")
    }

    /// Through the staging mount: a target may be read-only.
    fn grow_filesystem(&self, record: &Record, live: &Live, device: &Device, fs: FsKind) -> Result<()> {
        let gone = || {
            Error::failed_precondition(format_args!(
                "volume {} is not mounted at its staging path any more; stage it again",
                record.volume_id
            ))
        };
        let expected = expected_at_staging(record, live).ok_or_else(gone)?;
        let staging = self.fence.resolve("staging path", &record.staging_path)?.ok_or_else(gone)?;
        let root = staging.open().during("cannot open the staging path")?;
        if standing(&staging, &expected)? != Standing::Ours {
            return Err(gone());
        }
        grow_mounted(&root, fs, &device.path())
    }

    /// Nothing holds a directory to its size, so nothing is to be done.
    fn size_of_directory(&self, record: &Record, request: &NodeExpand) -> Result<u64> {
        let facts = match self.open_recorded(record.object()?)? {
            Some(locked) => locked.facts()?,
            None => None,
        };
        match facts {
            Some(facts) => within(request, facts.size_bytes),
            None => Err(Error::not_found(format_args!("object {} is gone", record.object()?.object))),
        }
    }
}

/// What the object is to have: what is required, in whole blocks, or what it has, if that is enough.
///
/// # Errors
/// OutOfRange: no whole number of blocks is within the limit; or more than an object can have.
fn blocks(request: &NodeExpand, has: u64) -> Result<u64> {
    let Some(required) = request.required_bytes.filter(|&required| required > has) else { return Ok(has) };
    let size = required.checked_next_multiple_of(BLOCK).filter(|&size| size <= limits::MAX_BYTES);
    size.filter(|&size| request.limit_bytes.is_none_or(|limit| size <= limit)).ok_or_else(|| {
        Error::out_of_range(format_args!(
            "volume {} has {has} bytes, {required} are required: sizes are whole blocks of {BLOCK} bytes, and none is \
             within the limit",
            request.volume_id
        ))
    })
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
