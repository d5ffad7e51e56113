//! Copying objects: what clones, restored volumes and snapshots have in common, and the first two.

use crate::Local;
use crate::access::Access;
use crate::host::pools;
use crate::names::Place;
use crate::nodes::elsewhere;
use crate::parameters::{Class, TYPE, kind_name};
use crate::placement::Pools;
use crate::records::{content_of, find, find_snapshot, key, made_for, source_text};
use crate::volumes::{existing, made, metadata, place, quicker, rules};
use bulkhead_sdk::pools::{CopyOrder, Object, ObjectSpec};
use bulkhead_sdk::prelude::*;

/// Tries of a copy whose sources grow at the same time.
const TRIES: usize = 4;

impl Cloning for Local {
    fn create_volume_from_volume(request: CreateVolumeRequest, source_volume_id: String) -> Result<Volume> {
        from(&request, &ContentSource::Volume(source_volume_id))
    }
}

/// A volume made from something: in its pool, of its kind, with its file system, at least as large.
pub fn from(request: &CreateVolumeRequest, source: &ContentSource) -> Result<Volume> {
    let class = Class::of(request)?;
    let access = Access::of(&request.capabilities).map_err(Error::invalid)?;
    let pools = Pools::configured()?;
    if let Some(existing) = existing(&pools, &request.name)? {
        return Ok(existing);
    }
    let (ContentSource::Volume(id) | ContentSource::Snapshot(id)) = source;
    if let Some(node) = elsewhere(id) {
        // The CO may try there, as it would with a place that is full. NOT_FOUND would be its last word.
        return Err(Error::exhausted(format!("{id} is on node {node}, and only there can a volume be made of it")));
    }
    let (origin, object) = match source {
        ContentSource::Volume(id) => find(id),
        ContentSource::Snapshot(id) => find_snapshot(id),
    }?;
    compatible(&pools, &origin, &object, &class, access)?;
    if !pools.settings.meets(&origin.pool, request.topology.as_ref()) {
        let pool = &origin.pool;
        return Err(Error::exhausted(format!("pool `{pool}`, where the source lies, can't be reached from there")));
    }
    let place = place(&origin.pool, &request.name)?;
    let fs_type = made_for(&object);
    let mut metadata = metadata(request, access.fs_type(fs_type).or(fs_type).map(|fs_type| fs_type.name()));
    metadata.push((key::SOURCE.to_owned(), source_text(source)));
    metadata.extend(content_of(&origin.pool, &object).map(|content| (key::CONTENT.to_owned(), content.to_owned())));
    let copied = copy(&origin.pool, vec![object], |_, object| {
        let now = object.spec.size_bytes;
        let min = access.min_bytes(object.spec.kind, fs_type).max(now);
        let target = ObjectSpec {
            name: place.object.clone(),
            kind: object.spec.kind,
            size_bytes: choose_size(request.capacity.as_ref(), &rules(now, min))?,
            provisioning: class.provisioning,
            metadata: metadata.clone(),
        };
        Ok(CopyOrder { source: object.spec.name.clone(), target, read_only: false })
    });
    match copied {
        Err(Error::AlreadyExists(_)) => match pools::stat_object(&place.pool, &place.object)? {
            Some(object) => quicker(&pools.settings, &place, &request.name, &object),
            None => Err(Error::pending(format!("{} is being removed", place.id()))),
        },
        copied => {
            let copied = copied?.into_iter().next().or_error(Error::unknown_outcome, "the host's copy")?;
            Ok(made(&pools.settings, &place, &copied))
        }
    }
}

/// A source of another kind is another volume altogether; copying doesn't convert.
fn compatible(pools: &Pools, origin: &Place, object: &Object, class: &Class, access: Access) -> Result<()> {
    let kind = object.spec.kind;
    if let Some(pool) = class.pool.as_ref().filter(|pool| **pool != origin.pool) {
        let message =
            format!("the source lies in pool `{}`, and so will its copy; it can't be in `{pool}`", origin.pool);
        return Err(Error::invalid(message));
    }
    if class.kind.is_some_and(|wanted| wanted != kind) {
        return Err(Error::invalid(format!("the source is of `{TYPE}: {}`, and so will be its copy", kind_name(kind))));
    }
    let refused = access.refused_by(kind, pools.settings.is_shared(&origin.pool));
    refused.or_else(|| access.other_fs(made_for(object))).map_or(Ok(()), |reason| Err(Error::invalid(reason)))
}

/// Copies all `sources` at one moment. `order` says what to make of each, numbered; it is asked again if one of them has grown
/// between the look and the copy, since copies can't be smaller.
pub fn copy(
    pool: &str,
    mut sources: Vec<Object>,
    order: impl Fn(usize, &Object) -> Result<CopyOrder>,
) -> Result<Vec<Object>> {
    let mut result = Err(Error::pending("the sources keep growing"));
    for _ in 0..TRIES {
        let orders: Vec<_> =
            sources.iter().enumerate().map(|(number, source)| order(number, source)).collect::<Result<_>>()?;
        result = pools::copy_objects(pool, &orders).map_err(Error::from);
        if !matches!(result, Err(Error::InvalidArgument(_) | Error::OutOfRange(_))) {
            return result;
        }
        let mut grown = false;
        for source in &mut sources {
            let name = source.spec.name.clone();
            let gone = || Error::not_found(format!("source {pool}/{name}"));
            let now = pools::stat_object(pool, &name)?.ok_or_else(gone)?;
            grown |= now.spec.size_bytes != source.spec.size_bytes;
            *source = now;
        }
        if !grown {
            return result;
        }
    }
    result
}
