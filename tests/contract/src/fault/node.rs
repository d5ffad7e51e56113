//! Faults of the node.

use super::{Call, Fault, Hooks, fault, unless};
use bulkhead_proto::v1::{
    self, NodeGetVolumeStatsResponse, NodePublishVolumeRequest, VolumeCapability, VolumeUsage,
    volume_capability::{AccessMode, AccessType, access_mode::Mode},
    volume_usage::Unit,
};
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Status};

/// Volumes and the paths at which they are.
#[derive(Default)]
struct At(BTreeSet<(String, String)>);

/// Where each volume is staged.
#[derive(Default)]
struct Staged(BTreeMap<String, String>);

/// The first statistics of each path.
#[derive(Default)]
struct Old(BTreeMap<(String, String), NodeGetVolumeStatsResponse>);

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "stage-ignores-capability",
        "staged with another capability is OK, and nothing changes",
        &["node-stage/other-capability/mode", "node-stage/other-capability/flags"],
        |hooks| {
            hooks.node_stage_volume(|call, request| async move {
                unless(call.node_stage_volume(request).await, Code::AlreadyExists, Default::default)
            });
        },
    ),
    fault("stage-default-fs", "fs_type is not looked at", &["node-stage/fs-type"], |hooks| {
        capabilities(hooks, |capability| {
            if let Some(AccessType::Mount(mount)) = &mut capability.access_type {
                mount.fs_type.clear();
            }
        });
    }),
    fault(
        "mount-flags-dropped",
        "mount flags are not looked at",
        &["node-stage/mount-flags/*", "node-publish/mount-flags"],
        |hooks| {
            capabilities(hooks, |capability| {
                if let Some(AccessType::Mount(mount)) = &mut capability.access_type {
                    mount.mount_flags.clear();
                }
            });
        },
    ),
    fault("mount-group-dropped", "volume_mount_group is not looked at", &["node-publish/mount-group"], |hooks| {
        capabilities(hooks, |capability| {
            if let Some(AccessType::Mount(mount)) = &mut capability.access_type {
                mount.volume_mount_group.clear();
            }
        });
    }),
    fault(
        "unstage-does-nothing",
        "NodeUnstageVolume is OK, and the volume stays staged",
        &["node-unstage/repeat"],
        |hooks| hooks.node_unstage_volume(|_, _| async { Ok(Default::default()) }),
    ),
    fault(
        "unstage-unknown-is-not-found",
        "a volume that is not staged can't be unstaged: teardown never ends",
        &["node-unstage/unknown-volume", "node-unstage/not-staged", "node-unstage/repeat"],
        |hooks| {
            hooks.node_stage_volume(|call, request| async move {
                let at = (request.volume_id.clone(), request.staging_target_path.clone());
                let answer = call.node_stage_volume(request).await?;
                call.with(|staged: &mut At| staged.0.insert(at));
                Ok(answer)
            });
            hooks.node_unstage_volume(|call, request| async move {
                let at = (request.volume_id.clone(), request.staging_target_path.clone());
                if !call.with(|staged: &mut At| staged.0.contains(&at)) {
                    return Err(Status::not_found("the volume is not staged here"));
                }
                let answer = call.node_unstage_volume(request).await?;
                call.with(|staged: &mut At| staged.0.remove(&at));
                Ok(answer)
            });
        },
    ),
    fault(
        "publish-clears-readonly",
        "readonly is not looked at",
        &["node-publish/read-only-is-enforced", "node-publish/read-only-beside-writable"],
        |hooks| {
            hooks.node_publish_volume(|call, request| async move {
                call.node_publish_volume(NodePublishVolumeRequest { readonly: false, ..request }).await
            });
        },
    ),
    fault(
        "publish-ignores-arguments",
        "the same target with other arguments is OK, and nothing changes",
        &["node-publish/other-arguments/readonly", "node-publish/other-arguments/mode"],
        |hooks| {
            hooks.node_publish_volume(|call, request| async move {
                unless(call.node_publish_volume(request).await, Code::AlreadyExists, Default::default)
            });
        },
    ),
    fault(
        "publish-shares-a-single-writer",
        "a volume for a single writer gets a second target",
        &["node-publish/second-target/single-node-single-writer"],
        |hooks| {
            capabilities(hooks, |capability| {
                if let Some(mode) = &mut capability.access_mode
                    && mode.mode() == Mode::SingleNodeSingleWriter
                {
                    *mode = AccessMode { mode: Mode::SingleNodeMultiWriter.into() };
                }
            });
        },
    ),
    fault(
        "publish-once",
        "no volume gets a second target, whatever its mode",
        &["node-publish/second-target/single-node-multi-writer", "node-publish/others-stay"],
        |hooks| {
            remember_targets(hooks, |call, request| {
                let here = (request.volume_id.clone(), request.target_path.clone());
                let elsewhere = |at: &&(String, String)| at.0 == here.0 && at.1 != here.1;
                call.with(|at: &mut At| at.0.iter().find(elsewhere).cloned())
                    .map(|(_, target)| Status::failed_precondition(format!("the volume is published at {target}")))
            });
        },
    ),
    fault(
        "publish-needs-no-staging-path",
        "without a staging path, the last one of the volume is taken",
        &["node-publish/no-staging-path"],
        |hooks| {
            hooks.node_stage_volume(|call, request| async move {
                let (id, path) = (request.volume_id.clone(), request.staging_target_path.clone());
                let answer = call.node_stage_volume(request).await?;
                call.with(|staged: &mut Staged| staged.0.insert(id, path));
                Ok(answer)
            });
            hooks.node_publish_volume(|call, mut request| async move {
                if request.staging_target_path.is_empty()
                    && let Some(path) = call.with(|staged: &mut Staged| staged.0.get(&request.volume_id).cloned())
                {
                    request.staging_target_path = path;
                }
                call.node_publish_volume(request).await
            });
        },
    ),
    fault(
        "publish-mounts-nothing",
        "NodePublishVolume is OK, and nothing is at the target",
        &["node-publish/repeat", "node-publish/size"],
        |hooks| hooks.node_publish_volume(|_, _| async { Ok(Default::default()) }),
    ),
    fault(
        "unpublish-does-nothing",
        "NodeUnpublishVolume is OK, and the volume stays at the target",
        &["node-unpublish/repeat"],
        |hooks| hooks.node_unpublish_volume(|_, _| async { Ok(Default::default()) }),
    ),
    fault(
        "unpublish-leaves-the-target",
        "NodeUnpublishVolume leaves the target's directory",
        &["node-unpublish/repeat"],
        |hooks| {
            hooks.node_unpublish_volume(|call, request| async move {
                let target = request.target_path.clone();
                let answer = call.node_unpublish_volume(request).await?;
                // Where it can't be made, its parent is gone with it.
                _ = std::fs::create_dir(target);
                Ok(answer)
            });
        },
    ),
    fault(
        "unpublish-unknown-is-not-found",
        "a volume that is not published can't be unpublished: teardown never ends",
        &["node-unpublish/unknown-volume", "node-unpublish/not-published", "node-unpublish/repeat"],
        |hooks| {
            remember_targets(hooks, |_, _| None);
            hooks.node_unpublish_volume(|call, request| async move {
                let at = (request.volume_id.clone(), request.target_path.clone());
                if !call.with(|all: &mut At| all.0.contains(&at)) {
                    return Err(Status::not_found("the volume is not published here"));
                }
                let answer = call.node_unpublish_volume(request).await?;
                call.with(|all: &mut At| all.0.remove(&at));
                Ok(answer)
            });
        },
    ),
    fault(
        "unpublish-takes-all-targets",
        "NodeUnpublishVolume takes the volume away from all of its targets",
        &["node-publish/others-stay"],
        |hooks| {
            remember_targets(hooks, |_, _| None);
            hooks.node_unpublish_volume(|call, request| async move {
                let all = call.with(|at: &mut At| at.0.clone());
                for (volume_id, target_path) in all.into_iter().filter(|(id, _)| *id == request.volume_id) {
                    let one = v1::NodeUnpublishVolumeRequest { volume_id, target_path };
                    call.node_unpublish_volume(one).await?;
                }
                call.node_unpublish_volume(request).await
            });
        },
    ),
    fault(
        "stats-of-nothing",
        "a path where the volume isn't has statistics of zeros",
        &["node-stats/wrong-path", "node-stats/unknown-volume"],
        |hooks| {
            hooks.node_get_volume_stats(|call, request| async move {
                let zeros = VolumeUsage { unit: Unit::Bytes.into(), ..Default::default() };
                let other = || NodeGetVolumeStatsResponse { usage: vec![zeros], volume_condition: None };
                unless(call.node_get_volume_stats(request).await, Code::NotFound, other)
            });
        },
    ),
    fault("stats-from-a-cache", "statistics are those of the first call", &["node-stats/follows"], |hooks| {
        hooks.node_get_volume_stats(|call, request| async move {
            let at = (request.volume_id.clone(), request.volume_path.clone());
            if let Some(answer) = call.with(|old: &mut Old| old.0.get(&at).cloned()) {
                return Ok(answer);
            }
            let answer = call.node_get_volume_stats(request).await?;
            call.with(|old: &mut Old| old.0.insert(at, answer.clone()));
            Ok(answer)
        });
    }),
    fault("stats-in-kib", "bytes are told in KiB", &["node-stats/sensible"], |hooks| {
        each_usage(hooks, |usage| {
            if usage.unit() == Unit::Bytes {
                usage.total /= 1024;
                usage.used /= 1024;
                usage.available /= 1024;
            }
        });
    }),
    fault("stats-below-zero", "what is available goes below zero", &["node-stats/sensible"], |hooks| {
        each_usage(hooks, |usage| usage.available = -1);
    }),
    fault("stats-without-condition", "statistics have no condition", &["node-stats/condition"], |hooks| {
        hooks.node_get_volume_stats(|call, request| async move {
            let answer = call.node_get_volume_stats(request).await?;
            Ok(NodeGetVolumeStatsResponse { volume_condition: None, ..answer })
        });
    }),
    fault(
        "health-always-well",
        "a volume that is not mounted any more is healthy",
        &["node-health/unmounted-behind"],
        |hooks| {
            hooks.node_get_volume_health(|call, request| async move {
                let mut answer = call.node_get_volume_health(request).await?;
                answer.volume_health.iter_mut().for_each(|health| health.health_statuses.clear());
                Ok(answer)
            });
        },
    ),
    fault(
        "storage-health-unknown",
        "the storage has a health of the status UNKNOWN, without a reason",
        &["node-health/storage"],
        |hooks| {
            hooks.node_get_storage_health(|call, request| async move {
                let mut answer = call.node_get_storage_health(request).await?;
                answer.backend_health.push(Default::default());
                Ok(answer)
            });
        },
    ),
    fault(
        "node-expand-skipped",
        "NodeExpandVolume is OK, and nothing grows",
        &["node-expand/online", "node-expand/wrong-path", "node-expand/unknown-volume"],
        |hooks| {
            hooks.node_expand_volume(|_, request| async move {
                let capacity_bytes = request.capacity_range.map_or(0, |range| range.required_bytes);
                Ok(v1::NodeExpandVolumeResponse { capacity_bytes })
            });
        },
    ),
    fault("node-expand-ignores-range", "a range of no meaning is not looked at", &["node-expand/bad-range"], |hooks| {
        hooks.node_expand_volume(|call, request| async move {
            call.node_expand_volume(v1::NodeExpandVolumeRequest { capacity_range: None, ..request }).await
        });
    }),
];

