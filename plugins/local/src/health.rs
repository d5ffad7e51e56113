//! What is wrong with volumes and pools, as far as pools tell.

use crate::Local;
use crate::host::pools::{stat_object, stat_pool};
use crate::names::Place;
use crate::placement::Pools;
use crate::records::{is_volume, missing};
use crate::settings::Settings;
use crate::walk::{Kind, all, page, start};
use bulkhead_sdk::pools::{Object, PoolError, PoolInfo, Provisioning};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::show;
use std::collections::BTreeMap;

impl Health for Local {
    fn get_volume_health(volume_id: String) -> Result<Vec<VolumeProblem>> {
        let pools = Pools::configured()?;
        let unknown = || Error::not_found(format!("volume {volume_id}"));
        let place = Place::parse(&volume_id)?.filter(|place| pools.all().contains(&place.pool)).ok_or_else(unknown)?;
        match stat_object(&place.pool, &place.object) {
            Ok(Some(object)) if is_volume(&object) => {
                let pool = stat_pool(&place.pool);
                Ok(problems(&object, pool.ok().and_then(|info| low_space(&pools.settings, &place.pool, &info))))
            }
            Ok(_) | Err(PoolError::NoSuchPool) => Err(missing(&place, unknown())),
            Err(error) => unreadable(&place, error).map(|problem| vec![problem]),
        }
    }
}

impl HealthListing for Local {
    /// Volumes that can't be read can't be listed either: then the walk fails, which says nothing about any of them.
    fn list_volume_health(request: PageRequest) -> Result<HealthPage> {
        let pools = Pools::configured()?;
        let last = start(&request, Place::parse)?;
        // Each pool is looked at once, and only if it has a volume left to show.
        let mut looked: BTreeMap<String, Option<String>> = BTreeMap::new();
        let found = all(pools.all().iter().map(String::as_str), Kind::Volumes, last);
        let (entries, next_token) = page(found, &request, |place, object| {
            if !looked.contains_key(&place.pool) {
                let info = stat_pool(&place.pool)?;
                looked.insert(place.pool.clone(), low_space(&pools.settings, &place.pool, &info));
            }
            let problems = problems(object, looked.get(&place.pool).cloned().flatten());
            Ok((!problems.is_empty()).then(|| UnhealthyVolume { volume_id: place.id(), problems }))
        })?;
        Ok(HealthPage { entries, next_token })
    }
}

impl StorageHealth for Local {
    fn get_storage_health() -> Result<Vec<StorageProblem>> {
        let pools = Pools::configured()?;
        let (mut unreachable, mut low) = (Vec::new(), Vec::new());
        for pool in pools.all() {
            match stat_pool(pool) {
                Err(error) => unreachable.push(format!("pool `{pool}`: {}", Error::from(error).message())),
                Ok(info) => low.extend(low_space(&pools.settings, pool, &info)),
            }
        }
        let problem = |status, reason: &str, found: Vec<String>| {
            let message = clip(&found.join("; "));
            (!found.is_empty()).then(|| StorageProblem { status, reason: reason.to_owned(), message, capability: None })
        };
        let unreachable = problem(StorageHealthErrorType::Unreachable, "PoolUnreachable", unreachable);
        let low = problem(StorageHealthErrorType::Degraded, "PoolNearlyFull", low);
        Ok(unreachable.into_iter().chain(low).collect())
    }
}

/// What is wrong with a volume that can be read. Thick volumes have what they need.
fn problems(object: &Object, low_space: Option<String>) -> Vec<VolumeProblem> {
    let low = low_space.filter(|_| object.spec.provisioning == Provisioning::Thin);
    let problem = low.map(|message| VolumeProblem {
        status: VolumeHealthErrorType::Degraded,
        reason: "PoolNearlyFull".to_owned(),
        message,
    });
    problem.into_iter().collect()
}

/// What it means that an object can't be looked at. A host that is only busy says nothing about it.
fn unreadable(place: &Place, error: PoolError) -> Result<VolumeProblem> {
    let reason = match (&error, stat_pool(&place.pool)) {
        (PoolError::Busy(_) | PoolError::Invalid(_) | PoolError::Denied, _) => return Err(error.into()),
        (_, Ok(_)) => "ObjectUnreadable",
        (_, Err(_)) => "PoolUnreachable",
    };
    Ok(VolumeProblem {
        status: VolumeHealthErrorType::Inaccessible,
        reason: reason.to_owned(),
        message: clip(Error::from(error).message()),
    })
}

/// That a pool is nearly full, if it is.
fn low_space(settings: &Settings, pool: &str, info: &PoolInfo) -> Option<String> {
    let percent = settings.low_space_percent;
    let low = u128::from(info.available_bytes) * 100 < u128::from(info.total_bytes) * u128::from(percent);
    low.then(|| {
        let (available, total) = (show(info.available_bytes), show(info.total_bytes));
        format!("pool `{pool}` has {available} of {total} left, less than {percent} %; thin volumes may fail to write")
    })
}

/// At most what the host takes.
fn clip(message: &str) -> String {
    Error::internal(message).message().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_nearly_full_below_the_limit() {
        let settings = |percent: &str| {
            Settings::parse(&[("lowSpacePercent".to_owned(), percent.to_owned())]).expect("good settings")
        };
        let info =
            |available_bytes| PoolInfo { total_bytes: 1000, available_bytes, reflinks: false, directory_quotas: false };
        assert_eq!(low_space(&settings("5"), "a", &info(50)), None);
        let text = low_space(&settings("5"), "a", &info(49)).expect("low");
        assert!(text.contains("`a`") && text.contains("49 B of 1000 B"), "{text}");
        assert_eq!(low_space(&settings("0"), "a", &info(0)), None);
        assert!(low_space(&settings("100"), "a", &info(999)).is_some());
    }
}
