//! Snapshots: read-only copies in the pool of their source, which they don't need any more once they are made.

use crate::Local;
use crate::copies::{copy, from};
use crate::host::pools;
use crate::names::Place;
use crate::parameters::none;
use crate::placement::Pools;
use crate::records::{find, find_snapshot, find_to_remove, is_snapshot, key, made_for, snapshot};
use crate::settings::Settings;
use crate::volumes::long_pool;
use crate::walk::{Kind, all, page, start};
use bulkhead_sdk::pools::{CopyOrder, Object, ObjectSpec, Provisioning};
use bulkhead_sdk::prelude::*;

impl Snapshots for Local {
    fn create_snapshot(request: CreateSnapshotRequest) -> Result<Snapshot> {
        none(&request.parameters)?;
        let pools = Pools::configured()?;
        // The same name in any pool is the same request or another source.
        for pool in pools.all() {
            if let Some(existing) = existing(&pools.settings, &place(pool, &request.name)?, &request)? {
                return Ok(existing);
            }
        }
        let (origin, object) = find(&request.source_volume_id)?;
        if !pools.settings.meets(&origin.pool, request.topology.as_ref()) {
            let pool = &origin.pool;
            return Err(Error::exhausted(format!("pool `{pool}`, where the volume lies, can't be reached from there")));
        }
        let place = place(&origin.pool, &request.name)?;
        let mut metadata = metadata(&request.source_volume_id, &object, &request.request_digest);
        metadata.push((key::SNAPSHOT.to_owned(), request.name.clone()));
        let cut = copy(&origin.pool, vec![object], |_, object| Ok(order(object, &place, metadata.clone())));
        match cut {
            Err(Error::AlreadyExists(_)) => {
                let gone = || Error::pending(format!("{} is being removed", place.id()));
                existing(&pools.settings, &place, &request)?.ok_or_else(gone)
            }
            cut => {
                let cut = cut?.into_iter().next().or_error(Error::unknown_outcome, "the host's copy")?;
                info!("cut snapshot {} of {}", place.id(), request.source_volume_id);
                Ok(snapshot(&pools.settings, &place, &cut))
            }
        }
    }

    fn delete_snapshot(snapshot_id: String) -> Result<()> {
        let Some(place) = Place::parse_snapshot(&snapshot_id)? else {
            return Ok(());
        };
        if find_to_remove(&place)?.filter(is_snapshot).is_none() {
            return Ok(());
        }
        if let Some((group, _)) = place.group() {
            let message = format!("snapshot {snapshot_id} is a member of group {}: delete that", group.id());
            return Err(Error::invalid(message));
        }
        Ok(pools::delete_object(&place.pool, &place.object)?)
    }

    fn create_volume_from_snapshot(request: CreateVolumeRequest, snapshot_id: String) -> Result<Volume> {
        from(&request, &ContentSource::Snapshot(snapshot_id))
    }
}

impl SnapshotListing for Local {
    fn list_snapshots(filter: SnapshotFilter, request: PageRequest) -> Result<SnapshotPage> {
        let last = start(&request, Place::parse_snapshot)?;
        let pools = Pools::configured()?;
        let of_source = |object: &Object| {
            let source = filter.source_volume_id.as_deref();
            source.is_none() || lookup(&object.spec.metadata, key::CUT_FROM) == source
        };
        let entry =
            |place: &Place, object: &Object| Ok(of_source(object).then(|| snapshot(&pools.settings, place, object)));
        if let Some(id) = &filter.snapshot_id {
            let found = match find_snapshot(id) {
                Err(Error::NotFound(_)) => None,
                found => Some(found).filter(|_| last.is_none()),
            };
            let (entries, next_token) = page(found.into_iter(), &request, entry)?;
            return Ok(SnapshotPage { entries, next_token });
        }
        // A snapshot lies in the pool of its source.
        let source = filter.source_volume_id.as_deref().map(Place::parse).transpose()?;
        let may_have = |pool: &&str| match &source {
            None => true,
            Some(place) => place.as_ref().is_some_and(|place| place.pool == **pool),
        };
        let names = pools.all().iter().map(String::as_str).filter(may_have);
        let (entries, next_token) = page(all(names, Kind::Snapshots, last), &request, entry)?;
        Ok(SnapshotPage { entries, next_token })
    }

    fn get_snapshot(snapshot_id: String) -> Result<Snapshot> {
        let settings = Settings::configured()?;
        let (place, object) = find_snapshot(&snapshot_id)?;
        Ok(snapshot(&settings, &place, &object))
    }
}

/// What all snapshots have to remember: what they are of, and what it was made for.
pub fn metadata(source_volume_id: &str, object: &Object, request_digest: &str) -> StringMap {
    let mut metadata = vec![
        (key::CUT_FROM.to_owned(), source_volume_id.to_owned()),
        (key::DIGEST.to_owned(), request_digest.to_owned()),
    ];
    metadata.extend(made_for(object).map(|fs_type| (key::FS_TYPE.to_owned(), fs_type.name().to_owned())));
    metadata
}

/// How a snapshot is cut. Thin, whatever its source: nobody will ever write to it.
pub fn order(object: &Object, place: &Place, metadata: StringMap) -> CopyOrder {
    let target = ObjectSpec {
        name: place.object.clone(),
        kind: object.spec.kind,
        size_bytes: object.spec.size_bytes,
        provisioning: Provisioning::Thin,
        metadata,
    };
    CopyOrder { source: object.spec.name.clone(), target, read_only: true }
}

fn place(pool: &str, csi_name: &str) -> Result<Place> {
    Place::of_snapshot(pool, csi_name).ok_or_else(|| long_pool(pool))
}

/// The snapshot that has that name already, if it is of the same source.
fn existing(settings: &Settings, place: &Place, request: &CreateSnapshotRequest) -> Result<Option<Snapshot>> {
    let Some(object) = pools::stat_object(&place.pool, &place.object)? else {
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
    Ok(Some(snapshot(settings, place, &object)))
}
