//! CreateVolume: sizes, and the same name again.

use super::{CLONE, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, Usage, case,
    check::{ok, ok_or, refused, refused_as, same, some},
    ensure,
};
use bulkhead_proto::v1::{self, volume_capability::access_mode::Mode};
use std::sync::Arc;
use tonic::Code;

const TIB: i64 = 1 << 40;
/// More than anybody has: 8 EiB less one.
const TOO_LARGE: i64 = i64::MAX;

/// What a repeat must give.
#[derive(Clone, Copy)]
enum Must {
    /// The same volume.
    Same,
    /// ALREADY_EXISTS.
    Exists,
    /// One of these.
    Be(&'static [Code]),
}

type Change = fn(&Cx, &v1::Volume, &mut v1::CreateVolumeRequest);

/// A request is made, and made again with a change.
const REPEATS: &[(&str, &str, &[Need], Change, Must)] = &[
    ("same", "create.repeat", &[], |_, _, _| {}, Must::Same),
    ("without-range", "create.repeat-compatible", &[], |_, _, r| r.capacity_range = None, Must::Same),
    ("wider-range", "create.repeat-compatible", &[], |_, v, r| range(r, size(v, r) / 2, size(v, r) * 2), Must::Same),
    ("range-of-its-size", "create.repeat-compatible", &[], |_, v, r| range(r, size(v, r), size(v, r)), Must::Same),
    ("larger", "create.other-capacity", &[], |_, v, r| range(r, size(v, r) * 2, 0), Must::Exists),
    ("smaller-limit", "create.other-capacity", &[], |_, v, r| range(r, 0, size(v, r) - 1), Must::Exists),
    ("parameters-unknown", "create.other-parameters", &[], unknown_parameter, Must::Be(EXISTS_OR_BAD)),
    (
        "parameters-other",
        "create.other-parameters",
        &[Need::Option("other-parameters")],
        other_parameters,
        Must::Exists,
    ),
    ("mutable", "create.other-mutable-parameters", &[Need::Option("mutable-parameters")], mutable, Must::Exists),
    ("source-missing", "create.other-source", &[CLONE], missing_source, Must::Be(EXISTS_OR_NOT_FOUND)),
];
const EXISTS_OR_BAD: &[Code] = &[Code::AlreadyExists, Code::InvalidArgument];
const EXISTS_OR_NOT_FOUND: &[Code] = &[Code::AlreadyExists, Code::NotFound];

type Spoil = fn(&mut v1::CreateVolumeRequest);

/// Ranges and capabilities that are refused.
const REFUSED: &[(&str, &str, Spoil, &[Code])] = &[
    ("limit-below-required", "create.bad-range", |r| range(r, 2 * TIB, TIB), BAD_RANGE),
    ("negative-required", "create.bad-range", |r| range(r, -1, 0), BAD_RANGE),
    ("negative-limit", "create.bad-range", |r| range(r, 0, -1), BAD_RANGE),
    ("most-negative", "create.bad-range", |r| range(r, i64::MIN, i64::MIN), BAD_RANGE),
    ("too-large", "create.too-large", |r| range(r, TOO_LARGE, 0), &[Code::OutOfRange, Code::ResourceExhausted]),
    ("mode-unknown", "create.unsupported-capability", |r| mode(r, 0), &[Code::InvalidArgument]),
    ("mode-no-such", "create.unsupported-capability", |r| mode(r, 99), &[Code::InvalidArgument]),
    ("fs-no-such", "create.unsupported-capability", no_such_fs, &[Code::InvalidArgument]),
    ("mutable-unknown", "create.unknown-mutable-parameter", unknown_mutable, &[Code::InvalidArgument]),
];
const BAD_RANGE: &[Code] = &[Code::OutOfRange, Code::InvalidArgument];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("create-volume/size", &["create.size"], &[VOLUMES], sizes),
        case("create-volume/exact-size", &["create.exact-size"], &[VOLUMES], exact),
        case("create-volume/repeat/capabilities", &["create.other-capabilities"], &[VOLUMES], capabilities),
        case("create-volume/repeat/source", &["create.other-source"], &[VOLUMES, CLONE], source),
        case("create-volume/bad-parameters", &["create.unknown-parameter"], BAD_PARAMETERS, bad_parameters),
        case("create-volume/mutable", &["create.mutable-parameters"], MUTABLE, takes_mutable),
    ];
    for (what, rule, needs, change, must) in REPEATS {
        let needs = [&[VOLUMES], *needs].concat();
        let rules = [rule, "create.refused-repeat-harmless"];
        cases.push(case(format!("create-volume/repeat/{what}"), &rules, &needs, move |cx| repeat(cx, *change, *must)));
    }
    for (what, rule, spoil, codes) in REFUSED {
        let rules = [rule, "create.refused-makes-nothing"];
        let run = move |cx| refuse(cx, *spoil, codes);
        cases.push(case(format!("create-volume/refused/{what}"), &rules, &[VOLUMES], run));
    }
    cases
}

