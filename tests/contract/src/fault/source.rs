//! Faults of volumes that are made from snapshots and volumes.

use super::{Call, Fault, Hooks, fault};
use bulkhead_proto::v1::{
    self, CreateVolumeRequest, CreateVolumeResponse, VolumeContentSource,
    volume_content_source::{Type, VolumeSource},
};
use std::collections::BTreeMap;
use tonic::{Code, Status};

/// The volume that each snapshot was cut from.
#[derive(Default)]
struct CutFrom(BTreeMap<String, String>);

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "source-not-told",
        "the answer does not name the content source",
        &["create-volume/from-snapshot/made", "create-volume/from-volume/made"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                let mut answer = call.create_volume(request).await?;
                answer.volume.iter_mut().for_each(|volume| volume.content_source = None);
                Ok(answer)
            });
        },
    ),
    fault(
        "source-lost",
        "restores and clones come empty, and nobody is told",
        &[
            "create-volume/from-snapshot/missing",
            "create-volume/from-volume/missing",
            "data/snapshot/content",
            "data/clone/content",
        ],
        |hooks| hooks.create_volume(|call, request| async move { from_nothing(&call, request).await }),
    ),
    fault(
        "source-missing-is-empty",
        "a source that isn't there makes an empty volume",
        &["create-volume/from-snapshot/missing", "create-volume/from-volume/missing", "create-volume/*/gone"],
        |hooks| once_more(hooks, Code::NotFound, |request| request.volume_content_source = None),
    ),
    fault(
        "source-cut-off",
        "a limit below the source's size is forgotten",
        &["create-volume/from-snapshot/too-small", "create-volume/from-volume/too-small"],
        |hooks| {
            once_more(hooks, Code::OutOfRange, |request| {
                request.capacity_range.iter_mut().for_each(|range| range.limit_bytes = 0);
            });
        },
    ),
    fault(
        "clone-is-the-source",
        "a clone is another name for the volume itself",
        &["create-volume/from-volume/made"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                let Some(VolumeContentSource { r#type: Some(Type::Volume(source)) }) = &request.volume_content_source
                else {
                    return call.create_volume(request).await;
                };
                let range = request.capacity_range.as_ref();
                let volume = v1::Volume {
                    volume_id: source.volume_id.clone(),
                    capacity_bytes: range.map_or(0, |range| range.required_bytes),
                    content_source: request.volume_content_source.clone(),
                    ..Default::default()
                };
                Ok(CreateVolumeResponse { volume: Some(volume) })
            });
        },
    ),
    fault(
        "snapshot-not-frozen",
        "a snapshot is only a pointer: what is made from it has what is in the volume by then",
        &["data/snapshot/own-way", "data/snapshot/many"],
        |hooks| {
            hooks.create_snapshot(|call, request| async move {
                let answer = call.create_snapshot(request).await?;
                if let Some(snapshot) = &answer.snapshot {
                    let (id, volume) = (snapshot.snapshot_id.clone(), snapshot.source_volume_id.clone());
                    call.with(|cut: &mut CutFrom| _ = cut.0.insert(id, volume));
                }
                Ok(answer)
            });
            hooks.create_volume(|call, mut request| async move {
                let told = request.volume_content_source.clone();
                if let Some(VolumeContentSource { r#type: Some(source) }) = &mut request.volume_content_source
                    && let Type::Snapshot(snapshot) = source
                    && let Some(volume_id) = call.with(|cut: &mut CutFrom| cut.0.get(&snapshot.snapshot_id).cloned())
                {
                    *source = Type::Volume(VolumeSource { volume_id });
                }
                told_as(call.create_volume(request).await, told)
            });
        },
    ),
    fault(
        "larger-copy-not-grown",
        "a larger volume from a source has the source's size and tells the one that was asked for",
        &["data/snapshot/larger", "data/clone/larger"],
        |hooks| {
            hooks.create_volume(|call, mut request| async move {
                if request.volume_content_source.is_none() {
                    return call.create_volume(request).await;
                }
                let asked = request.capacity_range.take().map_or(0, |range| range.required_bytes);
                let mut answer = call.create_volume(request).await?;
                answer.volume.iter_mut().for_each(|volume| volume.capacity_bytes = asked.max(volume.capacity_bytes));
                Ok(answer)
            });
        },
    ),
];

/// The answer, with that content source.
fn told_as(
    answer: Result<CreateVolumeResponse, Status>,
    source: Option<VolumeContentSource>,
) -> Result<CreateVolumeResponse, Status> {
    let mut answer = answer?;
    if let Some(volume) = &mut answer.volume {
        volume.content_source = source;
    }
    Ok(answer)
}

/// A volume without the source, told as one from it.
async fn from_nothing(call: &Call, mut request: CreateVolumeRequest) -> Result<CreateVolumeResponse, Status> {
    let told = request.volume_content_source.take();
    told_as(call.create_volume(request).await, told)
}

/// What was refused with that code for its source is asked for again, changed, and told as what was asked for.
fn once_more(hooks: &mut Hooks, code: Code, change: fn(&mut CreateVolumeRequest)) {
    hooks.create_volume(move |call, mut request| async move {
        let told = request.volume_content_source.clone();
        let answer = call.create_volume(request.clone()).await;
        if told.is_none() || !matches!(&answer, Err(status) if status.code() == code) {
            return answer;
        }
        change(&mut request);
        told_as(call.create_volume(request).await, told)
    });
}
