//! Faults of snapshots and their lists.

use super::{Call, Fault, Hooks, fault, unless};
use bulkhead_proto::v1::{
    self, CreateSnapshotRequest, CreateSnapshotResponse, ListSnapshotsRequest, ListSnapshotsResponse, Snapshot,
};
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Status};

/// The first answer for each name.
#[derive(Default)]
struct Firsts(BTreeMap<String, CreateSnapshotResponse>);

/// How often each name was used.
#[derive(Default)]
struct Times(BTreeMap<String, u32>);

/// Snapshots that were made here and are there yet.
#[derive(Default)]
struct Made(BTreeSet<String>);

/// Volumes that were deleted.
#[derive(Default)]
struct Gone(BTreeSet<String>);

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "snapshot-ignores-source",
        "the same name for another volume is the first snapshot",
        &["snapshot/other-source"],
        |hooks| {
            hooks.create_snapshot(|call, request| async move {
                let first = call.with(|firsts: &mut Firsts| firsts.0.get(&request.name).cloned());
                match (remembered(&call, request).await, first) {
                    (Err(status), Some(first)) if status.code() == Code::AlreadyExists => Ok(first),
                    (answer, _) => answer,
                }
            });
        },
    ),
    fault(
        "snapshot-forgets-names",
        "CreateSnapshot makes a new snapshot each time it is called",
        &["snapshot/repeat", "concurrent/snapshot", "cancelled/snapshot"],
        |hooks| {
            hooks.create_snapshot(|call, mut request| async move {
                let times = times(&call, &request.name);
                if times > 0 {
                    request.name += &format!("-{times}");
                }
                call.create_snapshot(request).await
            });
        },
    ),
    fault("snapshot-time-changes", "creation_time is when it was asked for last", &["snapshot/repeat"], |hooks| {
        hooks.create_snapshot(|call, request| async move {
            let times = times(&call, &request.name);
            let mut answer = call.create_snapshot(request).await?;
            if let Some(time) = answer.snapshot.as_mut().and_then(|snapshot| snapshot.creation_time.as_mut()) {
                time.seconds += i64::from(times);
            }
            Ok(answer)
        });
    }),
    fault("snapshot-unready", "a snapshot that was ready is not ready any more", &["snapshot/repeat"], |hooks| {
        hooks.create_snapshot(|call, request| async move {
            let times = times(&call, &request.name);
            let mut answer = call.create_snapshot(request).await?;
            answer.snapshot.iter_mut().for_each(|snapshot| snapshot.ready_to_use &= times.is_multiple_of(2));
            Ok(answer)
        });
    }),
    fault("snapshot-without-time", "a snapshot has no creation_time", &["snapshot/facts"], |hooks| {
        each_made(hooks, |snapshot| snapshot.creation_time = None);
    }),
    fault("snapshot-in-a-group", "a snapshot of its own has a group", &["snapshot/facts"], |hooks| {
        each_made(hooks, |snapshot| snapshot.group_snapshot_id.clone_from(&snapshot.snapshot_id));
    }),
    fault("snapshot-of-nothing", "a volume that isn't there has a snapshot", &["snapshot/unknown-volume"], |hooks| {
        hooks.create_snapshot(|call, request| async move {
            let snapshot = Snapshot {
                snapshot_id: format!("of-{}", request.source_volume_id),
                source_volume_id: request.source_volume_id.clone(),
                ready_to_use: true,
                ..Default::default()
            };
            let other = || CreateSnapshotResponse { snapshot: Some(snapshot) };
            unless(call.create_snapshot(request).await, Code::NotFound, other)
        });
    }),
    fault(
        "snapshot-cuts-names",
        "names of snapshots over 128 bytes are cut, not refused",
        &["snapshot/name-length", "too-long/CreateSnapshot"],
        |hooks| {
            hooks.create_snapshot(|call, mut request| async move {
                request.name.truncate(request.name.floor_char_boundary(128));
                call.create_snapshot(request).await
            });
        },
    ),
    fault(
        "delete-snapshot-does-nothing",
        "DeleteSnapshot is OK, and the snapshot stays",
        &["delete-snapshot/gone", "delete-snapshot/gone-from-list"],
        |hooks| hooks.delete_snapshot(|_, _| async { Ok(Default::default()) }),
    ),
    fault(
        "delete-snapshot-unknown-is-not-found",
        "a snapshot that isn't there can't be deleted",
        &["delete-snapshot/unknown", "delete-snapshot/twice"],
        delete_unknown,
    ),
    fault("snapshots-ignore-source", "ListSnapshots does not filter by source", &["list-snapshots/filters"], |hooks| {
        hooks.list_snapshots(|call, mut request| async move {
            request.source_volume_id.clear();
            call.list_snapshots(request).await
        });
    }),
    fault(
        "snapshots-one-of-a-source",
        "ListSnapshots by source gives one snapshot, of however many",
        &["list-snapshots/filters"],
        |hooks| {
            hooks.list_snapshots(|call, request| async move {
                let by_source = !request.source_volume_id.is_empty();
                let mut answer = call.list_snapshots(request).await?;
                if by_source {
                    answer.entries.truncate(1);
                    answer.next_token.clear();
                }
                Ok(answer)
            });
        },
    ),
    fault(
        "snapshots-id-beats-source",
        "ListSnapshots by id does not look at the source",
        &["list-snapshots/filters"],
        |hooks| {
            hooks.list_snapshots(|call, mut request| async move {
                if !request.snapshot_id.is_empty() {
                    request.source_volume_id.clear();
                }
                call.list_snapshots(request).await
            });
        },
    ),
    fault(
        "snapshots-miss-is-not-found",
        "ListSnapshots by an id that isn't there is an error",
        &["list-snapshots/miss", "delete-snapshot/gone-from-list"],
        |hooks| {
            hooks.list_snapshots(|call, request| async move {
                let by_id = !request.snapshot_id.is_empty();
                let answer = call.list_snapshots(request).await?;
                if by_id && answer.entries.is_empty() { Err(Status::not_found("no such snapshot")) } else { Ok(answer) }
            });
        },
    ),
    fault(
        "snapshots-forget-the-filter",
        "pages of a list by source go on with the snapshots of all volumes",
        &["list-snapshots/pages"],
        |hooks| hooks.list_snapshots(|call, request| async move { by_position(&call, request).await }),
    ),
    fault(
        "snapshots-need-their-volume",
        "snapshots of a deleted volume are not listed",
        &["list-snapshots/source-deleted", "delete-volume/with-snapshots"],
        |hooks| {
            hooks.delete_volume(|call, request| async move {
                let id = request.volume_id.clone();
                let answer = call.delete_volume(request).await?;
                call.with(|gone: &mut Gone| gone.0.insert(id));
                Ok(answer)
            });
            hooks.list_snapshots(|call, request| async move {
                let mut answer = call.list_snapshots(request).await?;
                let of_gone =
                    |snapshot: &Snapshot| call.with(|gone: &mut Gone| gone.0.contains(&snapshot.source_volume_id));
                answer.entries.retain(|entry| !entry.snapshot.as_ref().is_some_and(of_gone));
                Ok(answer)
            });
        },
    ),
    fault("get-snapshot-unready", "GetSnapshot never says ready", &["get-snapshot/same"], |hooks| {
        hooks.get_snapshot(|call, request| async move {
            let mut answer = call.get_snapshot(request).await?;
            answer.snapshot.iter_mut().for_each(|snapshot| snapshot.ready_to_use = false);
            Ok(answer)
        });
    }),
    fault(
        "get-snapshot-unknown-is-ok",
        "GetSnapshot of a snapshot that isn't there is OK",
        &["get-snapshot/unknown", "delete-snapshot/gone"],
        |hooks| {
            hooks.get_snapshot(|call, request| async move {
                let snapshot = Snapshot { snapshot_id: request.snapshot_id.clone(), ..Default::default() };
                let other = || v1::GetSnapshotResponse { snapshot: Some(snapshot) };
                unless(call.get_snapshot(request).await, Code::NotFound, other)
            });
        },
    ),
];

