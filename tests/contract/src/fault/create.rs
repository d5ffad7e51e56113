//! Faults of CreateVolume, sources aside.

use super::{Call, Fault, Hooks, fault};
use bulkhead_proto::v1::{CapacityRange, CreateVolumeRequest};
use std::collections::BTreeMap;
use tonic::Code;

const MIB: i64 = 1 << 20;

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "create-forgets-names",
        "CreateVolume makes a new volume each time it is called",
        &["create-volume/repeat/same", "create-volume/repeat/wider-range", "concurrent/create-volume"],
        |hooks| {
            hooks.create_volume(|call, mut request| async move {
                let times = seen(&call, &request.name);
                if times > 0 {
                    request.name += &format!("-{times}");
                }
                call.create_volume(request).await
            });
        },
    ),
    fault(
        "create-ignores-parameters",
        "CreateVolume does not compare parameters under the same name",
        &["create-volume/repeat/parameters-unknown", "create-volume/repeat/parameters-other"],
        |hooks| as_first(hooks, |first, request| request.parameters.clone_from(&first.parameters)),
    ),
    fault(
        "create-ignores-mutable-parameters",
        "CreateVolume does not compare mutable parameters under the same name",
        &["create-volume/repeat/mutable", "create-volume/mutable"],
        |hooks| as_first(hooks, |first, request| request.mutable_parameters.clone_from(&first.mutable_parameters)),
    ),
    fault(
        "create-ignores-capacity",
        "CreateVolume gives a volume whose size is out of the asked range, because the name fits",
        &["create-volume/repeat/larger", "create-volume/repeat/smaller-limit"],
        |hooks| as_first(hooks, |first, request| request.capacity_range.clone_from(&first.capacity_range)),
    ),
    fault(
        "create-ignores-capabilities",
        "CreateVolume gives a volume that was not made for the asked use, because the name fits",
        &["create-volume/repeat/capabilities"],
        |hooks| as_first(hooks, |first, request| request.volume_capabilities.clone_from(&first.volume_capabilities)),
    ),
    fault(
        "create-ignores-source",
        "CreateVolume does not compare content sources under the same name",
        &["create-volume/repeat/source", "create-volume/repeat/source-missing"],
        |hooks| {
            as_first(hooks, |first, request| request.volume_content_source.clone_from(&first.volume_content_source))
        },
    ),
    fault(
        "create-compares-bytes",
        "CreateVolume takes any change for a conflict, also a wider range",
        &["create-volume/repeat/without-range", "create-volume/repeat/wider-range"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                let first = call.with(|firsts: &mut Firsts| firsts.0.get(&request.name).cloned());
                if first.is_some_and(|first| first != request) {
                    return Err(tonic::Status::already_exists("the name belongs to another request"));
                }
                remember(&call, request).await
            });
        },
    ),
    fault(
        "create-too-small",
        "volumes have half the size",
        &["create-volume/size", "create-volume/exact-size"],
        |hooks| {
            hooks.create_volume(|call, mut request| async move {
                if let Some(range) = &mut request.capacity_range {
                    range.required_bytes /= 2;
                    range.limit_bytes /= 2;
                }
                call.create_volume(request).await
            });
        },
    ),
    fault(
        "create-ignores-limit",
        "sizes are rounded up to whole 64 MiB, and the limit is forgotten",
        &["create-volume/size", "create-volume/exact-size"],
        |hooks| {
            hooks.create_volume(|call, mut request| async move {
                if let Some(range) = &mut request.capacity_range {
                    let required_bytes = (range.required_bytes / (64 * MIB) + 1).saturating_mul(64 * MIB);
                    *range = CapacityRange { required_bytes, limit_bytes: 0 };
                }
                call.create_volume(request).await
            });
        },
    ),
    fault(
        "create-ignores-topology",
        "CreateVolume does not look at accessibility_requirements",
        &["create-volume/topology-impossible", "create-volume/topology-other"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                call.create_volume(CreateVolumeRequest { accessibility_requirements: None, ..request }).await
            });
        },
    ),
    fault(
        "create-hides-topology",
        "CreateVolume does not tell from where the volume is accessible",
        &["create-volume/topology"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                let mut answer = call.create_volume(request).await?;
                answer.volume.iter_mut().for_each(|volume| volume.accessible_topology.clear());
                Ok(answer)
            });
        },
    ),
    fault(
        "create-takes-any-parameters",
        "CreateVolume ignores parameters that it does not know",
        &["create-volume/bad-parameters"],
        |hooks| once_more_without(hooks, |request| request.parameters.clear()),
    ),
    fault(
        "create-takes-any-mutable-parameters",
        "CreateVolume ignores mutable parameters that it does not know",
        &["create-volume/refused/mutable-unknown"],
        |hooks| once_more_without(hooks, |request| request.mutable_parameters.clear()),
    ),
    fault(
        "create-takes-any-mode",
        "an access mode of no meaning is taken for SINGLE_NODE_WRITER",
        &["create-volume/refused/mode-unknown", "create-volume/refused/mode-no-such"],
        |hooks| {
            hooks.create_volume(|call, mut request| async move {
                let modes = request.volume_capabilities.iter_mut().filter_map(|c| c.access_mode.as_mut());
                modes.filter(|mode| !(1..=7).contains(&mode.mode)).for_each(|mode| mode.mode = 1);
                call.create_volume(request).await
            });
        },
    ),
    fault(
        "create-leaves-refused",
        "a refused CreateVolume leaves a small volume under its name",
        &["create-volume/refused/limit-below-required", "create-volume/refused/too-large"],
        |hooks| {
            hooks.create_volume(|call, mut request| async move {
                let answer = call.create_volume(request.clone()).await;
                if let Err(status) = &answer
                    && matches!(status.code(), Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted)
                {
                    request.capacity_range = Some(CapacityRange { required_bytes: 1, limit_bytes: 8 * MIB });
                    // If that can't be made either, nothing is left.
                    _ = call.create_volume(request).await;
                }
                answer
            });
        },
    ),
    fault(
        "create-cuts-names",
        "names over 128 bytes are cut, not refused",
        &["create-volume/name-length", "too-long/CreateVolume"],
        |hooks| {
            hooks.create_volume(|call, mut request| async move {
                request.name.truncate(request.name.floor_char_boundary(128));
                call.create_volume(request).await
            });
        },
    ),
    fault(
        "create-ignores-case",
        "names that differ only in case are one volume",
        &["create-volume/name-distinct"],
        |hooks| {
            hooks.create_volume(|call, mut request| async move {
                request.name = request.name.to_lowercase();
                call.create_volume(request).await
            });
        },
    ),
    fault(
        "create-context-changes",
        "the volume context is another one in each answer",
        &["create-volume/repeat/same"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                let times = seen(&call, &request.name);
                let mut answer = call.create_volume(request).await?;
                if let Some(volume) = &mut answer.volume {
                    volume.volume_context.insert("attempt".into(), times.to_string());
                }
                Ok(answer)
            });
        },
    ),
];

