//! What the metadata of an object says, and how it becomes a volume or a snapshot.

use crate::host::pools;
use crate::names::{Place, static_parts};
use bulkhead_sdk::pools::{Object, ObjectKind, ObjectSpec, PoolError, Provisioning};
use bulkhead_sdk::prelude::*;
use std::time::Duration;

/// Keys of an object's metadata.
pub mod key {
    /// Volumes: the CSI name that it was made for. An object without it is no volume of ours.
    pub const NAME: &str = "csi-name";
    /// Snapshots: the CSI name. An object without it is no snapshot of ours.
    pub const SNAPSHOT: &str = "snapshot-name";
    /// Snapshots: id of the volume they were cut from.
    pub const CUT_FROM: &str = "source-volume";
    pub const DIGEST: &str = "request-digest";
    /// Volumes made from something: `snapshot:ID` or `volume:ID`.
    pub const SOURCE: &str = "source";
    /// Then a node's id: the volume is attached there, see `attachment::Way`.
    pub const NODE: &str = "node:";
}

/// Most bytes of metadata that the host takes, keys and values added up.
const MAX_METADATA: usize = 4096;
/// Tries of a change whose object is changed by somebody else at the same time.
const TRIES: usize = 8;

/// A volume as the pool has it. Its id says all that a node needs, so there is no context.
pub fn volume(place: &Place, object: &Object) -> Volume {
    let metadata = &object.spec.metadata;
    Volume {
        source: lookup(metadata, key::SOURCE).and_then(source_from),
        request_digest: lookup(metadata, key::DIGEST).map(str::to_owned),
        ..Volume::new(place.id(), object.spec.size_bytes)
    }
}

/// A volume and where it is attached.
pub fn listed(place: &Place, object: &Object) -> ListedVolume {
    let published_node_ids = nodes(object).map(|(node, _)| node.to_owned()).collect();
    ListedVolume { volume: volume(place, object), published_node_ids }
}

/// A snapshot as the pool has it.
pub fn snapshot(place: &Place, object: &Object) -> Snapshot {
    let metadata = &object.spec.metadata;
    let source = lookup(metadata, key::CUT_FROM).unwrap_or_default();
    Snapshot {
        request_digest: lookup(metadata, key::DIGEST).map(str::to_owned),
        ..Snapshot::new(place.id(), source, object.spec.size_bytes, object.created_at_ms)
    }
}

/// A directory object.
pub fn spec(place: &Place, size_bytes: u64, provisioning: Provisioning, metadata: StringMap) -> ObjectSpec {
    ObjectSpec { name: place.object.clone(), kind: ObjectKind::Directory, size_bytes, provisioning, metadata }
}

/// Value of [`key::SOURCE`].
pub fn source_text(source: &ContentSource) -> String {
    match source {
        ContentSource::Snapshot(id) => format!("snapshot:{id}"),
        ContentSource::Volume(id) => format!("volume:{id}"),
    }
}

fn source_from(text: &str) -> Option<ContentSource> {
    match text.split_once(':')? {
        ("snapshot", id) => Some(ContentSource::Snapshot(id.to_owned())),
        ("volume", id) => Some(ContentSource::Volume(id.to_owned())),
        _ => None,
    }
}

/// Nodes that the volume is attached to, and how.
pub fn nodes(object: &Object) -> impl Iterator<Item = (&str, &str)> {
    let nodes = object.spec.metadata.iter();
    nodes.filter_map(|(name, how)| Some((name.strip_prefix(key::NODE)?, how.as_str())))
}

/// Pools may hold objects of others; those are none of this backend's business.
pub fn is_volume(object: &Object) -> bool {
    object.spec.kind == ObjectKind::Directory && lookup(&object.spec.metadata, key::NAME).is_some()
}

/// As [`is_volume`].
pub fn is_snapshot(object: &Object) -> bool {
    object.spec.kind == ObjectKind::Directory && lookup(&object.spec.metadata, key::SNAPSHOT).is_some()
}

/// The object of a volume that must be there.
pub fn find(volume_id: &str) -> Result<(Place, Object)> {
    if static_parts(volume_id).is_some() {
        return Err(Error::invalid(format!("volume {volume_id} wasn't made by this driver, which can't see into it")));
    }
    let unknown = || Error::not_found(format!("volume {volume_id}"));
    let place = Place::parse_volume(volume_id).ok_or_else(unknown)?;
    let object = pools::stat_object(&place.share, &place.object)?.filter(is_volume).ok_or_else(unknown)?;
    Ok((place, object))
}

/// The object of a snapshot that must be there.
pub fn find_snapshot(snapshot_id: &str) -> Result<(Place, Object)> {
    let unknown = || Error::not_found(format!("snapshot {snapshot_id}"));
    let place = Place::parse_snapshot(snapshot_id).ok_or_else(unknown)?;
    let object = pools::stat_object(&place.share, &place.object)?.filter(is_snapshot).ok_or_else(unknown)?;
    Ok((place, object))
}

/// For calls that take something away: the object, if it is there. A pool out of sight isn't "unknown, so gone": the data
/// may still be there.
pub fn find_to_remove(place: &Place) -> Result<Option<Object>> {
    match pools::stat_object(&place.share, &place.object) {
        Err(PoolError::NoSuchPool) => {
            Err(Error::precondition(format!("{}: no pool is granted for its share", place.id())))
        }
        found => Ok(found?),
    }
}

/// Changes the metadata of a volume as `decide` says, from what it is now, and asks again if somebody else was quicker.
/// `decide` gives `None` if everything is as it should be.
///
/// # Errors
/// Those of `decide` with nothing changed. `resource-exhausted` if the metadata has no more room. `pending` if somebody
/// else was quicker every time. `false`: the volume is gone.
pub fn change(place: &Place, decide: impl Fn(&Object) -> Result<Option<StringMap>>) -> Result<bool> {
    for _ in 0..TRIES {
        let Some(object) = find_to_remove(place)?.filter(is_volume) else { return Ok(false) };
        let Some(metadata) = decide(&object)? else { return Ok(true) };
        if metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_METADATA {
            return Err(Error::exhausted(format!("volume {}: no room to note one more node", place.id())));
        }
        let provisioning = object.spec.provisioning;
        match pools::update_object(&place.share, &place.object, object.version, provisioning, &metadata) {
            // Gone meanwhile: then the next look says so.
            Err(PoolError::Conflict(_) | PoolError::NoSuchObject(_)) => {}
            result => return Ok(result.map(|_| true)?),
        }
    }
    let busy = format!("volume {} is being changed by another call", place.id());
    Err(Error::pending(busy).retry_after(Duration::from_secs(1)))
}
