//! Copying directories: what clones, restored volumes and snapshots have in common, and the first two.

use crate::Share;
use crate::access::refused;
use crate::attachment::writers;
use crate::host::pools;
use crate::names::Place;
use crate::parameters::Class;
use crate::records::{find, find_snapshot, key, source_text, spec};
use crate::settings::Settings;
use crate::shares::Shares;
use crate::volumes::{existing, made, metadata, place, quicker, rules};
use bulkhead_sdk::pools::{CopyOrder, Object, ObjectSpec, PoolError};
use bulkhead_sdk::prelude::*;

/// Tries of a copy whose source grows at the same time.
const TRIES: usize = 4;

impl Cloning for Share {
    fn create_volume_from_volume(request: CreateVolumeRequest, source_volume_id: String) -> Result<Volume> {
        from(&request, &ContentSource::Volume(source_volume_id))
    }
}

/// A volume made from something: on its share, at least as large.
pub fn from(request: &CreateVolumeRequest, source: &ContentSource) -> Result<Volume> {
    let class = Class::parse(&request.parameters)?;
    refused(&request.capabilities).map_or(Ok(()), |reason| Err(Error::invalid(reason)))?;
    let shares = Shares::configured()?;
    if let Some(existing) = existing(&shares, &request.name)? {
        return Ok(existing);
    }
    let (origin, object) = match source {
        ContentSource::Volume(id) => find(id),
        ContentSource::Snapshot(id) => find_snapshot(id),
    }?;
    if let Some(share) = class.share.as_ref().filter(|share| **share != origin.share) {
        let message =
            format!("the source is on share `{}`, and so will be its copy; it can't be on `{share}`", origin.share);
        return Err(Error::invalid(message));
    }
    let place = place(&origin.share, &request.name)?;
    let mut metadata = metadata(request);
    metadata.push((key::SOURCE.to_owned(), source_text(source)));
    let copied = copy(&shares.settings, &origin, object, false, |now| {
        let size_bytes = choose_size(request.capacity.as_ref(), &rules(now, now))?;
        Ok(spec(&place, size_bytes, class.provisioning, metadata.clone()))
    })?;
    if let Some(object) = copied {
        return Ok(made(&place, &object));
    }
    match pools::stat_object(&place.share, &place.object)? {
        Some(object) => quicker(&place, &request.name, &object),
        None => Err(Error::pending(format!("{} is being removed", place.id()))),
    }
}

/// Copies an object. `target` says what to make of it, from its size; it is asked again if the source has grown between the
/// look and the copy, since copies can't be smaller. `None`: the name is taken.
///
/// # Errors
/// `failed-precondition`: a node may be writing to the source.
pub fn copy(
    settings: &Settings,
    origin: &Place,
    mut source: Object,
    read_only: bool,
    target: impl Fn(u64) -> Result<ObjectSpec>,
) -> Result<Option<Object>> {
    quiet(settings, origin, &source)?;
    for _ in 0..TRIES {
        let order = CopyOrder { source: origin.object.clone(), target: target(source.spec.size_bytes)?, read_only };
        match pools::copy_objects(&origin.share, &[order]) {
            Err(PoolError::Taken(_)) => return Ok(None),
            Err(error @ (PoolError::Invalid(_) | PoolError::TooLarge(_))) => {
                let gone = || Error::not_found(format!("source {}", origin.id()));
                let now = pools::stat_object(&origin.share, &origin.object)?.ok_or_else(gone)?;
                if now.spec.size_bytes == source.spec.size_bytes {
                    return Err(error.into());
                }
                source = now;
            }
            made => return made?.into_iter().next().or_error(Error::unknown_outcome, "the host's copy").map(Some),
        }
    }
    Err(Error::pending("the source keeps growing"))
}

/// A copy is made file by file, and nobody can hold a share still: what is written meanwhile is in it in part.
fn quiet(settings: &Settings, origin: &Place, source: &Object) -> Result<()> {
    let writers: Vec<&str> = writers(source).collect();
    if settings.copy_in_use || writers.is_empty() {
        return Ok(());
    }
    Err(Error::precondition(format!(
        "volume {} is attached for writing to {}, and a copy of files that change is of no moment: detach it first, or set \
         `copyInUse` in the backend's config and see to it that nobody writes meanwhile",
        origin.id(),
        writers.join(", ")
    )))
}
