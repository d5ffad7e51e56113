//! Making, checking, growing and removing volumes.

use crate::Local;
use crate::access::{Access, BLOCK};
use crate::host::pools;
use crate::names::{Place, max_pool};
use crate::parameters::{Class, Mutable, kind_name};
use crate::placement::Pools;
use crate::records::{find, find_to_remove, is_volume, key, made_for, nodes, volume};
use crate::settings::Settings;
use bulkhead_sdk::pools::{Created, Object, ObjectKind, ObjectSpec, PoolError};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::{GIB, round_down, show};

impl Volumes for Local {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        let class = Class::of(&request)?;
        let access = Access::of(&request.capabilities).map_err(Error::invalid)?;
        let pools = Pools::configured()?;
        if let Some(existing) = existing(&pools, &request.name)? {
            return Ok(existing);
        }
        let refused = |pool: &str| access.refused_by(class.kind(), pools.settings.is_shared(pool));
        let candidates = pools.candidates(class.pool.as_deref(), request.topology.as_ref(), refused)?;
        let size_bytes = choose_size(request.capacity.as_ref(), &rules(GIB, access.min_bytes(class.kind(), None)))?;
        let spec = |place: &Place| ObjectSpec {
            name: place.object.clone(),
            kind: class.kind(),
            size_bytes,
            provisioning: class.provisioning,
            metadata: metadata(&request, access.fs_type(None).map(|fs_type| fs_type.name())),
        };
        let mut full = None;
        for pool in candidates {
            let place = place(pool, &request.name)?;
            match pools::create_object(pool, &spec(&place)) {
                Err(error @ (PoolError::NoSpace(_) | PoolError::TooLarge(_))) => full = full.or(Some(error.into())),
                Err(error) => return Err(error.into()),
                Ok(Created::Made(object)) => return Ok(made(&pools.settings, &place, &object)),
                Ok(Created::There(object)) => return quicker(&pools.settings, &place, &request.name, &object),
            }
        }
        Err(full.unwrap_or_else(|| Error::exhausted("no pool for such a volume")))
    }

    fn delete_volume(volume_id: String) -> Result<()> {
        let Some(place) = Place::parse(&volume_id)? else {
            return Ok(());
        };
        let Some(object) = find_to_remove(&place)?.filter(is_volume) else {
            return Ok(());
        };
        let attached: Vec<&str> = nodes(&object).map(|(node, _)| node).collect();
        if !attached.is_empty() {
            let attached = attached.join(", ");
            return Err(Error::precondition(format!("volume {volume_id} is attached to {attached}: detach it first")));
        }
        Ok(pools::delete_object(&place.pool, &place.object)?)
    }

    fn validate_volume_capabilities(request: ValidateRequest) -> Result<Option<String>> {
        let settings = Settings::configured()?;
        let (place, object) = find(&request.volume_id)?;
        Ok(misfit(&settings, &place, &object, &request))
    }
}

impl Expansion for Local {
    fn expand_volume(request: ExpandRequest) -> Result<Expanded> {
        let settings = Settings::configured()?;
        let (place, object) = find(&request.volume_id)?;
        if let Some(capability) = &request.capability {
            Access::served(capability, object.spec.kind, made_for(&object), settings.is_shared(&place.pool))
                .map_err(Error::invalid)?;
        }
        let now = object.spec.size_bytes;
        let wanted = CapacityRange { required: request.capacity.required.or(Some(now)), ..request.capacity };
        let size = choose_size(Some(&wanted), &rules(now, now))?;
        let grown = if size > now { pools::resize_object(&place.pool, &place.object, size)? } else { object };
        // Growing it to more was cut short before, and it has that size now.
        let has = grown.spec.size_bytes;
        if let Some(limit) = request.capacity.limit.filter(|limit| *limit < has) {
            return Err(Error::out_of_range(format!(
                "the volume has {has} bytes already, more than the limit of {limit}"
            )));
        }
        // Also for a raw device: whether it has grown with the image only the host knows.
        let node_expansion_required = grown.spec.kind == ObjectKind::Image;
        Ok(Expanded { capacity_bytes: grown.spec.size_bytes, node_expansion_required })
    }
}

