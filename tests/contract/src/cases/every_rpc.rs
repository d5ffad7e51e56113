//! Rules that hold for all RPCs: what is not offered, what is missing, what is too long, what nobody expects.

use super::rpcs::{Gate, Ground, RPCS, gate};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{name, ok_or, refused, refused_as},
    ensure, fields,
};
use prost_reflect::{ReflectMessage, prost::Message};
use tonic::Code;

/// Required fields, with dots, and the rule that says so.
const REQUIRED: &[(&str, &str, &str)] = &[
    ("CreateVolume", "name", "create.missing"),
    ("CreateVolume", "volume_capabilities", "create.missing"),
    ("CreateVolume", "volume_capabilities.access_mode", "create.missing"),
    ("CreateVolume", "volume_capabilities.*", "create.missing"),
    ("DeleteVolume", "volume_id", "delete.missing"),
    ("ControllerPublishVolume", "volume_id", "attach.missing"),
    ("ControllerPublishVolume", "node_id", "attach.missing"),
    ("ControllerPublishVolume", "volume_capability", "attach.missing"),
    ("ControllerPublishVolume", "volume_capability.*", "attach.missing"),
    ("ControllerUnpublishVolume", "volume_id", "detach.missing"),
    ("ValidateVolumeCapabilities", "volume_id", "validate.missing"),
    ("ValidateVolumeCapabilities", "volume_capabilities", "validate.missing"),
    ("ControllerGetVolume", "volume_id", "get.missing"),
    ("ControllerExpandVolume", "volume_id", "expand.missing"),
    ("ControllerExpandVolume", "capacity_range", "expand.missing"),
    ("ControllerModifyVolume", "volume_id", "modify.missing"),
    ("ControllerModifyVolume", "mutable_parameters", "modify.missing"),
    ("CreateSnapshot", "name", "snapshot.missing"),
    ("CreateSnapshot", "source_volume_id", "snapshot.missing"),
    ("DeleteSnapshot", "snapshot_id", "delete-snapshot.missing"),
    ("GetSnapshot", "snapshot_id", "get-snapshot.missing"),
    ("CreateVolumeGroupSnapshot", "name", "group.missing"),
    ("CreateVolumeGroupSnapshot", "source_volume_ids", "group.missing"),
    ("DeleteVolumeGroupSnapshot", "group_snapshot_id", "group.delete-missing"),
    ("GetVolumeGroupSnapshot", "group_snapshot_id", "group.get-missing"),
    ("GetMetadataAllocated", "snapshot_id", "metadata.missing"),
    ("GetMetadataDelta", "base_snapshot_id", "metadata.missing"),
    ("GetMetadataDelta", "target_snapshot_id", "metadata.missing"),
    ("ControllerGetVolumeHealth", "volume_id", "health.get-missing"),
    ("NodeGetVolumeHealth", "volume_id", "health.node-missing"),
    ("NodeStageVolume", "volume_id", "stage.missing"),
    ("NodeStageVolume", "staging_target_path", "stage.missing"),
    ("NodeStageVolume", "volume_capability", "stage.missing"),
    ("NodeStageVolume", "volume_capability.*", "stage.missing"),
    ("NodeUnstageVolume", "volume_id", "unstage.missing"),
    ("NodeUnstageVolume", "staging_target_path", "unstage.missing"),
    ("NodePublishVolume", "volume_id", "publish.missing"),
    ("NodePublishVolume", "target_path", "publish.missing"),
    ("NodePublishVolume", "volume_capability", "publish.missing"),
    ("NodePublishVolume", "volume_capability.*", "publish.missing"),
    ("NodeUnpublishVolume", "volume_id", "unpublish.missing"),
    ("NodeUnpublishVolume", "target_path", "unpublish.missing"),
    ("NodeGetVolumeStats", "volume_id", "stats.missing"),
    ("NodeGetVolumeStats", "volume_path", "stats.missing"),
    ("NodeExpandVolume", "volume_id", "node-expand.missing"),
    ("NodeExpandVolume", "volume_path", "node-expand.missing"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (rpc, gate) in RPCS {
        if let Some(needs) = gate.not_offered() {
            cases.push(case(format!("not-offered/{rpc}"), &["error.unimplemented"], &needs, |cx| not_offered(cx, rpc)));
        }
        let offered = gate.offered();
        cases.push(case(format!("too-long/{rpc}"), TOO_LONG, &offered, |cx| too_long(cx, rpc)));
        cases.push(case(format!("odd/{rpc}"), &["limits.no-crash"], &offered, |cx| odd(cx, rpc)));
    }
    for (rpc, field, rule) in REQUIRED {
        let needs = gate(rpc).map(Gate::offered).unwrap_or_default();
        let rules = [rule, "error.missing-argument", "error.no-details", "error.message"];
        cases.push(case(format!("missing/{rpc}.{field}"), &rules, &needs, |cx| missing(cx, rpc, field)));
    }
    cases.push(case("missing/secret-values", &["calls.no-secrets-echoed"], &[Need::Plugin(SERVICE)], secrets));
    cases
}

const TOO_LONG: &[&str] = &["limits.request-fields", "limits.answer-fields"];
const SERVICE: bulkhead_proto::v1::plugin_capability::service::Type =
    bulkhead_proto::v1::plugin_capability::service::Type::ControllerService;

async fn not_offered(cx: Cx, rpc: &str) -> Outcome {
    let request = format!("{rpc}Request");
    let answer = cx.call_encoded(&request, &[]).await;
    refused(answer, Code::Unimplemented, &format!("{rpc} without arguments"))?;
    let good = Ground::new(&cx).await?.good(&cx, rpc)?;
    let answer = cx.call_encoded(&request, &good.encode_to_vec()).await;
    refused(answer, Code::Unimplemented, &format!("{rpc} with good arguments")).map(drop)
}

async fn missing(cx: Cx, rpc: &str, field: &str) -> Outcome {
    let good = Ground::new(&cx).await?.good(&cx, rpc)?;
    // `*` stands for the access type: mount or block.
    let field = field.replace('*', if cx.usage.is_block() { "block" } else { "mount" });
    let message = fields::without(&good, &field).ok_or_else(|| Stop::fail(format!("{rpc} has no field {field}")))?;
    let answer = cx.call_encoded(&format!("{rpc}Request"), &message.encode_to_vec()).await;
    refused(answer, Code::InvalidArgument, &format!("{rpc} without {field}")).map(drop)
}

/// What is beyond a limit is not accepted: INVALID_ARGUMENT, or as what can't be there. To take away what can't be there is OK.
async fn too_long(cx: Cx, rpc: &str) -> Outcome {
    let good = Ground::new(&cx).await?.good(&cx, rpc)?;
    for spoiled in fields::oversized(&good) {
        let answer = cx.call_encoded(&format!("{rpc}Request"), &spoiled.message.encode_to_vec()).await;
        let what = format!("{rpc} with {} of {}", spoiled.field, spoiled.how);
        if spoiled.field.ends_with("token") {
            refused_as(answer, &[Code::Aborted, Code::InvalidArgument], &what)?;
        } else if spoiled.field.ends_with("_id") || spoiled.field.ends_with("_ids") {
            let goes = rpc.starts_with("Delete") || rpc.contains("Unpublish") || rpc.contains("Unstage");
            let codes = [Code::InvalidArgument, Code::NotFound];
            if goes || rpc.starts_with("List") {
                ok_or(answer, &codes, &what)?;
            } else {
                refused_as(answer, &codes, &what)?;
            }
        } else {
            refused(answer, Code::InvalidArgument, &what)?;
        }
    }
    super::alive(&cx, "fields that are too long").await
}

/// Whatever the answer is, it comes from a driver that lives.
async fn odd(cx: Cx, rpc: &str) -> Outcome {
    let good = Ground::new(&cx).await?.good(&cx, rpc)?;
    for spoiled in fields::odd(&good) {
        let answer = cx.call_encoded(&format!("{rpc}Request"), &spoiled.message.encode_to_vec()).await;
        let Err(status) = answer else { continue };
        let gone = [Code::Unavailable, Code::Unknown, Code::DeadlineExceeded, Code::Cancelled, Code::Internal];
        let (what, code) = (format!("{rpc} with {} = {}", spoiled.field, spoiled.how), status.code());
        ensure!(!gone.contains(&code), "{what}: was {} ({})", name(code), status.message());
    }
    super::alive(&cx, "odd values").await
}

/// A secret that no answer may repeat, in requests that are refused for other reasons.
async fn secrets(cx: Cx) -> Outcome {
    const SECRET: &str = "c0ntract-s3cret-value";
    let ground = Ground::new(&cx).await?;
    for (rpc, gate) in RPCS {
        if gate.offered().iter().any(|need| need.check(&cx.driver, &cx.usage).is_err()) {
            continue;
        }
        let good = ground.good(&cx, rpc)?;
        let Some(field) = good.descriptor().get_field_by_name("secrets") else { continue };
        let secret = (prost_reflect::MapKey::String("password".into()), prost_reflect::Value::String(SECRET.into()));
        for spoiled in fields::oversized(&good).into_iter().take(3) {
            let mut message = spoiled.message;
            message.set_field(&field, prost_reflect::Value::Map([secret.clone()].into_iter().collect()));
            let answer = cx.call_encoded(&format!("{rpc}Request"), &message.encode_to_vec()).await;
            let text = answer.err().map(|status| status.message().to_owned()).unwrap_or_default();
            ensure!(!text.contains(SECRET), "{rpc}: the error repeats a secret");
        }
    }
    Ok(())
}
