//! Each field of each request, spoiled in every way, one at a time.

use super::{ground::Ground, spoil};
use crate::sandboxed;
use bulkhead_tests::raw;
use prost_reflect::prost::Message;
use tonic::Code;

/// Fields that the specification requires, by RPC.
const REQUIRED: [(&str, &[&str]); 29] = [
    ("CreateVolume", &["name", "volume_capabilities", "volume_capabilities.mount", "volume_capabilities.access_mode"]),
    ("DeleteVolume", &["volume_id"]),
    ("ValidateVolumeCapabilities", &["volume_id", "volume_capabilities", "volume_capabilities.access_mode"]),
    ("ControllerGetVolume", &["volume_id"]),
    ("ControllerExpandVolume", &["volume_id", "capacity_range", "volume_capability.mount"]),
    ("NodeStageVolume", &["volume_id", "staging_target_path", "volume_capability", "volume_capability.access_mode"]),
    ("NodeUnstageVolume", &["volume_id", "staging_target_path"]),
    ("NodePublishVolume", &["volume_id", "target_path", "volume_capability", "volume_capability.mount"]),
    ("NodeUnpublishVolume", &["volume_id", "target_path"]),
    ("NodeGetVolumeStats", &["volume_id", "volume_path"]),
    ("NodeExpandVolume", &["volume_id", "volume_path", "volume_capability.mount"]),
    ("GetCapacity", &["volume_capabilities.mount", "volume_capabilities.access_mode"]),
    ("ListVolumes", &[]),
    ("ControllerPublishVolume", &["volume_id", "node_id", "volume_capability", "volume_capability.access_mode"]),
    ("ControllerUnpublishVolume", &["volume_id"]),
    ("ControllerModifyVolume", &["volume_id", "mutable_parameters"]),
    ("ControllerGetVolumeHealth", &["volume_id"]),
    ("ControllerListVolumeHealth", &[]),
    ("CreateSnapshot", &["name", "source_volume_id"]),
    ("DeleteSnapshot", &["snapshot_id"]),
    ("ListSnapshots", &[]),
    ("GetSnapshot", &["snapshot_id"]),
    ("CreateVolumeGroupSnapshot", &["name", "source_volume_ids"]),
    ("DeleteVolumeGroupSnapshot", &["group_snapshot_id"]),
    ("GetVolumeGroupSnapshot", &["group_snapshot_id"]),
    ("GetMetadataAllocated", &["snapshot_id"]),
    ("GetMetadataDelta", &["base_snapshot_id", "target_snapshot_id"]),
    ("NodeGetVolumeHealth", &["volume_id"]),
    ("NodeGetStorageHealth", &[]),
];

/// INVALID_ARGUMENT, but where the specification has another code.
fn code_for(rpc: &str, field: &str, how: &str) -> Code {
    match (rpc, field) {
        (_, "starting_token") => Code::Aborted,
        (_, "starting_offset") => Code::OutOfRange,
        // An id like any other, of a volume that is not there.
        // An id of a node may have 256 bytes.
        (_, "node_id") if how == "129 bytes" => Code::NotFound,
        ("CreateVolumeGroupSnapshot", "source_volume_ids") if how == "a comma" => Code::NotFound,
        _ => Code::InvalidArgument,
    }
}

#[test]
fn a_spoiled_field_is_refused_and_changes_nothing() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        let mut cases = 0;
        for good in ground.good() {
            let (path, name) = (super::ground::path(&good.method), good.method.name().to_owned());
            for spoiled in spoil::every_field(&good.message) {
                // Detached from a node that nobody knows: fine.
                if name == "ControllerUnpublishVolume" && spoiled.field == "node_id" && spoiled.how == "129 bytes" {
                    continue;
                }
                let what = format!("{} = {}", spoiled.field, spoiled.how);
                let code = code_for(&name, &spoiled.field, &spoiled.how);
                ground.is_refused(&what, &path, spoiled.message.encode_to_vec(), code).await;
                cases += 1;
            }
        }
        assert!(cases > 700, "only {cases} cases: fields are being skipped");
        ground.is_well().await;
    });
}

#[test]
fn a_missing_required_field_is_refused_and_changes_nothing() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        for good in ground.good() {
            let path = super::ground::path(&good.method);
            let (_, required) = REQUIRED.iter().find(|(rpc, _)| *rpc == good.method.name()).expect("every RPC");
            for field in *required {
                let message = spoil::without(&good.message, field).message;
                ground.is_refused(&format!("no {field}"), &path, message.encode_to_vec(), Code::InvalidArgument).await;
            }
            // A client that skips staging: the specification's code for that.
            if good.method.name() == "NodePublishVolume" {
                let message = spoil::without(&good.message, "staging_target_path").message.encode_to_vec();
                ground.is_refused("no staging path", &path, message, Code::FailedPrecondition).await;
            }
        }
        ground.is_well().await;
    });
}

/// Without this the two tests above could pass because nothing works at all.
#[test]
fn the_requests_that_are_spoiled_are_good() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        for good in ground.good() {
            let path = super::ground::path(&good.method);
            let answer = raw::call(&ground.client.channel, &path, good.message.encode_to_vec()).await;
            assert!(answer.is_ok(), "{path}: {answer:?}");
        }
        ground.is_well().await;
    });
}
