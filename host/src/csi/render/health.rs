//! What is wrong with volumes and storage, for both generations of clients.

use bulkhead_domain::{
    capability::{AccessMode, AccessType, VolumeCapability},
    health::{StorageHealth, StorageProblem, UnhealthyVolume, VolumeHealth, VolumeProblem},
    volume::Page,
};
use bulkhead_proto::v1;

/// For a client of CSI 1.12: one text for all that is wrong.
pub(super) fn condition(problems: &[VolumeProblem]) -> v1::VolumeCondition {
    let text: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.reason, p.message)).collect();
    v1::VolumeCondition {
        abnormal: !problems.is_empty(),
        message: if text.is_empty() { "the volume is healthy".to_owned() } else { text.join("; ") },
    }
}

/// ControllerGetVolumeHealth and NodeGetVolumeHealth.
pub fn volume_health(volume_id: String, problems: Vec<VolumeProblem>) -> v1::VolumeHealth {
    use v1::{VolumeHealthErrorType as Wire, volume_health::VolumeHealthEntry};
    let entry = |problem: VolumeProblem| VolumeHealthEntry {
        status: match problem.status {
            VolumeHealth::Degraded => Wire::Degraded.into(),
            VolumeHealth::Inaccessible => Wire::Inaccessible.into(),
            VolumeHealth::DataLoss => Wire::DataLoss.into(),
        },
        reason: problem.reason,
        message: problem.message,
    };
    v1::VolumeHealth { volume_id, health_statuses: problems.into_iter().map(entry).collect() }
}

/// ControllerListVolumeHealth.
pub fn unhealthy_volumes(page: Page<UnhealthyVolume>) -> v1::ControllerListVolumeHealthResponse {
    let entries = page.entries.into_iter();
    v1::ControllerListVolumeHealthResponse {
        entries: entries.map(|found| volume_health(found.volume_id.as_str().to_owned(), found.problems)).collect(),
        next_token: page.next_token.unwrap_or_default(),
    }
}

/// NodeGetStorageHealth.
pub fn storage_health(problems: Vec<StorageProblem>) -> v1::NodeGetStorageHealthResponse {
    use v1::{StorageHealthErrorType as Wire, node_get_storage_health_response::StorageBackendHealth};
    let line = |problem: StorageProblem| StorageBackendHealth {
        status: match problem.status {
            StorageHealth::Degraded => Wire::StorageDegraded.into(),
            StorageHealth::Unreachable => Wire::StorageUnreachable.into(),
        },
        reason: problem.reason,
        message: problem.message,
        volume_capability: problem.capability.map(capability),
    };
    v1::NodeGetStorageHealthResponse { backend_health: problems.into_iter().map(line).collect() }
}

fn capability(capability: VolumeCapability) -> v1::VolumeCapability {
    use v1::volume_capability::{AccessMode as Mode, AccessType as Wire, BlockVolume, MountVolume, access_mode};
    let mode = match capability.access_mode {
        AccessMode::SingleNodeWriter => access_mode::Mode::SingleNodeWriter,
        AccessMode::SingleNodeReaderOnly => access_mode::Mode::SingleNodeReaderOnly,
        AccessMode::MultiNodeReaderOnly => access_mode::Mode::MultiNodeReaderOnly,
        AccessMode::MultiNodeSingleWriter => access_mode::Mode::MultiNodeSingleWriter,
        AccessMode::MultiNodeMultiWriter => access_mode::Mode::MultiNodeMultiWriter,
        AccessMode::SingleNodeSingleWriter => access_mode::Mode::SingleNodeSingleWriter,
        AccessMode::SingleNodeMultiWriter => access_mode::Mode::SingleNodeMultiWriter,
    };
    let access_type = match capability.access_type {
        AccessType::Block => Wire::Block(BlockVolume {}),
        AccessType::Mount(mount) => Wire::Mount(MountVolume {
            fs_type: mount.fs_type,
            volume_mount_group: mount.volume_mount_group,
            ..MountVolume::default()
        }),
    };
    v1::VolumeCapability { access_type: Some(access_type), access_mode: Some(Mode { mode: mode.into() }) }
}
