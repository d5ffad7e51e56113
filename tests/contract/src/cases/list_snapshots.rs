//! ListSnapshots and GetSnapshot.

use super::{LIST_SNAPSHOTS, SNAPSHOTS, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{ok, ok_or, refused, same, some},
    ensure,
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc};
use tonic::Code;

/// See `list.rs`.
const PAGES: usize = 100_000;

pub(super) fn cases() -> Vec<Case> {
    const NEEDS: &[Need] = &[VOLUMES, SNAPSHOTS, LIST_SNAPSHOTS];
    const GET: Need = Need::Controller(Rpc::GetSnapshot);
    vec![
        case("list-snapshots/filters", FILTERS, NEEDS, filters),
        case("list-snapshots/miss", &["list-snapshots.miss"], &[LIST_SNAPSHOTS], miss),
        case("list-snapshots/pages", &["list-snapshots.pages"], NEEDS, pages),
        case("list-snapshots/bad-token", &["list-snapshots.bad-token"], &[LIST_SNAPSHOTS], bad_token),
        case("list-snapshots/negative", &["list-snapshots.negative"], &[LIST_SNAPSHOTS], negative),
        case("list-snapshots/stable", &["list-snapshots.stable"], NEEDS, stable),
        case("list-snapshots/source-deleted", &["list-snapshots.source-deleted"], NEEDS, source_deleted),
        case("get-snapshot/same", &["get-snapshot.same"], &[VOLUMES, SNAPSHOTS, GET], get_same),
        case("get-snapshot/unknown", &["get-snapshot.unknown"], &[GET], get_unknown),
    ]
}

const FILTERS: &[&str] = &["list-snapshots.by-id", "list-snapshots.by-source", "list-snapshots.both"];

fn by(snapshot_id: &str, source_volume_id: &str) -> v1::ListSnapshotsRequest {
    v1::ListSnapshotsRequest {
        snapshot_id: snapshot_id.into(),
        source_volume_id: source_volume_id.into(),
        ..Default::default()
    }
}

/// All that a request lists, page by page.
pub(super) async fn all(cx: &Cx, mut request: v1::ListSnapshotsRequest) -> Outcome<Vec<v1::Snapshot>> {
    let mut all = vec![];
    for _ in 0..PAGES {
        let answer = ok(cx.list_snapshots(request.clone()).await, "ListSnapshots")?;
        let (count, max) = (answer.entries.len(), request.max_entries);
        let fits = max == 0 || i32::try_from(count).is_ok_and(|count| count <= max);
        ensure!(fits, "a page of at most {max} has {count} entries");
        for entry in answer.entries {
            all.push(some(entry.snapshot, "snapshot in an entry")?);
        }
        if answer.next_token.is_empty() {
            return Ok(all);
        }
        let circle = answer.next_token == request.starting_token;
        ensure!(!circle, "the page from token {:?} has the same token as its next", request.starting_token);
        request.starting_token = answer.next_token;
    }
    Err(Stop::fail(format!("no end after {PAGES} pages")))
}

/// Snapshots of one new volume, with their source.
async fn some_snapshots(cx: &Cx, count: usize) -> Outcome<(String, Vec<v1::Snapshot>)> {
    let id = cx.create("listed").await?.volume_id;
    let mut snapshots = vec![];
    for _ in 0..count {
        snapshots.push(cx.snapshot(&id, "listed").await?);
    }
    snapshots.sort_by(|a, b| a.snapshot_id.cmp(&b.snapshot_id));
    Ok((id, snapshots))
}

fn sorted(mut snapshots: Vec<v1::Snapshot>) -> Vec<v1::Snapshot> {
    snapshots.sort_by(|a, b| a.snapshot_id.cmp(&b.snapshot_id));
    snapshots
}

async fn filters(cx: Cx) -> Outcome {
    let (one, of_one) = some_snapshots(&cx, 3).await?;
    let (two, of_two) = some_snapshots(&cx, 2).await?;
    let first = &of_one[0];
    same(&all(&cx, by(&first.snapshot_id, "")).await?, &vec![first.clone()], "by id")?;
    same(&sorted(all(&cx, by("", &one)).await?), &of_one, "by source, three snapshots")?;
    same(&sorted(all(&cx, by("", &two)).await?), &of_two, "by source, two snapshots")?;
    same(&all(&cx, by(&first.snapshot_id, &one)).await?, &vec![first.clone()], "by id and its source")?;
    same(&all(&cx, by(&first.snapshot_id, &two)).await?, &vec![], "by id and another source")
}

async fn miss(cx: Cx) -> Outcome {
    let unknown = no_such_id(&cx);
    same(&all(&cx, by(&unknown, "")).await?, &vec![], "an id that isn't there")?;
    same(&all(&cx, by("", &unknown)).await?, &vec![], "a source that isn't there")
}

