//! Faults of the other calls about volumes.

use super::{Fault, Hooks, fault, unless};
use bulkhead_proto::v1::{
    self, CapacityRange, ControllerExpandVolumeResponse, ControllerModifyVolumeRequest, DeleteVolumeRequest,
    validate_volume_capabilities_response::Confirmed,
};
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Status};

/// Volumes that were made here and are there yet.
#[derive(Default)]
struct Made(BTreeSet<String>);

/// The size that each volume had at first.
#[derive(Default)]
struct Sizes(BTreeMap<String, i64>);

pub(super) const FAULTS: &[Fault] = &[
    fault("delete-does-nothing", "DeleteVolume is OK, and the volume stays", &["delete-volume/gone"], |hooks| {
        hooks.delete_volume(|_, _| async { Ok(Default::default()) });
    }),
    fault(
        "delete-unknown-is-not-found",
        "a volume that isn't there can't be deleted",
        &["delete-volume/unknown", "delete-volume/twice", "concurrent/delete-volume"],
        delete_unknown,
    ),
    fault(
        "delete-detaches",
        "DeleteVolume takes an attached volume away from its node",
        &["delete-volume/attached", "detach/unknown-node"],
        |hooks| {
            hooks.delete_volume(|call, request| async move {
                match call.delete_volume(request.clone()).await {
                    Err(status) if status.code() == Code::FailedPrecondition => {
                        let volume_id = request.volume_id.clone();
                        let detach = v1::ControllerUnpublishVolumeRequest { volume_id, ..Default::default() };
                        call.controller_unpublish_volume(detach).await?;
                        call.delete_volume(request).await
                    }
                    answer => answer,
                }
            });
        },
    ),
    fault(
        "delete-takes-snapshots",
        "DeleteVolume deletes the volume's snapshots too",
        &["delete-volume/with-snapshots"],
        |hooks| {
            hooks.delete_volume(|call, request: DeleteVolumeRequest| async move {
                let source_volume_id = request.volume_id.clone();
                let of = v1::ListSnapshotsRequest { source_volume_id, ..Default::default() };
                for snapshot in call.list_snapshots(of).await?.entries.into_iter().filter_map(|entry| entry.snapshot) {
                    let snapshot_id = snapshot.snapshot_id;
                    call.delete_snapshot(v1::DeleteSnapshotRequest { snapshot_id, ..Default::default() }).await?;
                }
                call.delete_volume(request).await
            });
        },
    ),
    fault(
        "validate-confirms-all",
        "ValidateVolumeCapabilities confirms whatever it is asked",
        &["validate/unsupported", "validate/other-context"],
        |hooks| {
            hooks.validate_volume_capabilities(|call, request| async move {
                let confirmed = Confirmed {
                    volume_context: request.volume_context.clone(),
                    volume_capabilities: request.volume_capabilities.clone(),
                    parameters: request.parameters.clone(),
                    mutable_parameters: request.mutable_parameters.clone(),
                };
                let answer = call.validate_volume_capabilities(request).await?;
                Ok(v1::ValidateVolumeCapabilitiesResponse { confirmed: Some(confirmed), ..answer })
            });
        },
    ),
    fault(
        "validate-looks-at-the-first",
        "ValidateVolumeCapabilities looks at the first capability only",
        &["validate/unsupported"],
        |hooks| {
            hooks.validate_volume_capabilities(|call, mut request| async move {
                let asked = request.volume_capabilities.clone();
                request.volume_capabilities.truncate(1);
                let mut answer = call.validate_volume_capabilities(request).await?;
                answer.confirmed.iter_mut().for_each(|confirmed| confirmed.volume_capabilities.clone_from(&asked));
                Ok(answer)
            });
        },
    ),
    fault("validate-says-no-reason", "what is not confirmed has no message", &["validate/unsupported"], |hooks| {
        hooks.validate_volume_capabilities(|call, request| async move {
            let answer = call.validate_volume_capabilities(request).await?;
            Ok(v1::ValidateVolumeCapabilitiesResponse { message: String::new(), ..answer })
        });
    }),
    fault(
        "validate-unknown-is-unconfirmed",
        "a volume that isn't there is OK and not confirmed",
        &["validate/unknown", "delete-volume/gone"],
        |hooks| {
            hooks.validate_volume_capabilities(|call, request| async move {
                let answer = call.validate_volume_capabilities(request).await;
                let message = "there is no such volume".to_owned();
                unless(answer, Code::NotFound, || v1::ValidateVolumeCapabilitiesResponse { message, confirmed: None })
            });
        },
    ),
    fault(
        "capacity-ignores-topology",
        "GetCapacity tells the same for every topology",
        &["capacity/topology"],
        |hooks| {
            hooks.get_capacity(|call, request| async move {
                call.get_capacity(v1::GetCapacityRequest { accessible_topology: None, ..request }).await
            });
        },
    ),
    fault(
        "capacity-ignores-capabilities",
        "GetCapacity tells room for volumes that can't be made",
        &["capacity/bad-capability"],
        |hooks| {
            hooks.get_capacity(|call, request| async move {
                call.get_capacity(v1::GetCapacityRequest { volume_capabilities: vec![], ..request }).await
            });
        },
    ),
    fault("capacity-below-zero", "an overcommitted pool has negative capacity", &["capacity/sane"], |hooks| {
        hooks.get_capacity(|call, request| async move {
            let answer = call.get_capacity(request).await?;
            Ok(v1::GetCapacityResponse { available_capacity: -answer.available_capacity - 1, ..answer })
        });
    }),
    fault(
        "expand-does-nothing",
        "ControllerExpandVolume is OK with the new size, and the volume stays as it is",
        &["expand/grows", "get-volume/expanded", "node-expand/online"],
        |hooks| {
            hooks.controller_expand_volume(|call, mut request| async move {
                let asked = request.capacity_range.take().map_or(0, |range| range.required_bytes);
                request.capacity_range = Some(CapacityRange { required_bytes: 1, limit_bytes: 0 });
                let answer = call.controller_expand_volume(request).await?;
                let capacity_bytes = answer.capacity_bytes.max(asked);
                Ok(ControllerExpandVolumeResponse { capacity_bytes, ..answer })
            });
        },
    ),
    fault(
        "expand-says-smaller",
        "an expansion to less than the volume has tells that size",
        &["expand/nothing/smaller"],
        |hooks| {
            hooks.controller_expand_volume(|call, request| async move {
                let asked = request.capacity_range.map_or(0, |range| range.required_bytes);
                let answer = call.controller_expand_volume(request).await?;
                // Of one byte the size is told: suites ask for that to learn it.
                let capacity_bytes = if asked > 1 { asked } else { answer.capacity_bytes };
                Ok(ControllerExpandVolumeResponse { capacity_bytes, ..answer })
            });
        },
    ),
    fault(
        "expand-ignores-limit",
        "limit_bytes of an expansion is forgotten",
        &["expand/nothing/limit-below-size", "expand/nothing/limit-below-required"],
        |hooks| {
            hooks.controller_expand_volume(|call, mut request| async move {
                request.capacity_range.iter_mut().for_each(|range| range.limit_bytes = 0);
                call.controller_expand_volume(request).await
            });
        },
    ),
    fault(
        "expand-ignores-capability",
        "an expansion does not look at the capability",
        &["expand/unsupported"],
        |hooks| {
            hooks.controller_expand_volume(|call, request| async move {
                let request = v1::ControllerExpandVolumeRequest { volume_capability: None, ..request };
                call.controller_expand_volume(request).await
            });
        },
    ),
    fault("expand-unknown-is-ok", "a volume that isn't there can be expanded", &["expand/unknown"], |hooks| {
        hooks.controller_expand_volume(|call, request| async move {
            let capacity_bytes = request.capacity_range.map_or(0, |range| range.required_bytes);
            let other = || ControllerExpandVolumeResponse { capacity_bytes, node_expansion_required: false };
            unless(call.controller_expand_volume(request).await, Code::NotFound, other)
        });
    }),
    fault(
        "modify-half",
        "parameters are applied one by one, up to the first that is refused",
        &["modify/atomic"],
        |hooks| {
            hooks.controller_modify_volume(|call, mut request| async move {
                let parameters = std::mem::take(&mut request.mutable_parameters);
                for pair in parameters {
                    let mutable_parameters = [pair].into();
                    let one = ControllerModifyVolumeRequest { mutable_parameters, ..request.clone() };
                    call.controller_modify_volume(one).await?;
                }
                Ok(Default::default())
            });
        },
    ),
    fault(
        "modify-takes-any-parameters",
        "parameters that nobody knows are OK",
        &["modify/unknown-parameter", "modify/atomic"],
        |hooks| {
            hooks.controller_modify_volume(|call, request| async move {
                unless(call.controller_modify_volume(request).await, Code::InvalidArgument, Default::default)
            });
        },
    ),
    fault(
        "modify-does-nothing",
        "ControllerModifyVolume is OK without doing anything",
        &["modify/unknown", "modify/unknown-parameter", "modify/no-parameters"],
        |hooks| hooks.controller_modify_volume(|_, _| async { Ok(Default::default()) }),
    ),
    fault(
        "get-unknown-is-ok",
        "ControllerGetVolume of a volume that isn't there is OK",
        &["get-volume/unknown", "get-volume/deleted"],
        |hooks| {
            hooks.controller_get_volume(|call, request| async move {
                let volume = Some(v1::Volume { volume_id: request.volume_id.clone(), ..Default::default() });
                let other = || v1::ControllerGetVolumeResponse { volume, status: Some(Default::default()) };
                unless(call.controller_get_volume(request).await, Code::NotFound, other)
            });
        },
    ),
    fault(
        "get-old-size",
        "ControllerGetVolume tells the size that the volume had at first",
        &["get-volume/expanded"],
        get_old_size,
    ),
    fault(
        "get-hides-nodes",
        "ControllerGetVolume does not tell where a volume is attached",
        &["get-volume/published-nodes"],
        |hooks| {
            hooks.controller_get_volume(|call, request| async move {
                let mut answer = call.controller_get_volume(request).await?;
                answer.status.iter_mut().for_each(|status| status.published_node_ids.clear());
                Ok(answer)
            });
        },
    ),
];

