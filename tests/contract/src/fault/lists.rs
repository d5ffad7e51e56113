//! Faults of lists of volumes, of their pages, and of health.

use super::{Call, Fault, Hooks, fault, unless};
use bulkhead_proto::v1::{
    self, ListVolumesRequest, ListVolumesResponse, VolumeHealth, list_volumes_response::Entry,
    volume_health::VolumeHealthEntry,
};
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Status};

/// The last entry before each token.
#[derive(Default)]
struct Before(BTreeMap<String, Entry>);

/// All nodes that each volume was ever attached to.
#[derive(Default)]
struct Nodes(BTreeMap<String, BTreeSet<String>>);

/// Answers by token.
#[derive(Default)]
struct Cached(BTreeMap<String, ListVolumesResponse>);

/// A volume that was made here.
#[derive(Default)]
struct Last(String);

pub(super) const FAULTS: &[Fault] = &[
    fault("pages-skip-one", "each page but the first lacks its first volume", &["list-volumes/pages"], |hooks| {
        hooks.list_volumes(|call, request| async move {
            let first = request.starting_token.is_empty();
            let mut answer = call.list_volumes(request).await?;
            answer.entries.drain(..usize::from(!first && !answer.entries.is_empty()));
            Ok(answer)
        });
    }),
    fault(
        "pages-repeat-one",
        "each page but the first begins with the last volume of the page before",
        &["list-volumes/pages"],
        |hooks| {
            hooks.list_volumes(|call, request| async move {
                let again = call.with(|before: &mut Before| before.0.get(&request.starting_token).cloned());
                let mut answer = call.list_volumes(request).await?;
                if let Some(last) = answer.entries.last() {
                    call.with(|before: &mut Before| _ = before.0.insert(answer.next_token.clone(), last.clone()));
                }
                answer.entries.splice(..0, again);
                Ok(answer)
            });
        },
    ),
    fault(
        "pages-ignore-max-entries",
        "pages are as long as they like",
        &["list-volumes/pages", "list-volumes/rest"],
        |hooks| {
            hooks.list_volumes(|call, request| async move {
                call.list_volumes(ListVolumesRequest { max_entries: 0, ..request }).await
            });
        },
    ),
    fault("pages-never-end", "the last page leads to the first", &["list-volumes/complete"], |hooks| {
        hooks.list_volumes(|call, mut request| async move {
            if request.starting_token == "first" {
                request.starting_token.clear();
            }
            let mut answer = call.list_volumes(request).await?;
            if answer.next_token.is_empty() {
                answer.next_token = "first".into();
            }
            Ok(answer)
        });
    }),
    fault(
        "pages-end-early",
        "the first page has no next_token",
        &["list-volumes/pages", "list-volumes/rest"],
        |hooks| {
            hooks.list_volumes(|call, request| async move {
                let answer = call.list_volumes(request).await?;
                Ok(ListVolumesResponse { next_token: String::new(), ..answer })
            });
        },
    ),
    fault(
        "pages-take-any-token",
        "a token that was never given is the first page",
        &["list-volumes/bad-token"],
        |hooks| {
            hooks.list_volumes(|call, mut request| async move {
                match call.list_volumes(request.clone()).await {
                    Err(status) if status.code() == Code::Aborted => {
                        request.starting_token.clear();
                        call.list_volumes(request).await
                    }
                    answer => answer,
                }
            });
        },
    ),
    fault("pages-take-negative", "a negative max_entries is no limit", &["list-volumes/negative"], |hooks| {
        hooks.list_volumes(|call, mut request| async move {
            request.max_entries = request.max_entries.max(0);
            call.list_volumes(request).await
        });
    }),
    fault(
        "tokens-are-positions",
        "a token counts volumes: a deletion between two pages hides one",
        &["list-volumes/deleted-token"],
        |hooks| hooks.list_volumes(|call, request| async move { by_position(&call, request).await }),
    ),
    fault(
        "list-from-a-cache",
        "ListVolumes tells what was there when it was first asked",
        &["list-volumes/published-nodes"],
        |hooks| {
            hooks.list_volumes(|call, request| async move {
                let key = format!("{} {}", request.max_entries, request.starting_token);
                if let Some(answer) = call.with(|cached: &mut Cached| cached.0.get(&key).cloned()) {
                    return Ok(answer);
                }
                let answer = call.list_volumes(request).await?;
                call.with(|cached: &mut Cached| _ = cached.0.insert(key, answer.clone()));
                Ok(answer)
            });
        },
    ),
    fault(
        "list-rounds-sizes",
        "volumes are listed with their size in whole GiB",
        &["list-volumes/complete"],
        |hooks| {
            hooks.list_volumes(|call, request| async move {
                const GIB: i64 = 1 << 30;
                let mut answer = call.list_volumes(request).await?;
                for volume in answer.entries.iter_mut().filter_map(|entry| entry.volume.as_mut()) {
                    volume.capacity_bytes = (volume.capacity_bytes / GIB + 1).saturating_mul(GIB);
                }
                Ok(answer)
            });
        },
    ),
    fault("list-hides-nodes", "published_node_ids is always empty", &["list-volumes/published-nodes"], |hooks| {
        hooks.list_volumes(|call, request| async move {
            let mut answer = call.list_volumes(request).await?;
            let statuses = answer.entries.iter_mut().filter_map(|entry| entry.status.as_mut());
            statuses.for_each(|status| status.published_node_ids.clear());
            Ok(answer)
        });
    }),
    fault(
        "list-keeps-nodes",
        "a node stays listed after the volume was detached from it",
        &["list-volumes/published-nodes"],
        list_keeps_nodes,
    ),
    fault("list-hides-condition", "volumes are listed without a condition", &["list-volumes/condition"], |hooks| {
        hooks.list_volumes(|call, request| async move {
            let mut answer = call.list_volumes(request).await?;
            let statuses = answer.entries.iter_mut().filter_map(|entry| entry.status.as_mut());
            statuses.for_each(|status| status.volume_condition = None);
            Ok(answer)
        });
    }),
    fault("health-lists-healthy", "healthy volumes are listed among those that are not", &["health/list"], |hooks| {
        hooks.create_volume(|call, request| async move {
            let answer = call.create_volume(request).await?;
            let id = answer.volume.as_ref().map(|volume| volume.volume_id.clone()).unwrap_or_default();
            call.with(|last: &mut Last| last.0 = id);
            Ok(answer)
        });
        hooks.controller_list_volume_health(|call, request| async move {
            let mut answer = call.controller_list_volume_health(request).await?;
            let volume_id = call.with(|last: &mut Last| last.0.clone());
            answer.entries.push(VolumeHealth { volume_id, health_statuses: vec![] });
            Ok(answer)
        });
    }),
    fault("health-of-unknown", "a volume that isn't there is healthy", &["health/get-unknown"], |hooks| {
        hooks.controller_get_volume_health(|call, request| async move {
            let health = VolumeHealth { volume_id: request.volume_id.clone(), health_statuses: vec![] };
            let other = || v1::ControllerGetVolumeHealthResponse { volume_health: Some(health) };
            unless(call.controller_get_volume_health(request).await, Code::NotFound, other)
        });
    }),
    fault(
        "health-says-unknown",
        "a healthy volume has an entry of the status UNKNOWN, without a reason",
        &["health/get", "node-health/healthy"],
        |hooks| {
            hooks.controller_get_volume_health(|call, request| async move {
                let mut answer = call.controller_get_volume_health(request).await?;
                answer.volume_health.iter_mut().for_each(of_no_kind);
                Ok(answer)
            });
            hooks.node_get_volume_health(|call, request| async move {
                let mut answer = call.node_get_volume_health(request).await?;
                answer.volume_health.iter_mut().for_each(of_no_kind);
                Ok(answer)
            });
        },
    ),
];

