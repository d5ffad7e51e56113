//! Making, checking, growing and removing volumes.

use crate::Local;
use crate::access::{Access, BLOCK, FsType};
use crate::names::Place;
use crate::parameters::{Class, Pools};
use bulkhead_sdk::pools::{self, Object, ObjectKind, ObjectSpec};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::{GIB, round_down};

/// Keys of an object's metadata.
mod key {
    /// The CSI name that the volume was made for. An object without it isn't ours.
    pub const NAME: &str = "csi-name";
    pub const DIGEST: &str = "request-digest";
    /// As `context::FS_TYPE`.
    pub const FS_TYPE: &str = "fs-type";
}

/// Keys of a volume's context: what a node must know, which sees neither pools nor metadata.
pub mod context {
    /// `image` or `directory`.
    pub const TYPE: &str = "type";
    /// The file system that the volume was made for; absent if it was made for block access only.
    pub const FS_TYPE: &str = "fsType";
}

impl Volumes for Local {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        let class = Class::parse(&request.parameters)?;
        let access = Access::of(&request.capabilities).map_err(Error::invalid)?;
        if let Some(reason) = access.refused_by(class.kind) {
            return Err(Error::invalid(reason));
        }
        let pools = Pools::configured();
        let pool = pools.choose(&class)?;
        // The same name in another pool is the same request with another parameter: the host must see that volume.
        for other in pools.all().iter().filter(|other| *other != pool) {
            if let Some(existing) = existing(&place(other, &request.name)?, &request.name)? {
                return Ok(existing);
            }
        }
        make(&place(pool, &request.name)?, &class, access, &request)
    }

    fn delete_volume(volume_id: String) -> Result<()> {
        let Some(place) = Place::parse(&volume_id) else {
            return Ok(());
        };
        match pools::stat_object(&place.pool, &place.object) {
            Ok(Some(object)) if is_ours(&object) => pools::delete_object(&place.pool, &place.object),
            Ok(_) => Ok(()),
            // Not "unknown, so deleted": the data may still be there, out of this backend's sight.
            Err(Error::NotFound(_)) => {
                Err(Error::precondition(format!("volume {volume_id}: its pool isn't granted to this backend")))
            }
            Err(error) => Err(error),
        }
    }

    fn validate_volume_capabilities(request: ValidateRequest) -> Result<Option<String>> {
        let (place, object) = find(&request.volume_id)?;
        Ok(misfit(&place, &object, &request))
    }
}

impl Expansion for Local {
    fn expand_volume(request: ExpandRequest) -> Result<Expanded> {
        let (place, object) = find(&request.volume_id)?;
        let now = object.spec.size_bytes;
        let wanted = CapacityRange { required: request.capacity.required.or(Some(now)), ..request.capacity };
        let size = choose_size(Some(&wanted), &rules(now))?;
        let grown = if size > now { pools::resize_object(&place.pool, &place.object, size)? } else { object };
        // Also for a raw device: whether it has grown with the image only the host knows.
        let node_expansion_required = grown.spec.kind == ObjectKind::Image;
        Ok(Expanded { capacity_bytes: grown.spec.size_bytes, node_expansion_required })
    }
}

/// A volume as the host's pools have it.
pub fn volume(place: &Place, object: &Object) -> Volume {
    let metadata = &object.spec.metadata;
    let mut context = vec![(context::TYPE.to_owned(), kind_name(object.spec.kind).to_owned())];
    if let Some(fs_type) = lookup(metadata, key::FS_TYPE) {
        context.push((context::FS_TYPE.to_owned(), fs_type.to_owned()));
    }
    Volume {
        context,
        request_digest: lookup(metadata, key::DIGEST).map(str::to_owned),
        ..Volume::new(place.id(), object.spec.size_bytes)
    }
}

/// The object of a volume that must be there.
pub fn find(volume_id: &str) -> Result<(Place, Object)> {
    let unknown = || Error::not_found(format!("volume {volume_id}"));
    let place = Place::parse(volume_id).ok_or_else(unknown)?;
    let object = pools::stat_object(&place.pool, &place.object)?.filter(is_ours).ok_or_else(unknown)?;
    Ok((place, object))
}

