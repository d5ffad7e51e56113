//! Snapshots and clones have the source's data, and then each goes its own way.

use super::{
    CLONE, SNAPSHOTS,
    node::{USE, size},
    source::{of_snapshot, of_volume},
};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, ok_or, some},
    life::InUse,
};
use bulkhead_proto::v1;
use tonic::Code;

/// Which kind of copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Snapshot,
    Clone,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "the volume from a snapshot",
            Self::Clone => "the clone",
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (kind, name, need, rule) in
        [(Kind::Snapshot, "snapshot", SNAPSHOTS, "data.restore"), (Kind::Clone, "clone", CLONE, "data.clone")]
    {
        let needs: &[Need] = &[USE[0], USE[1], USE[2], need];
        let name = |what: &str| format!("data/{name}/{what}");
        cases.extend([
            case(name("content"), &[rule], needs, move |cx| content(cx, kind)).every_use(),
            case(name("own-way"), &[rule, "data.snapshot-frozen"], needs, move |cx| own_way(cx, kind)).every_use(),
            case(name("of-a-copy"), &[rule], needs, move |cx| of_a_copy(cx, kind)).every_use(),
            case(name("of-an-empty-volume"), &[rule], needs, move |cx| of_empty(cx, kind)).every_use(),
            case(name("larger"), &["data.larger-restore"], needs, move |cx| larger(cx, kind)).every_use(),
            case(name("beside-source"), &["data.beside-source"], needs, move |cx| beside(cx, kind)).every_use(),
            case(name("source-deleted"), &["data.source-deleted"], needs, move |cx| source_deleted(cx, kind))
                .every_use(),
        ]);
    }
    let needs: &[Need] = &[USE[0], USE[1], USE[2], SNAPSHOTS];
    cases.push(case("data/snapshot/many", &["data.snapshot-frozen"], needs, many_snapshots).every_use());
    cases
}

/// A new volume with the data of a seed, put away.
pub(super) async fn written(cx: &Cx, seed: u64) -> Outcome<v1::Volume> {
    let volume = cx.create("source").await?;
    rewrite(cx, &volume, seed).await?;
    Ok(volume)
}

async fn rewrite(cx: &Cx, volume: &v1::Volume, seed: u64) -> Outcome {
    let used = cx.put_to_use(volume).await?;
    cx.fill(&used.target, seed).await?;
    cx.put_away(&used).await
}

/// A volume with the data of a source, of its size or larger.
pub(super) async fn copy_of(cx: &Cx, source: v1::VolumeContentSource, bytes: i64) -> Outcome<v1::Volume> {
    let mut request = cx.create_request("copy");
    request.volume_content_source = Some(source);
    request.capacity_range = Some(v1::CapacityRange { required_bytes: bytes, limit_bytes: 0 });
    some(ok(cx.create_volume(request).await, "CreateVolume with a source")?.volume, "volume")
}

async fn copy(cx: &Cx, kind: Kind, source: &v1::Volume, bytes: i64) -> Outcome<v1::Volume> {
    let of = match kind {
        Kind::Snapshot => of_snapshot(&cx.snapshot(&source.volume_id, "copy").await?.snapshot_id),
        Kind::Clone => of_volume(&source.volume_id),
    };
    copy_of(cx, of, bytes).await
}

/// The volume, used and put away, has the data of a seed.
pub(super) async fn has(cx: &Cx, volume: &v1::Volume, seed: u64, what: &str) -> Outcome {
    let used = cx.put_to_use(volume).await?;
    cx.holds(&used.target, seed, what).await?;
    cx.put_away(&used).await
}

/// A snapshot of a volume in use. A driver that can't hold such volumes still gets it put away meanwhile.
pub(super) async fn snapshot_of_used(cx: &Cx, used: &mut InUse) -> Outcome<v1::Snapshot> {
    let request = cx.snapshot_request(&used.volume.volume_id, "used");
    if refuses_in_use(cx, &request).await? {
        cx.put_away(used).await?;
        let snapshot = cx.ready_snapshot(request).await?;
        *used = cx.put_to_use(&used.volume.clone()).await?;
        return Ok(snapshot);
    }
    cx.ready_snapshot(request).await
}

/// Whether the driver refuses to cut a volume that is used like this: FAILED_PRECONDITION.
pub(super) async fn refuses_in_use(cx: &Cx, request: &v1::CreateSnapshotRequest) -> Outcome<bool> {
    let answer = cx.create_snapshot(request.clone()).await;
    let refused = matches!(&answer, Err(s) if s.code() == Code::FailedPrecondition);
    ok_or(answer, &[Code::FailedPrecondition, Code::Aborted], "CreateSnapshot of a volume in use")?;
    Ok(refused)
}

async fn content(cx: Cx, kind: Kind) -> Outcome {
    let source = written(&cx, 1).await?;
    let copied = copy(&cx, kind, &source, size(&cx, &source)).await?;
    has(&cx, &copied, 1, kind.name()).await?;
    has(&cx, &source, 1, "the source").await
}

async fn own_way(cx: Cx, kind: Kind) -> Outcome {
    let source = written(&cx, 1).await?;
    let bytes = size(&cx, &source);
    let snapshot = match kind {
        Kind::Snapshot => Some(cx.snapshot(&source.volume_id, "frozen").await?),
        Kind::Clone => None,
    };
    let copied = match &snapshot {
        Some(snapshot) => copy_of(&cx, of_snapshot(&snapshot.snapshot_id), bytes).await?,
        None => copy(&cx, kind, &source, bytes).await?,
    };
    rewrite(&cx, &source, 2).await?;
    has(&cx, &copied, 1, &format!("{}, after the source was written to", kind.name())).await?;
    rewrite(&cx, &copied, 3).await?;
    has(&cx, &source, 2, "the source, after its copy was written to").await?;
    if let Some(snapshot) = snapshot {
        let again = copy_of(&cx, of_snapshot(&snapshot.snapshot_id), bytes).await?;
        has(&cx, &again, 1, "a second volume from the snapshot, after the source and the first were written to")
            .await?;
    }
    has(&cx, &copied, 3, kind.name()).await
}