async fn pages(cx: Cx) -> Outcome {
    // Those of other volumes, before and after ours, must not get into a page.
    some_snapshots(&cx, 1).await?;
    let (source, ours) = some_snapshots(&cx, 5).await?;
    some_snapshots(&cx, 2).await?;
    for max_entries in [1, 2, 3, 5, 1000, i32::MAX] {
        let listed = all(&cx, v1::ListSnapshotsRequest { max_entries, ..by("", &source) }).await?;
        same(&sorted(listed), &ours, &format!("by source in pages of {max_entries}"))?;
        let listed = all(&cx, v1::ListSnapshotsRequest { max_entries, ..Default::default() }).await?;
        for snapshot in &ours {
            let count = listed.iter().filter(|s| s.snapshot_id == snapshot.snapshot_id).count();
            ensure!(
                count == 1,
                "in pages of {max_entries} the snapshot {} is listed {count} times",
                snapshot.snapshot_id
            );
        }
    }
    Ok(())
}

async fn bad_token(cx: Cx) -> Outcome {
    for token in ["no-such-token", "-1", "99999999999999999999", "\u{1}", "{}", "../.."] {
        let request = v1::ListSnapshotsRequest { starting_token: token.into(), ..Default::default() };
        refused(cx.list_snapshots(request).await, Code::Aborted, &format!("the token {token:?}"))?;
    }
    super::alive(&cx, "wrong tokens").await
}

async fn negative(cx: Cx) -> Outcome {
    for max_entries in [-1, i32::MIN] {
        let request = v1::ListSnapshotsRequest { max_entries, ..Default::default() };
        let answer = cx.list_snapshots(request).await;
        refused(answer, Code::InvalidArgument, &format!("max_entries {max_entries}"))?;
    }
    super::alive(&cx, "a negative max_entries").await
}

async fn stable(cx: Cx) -> Outcome {
    let (source, ours) = some_snapshots(&cx, 4).await?;
    let churn = async {
        for _ in 0..10 {
            let id = cx.snapshot(&source, "come-and-go").await?.snapshot_id;
            ok(cx.delete_snapshot(super::snapshot::delete_request(&id)).await, "DeleteSnapshot")?;
        }
        Ok::<_, Stop>(())
    };
    let watch = async {
        for _ in 0..10 {
            let (mut listed, mut token) = (vec![], String::new());
            for _ in 0..PAGES {
                let request =
                    v1::ListSnapshotsRequest { max_entries: 1, starting_token: token.clone(), ..by("", &source) };
                let what = "a page while snapshots come and go";
                let Some(answer) = ok_or(cx.list_snapshots(request).await, &[Code::Aborted], what)? else {
                    (listed, token) = (vec![], String::new());
                    continue;
                };
                listed.extend(answer.entries.into_iter().filter_map(|e| e.snapshot));
                token = answer.next_token;
                if token.is_empty() {
                    break;
                }
            }
            for snapshot in &ours {
                let count = listed.iter().filter(|s| s.snapshot_id == snapshot.snapshot_id).count();
                ensure!(count == 1, "while others come and go, {} is listed {count} times", snapshot.snapshot_id);
            }
        }
        Ok::<_, Stop>(())
    };
    let (churned, watched) = tokio::join!(churn, watch);
    churned.and(watched)
}

async fn source_deleted(cx: Cx) -> Outcome {
    let (source, ours) = some_snapshots(&cx, 1).await?;
    let delete = v1::DeleteVolumeRequest { volume_id: source.clone(), ..Default::default() };
    let answer = cx.delete_volume(delete).await;
    if ok_or(answer, &[Code::FailedPrecondition], "DeleteVolume of a volume with a snapshot")?.is_none() {
        return Err(Stop::skip("volumes with snapshots can't be deleted"));
    }
    same(&all(&cx, by(&ours[0].snapshot_id, "")).await?, &ours, "by id, without its volume")?;
    same(&all(&cx, by("", &source)).await?, &ours, "by source, without that volume")
}

async fn get_same(cx: Cx) -> Outcome {
    let (_, ours) = some_snapshots(&cx, 1).await?;
    let request = v1::GetSnapshotRequest { snapshot_id: ours[0].snapshot_id.clone(), ..Default::default() };
    let found = some(ok(cx.get_snapshot(request).await, "GetSnapshot")?.snapshot, "snapshot")?;
    same(&found, &ours[0], "the snapshot")
}

async fn get_unknown(cx: Cx) -> Outcome {
    let request = v1::GetSnapshotRequest { snapshot_id: no_such_id(&cx), ..Default::default() };
    refused(cx.get_snapshot(request).await, Code::NotFound, "a snapshot that isn't there").map(drop)
}