/// A part of every capability is changed on its way to the driver.
fn capabilities(hooks: &mut Hooks, change: fn(&mut VolumeCapability)) {
    hooks.create_volume(move |call, mut request| async move {
        request.volume_capabilities.iter_mut().for_each(change);
        call.create_volume(request).await
    });
    hooks.controller_publish_volume(move |call, mut request| async move {
        request.volume_capability.iter_mut().for_each(change);
        call.controller_publish_volume(request).await
    });
    hooks.node_stage_volume(move |call, mut request| async move {
        request.volume_capability.iter_mut().for_each(change);
        call.node_stage_volume(request).await
    });
    hooks.node_publish_volume(move |call, mut request| async move {
        request.volume_capability.iter_mut().for_each(change);
        call.node_publish_volume(request).await
    });
}

/// Keeps the targets of volumes; what `refuse` gives is the answer.
fn remember_targets(hooks: &mut Hooks, refuse: fn(&Call, &NodePublishVolumeRequest) -> Option<Status>) {
    hooks.node_publish_volume(move |call, request| async move {
        if let Some(status) = refuse(&call, &request) {
            return Err(status);
        }
        let at = (request.volume_id.clone(), request.target_path.clone());
        let answer = call.node_publish_volume(request).await?;
        call.with(|all: &mut At| all.0.insert(at));
        Ok(answer)
    });
    hooks.node_unpublish_volume(|call, request| async move {
        let at = (request.volume_id.clone(), request.target_path.clone());
        let answer = call.node_unpublish_volume(request).await?;
        call.with(|all: &mut At| all.0.remove(&at));
        Ok(answer)
    });
}

fn each_usage(hooks: &mut Hooks, change: fn(&mut VolumeUsage)) {
    hooks.node_get_volume_stats(move |call, request| async move {
        let mut answer = call.node_get_volume_stats(request).await?;
        answer.usage.iter_mut().for_each(change);
        Ok(answer)
    });
}
