//! Snapshots: read-only copies on the share of their source, which they don't need any more once they are made.

use crate::Share;
use crate::copies::{copy, from};
use crate::host::pools;
use crate::names::Place;
use crate::parameters::none;
use crate::records::{find, find_snapshot, find_to_remove, is_snapshot, key, snapshot, spec};
use crate::shares::Shares;
use crate::volumes::long_share;
use crate::walk::{Kind, all, page, start};
use bulkhead_sdk::pools::{Object, Provisioning};
use bulkhead_sdk::prelude::*;

impl Snapshots for Share {
    fn create_snapshot(request: CreateSnapshotRequest) -> Result<Snapshot> {
        none(&request.parameters)?;
        let shares = Shares::configured()?;
        // The same name on any share is the same request or another source.
        for share in shares.all() {
            if let Some(existing) = existing(&place(share, &request.name)?, &request)? {
                return Ok(existing);
            }
        }
        let (origin, object) = find(&request.source_volume_id)?;
        let place = place(&origin.share, &request.name)?;
        let metadata = vec![
            (key::SNAPSHOT.to_owned(), request.name.clone()),
            (key::CUT_FROM.to_owned(), request.source_volume_id.clone()),
            (key::DIGEST.to_owned(), request.request_digest.clone()),
        ];
        // Thin, whatever its source: nobody will ever write to it.
        let target = |size| Ok(spec(&place, size, Provisioning::Thin, metadata.clone()));
        match copy(&shares.settings, &origin, object, true, target)? {
            Some(cut) => {
                info!("cut snapshot {} of {}", place.id(), request.source_volume_id);
                Ok(snapshot(&place, &cut))
            }
            None => {
                let gone = || Error::pending(format!("{} is being removed", place.id()));
                existing(&place, &request)?.ok_or_else(gone)
            }
        }
    }

    fn delete_snapshot(snapshot_id: String) -> Result<()> {
        let Some(place) = Place::parse_snapshot(&snapshot_id) else {
            return Ok(());
        };
        if find_to_remove(&place)?.filter(is_snapshot).is_none() {
            return Ok(());
        }
        Ok(pools::delete_object(&place.share, &place.object)?)
    }

    fn create_volume_from_snapshot(request: CreateVolumeRequest, snapshot_id: String) -> Result<Volume> {
        from(&request, &ContentSource::Snapshot(snapshot_id))
    }
}

impl SnapshotListing for Share {
    fn list_snapshots(filter: SnapshotFilter, request: PageRequest) -> Result<SnapshotPage> {
        let last = start(&request, Place::parse_snapshot)?;
        let shares = Shares::configured()?;
        let source = filter.source_volume_id.as_deref();
        let entry = |place: &Place, object: &Object| {
            let wanted = source.is_none() || lookup(&object.spec.metadata, key::CUT_FROM) == source;
            wanted.then(|| snapshot(place, object))
        };
        if let Some(id) = &filter.snapshot_id {
            let found = match find_snapshot(id) {
                Err(Error::NotFound(_)) => None,
                found => Some(found).filter(|_| last.is_none()),
            };
            let (entries, next_token) = page(found.into_iter(), &request, entry)?;
            return Ok(SnapshotPage { entries, next_token });
        }
        // A snapshot is on the share of its source.
        let may_have =
            |share: &&str| source.is_none_or(|id| Place::parse_volume(id).is_some_and(|at| at.share == **share));
        let names = shares.all().iter().map(String::as_str).filter(may_have);
        let (entries, next_token) = page(all(names, Kind::Snapshots, last), &request, entry)?;
        Ok(SnapshotPage { entries, next_token })
    }

    fn get_snapshot(snapshot_id: String) -> Result<Snapshot> {
        let (place, object) = find_snapshot(&snapshot_id)?;
        Ok(snapshot(&place, &object))
    }
}

fn place(share: &str, csi_name: &str) -> Result<Place> {
    Place::of_snapshot(share, csi_name).ok_or_else(|| long_share(share))
}

/// The snapshot that has that name already, if it is of the same source.
fn existing(place: &Place, request: &CreateSnapshotRequest) -> Result<Option<Snapshot>> {
    let Some(object) = pools::stat_object(&place.share, &place.object)? else {
        return Ok(None);
    };
    let metadata = &object.spec.metadata;
    if lookup(metadata, key::SNAPSHOT) != Some(&request.name) {
        return Err(Error::already_exists(format!("{} belongs to somebody else", place.id())));
    }
    let source = lookup(metadata, key::CUT_FROM).unwrap_or_default();
    if source != request.source_volume_id {
        return Err(Error::already_exists(format!("snapshot {} is of volume {source}", place.id())));
    }
    Ok(Some(snapshot(place, &object)))
}