const BAD_PARAMETERS: &[Need] = &[VOLUMES, Need::Option("bad-parameters")];
const MUTABLE: &[Need] = &[VOLUMES, Need::Option("mutable-parameters")];

fn range(request: &mut v1::CreateVolumeRequest, required_bytes: i64, limit_bytes: i64) {
    request.capacity_range = Some(v1::CapacityRange { required_bytes, limit_bytes });
}

/// The volume's size, or what was asked for if it is not told.
fn size(volume: &v1::Volume, request: &v1::CreateVolumeRequest) -> i64 {
    let asked = request.capacity_range.as_ref().map_or(1, |range| range.required_bytes);
    if volume.capacity_bytes > 0 { volume.capacity_bytes } else { asked }
}

fn mode(request: &mut v1::CreateVolumeRequest, mode: i32) {
    for capability in &mut request.volume_capabilities {
        capability.access_mode = Some(v1::volume_capability::AccessMode { mode });
    }
}

fn no_such_fs(request: &mut v1::CreateVolumeRequest) {
    request.volume_capabilities =
        vec![crate::cx::capability(&Usage::Mount("no-such-fs".into()), Mode::SingleNodeWriter)];
}

fn unknown_mutable(request: &mut v1::CreateVolumeRequest) {
    request.mutable_parameters.insert("example.invalid/no-such-key".into(), "1".into());
}

fn unknown_parameter(_: &Cx, _: &v1::Volume, request: &mut v1::CreateVolumeRequest) {
    request.parameters.insert("example.invalid/no-such-key".into(), "1".into());
}

fn other_parameters(cx: &Cx, _: &v1::Volume, request: &mut v1::CreateVolumeRequest) {
    request.parameters = cx.driver.options.other_parameters.clone().unwrap_or_default();
}

fn mutable(cx: &Cx, _: &v1::Volume, request: &mut v1::CreateVolumeRequest) {
    request.mutable_parameters = cx.driver.options.mutable_parameters.clone().unwrap_or_default();
}

fn missing_source(cx: &Cx, _: &v1::Volume, request: &mut v1::CreateVolumeRequest) {
    request.volume_content_source = Some(super::source::of_volume(&no_such_id(cx)));
}

async fn repeat(cx: Cx, change: Change, must: Must) -> Outcome {
    let mut request = cx.create_request("repeat");
    // Twice the size, so that a smaller one is not below what the driver has at all.
    range(&mut request, 2 * cx.bytes(), 0);
    let volume = some(ok(cx.create_volume(request.clone()).await, "CreateVolume")?.volume, "volume")?;
    let mut changed = request.clone();
    change(&cx, &volume, &mut changed);
    let answer = cx.create_volume(changed).await;
    match must {
        Must::Same => same(&some(ok(answer, "the repeat")?.volume, "volume")?, &volume, "the repeat's volume")?,
        Must::Exists => _ = refused(answer, Code::AlreadyExists, "the same name with another request")?,
        Must::Be(codes) => _ = refused_as(answer, codes, "the same name with another request")?,
    }
    let again = ok(cx.create_volume(request).await, "the first request once more")?;
    same(&some(again.volume, "volume")?, &volume, "the volume after a changed repeat")
}

async fn refuse(cx: Cx, spoil: Spoil, codes: &'static [Code]) -> Outcome {
    let good = cx.create_request("refused");
    let mut bad = good.clone();
    spoil(&mut bad);
    refused_as(cx.create_volume(bad).await, codes, "the wrong request")?;
    // Had the refused one left a volume under this name, this would be its repeat.
    ok(cx.create_volume(good).await, "the right request with the name of a refused one").map(drop)
}

async fn sizes(cx: Cx) -> Outcome {
    for (required, limit) in [(cx.bytes(), 0), (cx.bytes(), cx.bytes() * 2), (0, cx.bytes() * 4), (1, cx.bytes() * 4)] {
        let mut request = cx.create_request("size");
        range(&mut request, required, limit);
        // A driver may have a smallest size that is above a small limit.
        let answer = cx.create_volume(request).await;
        let few = if required <= 1 { &[Code::OutOfRange][..] } else { &[] };
        let Some(answer) = ok_or(answer, few, &format!("required {required}, limit {limit}"))? else { continue };
        let size = some(answer.volume, "volume")?.capacity_bytes;
        let fits = size == 0 || (size >= required && (limit == 0 || size <= limit));
        ensure!(fits, "asked for {required} to {limit} bytes, was given {size}");
    }
    Ok(())
}

