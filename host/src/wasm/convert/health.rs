//! What is wrong, from the guest.

use super::{
    list,
    volumes::{capability_from_wit, page_token},
};
use crate::wasm::bindings::{imports::types as wit, offered};
use bulkhead_domain::{
    Error,
    error::clean_text,
    health::{StorageHealth, StorageProblem, UnhealthyVolume, VolumeHealth, VolumeProblem},
    limits::{self, Violation},
    volume::{Page, VolumeId},
};
use std::collections::HashSet;

/// CamelCase, as CSI wants it.
fn reason(reason: String) -> Result<String, Violation> {
    limits::required_text("reason", &reason, limits::STRING_BYTES)?;
    if reason.starts_with(|c: char| c.is_ascii_uppercase()) && reason.chars().all(|c| c.is_ascii_alphanumeric()) {
        Ok(reason)
    } else {
        Err("a reason is not CamelCase".into())
    }
}

fn message(text: &str) -> String {
    clean_text(text, Error::MAX_MESSAGE_BYTES)
}

/// All that is wrong with one volume.
pub fn volume_problems(problems: Vec<wit::VolumeProblem>) -> Result<Vec<VolumeProblem>, Violation> {
    use wit::VolumeHealthErrorType as Wit;
    let problems = list("problems", problems, |problem| {
        Ok(VolumeProblem {
            status: match problem.status {
                Wit::Degraded => VolumeHealth::Degraded,
                Wit::Inaccessible => VolumeHealth::Inaccessible,
                Wit::DataLoss => VolumeHealth::DataLoss,
            },
            reason: reason(problem.reason)?,
            message: message(&problem.message),
        })
    })?;
    let mut seen = HashSet::new();
    if problems.iter().all(|p| seen.insert((p.status as u8, p.reason.as_str()))) {
        Ok(problems)
    } else {
        Err("a status and reason are there twice".into())
    }
}

/// A page of unhealthy volumes.
pub fn health_page(
    page: offered::health_listing::HealthPage,
    max_entries: u32,
) -> Result<Page<UnhealthyVolume>, Violation> {
    Ok(Page {
        next_token: page_token(page.entries.len(), max_entries, page.next_token)?,
        entries: list("entries", page.entries, |found| {
            let problems = volume_problems(found.problems)?;
            if problems.is_empty() {
                return Err("a healthy volume is listed as unhealthy".into());
            }
            Ok(UnhealthyVolume { volume_id: VolumeId::from_backend(found.volume_id)?, problems })
        })?,
    })
}

/// All that is wrong with the storage system.
pub fn storage_problems(
    problems: Vec<offered::storage_health::StorageProblem>,
) -> Result<Vec<StorageProblem>, Violation> {
    use offered::storage_health::StorageHealthErrorType as Wit;
    list("problems", problems, |problem| {
        Ok(StorageProblem {
            status: match problem.status {
                Wit::Degraded => StorageHealth::Degraded,
                Wit::Unreachable => StorageHealth::Unreachable,
            },
            reason: reason(problem.reason)?,
            message: message(&problem.message),
            capability: problem.capability.map(capability_from_wit).transpose()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_for_machines_and_unique() {
        let problem = |reason: &str| wit::VolumeProblem {
            status: wit::VolumeHealthErrorType::Degraded,
            reason: reason.into(),
            message: "a\nb".into(),
        };
        let found = volume_problems(vec![problem("PoolNearlyFull")]).unwrap();
        assert_eq!(found[0].message, "a\\nb");
        for bad in ["", "lower", "With Space", "With-Dash"] {
            assert!(volume_problems(vec![problem(bad)]).is_err(), "{bad:?}");
        }
        assert!(volume_problems(vec![problem("A"), problem("A")]).is_err());
    }
}
