//! ControllerExpandVolume.

use super::{EXPAND, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, Stop, Usage, case,
    check::{ok, ok_or, refused, refused_as, same},
    ensure,
};
use bulkhead_proto::v1::{
    self, node_service_capability::rpc::Type as NodeRpc, plugin_capability::volume_expansion::Type as Expansion,
    volume_capability::access_mode::Mode,
};
use tonic::Code;

type Range = fn(&Cx, i64) -> (i64, i64);

/// Ranges that change nothing: required and limit by the current size, and how they are refused.
const NOTHING: &[(&str, &str, Range, &[Code], bool)] = &[
    ("limit-below-required", "expand.bad-range", |_, size| (size * 4, size * 2), BAD_RANGE, false),
    ("negative-required", "expand.bad-range", |_, _| (-1, 0), BAD_RANGE, false),
    ("negative-limit", "expand.bad-range", |_, size| (size * 2, -1), BAD_RANGE, false),
    ("limit-below-size", "expand.limit-below-size", |_, size| (0, size - 1), &[Code::OutOfRange], false),
    ("zero", "expand.zero-range", |_, _| (0, 0), BAD_RANGE, true),
    ("smaller", "expand.smaller", |_, size| (size / 2, 0), &[], true),
    ("same-size", "expand.smaller", |_, size| (size, 0), &[], true),
    ("one-byte", "expand.smaller", |_, _| (1, 0), &[], true),
    ("too-large", "expand.too-large", |_, _| (i64::MAX, 0), &[Code::OutOfRange, Code::ResourceExhausted], false),
];
const BAD_RANGE: &[Code] = &[Code::OutOfRange, Code::InvalidArgument];

pub(super) fn cases() -> Vec<Case> {
    let needs = &[VOLUMES, EXPAND];
    let offline = &[VOLUMES, EXPAND, Need::NodeService, Need::Expansion(Expansion::Offline)];
    let mut cases = vec![
        case("expand/grows", &["expand.grows", "expand.repeat", "expand.node-required"], needs, grows).every_use(),
        case("expand/unknown", &["expand.unknown"], &[EXPAND], unknown),
        case("expand/unsupported", &["expand.unsupported-capability"], needs, unsupported),
        case("expand/offline-only", &["expand.offline-only"], offline, offline_only),
    ];
    for (what, rule, range, codes, may_be_ok) in NOTHING {
        let run = move |cx| nothing(cx, *range, codes, *may_be_ok);
        cases.push(case(format!("expand/nothing/{what}"), &[rule], needs, run));
    }
    cases
}

/// To a size.
pub(super) fn request(cx: &Cx, volume_id: &str, bytes: i64) -> v1::ControllerExpandVolumeRequest {
    v1::ControllerExpandVolumeRequest {
        volume_id: volume_id.into(),
        capacity_range: Some(v1::CapacityRange { required_bytes: bytes, limit_bytes: 0 }),
        volume_capability: Some(cx.capability()),
        ..Default::default()
    }
}

/// The volume's size: an expansion to one byte says it.
async fn size(cx: &Cx, volume_id: &str) -> Outcome<i64> {
    let answer = cx.controller_expand_volume(request(cx, volume_id, 1)).await;
    Ok(ok(answer, "an expansion to one byte, which every volume has")?.capacity_bytes)
}

async fn grows(cx: Cx) -> Outcome {
    let volume = cx.create("expand").await?;
    let before = size(&cx, &volume.volume_id).await?;
    let mut request = request(&cx, &volume.volume_id, 2 * before);
    let first = ok(cx.controller_expand_volume(request.clone()).await, "twice the size")?;
    ensure!(first.capacity_bytes >= 2 * before, "asked for {} bytes, was {}", 2 * before, first.capacity_bytes);
    let can = cx.driver.caps.node_has(NodeRpc::ExpandVolume);
    ensure!(can || !first.node_expansion_required, "node_expansion_required, but the node has no EXPAND_VOLUME");
    let again = ok(cx.controller_expand_volume(request.clone()).await, "the same again")?;
    same(&again, &first, "the repeat")?;
    request.capacity_range = Some(v1::CapacityRange { required_bytes: 3 * before, limit_bytes: 3 * before });
    let exact = ok(cx.controller_expand_volume(request).await, "required equal to limit")?.capacity_bytes;
    same(&exact, &(3 * before), "capacity_bytes with required equal to limit")?;
    same(&size(&cx, &volume.volume_id).await?, &exact, "the size afterwards")
}

async fn nothing(cx: Cx, range: Range, codes: &'static [Code], may_be_ok: bool) -> Outcome {
    let volume = cx.create("expand").await?;
    let before = size(&cx, &volume.volume_id).await?;
    let (required_bytes, limit_bytes) = range(&cx, before);
    let mut request = request(&cx, &volume.volume_id, 0);
    request.capacity_range = Some(v1::CapacityRange { required_bytes, limit_bytes });
    let what = format!("from {before} to {required_bytes} bytes, at most {limit_bytes}");
    let answer = cx.controller_expand_volume(request).await;
    if may_be_ok {
        if let Some(answer) = ok_or(answer, codes, &what)? {
            same(&answer.capacity_bytes, &before, "capacity_bytes of an expansion that is none")?;
        }
    } else {
        refused_as(answer, codes, &what)?;
    }
    same(&size(&cx, &volume.volume_id).await?, &before, "the size afterwards")
}

async fn unknown(cx: Cx) -> Outcome {
    let answer = cx.controller_expand_volume(request(&cx, &no_such_id(&cx), 2 * cx.bytes())).await;
    refused(answer, Code::NotFound, "a volume that isn't there").map(drop)
}

async fn unsupported(cx: Cx) -> Outcome {
    let volume = cx.create("expand").await?;
    let before = size(&cx, &volume.volume_id).await?;
    let mut request = request(&cx, &volume.volume_id, 2 * before);
    let other = Usage::Mount("no-such-fs".into());
    request.volume_capability = Some(crate::cx::capability(&other, Mode::SingleNodeWriter));
    refused(cx.controller_expand_volume(request).await, Code::InvalidArgument, "a file system of no meaning")?;
    same(&size(&cx, &volume.volume_id).await?, &before, "the size afterwards")
}

async fn offline_only(cx: Cx) -> Outcome {
    if cx.driver.caps.expansion.contains(&Expansion::Online.into()) {
        return Err(Stop::skip("volumes can grow ONLINE"));
    }
    let volume = cx.create("expand").await?;
    let used = cx.put_to_use(&volume).await?;
    let request = request(&cx, &volume.volume_id, 2 * cx.bytes());
    let answer = cx.controller_expand_volume(request.clone()).await;
    refused(answer, Code::FailedPrecondition, "a published volume that can only grow OFFLINE")?;
    cx.put_away(&used).await?;
    ok(cx.controller_expand_volume(request).await, "the same volume once it is put away").map(drop)
}