async fn exact(cx: Cx) -> Outcome {
    let mut request = cx.create_request("exact");
    range(&mut request, cx.bytes(), cx.bytes());
    let volume = some(ok(cx.create_volume(request).await, "required equal to limit")?.volume, "volume")?;
    ensure!(
        [0, cx.bytes()].contains(&volume.capacity_bytes),
        "asked for exactly {}, was {}",
        cx.bytes(),
        volume.capacity_bytes
    );
    Ok(())
}

/// Whether Validate confirms these capabilities of a volume.
async fn confirmed(cx: &Cx, volume: &v1::Volume, capabilities: &[v1::VolumeCapability]) -> Outcome<bool> {
    let request = v1::ValidateVolumeCapabilitiesRequest {
        volume_id: volume.volume_id.clone(),
        volume_context: volume.volume_context.clone(),
        volume_capabilities: capabilities.to_vec(),
        ..Default::default()
    };
    let answer = cx.validate_volume_capabilities(request).await;
    let answer = ok_or(answer, &[Code::InvalidArgument], "ValidateVolumeCapabilities")?;
    Ok(answer.is_some_and(|answer| answer.confirmed.is_some()))
}

async fn capabilities(cx: Cx) -> Outcome {
    let request = cx.create_request("capabilities");
    let volume = some(ok(cx.create_volume(request.clone()).await, "CreateVolume")?.volume, "volume")?;
    let other = if cx.usage.is_block() { Usage::Mount(String::new()) } else { Usage::Block };
    let other_type = crate::cx::capability(&other, Mode::SingleNodeWriter);
    let asked_for = cx.driver.options.uses();
    for (what, capability) in [
        ("another access type", other_type),
        ("MULTI_NODE_MULTI_WRITER", cx.capability_of(Mode::MultiNodeMultiWriter)),
        ("MULTI_NODE_READER_ONLY", cx.capability_of(Mode::MultiNodeReaderOnly)),
    ] {
        let mut changed = request.clone();
        changed.volume_capabilities = vec![capability];
        let fits = confirmed(&cx, &volume, &changed.volume_capabilities).await?;
        let answer = cx.create_volume(changed).await;
        let never = what == "another access type" && asked_for.iter().any(|usage| usage.is_block() == other.is_block());
        let codes = if never { &EXISTS_OR_BAD[..1] } else { EXISTS_OR_BAD };
        match ok_or(answer, codes, &format!("the same name with {what}"))? {
            Some(answer) => {
                ensure!(fits, "the same name with {what} was OK, though Validate does not confirm that it fits");
                same(&some(answer.volume, "volume")?.volume_id, &volume.volume_id, "the volume of the same name")?;
            }
            None => {
                let again = ok(cx.create_volume(request.clone()).await, "the first request once more")?;
                same(&some(again.volume, "volume")?, &volume, "the volume after a refused repeat")?;
            }
        }
    }
    Ok(())
}

async fn source(cx: Cx) -> Outcome {
    let source = cx.create("source").await?;
    let other = cx.create("other-source").await?;
    let plain = cx.create_request("plain");
    let mut clone = cx.create_request("clone");
    clone.volume_content_source = Some(super::source::of_volume(&source.volume_id));
    let made = Arc::new([plain.clone(), clone.clone()]);
    for request in made.iter() {
        ok(cx.create_volume(request.clone()).await, "CreateVolume")?;
    }
    let mut with = plain;
    with.volume_content_source.clone_from(&clone.volume_content_source);
    refused(cx.create_volume(with).await, Code::AlreadyExists, "a source where there was none")?;
    let mut another = clone.clone();
    another.volume_content_source = Some(super::source::of_volume(&other.volume_id));
    refused(cx.create_volume(another).await, Code::AlreadyExists, "another source")?;
    clone.volume_content_source = None;
    refused(cx.create_volume(clone).await, Code::AlreadyExists, "no source where there was one").map(drop)
}

async fn bad_parameters(cx: Cx) -> Outcome {
    let mut request = cx.create_request("bad-parameters");
    request.parameters = cx.driver.options.bad_parameters.clone().unwrap_or_default();
    refused(cx.create_volume(request).await, Code::InvalidArgument, "--bad-parameters").map(drop)
}

async fn takes_mutable(cx: Cx) -> Outcome {
    let mut request = cx.create_request("mutable");
    request.mutable_parameters = cx.driver.options.mutable_parameters.clone().unwrap_or_default();
    let volume = some(ok(cx.create_volume(request.clone()).await, "--mutable-parameters")?.volume, "volume")?;
    let again = ok(cx.create_volume(request.clone()).await, "the same again")?;
    same(&some(again.volume, "volume")?, &volume, "the repeat's volume")?;
    request.mutable_parameters.clear();
    refused(cx.create_volume(request).await, Code::AlreadyExists, "without the mutable parameters").map(drop)
}