fn delete_unknown(hooks: &mut Hooks) {
    hooks.create_volume(|call, request| async move {
        let answer = call.create_volume(request).await?;
        if let Some(volume) = &answer.volume {
            call.with(|made: &mut Made| _ = made.0.insert(volume.volume_id.clone()));
        }
        Ok(answer)
    });
    hooks.delete_volume(|call, request| async move {
        let id = request.volume_id.clone();
        if !id.is_empty() && !call.with(|made: &mut Made| made.0.contains(&id)) {
            return Err(Status::not_found("there is no such volume"));
        }
        let answer = call.delete_volume(request).await?;
        call.with(|made: &mut Made| made.0.remove(&id));
        Ok(answer)
    });
}

fn get_old_size(hooks: &mut Hooks) {
    hooks.create_volume(|call, request| async move {
        let answer = call.create_volume(request).await?;
        if let Some(volume) = &answer.volume {
            let (id, size) = (volume.volume_id.clone(), volume.capacity_bytes);
            call.with(|sizes: &mut Sizes| _ = sizes.0.entry(id).or_insert(size));
        }
        Ok(answer)
    });
    hooks.controller_get_volume(|call, request| async move {
        let mut answer = call.controller_get_volume(request).await?;
        if let Some(volume) = &mut answer.volume
            && let Some(size) = call.with(|sizes: &mut Sizes| sizes.0.get(&volume.volume_id).copied())
        {
            volume.capacity_bytes = size;
        }
        Ok(answer)
    });
}
