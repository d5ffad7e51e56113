//! Faults of group snapshots.

use super::{Call, Fault, Hooks, fault};
use bulkhead_proto::v1::{
    self, CreateVolumeGroupSnapshotRequest, CreateVolumeGroupSnapshotResponse, VolumeGroupSnapshot,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tonic::{Code, Status};

/// The first request and answer for each name.
#[derive(Default)]
struct Firsts(BTreeMap<String, (CreateVolumeGroupSnapshotRequest, CreateVolumeGroupSnapshotResponse)>);

/// Groups that were made here, by id.
#[derive(Default)]
struct Groups(BTreeMap<String, VolumeGroupSnapshot>);

/// Groups that were deleted, or so it was said.
#[derive(Default)]
struct Gone(BTreeSet<String>);

pub(super) const FAULTS: &[Fault] = &[
    fault("group-lacks-a-member", "the last member is not told", &["group/create"], |hooks| {
        each_made(hooks, |group| _ = group.snapshots.pop());
    }),
    fault("group-members-unmarked", "members don't name their group", &["group/create"], |hooks| {
        each_made(hooks, |group| group.snapshots.iter_mut().for_each(|member| member.group_snapshot_id.clear()));
    }),
    fault("group-ready-too-early", "the group is ready before its members are", &["group/create"], |hooks| {
        each_made(hooks, |group| {
            group.ready_to_use = true;
            group.snapshots.iter_mut().for_each(|member| member.ready_to_use = false);
        });
    }),
    fault("group-without-time", "the group has no creation_time", &["group/create"], |hooks| {
        each_made(hooks, |group| group.creation_time = None);
    }),
    fault("group-listed-unmarked", "listed members don't name their group", &["group/listed"], |hooks| {
        hooks.list_snapshots(|call, request| async move {
            let mut answer = call.list_snapshots(request).await?;
            let members = answer.entries.iter_mut().filter_map(|entry| entry.snapshot.as_mut());
            members.for_each(|member| member.group_snapshot_id.clear());
            Ok(answer)
        });
    }),
    fault(
        "group-ignores-sources",
        "the same name with other sources is the first group",
        &["group/other-sources"],
        |hooks| {
            as_first(hooks, |first, request| request.source_volume_ids.clone_from(&first.source_volume_ids));
        },
    ),
    fault(
        "group-ignores-parameters",
        "the same name with other parameters is the first group",
        &["group/other-parameters"],
        |hooks| as_first(hooks, |first, request| request.parameters.clone_from(&first.parameters)),
    ),
    fault("group-minds-the-order", "the same sources in another order are a conflict", &["group/repeat"], |hooks| {
        hooks.create_volume_group_snapshot(|call, request| async move {
            let first = call.with(|firsts: &mut Firsts| firsts.0.get(&request.name).cloned());
            if first.is_some_and(|(first, _)| first.source_volume_ids != request.source_volume_ids) {
                return Err(Status::already_exists("the name belongs to a group of other volumes"));
            }
            remembered(&call, request).await
        });
    }),
    fault(
        "group-torn",
        "a group is one snapshot after the other, while the volumes are written to",
        &["data/group/write-order"],
        torn,
    ),
    fault(
        "group-leaves-members",
        "a group that can't be made leaves the members that could",
        &["group/unknown-source"],
        |hooks| {
            hooks.create_volume_group_snapshot(|call, request| async move {
                let answer = call.create_volume_group_snapshot(request.clone()).await;
                if matches!(&answer, Err(status) if status.code() == Code::NotFound) {
                    for (n, source_volume_id) in request.source_volume_ids.into_iter().enumerate() {
                        let name = format!("{}-{n}", request.name);
                        let one = v1::CreateSnapshotRequest { source_volume_id, name, ..Default::default() };
                        // Of the volume that isn't there, there is none.
                        _ = call.create_snapshot(one).await;
                    }
                }
                answer
            });
        },
    ),
    fault(
        "group-delete-leaves-members",
        "a deleted group can't be found any more, its members can",
        &["group/delete"],
        |hooks| {
            hooks.delete_volume_group_snapshot(|call, request| async move {
                call.with(|gone: &mut Gone| gone.0.insert(request.group_snapshot_id));
                Ok(Default::default())
            });
            hooks.get_volume_group_snapshot(|call, request| async move {
                if call.with(|gone: &mut Gone| gone.0.contains(&request.group_snapshot_id)) {
                    return Err(Status::not_found("there is no such group"));
                }
                call.get_volume_group_snapshot(request).await
            });
        },
    ),
    fault(
        "group-delete-twice-is-not-found",
        "a group that isn't there can't be deleted",
        &["group/delete", "group/delete-unknown"],
        |hooks| {
            remember(hooks);
            hooks.delete_volume_group_snapshot(|call, request| async move {
                let id = request.group_snapshot_id.clone();
                if !id.is_empty() && !call.with(|groups: &mut Groups| groups.0.contains_key(&id)) {
                    return Err(Status::not_found("there is no such group"));
                }
                let answer = call.delete_volume_group_snapshot(request).await?;
                call.with(|groups: &mut Groups| groups.0.remove(&id));
                Ok(answer)
            });
        },
    ),
    fault(
        "group-delete-ignores-members",
        "a group is deleted whatever members are named",
        &["group/mismatch"],
        |hooks| {
            remember(hooks);
            hooks.delete_volume_group_snapshot(|call, mut request| async move {
                if let Some(own) = own(&call, &request.group_snapshot_id) {
                    request.snapshot_ids = own;
                }
                call.delete_volume_group_snapshot(request).await
            });
        },
    ),
    fault("group-get-ignores-members", "a group is found whatever members are named", &["group/mismatch"], |hooks| {
        remember(hooks);
        hooks.get_volume_group_snapshot(|call, mut request| async move {
            if let Some(own) = own(&call, &request.group_snapshot_id) {
                request.snapshot_ids = own;
            }
            call.get_volume_group_snapshot(request).await
        });
    }),
    fault("group-get-other-time", "GetVolumeGroupSnapshot tells another creation_time", &["group/get"], |hooks| {
        hooks.get_volume_group_snapshot(|call, request| async move {
            let mut answer = call.get_volume_group_snapshot(request).await?;
            if let Some(time) = answer.group_snapshot.as_mut().and_then(|group| group.creation_time.as_mut()) {
                time.seconds += 1;
            }
            Ok(answer)
        });
    }),
];

fn each_made(hooks: &mut Hooks, change: fn(&mut VolumeGroupSnapshot)) {
    hooks.create_volume_group_snapshot(move |call, request| async move {
        let mut answer = call.create_volume_group_snapshot(request).await?;
        answer.group_snapshot.iter_mut().for_each(change);
        Ok(answer)
    });
}

async fn remembered(
    call: &Call,
    request: CreateVolumeGroupSnapshotRequest,
) -> Result<CreateVolumeGroupSnapshotResponse, Status> {
    let answer = call.create_volume_group_snapshot(request.clone()).await?;
    if let Some(group) = &answer.group_snapshot {
        call.with(|groups: &mut Groups| _ = groups.0.insert(group.group_snapshot_id.clone(), group.clone()));
    }
    let both = (request.clone(), answer.clone());
    call.with(|firsts: &mut Firsts| _ = firsts.0.entry(request.name).or_insert(both));
    Ok(answer)
}

fn remember(hooks: &mut Hooks) {
    hooks.create_volume_group_snapshot(|call, request| async move { remembered(&call, request).await });
}

/// The ids of a group's members.
fn own(call: &Call, group: &str) -> Option<Vec<String>> {
    let group = call.with(|groups: &mut Groups| groups.0.get(group).cloned())?;
    Some(group.snapshots.into_iter().map(|member| member.snapshot_id).collect())
}

/// Under a name that is known, a part of the request is what it was the first time.
fn as_first(hooks: &mut Hooks, copy: fn(&CreateVolumeGroupSnapshotRequest, &mut CreateVolumeGroupSnapshotRequest)) {
    hooks.create_volume_group_snapshot(move |call, mut request| async move {
        call.with(|firsts: &mut Firsts| {
            if let Some((first, _)) = firsts.0.get(&request.name) {
                copy(first, &mut request);
            }
        });
        remembered(&call, request).await
    });
}

/// Groups that the driver does not know: members are snapshots of their own.
fn torn(hooks: &mut Hooks) {
    /// Long enough for whoever writes to the volumes meanwhile.
    const BETWEEN: Duration = Duration::from_millis(300);
    hooks.create_volume_group_snapshot(|call, request| async move {
        let group_snapshot_id = format!("torn-{}", request.name);
        if let Some(group) = call.with(|groups: &mut Groups| groups.0.get(&group_snapshot_id).cloned()) {
            return Ok(CreateVolumeGroupSnapshotResponse { group_snapshot: Some(group) });
        }
        let mut snapshots = vec![];
        for (n, source_volume_id) in request.source_volume_ids.into_iter().enumerate() {
            let name = format!("{}-{n}", request.name);
            let one = v1::CreateSnapshotRequest { source_volume_id, name, ..Default::default() };
            let snapshot = call.create_snapshot(one).await?.snapshot.unwrap_or_default();
            snapshots.push(v1::Snapshot { group_snapshot_id: group_snapshot_id.clone(), ..snapshot });
            tokio::time::sleep(BETWEEN).await;
        }
        let creation_time = snapshots.first().and_then(|member| member.creation_time);
        let ready_to_use = snapshots.iter().all(|member| member.ready_to_use);
        let group = VolumeGroupSnapshot { group_snapshot_id, snapshots, creation_time, ready_to_use };
        call.with(|groups: &mut Groups| _ = groups.0.insert(group.group_snapshot_id.clone(), group.clone()));
        Ok(CreateVolumeGroupSnapshotResponse { group_snapshot: Some(group) })
    });
    hooks.get_volume_group_snapshot(|call, request| async move {
        let group = call.with(|groups: &mut Groups| groups.0.get(&request.group_snapshot_id).cloned());
        let group_snapshot = Some(group.ok_or_else(|| Status::not_found("there is no such group"))?);
        Ok(v1::GetVolumeGroupSnapshotResponse { group_snapshot })
    });
    hooks.delete_volume_group_snapshot(|call, request| async move {
        for snapshot_id in own(&call, &request.group_snapshot_id).unwrap_or_default() {
            call.delete_snapshot(v1::DeleteSnapshotRequest { snapshot_id, ..Default::default() }).await?;
        }
        call.with(|groups: &mut Groups| groups.0.remove(&request.group_snapshot_id));
        Ok(Default::default())
    });
}
