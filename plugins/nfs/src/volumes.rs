//! Making, checking, growing and removing volumes.

use crate::Share;
use crate::access::refused;
use crate::host::pools;
use crate::names::{MAX_SHARE, Place, static_parts};
use crate::node::directory;
use crate::parameters::Class;
use crate::records::{find, find_to_remove, is_volume, key, nodes, spec, volume};
use crate::settings::Settings;
use crate::shares::Shares;
use bulkhead_sdk::pools::{Created, Object};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::{GIB, show};

impl Volumes for Share {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        let class = Class::parse(&request.parameters)?;
        refused(&request.capabilities).map_or(Ok(()), |reason| Err(Error::invalid(reason)))?;
        let shares = Shares::configured()?;
        if let Some(existing) = existing(&shares, &request.name)? {
            return Ok(existing);
        }
        let place = place(shares.for_new(class.share.as_deref())?, &request.name)?;
        let size_bytes = choose_size(request.capacity.as_ref(), &rules(GIB, 1))?;
        let spec = spec(&place, size_bytes, class.provisioning, metadata(&request));
        match pools::create_object(&place.share, &spec)? {
            Created::Made(object) => Ok(made(&place, &object)),
            Created::There(object) => quicker(&place, &request.name, &object),
        }
    }

    fn delete_volume(volume_id: String) -> Result<()> {
        if static_parts(&volume_id).is_some() {
            return Err(Error::precondition(format!(
                "volume {volume_id} wasn't made by this driver and isn't deleted by it: let its PersistentVolume be `Retain`"
            )));
        }
        let Some(place) = Place::parse_volume(&volume_id) else {
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
        Ok(pools::delete_object(&place.share, &place.object)?)
    }

    fn validate_volume_capabilities(request: ValidateRequest) -> Result<Option<String>> {
        let settings = Settings::configured()?;
        if static_parts(&request.volume_id).is_some() {
            // Whether it is there only a node can see, which mounts it.
            directory(&settings, &request.volume_id, &request.context)?;
            return Ok(refused(&request.capabilities));
        }
        let (place, object) = find(&request.volume_id)?;
        Ok(misfit(&place, &object, &request))
    }
}

impl Expansion for Share {
    /// A directory has no end: its size is what the pool has noted, and, if the volume is thick, keeps free for it. So growing is
    /// noting, and no node has anything to do.
    fn expand_volume(request: ExpandRequest) -> Result<Expanded> {
        if static_parts(&request.volume_id).is_some() {
            let message = format!("volume {} wasn't made by this driver, which keeps no size of it", request.volume_id);
            return Err(Error::out_of_range(message));
        }
        let (place, object) = find(&request.volume_id)?;
        refused(request.capability.as_slice()).map_or(Ok(()), |reason| Err(Error::invalid(reason)))?;
        let now = object.spec.size_bytes;
        let wanted = CapacityRange { required: request.capacity.required.or(Some(now)), ..request.capacity };
        let size = choose_size(Some(&wanted), &rules(now, now))?;
        let grown = if size > now { pools::resize_object(&place.share, &place.object, size)? } else { object };
        let has = grown.spec.size_bytes;
        if let Some(limit) = request.capacity.limit.filter(|limit| *limit < has) {
            return Err(Error::out_of_range(format!(
                "the volume has {has} bytes already, more than the limit of {limit}"
            )));
        }
        Ok(Expanded { capacity_bytes: has, node_expansion_required: false })
    }
}

/// Where the volume of that CSI name lies if it is on that share.
pub fn place(share: &str, csi_name: &str) -> Result<Place> {
    Place::of(share, csi_name).ok_or_else(|| long_share(share))
}

/// No id has room for the share's name.
pub fn long_share(share: &str) -> Error {
    Error::precondition(format!("the name of share `{share}` is too long: give it at most {MAX_SHARE} characters"))
}

/// The volume that has that name already, on whichever share, as it is: the host compares it with the request.
pub fn existing(shares: &Shares, csi_name: &str) -> Result<Option<Volume>> {
    for share in shares.all() {
        let place = place(share, csi_name)?;
        if let Some(object) = pools::stat_object(share, &place.object)?
            && lookup(&object.spec.metadata, key::NAME) == Some(csi_name)
        {
            return Ok(Some(volume(&place, &object)));
        }
    }
    Ok(None)
}

/// What a new volume's object has to remember.
pub fn metadata(request: &CreateVolumeRequest) -> StringMap {
    vec![(key::NAME.to_owned(), request.name.clone()), (key::DIGEST.to_owned(), request.request_digest.clone())]
}

/// The volume of a new object.
pub fn made(place: &Place, object: &Object) -> Volume {
    info!("made {}, {}", place.id(), show(object.spec.size_bytes));
    volume(place, object)
}

/// The volume that another call has made meanwhile.
pub fn quicker(place: &Place, csi_name: &str, object: &Object) -> Result<Volume> {
    if lookup(&object.spec.metadata, key::NAME) == Some(csi_name) {
        return Ok(volume(place, object));
    }
    Err(Error::already_exists(format!("{} belongs to somebody else", place.id())))
}

/// Sizes of volumes: any, of at least `min` bytes.
pub fn rules(default: u64, min: u64) -> SizeRules {
    SizeRules { default, min, ..SizeRules::ANY }
}

/// Why the volume isn't what the request describes.
fn misfit(place: &Place, object: &Object, request: &ValidateRequest) -> Option<String> {
    if let Some(reason) = refused(&request.capabilities) {
        return Some(reason);
    }
    if !request.context.is_empty() {
        return Some("the volume context isn't this volume's, which has none".to_owned());
    }
    if request.parameters.is_empty() {
        return None;
    }
    match Class::parse(&request.parameters) {
        Err(error) => Some(error.message().to_owned()),
        Ok(class) if class.share.as_ref().is_some_and(|share| *share != place.share) => {
            Some("the volume is on another share".to_owned())
        }
        Ok(class) => {
            (class.provisioning != object.spec.provisioning).then(|| "the volume has another provisioning".to_owned())
        }
    }
}
