//! All volumes, page by page, and one of them.

use crate::Share;
use crate::names::{Place, static_parts};
use crate::records::{find, listed};
use crate::shares::Shares;
use crate::walk::{Kind, all, page, start};
use bulkhead_sdk::prelude::*;

impl Listing for Share {
    fn list_volumes(request: PageRequest) -> Result<VolumePage> {
        let last = start(&request, Place::parse_volume)?;
        let shares = Shares::configured()?;
        let found = all(shares.all().iter().map(String::as_str), Kind::Volumes, last);
        let (entries, next_token) = page(found, &request, |place, object| Some(listed(place, object)))?;
        Ok(VolumePage { entries, next_token })
    }
}

impl Inspection for Share {
    fn get_volume(volume_id: String) -> Result<ListedVolume> {
        if static_parts(&volume_id).is_some() {
            // Nothing is known of it. That it is unknown would mean that it is gone.
            return Ok(ListedVolume { volume: Volume::new(volume_id, 0), published_node_ids: Vec::new() });
        }
        let (place, object) = find(&volume_id)?;
        Ok(listed(&place, &object))
    }
}
