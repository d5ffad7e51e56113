//! Volume health (CSI 1.13), as the controller tells it.

use super::{VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, refused, same, some},
    ensure,
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc};
use std::collections::BTreeSet;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    const GET: Need = Need::Controller(Rpc::GetVolumeHealth);
    const LIST: Need = Need::Controller(Rpc::ListVolumeHealth);
    vec![
        case("health/get", &["health.get"], &[VOLUMES, GET], get),
        case("health/get-unknown", &["health.get-unknown"], &[GET], get_unknown),
        case("health/list", &["health.list"], &[VOLUMES, LIST], list),
        case("health/list-pages", &["health.list-pages"], &[VOLUMES, LIST], pages),
    ]
}

/// Each entry has a known status and a reason in CamelCase, and no two are the same.
pub(super) fn sane(health: &v1::VolumeHealth) -> Outcome {
    let mut seen = BTreeSet::new();
    for entry in &health.health_statuses {
        ensure!(
            (1..=3).contains(&entry.status),
            "health of {}: status {} is not known",
            health.volume_id,
            entry.status
        );
        let camel = entry.reason.starts_with(|c: char| c.is_ascii_uppercase())
            && entry.reason.chars().all(|c| c.is_ascii_alphanumeric());
        ensure!(camel, "health of {}: the reason {:?} is not in CamelCase", health.volume_id, entry.reason);
        let first = seen.insert((entry.status, entry.reason.clone()));
        ensure!(first, "health of {}: ({}, {}) is there twice", health.volume_id, entry.status, entry.reason);
    }
    Ok(())
}

async fn get(cx: Cx) -> Outcome {
    let volume_id = cx.create("health").await?.volume_id;
    let request = v1::ControllerGetVolumeHealthRequest { volume_id: volume_id.clone(), ..Default::default() };
    let answer = ok(cx.controller_get_volume_health(request).await, "ControllerGetVolumeHealth")?;
    let health = some(answer.volume_health, "volume_health")?;
    same(&health.volume_id, &volume_id, "volume_id of the health")?;
    sane(&health)?;
    ensure!(health.health_statuses.is_empty(), "a new volume is not healthy: {:?}", health.health_statuses);
    Ok(())
}

async fn get_unknown(cx: Cx) -> Outcome {
    let request = v1::ControllerGetVolumeHealthRequest { volume_id: no_such_id(&cx), ..Default::default() };
    let answer = cx.controller_get_volume_health(request).await;
    refused(answer, Code::NotFound, "a volume that isn't there").map(drop)
}

async fn all(cx: &Cx, max_entries: i32) -> Outcome<Vec<v1::VolumeHealth>> {
    let (mut all, mut token) = (vec![], String::new());
    loop {
        let request =
            v1::ControllerListVolumeHealthRequest { max_entries, starting_token: token.clone(), ..Default::default() };
        let answer = ok(cx.controller_list_volume_health(request).await, "ControllerListVolumeHealth")?;
        let count = i32::try_from(answer.entries.len()).unwrap_or(i32::MAX);
        ensure!(max_entries == 0 || count <= max_entries, "a page of at most {max_entries} has {count} entries");
        all.extend(answer.entries);
        if answer.next_token.is_empty() {
            return Ok(all);
        }
        ensure!(answer.next_token != token, "the page from token {token:?} has the same token as its next");
        token = answer.next_token;
    }
}

async fn list(cx: Cx) -> Outcome {
    let volume_id = cx.create("health").await?.volume_id;
    let listed = all(&cx, 0).await?;
    let mut ids = BTreeSet::new();
    for health in &listed {
        sane(health)?;
        ensure!(!health.health_statuses.is_empty(), "{} is listed and healthy", health.volume_id);
        ensure!(ids.insert(&health.volume_id), "{} is listed twice", health.volume_id);
    }
    ensure!(!ids.contains(&volume_id), "a new volume is listed as unhealthy");
    Ok(())
}

async fn pages(cx: Cx) -> Outcome {
    cx.create("health").await?;
    for max_entries in [1, 2, 1000] {
        all(&cx, max_entries).await?;
    }
    let bad = |max_entries, token: &str| v1::ControllerListVolumeHealthRequest {
        max_entries,
        starting_token: token.into(),
        ..Default::default()
    };
    let answer = cx.controller_list_volume_health(bad(0, "no-such-token")).await;
    refused(answer, Code::Aborted, "a token that was never given")?;
    let answer = cx.controller_list_volume_health(bad(-1, "")).await;
    refused(answer, Code::InvalidArgument, "max_entries -1").map(drop)
}
