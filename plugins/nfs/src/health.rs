//! What is wrong with a volume, as far as its pool tells.

use crate::Share;
use crate::host::pools::{stat_object, stat_pool};
use crate::names::{Place, static_parts};
use crate::records::is_volume;
use bulkhead_sdk::pools::PoolError;
use bulkhead_sdk::prelude::*;

impl Health for Share {
    fn get_volume_health(volume_id: String) -> Result<Vec<VolumeProblem>> {
        if static_parts(&volume_id).is_some() {
            // Only nodes see it, and their hosts say what they see.
            return Ok(Vec::new());
        }
        let unknown = || Error::not_found(format!("volume {volume_id}"));
        let place = Place::parse_volume(&volume_id).ok_or_else(unknown)?;
        match stat_object(&place.share, &place.object) {
            Ok(Some(object)) if is_volume(&object) => Ok(Vec::new()),
            Ok(_) | Err(PoolError::NoSuchPool) => Err(unknown()),
            // A host that is only busy says nothing about it.
            Err(error @ (PoolError::Busy(_) | PoolError::Invalid(_) | PoolError::Denied)) => Err(error.into()),
            Err(error) => {
                let reason = if stat_pool(&place.share).is_ok() { "DirectoryUnreadable" } else { "ShareUnreachable" };
                Ok(vec![VolumeProblem {
                    status: VolumeHealthErrorType::Inaccessible,
                    reason: reason.to_owned(),
                    message: Error::from(error).message().to_owned(),
                }])
            }
        }
    }
}