/// Where the volume of that CSI name lies if it is in that pool.
pub fn place(pool: &str, csi_name: &str) -> Result<Place> {
    Place::of(pool, csi_name).ok_or_else(|| long_pool(pool))
}

/// No id has room for the pool's name.
pub fn long_pool(pool: &str) -> Error {
    Error::precondition(format!("the name of pool `{pool}` is too long: give it at most {} characters", max_pool()))
}

/// The volume that has that name already, in whichever pool, as it is: the host compares it with the request.
pub fn existing(pools: &Pools, csi_name: &str) -> Result<Option<Volume>> {
    for pool in pools.all() {
        let place = place(pool, csi_name)?;
        if let Some(object) = pools::stat_object(pool, &place.object)?
            && lookup(&object.spec.metadata, key::NAME) == Some(csi_name)
        {
            return Ok(Some(volume(&pools.settings, &place, &object)));
        }
    }
    Ok(None)
}

/// What a new volume's object has to remember.
pub fn metadata(request: &CreateVolumeRequest, fs_type: Option<&str>) -> StringMap {
    let mut metadata =
        vec![(key::NAME.to_owned(), request.name.clone()), (key::DIGEST.to_owned(), request.request_digest.clone())];
    metadata.extend(fs_type.map(|name| (key::FS_TYPE.to_owned(), name.to_owned())));
    metadata
}

/// The volume of a new object.
pub fn made(settings: &Settings, place: &Place, object: &Object) -> Volume {
    info!("made {} {}, {}", kind_name(object.spec.kind), place.id(), show(object.spec.size_bytes));
    volume(settings, place, object)
}

/// The volume that another call has made meanwhile.
pub fn quicker(settings: &Settings, place: &Place, csi_name: &str, object: &Object) -> Result<Volume> {
    if lookup(&object.spec.metadata, key::NAME) == Some(csi_name) {
        return Ok(volume(settings, place, object));
    }
    Err(Error::already_exists(format!("{} belongs to somebody else", place.id())))
}

/// Sizes of objects: whole blocks, at least `min`.
pub fn rules(default: u64, min: u64) -> SizeRules {
    SizeRules { default, min, max: round_down(SizeRules::ANY.max, BLOCK), granularity: BLOCK }
}

/// Why the volume isn't what the request describes.
fn misfit(settings: &Settings, place: &Place, object: &Object, request: &ValidateRequest) -> Option<String> {
    let access = match Access::of(&request.capabilities) {
        Ok(access) => access,
        Err(reason) => return Some(reason),
    };
    let refused = access.refused_by(object.spec.kind, settings.is_shared(&place.pool));
    if let Some(reason) = refused.or_else(|| access.other_fs(made_for(object))) {
        return Some(reason);
    }
    if !request.context.is_empty() && !same(&request.context, &volume(settings, place, object).context) {
        return Some("the volume context isn't this volume's".to_owned());
    }
    let mutable = match Mutable::parse(&request.mutable_parameters) {
        Ok(mutable) => mutable,
        Err(error) => return Some(error.message().to_owned()),
    };
    if mutable.provisioning.is_some_and(|wanted| wanted != object.spec.provisioning) {
        return Some("the volume has another provisioning".to_owned());
    }
    if request.parameters.is_empty() { None } else { other_class(place, object, &request.parameters) }
}

/// Why a volume of those parameters would be another than this. Not its provisioning: that may have been changed since.
fn other_class(place: &Place, object: &Object, parameters: &StringMap) -> Option<String> {
    let class = match Class::parse(parameters) {
        Ok(class) => class,
        Err(error) => return Some(error.message().to_owned()),
    };
    // A copy is what its source was, where its class says nothing.
    let copied = lookup(&object.spec.metadata, key::SOURCE).is_some();
    let kind = class.kind.unwrap_or(if copied { object.spec.kind } else { ObjectKind::Image });
    let other = |what: &str| Some(format!("the volume has another {what}"));
    match class.pool {
        Some(pool) if pool != place.pool => other("pool"),
        _ if kind != object.spec.kind => other("type"),
        _ => None,
    }
}

fn same(a: &StringMap, b: &StringMap) -> bool {
    a.len() == b.len() && a.iter().all(|(key, value)| lookup(b, key) == Some(value))
}
