//! All volumes, page by page, and one of them.

use crate::Local;
use crate::names::Place;
use crate::parameters::Pools;
use crate::volumes::{find, is_ours, volume};
use bulkhead_sdk::pools::list_objects;
use bulkhead_sdk::prelude::*;

/// Most entries of a page.
const MAX_PAGE: usize = 1000;

impl Listing for Local {
    /// The token is the id of the last volume seen. Pools and objects are sorted, so a walk goes on at the right place
    /// whatever was made and removed meanwhile, also if that very volume is gone.
    fn list_volumes(page: PageRequest) -> Result<VolumePage> {
        let last = page.token.as_deref().map(parse_token).transpose()?;
        let size = match usize::try_from(page.max_entries) {
            Ok(1..=MAX_PAGE) => page.max_entries as usize,
            _ => MAX_PAGE,
        };
        // One more than the page holds tells whether there is a next one.
        let mut entries = collect(&Pools::configured(), last.as_ref(), size + 1)?;
        let more = entries.len() > size;
        entries.truncate(size);
        let next_token = entries.last().filter(|_| more).map(|entry| entry.volume.volume_id.clone());
        Ok(VolumePage { entries, next_token })
    }
}

impl Inspection for Local {
    fn get_volume(volume_id: String) -> Result<ListedVolume> {
        let (place, object) = find(&volume_id)?;
        Ok(volume(&place, &object).into())
    }
}

fn parse_token(token: &str) -> Result<Place> {
    Place::parse(token).ok_or_else(|| Error::invalid("the page token isn't one of this backend"))
}

/// Up to `count` volumes that come after `last`.
fn collect(pools: &Pools, last: Option<&Place>, count: usize) -> Result<Vec<ListedVolume>> {
    let mut entries = Vec::new();
    for pool in pools.all() {
        let mut after = match last {
            Some(last) if *pool < last.pool => continue,
            Some(last) if *pool == last.pool => Some(last.object.clone()),
            _ => None,
        };
        loop {
            let objects = list_objects(pool, "", after.as_deref())?;
            let Some(end) = objects.last() else { break };
            after = Some(end.spec.name.clone());
            for object in objects.iter().filter(|object| is_ours(object)) {
                let place = Place { pool: pool.clone(), object: object.spec.name.clone() };
                entries.push(volume(&place, object).into());
                if entries.len() == count {
                    return Ok(entries);
                }
            }
        }
    }
    Ok(entries)
}
