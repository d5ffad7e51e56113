//! DeleteVolume.

use super::{SNAPSHOTS, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, ok_or, refused, some},
    ensure,
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc};
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("delete-volume/unknown", &["delete.unknown"], &[VOLUMES], unknown),
        case("delete-volume/twice", &["delete.repeat"], &[VOLUMES], twice),
        case("delete-volume/gone", &["delete.gone"], &[VOLUMES], gone),
        case("delete-volume/attached", &["delete.in-use"], &[VOLUMES, super::ATTACH, Need::NodeService], attached),
        case("delete-volume/published", &["delete.in-use"], &[VOLUMES, Need::NodeService], published).every_use(),
        case("delete-volume/with-snapshots", &["delete.with-snapshots"], &[VOLUMES, SNAPSHOTS], with_snapshots),
    ]
}

async fn unknown(cx: Cx) -> Outcome {
    cx.delete(&no_such_id(&cx)).await?;
    // Ids that would be something if they were used as paths.
    for id in ["..", "../..", "/", "/etc", ".", "a/../../b"] {
        let request = v1::DeleteVolumeRequest { volume_id: id.into(), ..Default::default() };
        ok_or(cx.delete_volume(request).await, &[Code::InvalidArgument, Code::NotFound], &format!("the id {id:?}"))?;
    }
    super::alive(&cx, "ids like paths").await
}

async fn twice(cx: Cx) -> Outcome {
    let id = cx.create("twice").await?.volume_id;
    for _ in 0..3 {
        cx.delete(&id).await?;
    }
    Ok(())
}

async fn gone(cx: Cx) -> Outcome {
    let request = cx.create_request("gone");
    let volume = some(ok(cx.create_volume(request.clone()).await, "CreateVolume")?.volume, "volume")?;
    cx.delete(&volume.volume_id).await?;
    let validate = super::validate::request(&cx, &volume);
    refused(cx.validate_volume_capabilities(validate).await, Code::NotFound, "a deleted volume")?;
    if cx.driver.caps.has(Rpc::ListVolumes) {
        let listed = super::list::all(&cx, 0).await?;
        ensure!(listed.iter().all(|v| v.volume_id != volume.volume_id), "a deleted volume is still listed");
    }
    let mut other = request;
    other.capacity_range = Some(v1::CapacityRange { required_bytes: 2 * cx.bytes(), limit_bytes: 0 });
    ok(cx.create_volume(other).await, "the name of a deleted volume with another size").map(drop)
}

async fn attached(cx: Cx) -> Outcome {
    let volume = cx.create("attached").await?;
    let context = cx.attach(&volume).await?;
    let delete = v1::DeleteVolumeRequest { volume_id: volume.volume_id.clone(), ..Default::default() };
    refused(cx.delete_volume(delete).await, Code::FailedPrecondition, "an attached volume")?;
    let again = ok(cx.controller_publish_volume(cx.attach_request(&volume)).await, "the attached volume afterwards")?;
    crate::check::same(&again.publish_context, &context, "publish_context after a refused deletion")?;
    cx.detach(&volume.volume_id).await?;
    cx.delete(&volume.volume_id).await
}

async fn published(cx: Cx) -> Outcome {
    let volume = cx.create("published").await?;
    let used = cx.put_to_use(&volume).await?;
    let delete = v1::DeleteVolumeRequest { volume_id: volume.volume_id.clone(), ..Default::default() };
    refused(cx.delete_volume(delete).await, Code::FailedPrecondition, "a published volume")?;
    let validate = super::validate::request(&cx, &volume);
    ok(cx.validate_volume_capabilities(validate).await, "a published volume after a refused deletion")?;
    cx.put_away(&used).await?;
    cx.delete(&volume.volume_id).await
}

async fn with_snapshots(cx: Cx) -> Outcome {
    let volume = cx.create("with-snapshots").await?;
    let snapshot = cx.snapshot(&volume.volume_id, "survivor").await?;
    let delete = v1::DeleteVolumeRequest { volume_id: volume.volume_id.clone(), ..Default::default() };
    let answer = cx.delete_volume(delete).await;
    let deleted = ok_or(answer, &[Code::FailedPrecondition], "a volume with a snapshot")?.is_some();
    if !deleted {
        let validate = super::validate::request(&cx, &volume);
        ok(cx.validate_volume_capabilities(validate).await, "the volume after a refused deletion")?;
    }
    if cx.driver.caps.has(Rpc::ListSnapshots) {
        let request = v1::ListSnapshotsRequest { snapshot_id: snapshot.snapshot_id.clone(), ..Default::default() };
        let listed = ok(cx.list_snapshots(request).await, "ListSnapshots")?.entries;
        ensure!(listed.len() == 1, "the snapshot is listed {} times after its volume's deletion", listed.len());
    }
    let mut restore = cx.create_request("restored");
    restore.volume_content_source = Some(super::source::of_snapshot(&snapshot.snapshot_id));
    ok(cx.create_volume(restore).await, "a volume from the snapshot").map(drop)
}
