//! How much room there is.

use crate::Local;
use crate::access::{Access, BLOCK};
use crate::parameters::{Class, Pools};
use bulkhead_sdk::pools::{Provisioning, stat_pool};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::round_down;

impl Capacity for Local {
    /// Of the pool that a volume of these parameters would go to. Where nobody says which of several: all of them
    /// together, with the largest one as the largest volume. Nothing for uses that are impossible.
    fn get_capacity(request: CapacityRequest) -> Result<Available> {
        let class = Class::parse(&request.parameters)?;
        let pools = Pools::configured();
        let one = pools.find(&class)?.map(|pool| vec![pool.to_owned()]);
        let access = match Access::of(&request.capabilities) {
            Ok(access) if access.refused_by(class.kind).is_none() => access,
            _ => {
                return Ok(Available { available_bytes: 0, maximum_volume_bytes: None, minimum_volume_bytes: None });
            }
        };
        let (mut total, mut largest) = (0_u64, 0);
        for pool in one.as_deref().unwrap_or(pools.all()) {
            let free = round_down(stat_pool(pool)?.available_bytes, BLOCK);
            total = total.saturating_add(free);
            largest = largest.max(free);
        }
        Ok(Available {
            available_bytes: total,
            // A thin volume may promise more than there is.
            maximum_volume_bytes: (class.provisioning == Provisioning::Thick).then_some(largest),
            minimum_volume_bytes: Some(access.min_bytes(class.kind)),
        })
    }
}
