//! CreateVolume from a snapshot or a volume.

use super::{CLONE, SNAPSHOTS, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, ok_or, refused, refused_as, same, some},
    ensure,
};
use bulkhead_proto::v1::{
    self,
    controller_service_capability::rpc::Type as Rpc,
    volume_content_source::{SnapshotSource, Type, VolumeSource},
};
use tonic::Code;

/// The two kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Snapshot,
    Volume,
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (kind, name, need, rule) in [
        (Kind::Snapshot, "snapshot", SNAPSHOTS, "create.from-snapshot"),
        (Kind::Volume, "volume", CLONE, "create.from-volume"),
    ] {
        let needs = &[VOLUMES, need];
        let name = |what: &str| format!("create-volume/from-{name}/{what}");
        cases.extend([
            case(name("made"), &[rule, "create.source-repeat"], needs, move |cx| made(cx, kind)).every_use(),
            case(name("larger"), &["create.source-larger"], needs, move |cx| larger(cx, kind)).every_use(),
            case(name("too-small"), &["create.source-too-small"], needs, move |cx| too_small(cx, kind)),
            case(name("missing"), &["create.source-missing"], needs, move |cx| missing(cx, kind)),
            case(name("gone"), &["create.source-missing", "create.refused-makes-nothing"], needs, move |cx| {
                gone(cx, kind)
            }),
            case(name("outlived"), &["create.source-survives"], needs, move |cx| outlived(cx, kind)),
        ]);
    }
    let lacks = |rpc| [VOLUMES, Need::NoController(rpc)];
    for (name, kind, rpc) in
        [("snapshot", Kind::Snapshot, Rpc::CreateDeleteSnapshot), ("volume", Kind::Volume, Rpc::CloneVolume)]
    {
        let run = move |cx| unsupported(cx, kind);
        let name = format!("create-volume/from-{name}/not-offered");
        cases.push(case(name, &["create.source-unsupported"], &lacks(rpc), run));
    }
    cases.push(case("create-volume/from-nothing", &["create.source-unsupported"], &[VOLUMES], nothing));
    cases
}

