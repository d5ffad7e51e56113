//! Health of volumes and pools.

use super::{gib, made, request, with};
use crate::Local;
use crate::fake::{start, world};
use crate::refused;
use bulkhead_sdk::pools::PoolError;
use bulkhead_sdk::prelude::*;

fn available(pool: &str, bytes: u64) {
    world(|world| world.pools.get_mut(pool).expect("a pool").available = bytes);
}

fn list(max_entries: u32, token: Option<String>) -> Result<HealthPage> {
    Local::list_volume_health(PageRequest { max_entries, token })
}

#[test]
fn thin_volumes_suffer_from_a_full_pool() {
    start(&["a"], &[]);
    let thin = made(request("thin"));
    let thick = made(with("thick", &[("provisioning", "thick")]));
    assert_eq!(Local::get_volume_health(thin.clone()), Ok(Vec::new()));
    available("a", gib(4));
    let problems = Local::get_volume_health(thin.clone()).expect("an answer");
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].status, problems[0].reason.as_str()), (VolumeHealthErrorType::Degraded, "PoolNearlyFull"));
    assert_eq!(Local::get_volume_health(thick), Ok(Vec::new()));
    let listed = list(0, None).expect("a page");
    assert_eq!(listed.entries.len(), 1);
    assert_eq!((listed.entries[0].volume_id.as_str(), &listed.entries[0].problems), (thin.as_str(), &problems));
    for id in ["a/none", "nonsense", "elsewhere/v", "a/_s_x"] {
        refused!(Local::get_volume_health(id.to_owned()), NotFound);
    }
}

#[test]
fn unhealthy_volumes_are_listed_page_by_page() {
    start(&["a", "b"], &[("lowSpacePercent", "10")]);
    for number in 0..7 {
        made(with(&format!("v{number}"), &[("pool", if number < 3 { "a" } else { "b" })]));
    }
    assert_eq!(list(0, None).expect("a page").entries.len(), 0);
    available("b", gib(9));
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page = list(3, token).expect("a page");
        assert!(page.entries.len() <= 3);
        seen.extend(page.entries.into_iter().map(|entry| entry.volume_id));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["b/v3", "b/v4", "b/v5", "b/v6"]);
    refused!(list(0, Some("b/_s_x".to_owned())), InvalidArgument);
}

#[test]
fn what_can_not_be_read_is_inaccessible() {
    start(&["a", "b"], &[("defaultPool", "a")]);
    let id = made(request("v"));
    let broken = |error: Option<PoolError>| world(|world| world.pools.get_mut("a").expect("a").broken = error);
    broken(Some(PoolError::Unavailable("EIO".to_owned())));
    let problems = Local::get_volume_health(id.clone()).expect("an answer");
    let (status, reason) = (problems[0].status, problems[0].reason.as_str());
    assert_eq!((status, reason), (VolumeHealthErrorType::Inaccessible, "PoolUnreachable"));
    refused!(list(0, None), UnknownOutcome);
    available("b", 0);
    let storage = Local::get_storage_health().expect("an answer");
    let found: Vec<_> = storage.iter().map(|problem| (problem.status, problem.reason.as_str())).collect();
    let expected = [
        (StorageHealthErrorType::Unreachable, "PoolUnreachable"),
        (StorageHealthErrorType::Degraded, "PoolNearlyFull"),
    ];
    assert_eq!(found, expected);
    assert!(storage[0].message.contains("`a`") && storage[1].message.contains("`b`"));
    broken(Some(PoolError::Busy("busy".to_owned())));
    refused!(Local::get_volume_health(id.clone()), Pending);
    broken(None);
    available("b", gib(50));
    assert_eq!(Local::get_storage_health(), Ok(Vec::new()));
    assert_eq!(Local::get_volume_health(id), Ok(Vec::new()));
}