async fn of_a_copy(cx: Cx, kind: Kind) -> Outcome {
    let mut parent = written(&cx, 1).await?;
    for seed in 2..5 {
        let child = copy(&cx, kind, &parent, size(&cx, &parent)).await?;
        has(&cx, &child, seed - 1, "a copy of a copy").await?;
        rewrite(&cx, &child, seed).await?;
        has(&cx, &parent, seed - 1, "the source of a copy that was written to").await?;
        parent = child;
    }
    Ok(())
}

/// The source was never used: there is no file system on it yet.
async fn of_empty(cx: Cx, kind: Kind) -> Outcome {
    let source = cx.create("source").await?;
    let copied = copy(&cx, kind, &source, size(&cx, &source)).await?;
    let used = cx.put_to_use(&copied).await?;
    cx.is_empty(&used.target, "the copy of an empty volume").await?;
    cx.fill(&used.target, 1).await?;
    cx.holds(&used.target, 1, "the copy of an empty volume").await
}

async fn larger(cx: Cx, kind: Kind) -> Outcome {
    let source = written(&cx, 1).await?;
    let bytes = 2 * size(&cx, &source);
    let copied = copy(&cx, kind, &source, bytes).await?;
    let used = cx.put_to_use(&copied).await?;
    cx.holds(&used.target, 1, "the larger copy").await?;
    cx.has_room(&used.target, bytes)?;
    cx.put_away(&used).await?;
    let used = cx.put_to_use(&copied).await?;
    cx.has_room(&used.target, bytes)?;
    cx.holds(&used.target, 1, "the larger copy, used again").await
}

/// Both on one node at the same time: file systems that know themselves by an id must not be mixed up.
async fn beside(cx: Cx, kind: Kind) -> Outcome {
    let source = written(&cx, 1).await?;
    let copied = copy(&cx, kind, &source, size(&cx, &source)).await?;
    let both: [InUse; 2] = [cx.put_to_use(&source).await?, cx.put_to_use(&copied).await?];
    for used in &both {
        cx.holds(&used.target, 1, "a volume beside its copy").await?;
    }
    cx.fill(&both[0].target, 2).await?;
    cx.fill(&both[1].target, 3).await?;
    cx.holds(&both[0].target, 2, "the source beside its copy").await?;
    cx.holds(&both[1].target, 3, "the copy beside its source").await?;
    cx.put_away(&both[0]).await?;
    cx.holds(&both[1].target, 3, "the copy, with the source put away").await?;
    cx.put_away(&both[1]).await?;
    has(&cx, &source, 2, "the source").await?;
    has(&cx, &copied, 3, "the copy").await
}

async fn source_deleted(cx: Cx, kind: Kind) -> Outcome {
    let source = written(&cx, 1).await?;
    let bytes = size(&cx, &source);
    let delete = v1::DeleteVolumeRequest { volume_id: source.volume_id.clone(), ..Default::default() };
    let refused = &[Code::FailedPrecondition];
    if kind == Kind::Clone {
        let copied = copy(&cx, kind, &source, bytes).await?;
        ok_or(cx.delete_volume(delete).await, refused, "DeleteVolume of the source")?;
        return has(&cx, &copied, 1, "a clone without its source").await;
    }
    let snapshot = cx.snapshot(&source.volume_id, "outlives").await?;
    ok_or(cx.delete_volume(delete).await, refused, "DeleteVolume of the source")?;
    let first = copy_of(&cx, of_snapshot(&snapshot.snapshot_id), bytes).await?;
    let second = copy_of(&cx, of_snapshot(&snapshot.snapshot_id), bytes).await?;
    has(&cx, &first, 1, "a volume from a snapshot without its source").await?;
    let used = cx.put_to_use(&second).await?;
    let delete = v1::DeleteSnapshotRequest { snapshot_id: snapshot.snapshot_id, ..Default::default() };
    ok_or(cx.delete_snapshot(delete).await, refused, "DeleteSnapshot of the source")?;
    cx.holds(&used.target, 1, "a volume in use without its snapshot").await?;
    cx.fill(&used.target, 2).await?;
    cx.put_away(&used).await?;
    has(&cx, &second, 2, "a volume without its snapshot").await?;
    has(&cx, &first, 1, "another volume without its snapshot").await
}

/// Snapshots in a row, taken away from the midst: each of those left is what it was.
async fn many_snapshots(cx: Cx) -> Outcome {
    let source = cx.create("source").await?;
    let bytes = size(&cx, &source);
    let mut used = cx.put_to_use(&source).await?;
    let mut snapshots = vec![];
    for seed in 0..5 {
        cx.fill(&used.target, seed).await?;
        snapshots.push((seed, snapshot_of_used(&cx, &mut used).await?));
    }
    for at in [2, 0] {
        let (_, gone) = snapshots.remove(at);
        let delete = v1::DeleteSnapshotRequest { snapshot_id: gone.snapshot_id, ..Default::default() };
        ok(cx.delete_snapshot(delete).await, "DeleteSnapshot of one of several")?;
    }
    cx.holds(&used.target, 4, "the source, with some of its snapshots deleted").await?;
    for (seed, snapshot) in &snapshots {
        let copied = copy_of(&cx, of_snapshot(&snapshot.snapshot_id), bytes).await?;
        has(&cx, &copied, *seed, &format!("a volume from snapshot {seed} of several")).await?;
    }
    Ok(())
}