/// Pools may hold objects of others; those are none of this backend's business.
pub fn is_ours(object: &Object) -> bool {
    lookup(&object.spec.metadata, key::NAME).is_some()
}

fn place(pool: &str, csi_name: &str) -> Result<Place> {
    Place::of(pool, csi_name)
        .ok_or_else(|| Error::precondition(format!("the name of pool `{pool}` is too long for volume ids")))
}

/// The volume that has that name already, as it is: the host compares it with the request.
fn existing(place: &Place, csi_name: &str) -> Result<Option<Volume>> {
    let Some(object) = pools::stat_object(&place.pool, &place.object)? else {
        return Ok(None);
    };
    match lookup(&object.spec.metadata, key::NAME) {
        Some(name) if name == csi_name => Ok(Some(volume(place, &object))),
        _ => Err(Error::already_exists(format!("{} belongs to somebody else", place.id()))),
    }
}

fn make(place: &Place, class: &Class, access: Access, request: &CreateVolumeRequest) -> Result<Volume> {
    let size_bytes = choose_size(request.capacity.as_ref(), &rules(access.min_bytes(class.kind)))?;
    let mut metadata =
        vec![(key::NAME.to_owned(), request.name.clone()), (key::DIGEST.to_owned(), request.request_digest.clone())];
    if let Some(fs_type) = access.fs_type {
        metadata.push((key::FS_TYPE.to_owned(), fs_type.name().to_owned()));
    }
    let spec = ObjectSpec {
        name: place.object.clone(),
        kind: class.kind,
        size_bytes,
        provisioning: class.provisioning,
        metadata,
    };
    let object = match pools::create_object(&place.pool, &spec) {
        Err(Error::AlreadyExists(_)) => {
            let gone = || Error::pending(format!("{} is being removed", place.id()));
            return existing(place, &request.name)?.ok_or_else(gone);
        }
        made => made?,
    };
    info!("made {} {}, {}", kind_name(class.kind), place.id(), bulkhead_sdk::size::show(size_bytes));
    Ok(volume(place, &object))
}

/// Sizes of objects: whole blocks, at least `min`.
fn rules(min: u64) -> SizeRules {
    SizeRules { default: GIB, min, max: round_down(SizeRules::ANY.max, BLOCK), granularity: BLOCK }
}

/// Why the volume isn't what the request describes.
fn misfit(place: &Place, object: &Object, request: &ValidateRequest) -> Option<String> {
    let access = match Access::of(&request.capabilities) {
        Ok(access) => access,
        Err(reason) => return Some(reason),
    };
    if let Some(reason) = access.refused_by(object.spec.kind) {
        return Some(reason);
    }
    let made_for = lookup(&object.spec.metadata, key::FS_TYPE).and_then(FsType::parse);
    let named = request.capabilities.iter().find_map(VolumeCapability::fs_type);
    if let (Some(made_for), Some(named)) = (made_for, named)
        && made_for.name() != named
    {
        return Some(format!("the volume was made for {}, not {named}", made_for.name()));
    }
    if !request.context.is_empty() && !same(&request.context, &volume(place, object).context) {
        return Some("the volume context isn't this volume's".to_owned());
    }
    if !request.mutable_parameters.is_empty() {
        return Some("mutable parameters aren't supported".to_owned());
    }
    if request.parameters.is_empty() { None } else { other_class(place, object, &request.parameters) }
}

/// Why a volume of those parameters would be another than this.
fn other_class(place: &Place, object: &Object, parameters: &StringMap) -> Option<String> {
    let class = match Class::parse(parameters) {
        Ok(class) => class,
        Err(error) => return Some(error.message().to_owned()),
    };
    let other = |what: &str| Some(format!("the volume has another {what}"));
    match class {
        Class { pool: Some(pool), .. } if pool != place.pool => other("pool"),
        Class { kind, .. } if kind != object.spec.kind => other("type"),
        Class { provisioning, .. } if provisioning != object.spec.provisioning => other("provisioning"),
        _ => None,
    }
}

fn same(a: &StringMap, b: &StringMap) -> bool {
    a.len() == b.len() && a.iter().all(|(key, value)| lookup(b, key) == Some(value))
}

/// Value of the parameter and of the context key `type`.
pub fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Image => "image",
        ObjectKind::Directory => "directory",
    }
}
