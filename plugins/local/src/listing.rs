//! All volumes, page by page, and one of them.

use crate::Local;
use crate::names::Place;
use crate::placement::Pools;
use crate::records::{find, listed};
use crate::settings::Settings;
use crate::walk::{Kind, all, page, start};
use bulkhead_sdk::prelude::*;

impl Listing for Local {
    fn list_volumes(request: PageRequest) -> Result<VolumePage> {
        let last = start(&request, Place::parse)?;
        let pools = Pools::configured()?;
        let found = all(pools.all().iter().map(String::as_str), Kind::Volumes, last);
        let entry = |place: &Place, object: &_| Ok(Some(listed(&pools.settings, place, object)));
        let (entries, next_token) = page(found, &request, entry)?;
        Ok(VolumePage { entries, next_token })
    }
}

impl Inspection for Local {
    fn get_volume(volume_id: String) -> Result<ListedVolume> {
        let settings = Settings::configured()?;
        let (place, object) = find(&volume_id)?;
        Ok(listed(&settings, &place, &object))
    }
}
