//! Faults of ControllerPublishVolume and ControllerUnpublishVolume.

use super::{Call, Fault, Hooks, fault, unless};
use bulkhead_proto::v1::{ControllerPublishVolumeRequest, ControllerPublishVolumeResponse};
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Status};

/// The last attachment of each volume.
#[derive(Default)]
struct Attached(BTreeMap<String, (ControllerPublishVolumeRequest, ControllerPublishVolumeResponse)>);

/// Volumes that were made here.
#[derive(Default)]
struct Made(BTreeSet<String>);

#[derive(Default)]
struct Times(u32);

pub(super) const FAULTS: &[Fault] = &[
    fault("attach-to-a-second-node", "a second node gets a single-node volume", &["attach/other-node"], |hooks| {
        instead(hooks, Code::FailedPrecondition, |first, request| first.node_id != request.node_id);
    }),
    fault(
        "attach-ignores-readonly",
        "attached with another readonly is OK, and nothing changes",
        &["attach/other-readonly"],
        |hooks| instead(hooks, Code::AlreadyExists, |first, request| first.readonly != request.readonly),
    ),
    fault(
        "attach-ignores-capability",
        "attached with another capability is OK, and nothing changes",
        &["attach/other-capability"],
        |hooks| {
            instead(hooks, Code::AlreadyExists, |first, request| first.volume_capability != request.volume_capability);
        },
    ),
    fault(
        "attach-hides-the-holder",
        "the error does not name the node that has the volume",
        &["attach/other-node"],
        |hooks| {
            hooks.errors(|rpc, status| match (rpc, status.code()) {
                ("controller_publish_volume", Code::FailedPrecondition) => {
                    Status::failed_precondition("the volume is attached to another node")
                }
                _ => status,
            });
        },
    ),
    fault("attach-to-any-node", "a node that isn't there gets the volume", &["attach/unknown-node"], |hooks| {
        know_volumes(hooks);
        hooks.controller_publish_volume(|call, request| async move {
            let known = call.with(|made: &mut Made| made.0.contains(&request.volume_id));
            let answer = call.controller_publish_volume(request).await;
            if known { unless(answer, Code::NotFound, Default::default) } else { answer }
        });
    }),
    fault("attach-unknown-volume", "a volume that isn't there can be attached", &["attach/unknown-volume"], |hooks| {
        hooks.controller_publish_volume(|call, request| async move {
            unless(call.controller_publish_volume(request).await, Code::NotFound, Default::default)
        });
    }),
    fault("attach-overfills", "a full node gets one volume more", &["attach/node-full"], |hooks| {
        hooks.controller_publish_volume(|call, request| async move {
            unless(call.controller_publish_volume(request).await, Code::ResourceExhausted, Default::default)
        });
    }),
    fault("attach-context-changes", "the publish context is another one in each answer", &["attach/repeat"], |hooks| {
        hooks.controller_publish_volume(|call, request| async move {
            let mut answer = call.controller_publish_volume(request).await?;
            let times = call.with(|times: &mut Times| {
                times.0 += 1;
                times.0
            });
            answer.publish_context.insert("lun".into(), times.to_string());
            Ok(answer)
        });
    }),
    fault(
        "detach-does-nothing",
        "ControllerUnpublishVolume is OK, and the volume stays attached",
        &["detach/all-nodes", "delete-volume/attached", "list-volumes/published-nodes", "attach/other-node"],
        |hooks| hooks.controller_unpublish_volume(|_, _| async { Ok(Default::default()) }),
    ),
    fault(
        "detach-needs-a-node",
        "without a node id nothing is detached, and the answer is OK",
        &["detach/all-nodes"],
        |hooks| {
            hooks.controller_unpublish_volume(|call, request| async move {
                if request.node_id.is_empty() {
                    return Ok(Default::default());
                }
                call.controller_unpublish_volume(request).await
            });
        },
    ),
    fault(
        "detach-from-all-nodes",
        "every detachment detaches from all nodes",
        &["detach/unknown-node", "attach/multi-node"],
        |hooks| {
            hooks.controller_unpublish_volume(|call, mut request| async move {
                request.node_id.clear();
                call.controller_unpublish_volume(request).await
            });
        },
    ),
    fault(
        "detach-unknown-is-internal",
        "detaching a volume that the storage does not find is INTERNAL: it is tried for ever",
        &["detach/unknown-volume"],
        |hooks| {
            know_volumes(hooks);
            hooks.controller_unpublish_volume(|call, request| async move {
                if !call.with(|made: &mut Made| made.0.contains(&request.volume_id)) {
                    return Err(Status::internal("the storage answered 404"));
                }
                call.controller_unpublish_volume(request).await
            });
        },
    ),
    fault(
        "detach-twice-is-not-found",
        "what is not attached can't be detached",
        &["detach/repeat", "detach/not-attached"],
        |hooks| {
            remember(hooks);
            hooks.controller_unpublish_volume(|call, request| async move {
                if call.with(|attached: &mut Attached| attached.0.remove(&request.volume_id)).is_none() {
                    return Err(Status::not_found("the volume is not attached"));
                }
                call.controller_unpublish_volume(request).await
            });
        },
    ),
];

async fn attach(
    call: &Call,
    request: ControllerPublishVolumeRequest,
) -> Result<ControllerPublishVolumeResponse, Status> {
    let answer = call.controller_publish_volume(request.clone()).await?;
    let both = (request.clone(), answer.clone());
    call.with(|attached: &mut Attached| _ = attached.0.insert(request.volume_id, both));
    Ok(answer)
}

fn remember(hooks: &mut Hooks) {
    hooks.controller_publish_volume(|call, request| async move { attach(&call, request).await });
}

/// An attachment that is refused with that code is OK with the answer of the last one of the volume, if the two differ so.
fn instead(
    hooks: &mut Hooks,
    code: Code,
    differ: fn(&ControllerPublishVolumeRequest, &ControllerPublishVolumeRequest) -> bool,
) {
    hooks.controller_publish_volume(move |call, request| async move {
        let first = call.with(|attached: &mut Attached| attached.0.get(&request.volume_id).cloned());
        match (attach(&call, request.clone()).await, first) {
            (Err(status), Some((first, answer))) if status.code() == code && differ(&first, &request) => Ok(answer),
            (answer, _) => answer,
        }
    });
}

fn know_volumes(hooks: &mut Hooks) {
    hooks.create_volume(|call, request| async move {
        let answer = call.create_volume(request).await?;
        if let Some(volume) = &answer.volume {
            call.with(|made: &mut Made| _ = made.0.insert(volume.volume_id.clone()));
        }
        Ok(answer)
    });
}
