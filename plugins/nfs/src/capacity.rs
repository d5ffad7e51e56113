//! How much room there is.

use crate::Share;
use crate::access::refused;
use crate::host::pools::stat_pool;
use crate::parameters::Class;
use crate::shares::Shares;
use bulkhead_sdk::pools::Provisioning;
use bulkhead_sdk::prelude::*;

impl Capacity for Share {
    /// Of the share that a volume of these parameters would go to, or of all together if nobody says which. Nothing for uses that
    /// are impossible.
    fn get_capacity(request: CapacityRequest) -> Result<Available> {
        let class = Class::parse(&request.parameters)?;
        let shares = Shares::configured()?;
        let chosen = shares.chosen(class.share.as_deref())?;
        if refused(&request.capabilities).is_some() {
            return Ok(Available { available_bytes: 0, maximum_volume_bytes: Some(0), minimum_volume_bytes: None });
        }
        let chosen: Vec<&str> =
            chosen.map_or_else(|| shares.all().iter().map(String::as_str).collect(), |one| vec![one]);
        let (mut total, mut largest) = (0_u64, 0);
        for share in chosen {
            let free = stat_pool(share)?.available_bytes;
            total = total.saturating_add(free);
            largest = largest.max(free);
        }
        Ok(Available {
            available_bytes: total,
            // A thin volume may promise more than there is.
            maximum_volume_bytes: (class.provisioning == Provisioning::Thick).then_some(largest),
            minimum_volume_bytes: Some(1),
        })
    }
}
