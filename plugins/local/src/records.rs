//! What the metadata of an object says, and how it becomes a volume or a snapshot.

use crate::access::FsType;
use crate::host::pools;
use crate::names::Place;
use crate::nodes::nobody_knows;
use crate::parameters::kind_name;
use crate::settings::Settings;
use bulkhead_sdk::pools::{Object, ObjectKind, PoolError, Provisioning};
use bulkhead_sdk::prelude::*;
use std::time::Duration;

/// Keys of an object's metadata.
pub mod key {
    /// Volumes: the CSI name that it was made for. An object without it is no volume of ours.
    pub const NAME: &str = "csi-name";
    /// Snapshots: the CSI name. An object without it or [`GROUP`] is no snapshot of ours.
    pub const SNAPSHOT: &str = "snapshot-name";
    /// Members of a group: its CSI name.
    pub const GROUP: &str = "group-name";
    /// Members of a group: how many there are.
    pub const MEMBERS: &str = "group-members";
    /// Snapshots: id of the volume they were cut from.
    pub const CUT_FROM: &str = "source-volume";
    pub const DIGEST: &str = "request-digest";
    /// The file system that a volume, or what a snapshot was cut from, was made for.
    pub const FS_TYPE: &str = "fs-type";
    /// Volumes made from something: `snapshot:ID` or `volume:ID`.
    pub const SOURCE: &str = "source";
    /// As `context::CONTENT`.
    pub const CONTENT: &str = "content";
    /// Then a node's id: the volume is attached there, see `attachment::Way`.
    pub const NODE: &str = "node:";
}

/// Keys of a volume's context: what a node must know, which sees neither pools nor metadata.
pub mod context {
    /// `image` or `directory`.
    pub const TYPE: &str = "type";
    /// The file system that the volume was made for; absent if it was made for block access only.
    pub const FS_TYPE: &str = "fsType";
    /// `copied` where something was on the volume from the start, so that it must never be formatted; otherwise absent.
    pub const CONTENT: &str = "content";
}

/// Value of `content`.
pub const COPIED: &str = "copied";
/// Most bytes of metadata that the host takes, keys and values added up.
const MAX_METADATA: usize = 4096;
/// Tries of a change whose object is changed by somebody else at the same time.
const TRIES: usize = 8;

/// A volume as the host's pools have it.
pub fn volume(settings: &Settings, place: &Place, object: &Object) -> Volume {
    let metadata = &object.spec.metadata;
    let mut context = vec![(context::TYPE.to_owned(), kind_name(object.spec.kind).to_owned())];
    for (from, to) in [(key::FS_TYPE, context::FS_TYPE), (key::CONTENT, context::CONTENT)] {
        context.extend(lookup(metadata, from).map(|value| (to.to_owned(), value.to_owned())));
    }
    Volume {
        context,
        accessible_topology: settings.places(&place.pool).to_vec(),
        source: lookup(metadata, key::SOURCE).and_then(source_from),
        request_digest: lookup(metadata, key::DIGEST).map(str::to_owned),
        ..Volume::new(place.id(), object.spec.size_bytes)
    }
}

/// A volume and where it is attached.
pub fn listed(settings: &Settings, place: &Place, object: &Object) -> ListedVolume {
    let published_node_ids = nodes(object).map(|(node, _)| node.to_owned()).collect();
    ListedVolume { volume: volume(settings, place, object), published_node_ids }
}

