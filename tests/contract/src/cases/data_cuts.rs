//! Snapshots of volumes that are being written to: of one, and of several at one moment.

use super::{
    SNAPSHOTS,
    data_copy::{copy_of, has, refuses_in_use, written},
    node::{USE, size},
    source::of_snapshot,
};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{ok, ok_or, some},
    ensure,
    writer::{Writer, number},
};
use bulkhead_proto::v1;
use std::time::Duration;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    let one = &[USE[0], USE[1], USE[2], SNAPSHOTS];
    let group = &[USE[0], USE[1], USE[2], Need::Groups];
    vec![
        case("data/snapshot/in-use", &["data.snapshot-in-use"], one, in_use).every_use(),
        case("data/group/content", &["group.restore", "data.group"], group, content).every_use(),
        case("data/group/own-way", &["data.group", "data.snapshot-frozen"], group, own_way).every_use(),
        case("data/group/write-order", &["group.consistent"], group, write_order).every_use(),
    ]
}

/// How often writers are cut.
const CUTS: usize = 10;

async fn in_use(cx: Cx) -> Outcome {
    let source = cx.create("source").await?;
    let bytes = size(&cx, &source);
    let used = cx.put_to_use(&source).await?;
    let writer = Writer::start(&cx.usage, &[&used.target]);
    let mut cuts = vec![];
    for _ in 0..3 {
        writer.goes_on(5).await?;
        let before = writer.lasting();
        let request = cx.snapshot_request(&source.volume_id, "in-use");
        if refuses_in_use(&cx, &request).await? {
            return Err(Stop::skip("the driver refuses a snapshot of a volume that is used like this"));
        }
        let snapshot = cx.ready_snapshot(request).await?;
        cuts.push((before, snapshot, writer.lasting() + 1));
        // Whatever was done to stop writers for a moment is over.
        writer.goes_on(5).await?;
    }
    for (before, snapshot, after) in cuts {
        let copied = copy_of(&cx, of_snapshot(&snapshot.snapshot_id), bytes).await?;
        let copy = cx.put_to_use(&copied).await?;
        let found = number(&cx.usage, &copy.target)?;
        ensure!(found >= before, "{before} had been synced before the snapshot, which has {found}");
        ensure!(found <= after, "{after} had not been written when the snapshot was done, which has {found}");
        ensure!(cx.writable(&copy.target)?, "the volume from a snapshot of a volume in use can't be written to");
        cx.put_away(&copy).await?;
    }
    writer.end().await?;
    cx.put_away(&used).await
}