fn of_no_kind(health: &mut VolumeHealth) {
    health.health_statuses.push(VolumeHealthEntry::default());
}

async fn by_position(call: &Call, request: ListVolumesRequest) -> Result<ListVolumesResponse, Status> {
    let (mut all, mut token) = (vec![], String::new());
    loop {
        let answer = call.list_volumes(ListVolumesRequest { max_entries: 0, starting_token: token }).await?;
        all.extend(answer.entries);
        token = answer.next_token;
        if token.is_empty() {
            break;
        }
    }
    let bad = || Status::aborted("the token was never given: begin again without one");
    let begin = if request.starting_token.is_empty() { Ok(0) } else { request.starting_token.parse::<usize>() };
    let begin = begin.ok().filter(|begin| *begin <= all.len()).ok_or_else(bad)?;
    let most = usize::try_from(request.max_entries).map_err(|_| Status::invalid_argument("max_entries is negative"))?;
    let end = if most == 0 { all.len() } else { begin.saturating_add(most).min(all.len()) };
    let next_token = if end < all.len() { end.to_string() } else { String::new() };
    Ok(ListVolumesResponse { entries: all[begin..end].to_vec(), next_token })
}

fn list_keeps_nodes(hooks: &mut Hooks) {
    hooks.list_volumes(|call, request| async move {
        let mut answer = call.list_volumes(request).await?;
        for entry in &mut answer.entries {
            let (Some(volume), Some(status)) = (&entry.volume, &mut entry.status) else { continue };
            status.published_node_ids = call.with(|nodes: &mut Nodes| {
                let ever = nodes.0.entry(volume.volume_id.clone()).or_default();
                ever.extend(status.published_node_ids.iter().cloned());
                ever.iter().cloned().collect()
            });
        }
        Ok(answer)
    });
}
