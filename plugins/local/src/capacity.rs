//! How much room there is.

use crate::Local;
use crate::access::{Access, BLOCK};
use crate::host::pools::stat_pool;
use crate::parameters::Class;
use crate::placement::Pools;
use bulkhead_sdk::pools::Provisioning;
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::round_down;

impl Capacity for Local {
    /// Of the pools that a volume of these parameters could go to in that place, together, with the largest one as the largest
    /// volume. Nothing for uses that are impossible.
    ///
    /// Where storage is on each node a scheduler looks at capacity first. Told of an error or of no room, it would tell its user
    /// that storage is full, and nobody would ask for the volume, whose error names the parameter that is wrong. So there, parameters
    /// that no volume can have count as none.
    fn get_capacity(request: CapacityRequest) -> Result<Available> {
        let pools = Pools::configured()?;
        let lenient = pools.settings.node.is_some();
        let class = match Class::parse(&request.parameters) {
            Err(_) if lenient => Class::parse(&StringMap::new())?,
            class => class?,
        };
        let mut chosen = match pools.anywhere(class.pool.as_deref()) {
            Err(Error::InvalidArgument(_)) if lenient => Vec::new(),
            chosen => chosen?,
        };
        if chosen.is_empty() {
            chosen = pools.all().iter().map(String::as_str).collect();
        }
        let nothing = Available { available_bytes: 0, maximum_volume_bytes: Some(0), minimum_volume_bytes: None };
        let Ok(access) = Access::of(&request.capabilities) else {
            return Ok(nothing);
        };
        let settings = &pools.settings;
        chosen.retain(|pool| access.refused_by(class.kind(), settings.is_shared(pool)).is_none());
        chosen.retain(|pool| request.topology.as_ref().is_none_or(|place| settings.fits(pool, place)));
        if chosen.is_empty() {
            return Ok(nothing);
        }
        let min = access.min_bytes(class.kind(), None);
        let (mut total, mut largest) = (0_u64, 0);
        for pool in chosen {
            let free = round_down(stat_pool(pool)?.available_bytes, BLOCK);
            // No thick volume fits into less than the smallest.
            let free = if class.provisioning == Provisioning::Thick && free < min { 0 } else { free };
            total = total.saturating_add(free);
            largest = largest.max(free);
        }
        Ok(Available {
            available_bytes: total,
            // A thin volume may promise more than there is.
            maximum_volume_bytes: (class.provisioning == Provisioning::Thick).then_some(largest),
            minimum_volume_bytes: Some(min),
        })
    }
}
