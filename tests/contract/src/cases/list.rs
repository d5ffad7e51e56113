//! ListVolumes.

use super::{ATTACH, LIST, VOLUMES};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{ok, ok_or, refused, same},
    ensure,
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc};
use std::collections::BTreeSet;
use tonic::Code;

/// More pages than any run makes: a driver whose tokens go in a circle fails instead of looping.
const PAGES: usize = 100_000;

pub(super) fn cases() -> Vec<Case> {
    const NODES: Need = Need::Controller(Rpc::ListVolumesPublishedNodes);
    const CONDITION: Need = Need::Controller(Rpc::VolumeCondition);
    vec![
        case("list-volumes/complete", &["list.complete"], &[VOLUMES, LIST], complete),
        case("list-volumes/pages", &["list.pages"], &[VOLUMES, LIST], pages),
        case("list-volumes/rest", &["list.rest"], &[VOLUMES, LIST], rest).alone(),
        case("list-volumes/exact-end", &["list.exact-end"], &[VOLUMES, LIST], exact_end).alone(),
        case("list-volumes/bad-token", &["list.bad-token"], &[LIST], bad_token),
        case("list-volumes/negative", &["list.negative"], &[LIST], negative),
        case("list-volumes/stable", &["list.stable"], &[VOLUMES, LIST], stable),
        case("list-volumes/deleted-token", &["list.deleted-token"], &[VOLUMES, LIST], deleted_token).alone(),
        case(
            "list-volumes/published-nodes",
            &["list.published-nodes"],
            &[VOLUMES, LIST, ATTACH, NODES, Need::NodeService],
            published_nodes,
        ),
        case("list-volumes/condition", &["list.condition"], &[VOLUMES, LIST, CONDITION], condition),
    ]
}

async fn page(cx: &Cx, max_entries: i32, token: &str) -> Outcome<v1::ListVolumesResponse> {
    let request = v1::ListVolumesRequest { max_entries, starting_token: token.into() };
    let answer = ok(cx.list_volumes(request).await, &format!("a page of {max_entries} from {token:?}"))?;
    let count = i32::try_from(answer.entries.len()).unwrap_or(i32::MAX);
    ensure!(max_entries == 0 || count <= max_entries, "a page of at most {max_entries} has {count} entries");
    ensure!(answer.entries.iter().all(|e| e.volume.is_some()), "an entry has no volume");
    Ok(answer)
}

async fn entries(cx: &Cx, max_entries: i32) -> Outcome<Vec<v1::list_volumes_response::Entry>> {
    let (mut all, mut token) = (vec![], String::new());
    for _ in 0..PAGES {
        let answer = page(cx, max_entries, &token).await?;
        all.extend(answer.entries);
        if answer.next_token.is_empty() {
            return Ok(all);
        }
        ensure!(answer.next_token != token, "the page from token {token:?} has the same token as its next");
        token = answer.next_token;
    }
    Err(Stop::fail(format!("no end after {PAGES} pages")))
}

/// All volumes, page by page; 0 is no limit for a page.
pub(super) async fn all(cx: &Cx, max_entries: i32) -> Outcome<Vec<v1::Volume>> {
    Ok(entries(cx, max_entries).await?.into_iter().filter_map(|entry| entry.volume).collect())
}

async fn some_volumes(cx: &Cx, count: usize) -> Outcome<Vec<v1::Volume>> {
    let mut volumes = vec![];
    for _ in 0..count {
        volumes.push(cx.create("list").await?);
    }
    Ok(volumes)
}

/// Each of ours is there once.
fn each_once(listed: &[v1::Volume], ours: &[v1::Volume], how: &str) -> Outcome {
    for volume in ours {
        let count = listed.iter().filter(|v| v.volume_id == volume.volume_id).count();
        ensure!(count == 1, "{how}: the volume {} is listed {count} times", volume.volume_id);
    }
    Ok(())
}

async fn complete(cx: Cx) -> Outcome {
    let ours = some_volumes(&cx, 3).await?;
    let listed = all(&cx, 0).await?;
    each_once(&listed, &ours, "all at once")?;
    for volume in &ours {
        let Some(entry) = listed.iter().find(|v| v.volume_id == volume.volume_id) else { continue };
        same(&entry.capacity_bytes, &volume.capacity_bytes, "capacity_bytes of an entry")?;
        same(&entry.volume_context, &volume.volume_context, "volume_context of an entry")?;
    }
    Ok(())
}

async fn pages(cx: Cx) -> Outcome {
    let ours = some_volumes(&cx, 5).await?;
    for max in [1, 2, 3, 5, 1000, i32::MAX] {
        each_once(&all(&cx, max).await?, &ours, &format!("in pages of {max}"))?;
    }
    Ok(())
}

async fn rest(cx: Cx) -> Outcome {
    let ours = some_volumes(&cx, 4).await?;
    let first = page(&cx, 1, "").await?;
    ensure!(!first.next_token.is_empty(), "the first of several pages has no next_token");
    let mut listed: Vec<_> = first.entries.into_iter().filter_map(|e| e.volume).collect();
    let mut token = first.next_token;
    while !token.is_empty() {
        let next = page(&cx, 0, &token).await?;
        listed.extend(next.entries.into_iter().filter_map(|e| e.volume));
        token = next.next_token;
    }
    each_once(&listed, &ours, "one, then the rest")
}