/// A snapshot as the host's pools have it.
pub fn snapshot(settings: &Settings, place: &Place, object: &Object) -> Snapshot {
    let metadata = &object.spec.metadata;
    let group = place.group().map(|(group, _)| group.id());
    // A member's digest is that of its group's request.
    let request_digest = lookup(metadata, key::DIGEST).filter(|_| group.is_none()).map(str::to_owned);
    let source = lookup(metadata, key::CUT_FROM).unwrap_or_default();
    Snapshot {
        group_snapshot_id: group,
        accessible_topology: settings.places(&place.pool).to_vec(),
        request_digest,
        ..Snapshot::new(place.id(), source, object.spec.size_bytes, object.created_at_ms)
    }
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

/// The file system that the volume, or what the snapshot was cut from, was made for.
pub fn made_for(object: &Object) -> Option<FsType> {
    lookup(&object.spec.metadata, key::FS_TYPE).and_then(FsType::parse)
}

/// Pools may hold objects of others; those are none of this backend's business.
pub fn is_volume(object: &Object) -> bool {
    lookup(&object.spec.metadata, key::NAME).is_some()
}

/// As [`is_volume`].
pub fn is_snapshot(object: &Object) -> bool {
    [key::SNAPSHOT, key::GROUP].iter().any(|key| lookup(&object.spec.metadata, key).is_some())
}

/// The object of a volume that must be there.
pub fn find(volume_id: &str) -> Result<(Place, Object)> {
    let unknown = || Error::not_found(format!("volume {volume_id}"));
    let place = Place::parse(volume_id)?.ok_or_else(unknown)?;
    let object = pools::stat_object(&place.pool, &place.object)?.filter(is_volume);
    let object = object.ok_or_else(|| missing(&place, unknown()))?;
    Ok((place, object))
}

/// The object of a snapshot that must be there.
pub fn find_snapshot(snapshot_id: &str) -> Result<(Place, Object)> {
    let unknown = || Error::not_found(format!("snapshot {snapshot_id}"));
    let place = Place::parse_snapshot(snapshot_id)?.ok_or_else(unknown)?;
    let object = pools::stat_object(&place.pool, &place.object)?.filter(is_snapshot);
    let object = object.ok_or_else(|| missing(&place, unknown()))?;
    Ok((place, object))
}

/// What it means that an object isn't here: `unknown`, unless it may be on another node.
pub fn missing(place: &Place, unknown: Error) -> Error {
    if place.is_anybodys() { nobody_knows(&place.id()) } else { unknown }
}

/// For calls that take something away: the object, if it is there. A pool out of sight isn't "unknown, so gone": the data
/// may still be there.
pub fn find_to_remove(place: &Place) -> Result<Option<Object>> {
    match pools::stat_object(&place.pool, &place.object) {
        Err(PoolError::NoSuchPool) => Err(out_of_sight(&place.id())),
        Ok(None) if place.is_anybodys() => Err(nobody_knows(&place.id())),
        found => Ok(found?),
    }
}

/// What can't be taken away because its pool isn't there.
pub fn out_of_sight(id: &str) -> Error {
    Error::precondition(format!("{id}: its pool isn't granted to this backend"))
}

/// What a change of metadata comes to.
pub enum Change<T> {
    /// Everything is as it should be.
    None(T),
    /// To be written, all of it at once.
    To(Provisioning, StringMap, T),
}

/// Changes an object as `decide` says, from what it is now, and asks again if somebody else was quicker.
///
/// # Errors
/// Those of `decide` with nothing changed. `resource-exhausted` if the metadata has no more room. `pending` if somebody
/// else was quicker every time. `None`: the object is gone.
pub fn change<T>(place: &Place, decide: impl Fn(&Object) -> Result<Change<T>>) -> Result<Option<T>> {
    for _ in 0..TRIES {
        let Some(object) = find_to_remove(place)?.filter(is_volume) else { return Ok(None) };
        let (provisioning, metadata, answer) = match decide(&object)? {
            Change::None(answer) => return Ok(Some(answer)),
            Change::To(provisioning, metadata, answer) => (provisioning, metadata, answer),
        };
        if metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_METADATA {
            return Err(Error::exhausted(format!("volume {}: no room to note one more node", place.id())));
        }
        match pools::update_object(&place.pool, &place.object, object.version, provisioning, &metadata) {
            Err(PoolError::Conflict(_) | PoolError::NoSuchObject(_)) => {}
            result => return Ok(result.map(|_| Some(answer))?),
        }
    }
    let busy = format!("volume {} is being changed by another call", place.id());
    Err(Error::pending(busy).retry_after(Duration::from_secs(1)))
}

/// What a copy holds that is to be formatted only if nothing was ever written to `source`: `copied`, or nothing.
pub fn content_of(pool: &str, source: &Object) -> Option<&'static str> {
    if source.spec.kind == ObjectKind::Directory {
        return Some(COPIED);
    }
    // In doubt the copy holds something: then an empty device is an error, and nothing is formatted.
    let blank = pools::allocated_extents(pool, &source.spec.name, 0).is_ok_and(|page| page.extents.is_empty());
    (!blank).then_some(COPIED)
}