/// How often each name was used.
#[derive(Default)]
struct Seen(BTreeMap<String, u32>);

fn seen(call: &Call, name: &str) -> u32 {
    call.with(|seen: &mut Seen| {
        let times = seen.0.entry(name.to_owned()).or_default();
        *times += 1;
        *times - 1
    })
}

/// The first request of each name that was answered.
#[derive(Default)]
struct Firsts(BTreeMap<String, CreateVolumeRequest>);

async fn remember(
    call: &Call,
    request: CreateVolumeRequest,
) -> Result<bulkhead_proto::v1::CreateVolumeResponse, tonic::Status> {
    let answer = call.create_volume(request.clone()).await?;
    call.with(|firsts: &mut Firsts| _ = firsts.0.entry(request.name.clone()).or_insert(request));
    Ok(answer)
}

/// Under a name that is known, a part of the request is what it was the first time.
fn as_first(hooks: &mut Hooks, copy: fn(&CreateVolumeRequest, &mut CreateVolumeRequest)) {
    hooks.create_volume(move |call, mut request| async move {
        call.with(|firsts: &mut Firsts| {
            if let Some(first) = firsts.0.get(&request.name) {
                copy(first, &mut request);
            }
        });
        remember(&call, request).await
    });
}

/// What is INVALID_ARGUMENT is asked for again, without the part that may be the reason.
fn once_more_without(hooks: &mut Hooks, clear: fn(&mut CreateVolumeRequest)) {
    hooks.create_volume(move |call, mut request| async move {
        let answer = call.create_volume(request.clone()).await;
        if !matches!(&answer, Err(status) if status.code() == Code::InvalidArgument) {
            return answer;
        }
        clear(&mut request);
        call.create_volume(request).await
    });
}