async fn exact_end(cx: Cx) -> Outcome {
    some_volumes(&cx, 2).await?;
    let count = all(&cx, 0).await?.len();
    let exact = page(&cx, i32::try_from(count).unwrap_or(i32::MAX), "").await?;
    ensure!(exact.entries.len() == count, "a page as long as the list has {} of {count} entries", exact.entries.len());
    if !exact.next_token.is_empty() {
        let next = page(&cx, 1, &exact.next_token).await?;
        ensure!(next.entries.is_empty() && next.next_token.is_empty(), "there is more after the end of the list");
    }
    Ok(())
}

async fn bad_token(cx: Cx) -> Outcome {
    for token in ["no-such-token", "-1", "99999999999999999999", "\u{1}", "{}", "../..", "0x10", "NaN"] {
        let request = v1::ListVolumesRequest { max_entries: 0, starting_token: token.into() };
        refused(cx.list_volumes(request).await, Code::Aborted, &format!("the token {token:?}"))?;
    }
    super::alive(&cx, "wrong tokens").await
}

async fn negative(cx: Cx) -> Outcome {
    for max_entries in [-1, i32::MIN] {
        let request = v1::ListVolumesRequest { max_entries, starting_token: String::new() };
        let answer = cx.list_volumes(request).await;
        refused(answer, Code::InvalidArgument, &format!("max_entries {max_entries}"))?;
    }
    super::alive(&cx, "a negative max_entries").await
}

async fn stable(cx: Cx) -> Outcome {
    let ours = some_volumes(&cx, 4).await?;
    let churn = async {
        for _ in 0..20 {
            let id = cx.create("come-and-go").await?.volume_id;
            cx.delete(&id).await?;
        }
        Ok::<_, Stop>(())
    };
    let watch = async {
        for _ in 0..10 {
            let (mut listed, mut token) = (vec![], String::new());
            for _ in 0..PAGES {
                let request = v1::ListVolumesRequest { max_entries: 1, starting_token: token.clone() };
                // A list that has changed may ask its reader to begin again.
                let what = "a page while volumes come and go";
                let Some(answer) = ok_or(cx.list_volumes(request).await, &[Code::Aborted], what)? else {
                    (listed, token) = (vec![], String::new());
                    continue;
                };
                listed.extend(answer.entries.into_iter().filter_map(|e| e.volume));
                token = answer.next_token;
                if token.is_empty() {
                    break;
                }
            }
            each_once(&listed, &ours, "while volumes come and go")?;
        }
        Ok::<_, Stop>(())
    };
    let (churned, watched) = tokio::join!(churn, watch);
    churned.and(watched)
}

async fn deleted_token(cx: Cx) -> Outcome {
    let ours = some_volumes(&cx, 4).await?;
    let ids: BTreeSet<_> = ours.iter().map(|v| v.volume_id.clone()).collect();
    let (mut seen, mut token) = (vec![], String::new());
    for _ in 0..PAGES {
        let request = v1::ListVolumesRequest { max_entries: 1, starting_token: token };
        let what = "a page after the volume before it was deleted";
        let Some(answer) = ok_or(cx.list_volumes(request).await, &[Code::Aborted], what)? else { return Ok(()) };
        for volume in answer.entries.into_iter().filter_map(|e| e.volume) {
            if ids.contains(&volume.volume_id) {
                cx.delete(&volume.volume_id).await?;
            }
            seen.push(volume);
        }
        token = answer.next_token;
        if token.is_empty() {
            break;
        }
    }
    each_once(&seen, &ours, "each deleted as soon as it was listed")
}

async fn nodes_of(cx: &Cx, id: &str) -> Outcome<Vec<String>> {
    let found = entries(cx, 0).await?.into_iter().find(|e| e.volume.as_ref().is_some_and(|v| v.volume_id == id));
    let Some(entry) = found else { return Err(Stop::fail(format!("the volume {id} is not listed"))) };
    let Some(status) = entry.status else { return Err(Stop::fail("the entry has no status")) };
    Ok(status.published_node_ids)
}

async fn published_nodes(cx: Cx) -> Outcome {
    let id = cx.create("nodes").await?;
    same(&nodes_of(&cx, &id.volume_id).await?, &vec![], "nodes of a volume that is attached nowhere")?;
    cx.attach(&id).await?;
    same(&nodes_of(&cx, &id.volume_id).await?, &vec![cx.node_id()], "nodes of an attached volume")?;
    cx.detach(&id.volume_id).await?;
    same(&nodes_of(&cx, &id.volume_id).await?, &vec![], "nodes of a detached volume")
}

async fn condition(cx: Cx) -> Outcome {
    let id = cx.create("condition").await?.volume_id;
    let found = entries(&cx, 0).await?.into_iter().find(|e| e.volume.as_ref().is_some_and(|v| v.volume_id == id));
    let condition = found.and_then(|entry| entry.status).and_then(|status| status.volume_condition);
    super::get::sane(condition)
}