async fn group(cx: &Cx, volumes: &[v1::Volume]) -> Outcome<v1::VolumeGroupSnapshot> {
    let request = v1::CreateVolumeGroupSnapshotRequest {
        name: cx.name("group"),
        source_volume_ids: volumes.iter().map(|volume| volume.volume_id.clone()).collect(),
        parameters: cx.driver.options.group_snapshot_parameters.clone().unwrap_or_default(),
        ..Default::default()
    };
    let start = tokio::time::Instant::now();
    loop {
        let answer = cx.create_volume_group_snapshot(request.clone()).await;
        if !matches!(&answer, Err(s) if s.code() == Code::Aborted) {
            // Raw devices in use, for one: nobody can hold them still.
            let Some(answer) = ok_or(answer, &[Code::FailedPrecondition], "CreateVolumeGroupSnapshot")? else {
                return Err(Stop::skip("the driver refuses a group snapshot of volumes that are used like this"));
            };
            let group = some(answer.group_snapshot, "group_snapshot")?;
            if group.ready_to_use {
                return Ok(group);
            }
        }
        ensure!(start.elapsed() < cx.driver.options.timeout, "the group snapshot is not ready in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The member of a volume.
fn member<'a>(group: &'a v1::VolumeGroupSnapshot, volume: &v1::Volume) -> Outcome<&'a v1::Snapshot> {
    let member = group.snapshots.iter().find(|member| member.source_volume_id == volume.volume_id);
    member.ok_or_else(|| Stop::fail(format!("the group has no member of {}", volume.volume_id)))
}

async fn restore(cx: &Cx, group: &v1::VolumeGroupSnapshot, volume: &v1::Volume) -> Outcome<v1::Volume> {
    copy_of(cx, of_snapshot(&member(group, volume)?.snapshot_id), size(cx, volume)).await
}

async fn content(cx: Cx) -> Outcome {
    let volumes = [written(&cx, 1).await?, written(&cx, 2).await?];
    // One mounted, one put away.
    let used = cx.put_to_use(&volumes[0]).await?;
    let cut = match group(&cx, &volumes).await {
        Err(Stop::Skip(_)) => {
            cx.put_away(&used).await?;
            group(&cx, &volumes).await?
        }
        cut => {
            cx.holds(&used.target, 1, "a source of a group snapshot").await?;
            cut?
        }
    };
    for (volume, seed) in volumes.iter().zip(1..) {
        let restored = restore(&cx, &cut, volume).await?;
        has(&cx, &restored, seed, "a volume from a member of a group").await?;
    }
    Ok(())
}

async fn own_way(cx: Cx) -> Outcome {
    let volumes = [cx.create("source").await?, cx.create("source").await?];
    let used = [cx.put_to_use(&volumes[0]).await?, cx.put_to_use(&volumes[1]).await?];
    for (used, seed) in used.iter().zip(1..) {
        cx.fill(&used.target, seed).await?;
    }
    let first = group(&cx, &volumes).await?;
    for (used, seed) in used.iter().zip(3..) {
        cx.fill(&used.target, seed).await?;
    }
    let second = group(&cx, &volumes).await?;
    for (used, seed) in used.iter().zip(5..) {
        cx.fill(&used.target, seed).await?;
    }
    for (of, seeds) in [(&first, 1..), (&second, 3..)] {
        for (volume, seed) in volumes.iter().zip(seeds) {
            let restored = restore(&cx, of, volume).await?;
            has(&cx, &restored, seed, "a volume from a member of a group, after its source was written to").await?;
        }
    }
    let delete = v1::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: first.group_snapshot_id.clone(),
        snapshot_ids: first.snapshots.iter().map(|member| member.snapshot_id.clone()).collect(),
        ..Default::default()
    };
    ok(cx.delete_volume_group_snapshot(delete).await, "DeleteVolumeGroupSnapshot")?;
    for (used, seed) in used.iter().zip(5..) {
        cx.holds(&used.target, seed, "a source, after its group snapshot was deleted").await?;
    }
    for (volume, seed) in volumes.iter().zip(3..) {
        let restored = restore(&cx, &second, volume).await?;
        has(&cx, &restored, seed, "a member, after another group was deleted").await?;
    }
    Ok(())
}

/// The writer's number is on the second volume only when it lasts on the first: no cut may show it the other way around.
async fn write_order(cx: Cx) -> Outcome {
    let volumes = [cx.create("first").await?, cx.create("second").await?];
    let used = [cx.put_to_use(&volumes[0]).await?, cx.put_to_use(&volumes[1]).await?];
    let writer = Writer::start(&cx.usage, &[&used[0].target, &used[1].target]);
    for cut in 0..CUTS {
        writer.goes_on(3).await?;
        let before = writer.lasting();
        let group = group(&cx, &volumes).await?;
        let mut found = vec![];
        for volume in &volumes {
            let restored = restore(&cx, &group, volume).await?;
            let copy = cx.put_to_use(&restored).await?;
            found.push(number(&cx.usage, &copy.target)?);
            cx.put_away(&copy).await?;
            cx.delete(&restored.volume_id).await?;
        }
        let (first, second) = (found[0], found[1]);
        ensure!(
            first >= before && second >= before,
            "cut {cut}: {before} lasted before it, it has {first} and {second}"
        );
        let in_order = second == first || second + 1 == first;
        ensure!(in_order, "cut {cut}: {first} on the first volume, {second} on the second: not of one moment");
        let delete = v1::DeleteVolumeGroupSnapshotRequest {
            group_snapshot_id: group.group_snapshot_id.clone(),
            snapshot_ids: group.snapshots.iter().map(|member| member.snapshot_id.clone()).collect(),
            ..Default::default()
        };
        ok(cx.delete_volume_group_snapshot(delete).await, "DeleteVolumeGroupSnapshot")?;
    }
    writer.end().await
}