async fn remembered(call: &Call, request: CreateSnapshotRequest) -> Result<CreateSnapshotResponse, Status> {
    let name = request.name.clone();
    let answer = call.create_snapshot(request).await?;
    call.with(|firsts: &mut Firsts| _ = firsts.0.entry(name).or_insert_with(|| answer.clone()));
    Ok(answer)
}

/// How often the name was used before.
fn times(call: &Call, name: &str) -> u32 {
    call.with(|times: &mut Times| {
        let times = times.0.entry(name.to_owned()).or_default();
        *times += 1;
        *times - 1
    })
}

fn each_made(hooks: &mut Hooks, change: fn(&mut Snapshot)) {
    hooks.create_snapshot(move |call, request| async move {
        let mut answer = call.create_snapshot(request).await?;
        answer.snapshot.iter_mut().for_each(change);
        Ok(answer)
    });
}

fn delete_unknown(hooks: &mut Hooks) {
    hooks.create_snapshot(|call, request| async move {
        let answer = call.create_snapshot(request).await?;
        if let Some(snapshot) = &answer.snapshot {
            call.with(|made: &mut Made| _ = made.0.insert(snapshot.snapshot_id.clone()));
        }
        Ok(answer)
    });
    hooks.delete_snapshot(|call, request| async move {
        let id = request.snapshot_id.clone();
        if !id.is_empty() && !call.with(|made: &mut Made| made.0.contains(&id)) {
            return Err(Status::not_found("there is no such snapshot"));
        }
        let answer = call.delete_snapshot(request).await?;
        call.with(|made: &mut Made| made.0.remove(&id));
        Ok(answer)
    });
}

/// The first page keeps the filter; from the second on, tokens count all snapshots.
async fn by_position(call: &Call, request: ListSnapshotsRequest) -> Result<ListSnapshotsResponse, Status> {
    if request.starting_token.is_empty() || request.source_volume_id.is_empty() {
        return call.list_snapshots(request).await;
    }
    let mut wide = ListSnapshotsRequest { source_volume_id: String::new(), ..request.clone() };
    match call.list_snapshots(wide.clone()).await {
        // The driver binds its tokens to the filter: what it would go on with is the list from its start.
        Err(status) if status.code() == Code::Aborted => {
            wide.starting_token.clear();
            let answer = call.list_snapshots(wide).await?;
            Ok(ListSnapshotsResponse { next_token: String::new(), ..answer })
        }
        answer => answer,
    }
}