/// A volume as content source.
pub(super) fn of_volume(id: &str) -> v1::VolumeContentSource {
    v1::VolumeContentSource { r#type: Some(Type::Volume(VolumeSource { volume_id: id.into() })) }
}

/// A snapshot as content source.
pub(super) fn of_snapshot(id: &str) -> v1::VolumeContentSource {
    v1::VolumeContentSource { r#type: Some(Type::Snapshot(SnapshotSource { snapshot_id: id.into() })) }
}

fn of(kind: Kind, id: &str) -> v1::VolumeContentSource {
    match kind {
        Kind::Snapshot => of_snapshot(id),
        Kind::Volume => of_volume(id),
    }
}

/// A volume, its id as source or that of a snapshot of it, and the size below which nothing fits.
async fn source(cx: &Cx, kind: Kind) -> Outcome<(v1::Volume, String, i64)> {
    let volume = cx.create("source").await?;
    let size = if volume.capacity_bytes > 0 { volume.capacity_bytes } else { cx.bytes() };
    if kind == Kind::Volume {
        let id = volume.volume_id.clone();
        return Ok((volume, id, size));
    }
    let snapshot = cx.snapshot(&volume.volume_id, "source").await?;
    let size = if snapshot.size_bytes > 0 { snapshot.size_bytes } else { size };
    Ok((volume, snapshot.snapshot_id, size))
}

fn request(cx: &Cx, kind: Kind, id: &str) -> v1::CreateVolumeRequest {
    v1::CreateVolumeRequest { volume_content_source: Some(of(kind, id)), ..cx.create_request("copy") }
}

async fn made(cx: Cx, kind: Kind) -> Outcome {
    let (parent, id, _) = source(&cx, kind).await?;
    let request = request(&cx, kind, &id);
    let volume = some(ok(cx.create_volume(request.clone()).await, "CreateVolume with a source")?.volume, "volume")?;
    ensure!(volume.volume_id != parent.volume_id, "the copy is the source itself");
    same(&volume.content_source, &request.volume_content_source, "content_source of the answer")?;
    let again = ok(cx.create_volume(request).await, "the same again")?;
    same(&some(again.volume, "volume")?, &volume, "the repeat's volume")
}

async fn larger(cx: Cx, kind: Kind) -> Outcome {
    let (_, id, size) = source(&cx, kind).await?;
    let mut request = request(&cx, kind, &id);
    request.capacity_range = Some(v1::CapacityRange { required_bytes: 2 * size, limit_bytes: 0 });
    let volume = some(ok(cx.create_volume(request).await, "twice the source's size")?.volume, "volume")?;
    let fits = volume.capacity_bytes == 0 || volume.capacity_bytes >= 2 * size;
    ensure!(fits, "asked for {} bytes, was given {}", 2 * size, volume.capacity_bytes);
    Ok(())
}

async fn too_small(cx: Cx, kind: Kind) -> Outcome {
    let (_, id, size) = source(&cx, kind).await?;
    let mut request = request(&cx, kind, &id);
    request.capacity_range = Some(v1::CapacityRange { required_bytes: 0, limit_bytes: size / 2 });
    refused(cx.create_volume(request).await, Code::OutOfRange, "a limit of half the source's size").map(drop)
}

async fn missing(cx: Cx, kind: Kind) -> Outcome {
    let mut request = request(&cx, kind, &no_such_id(&cx));
    refused(cx.create_volume(request.clone()).await, Code::NotFound, "a source that isn't there")?;
    request.volume_content_source = None;
    ok(cx.create_volume(request).await, "the same name without the source").map(drop)
}

async fn gone(cx: Cx, kind: Kind) -> Outcome {
    let (parent, id, _) = source(&cx, kind).await?;
    match kind {
        Kind::Volume => cx.delete(&parent.volume_id).await?,
        Kind::Snapshot => {
            let delete = v1::DeleteSnapshotRequest { snapshot_id: id.clone(), ..Default::default() };
            ok(cx.delete_snapshot(delete).await, "DeleteSnapshot")?;
        }
    }
    let mut request = request(&cx, kind, &id);
    refused(cx.create_volume(request.clone()).await, Code::NotFound, "a source that was deleted")?;
    request.volume_content_source = None;
    ok(cx.create_volume(request).await, "the same name without the source").map(drop)
}

async fn outlived(cx: Cx, kind: Kind) -> Outcome {
    let (parent, id, _) = source(&cx, kind).await?;
    let request = request(&cx, kind, &id);
    let volume = some(ok(cx.create_volume(request.clone()).await, "CreateVolume with a source")?.volume, "volume")?;
    let deleted = match kind {
        Kind::Volume => {
            let delete = v1::DeleteVolumeRequest { volume_id: parent.volume_id.clone(), ..Default::default() };
            ok_or(cx.delete_volume(delete).await, &[Code::FailedPrecondition], "DeleteVolume of the source")?.is_some()
        }
        Kind::Snapshot => {
            let delete = v1::DeleteSnapshotRequest { snapshot_id: id, ..Default::default() };
            ok_or(cx.delete_snapshot(delete).await, &[Code::FailedPrecondition], "DeleteSnapshot of the source")?
                .is_some()
        }
    };
    let validate = super::validate::request(&cx, &volume);
    ok(cx.validate_volume_capabilities(validate).await, "the copy, after its source")?;
    // The repeat of a request that was answered long ago: its volume is there, the source need not be.
    let codes: &[Code] = if deleted { &[Code::NotFound] } else { &[] };
    if let Some(again) = ok_or(cx.create_volume(request).await, codes, "the copy's request again")? {
        same(&some(again.volume, "volume")?.volume_id, &volume.volume_id, "the repeat's volume")?;
    }
    cx.delete(&volume.volume_id).await
}

async fn unsupported(cx: Cx, kind: Kind) -> Outcome {
    let parent = cx.create("source").await?;
    let request = request(&cx, kind, &parent.volume_id);
    // What can't be there may also be said not to be there.
    let codes = [Code::InvalidArgument, Code::NotFound];
    refused_as(cx.create_volume(request).await, &codes, "a source of a kind that is not offered").map(drop)
}

async fn nothing(cx: Cx) -> Outcome {
    let mut request = cx.create_request("copy");
    request.volume_content_source = Some(v1::VolumeContentSource::default());
    refused(cx.create_volume(request).await, Code::InvalidArgument, "a content source without a type").map(drop)
}
