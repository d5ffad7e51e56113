//! ControllerModifyVolume.

use super::{VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, case,
    check::{ok, ok_or, refused, same, some},
    ensure,
    options::Map,
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc};
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    const MODIFY: Need = Need::Controller(Rpc::ModifyVolume);
    const GIVEN: &[Need] = &[VOLUMES, MODIFY, Need::Option("mutable-parameters")];
    vec![
        case("modify/applies", &["modify.applies", "modify.repeat"], GIVEN, applies),
        case("modify/unknown-parameter", &["modify.unknown-parameter"], &[VOLUMES, MODIFY], unknown_parameter),
        case("modify/atomic", &["modify.atomic"], GIVEN, atomic),
        case("modify/unknown", &["modify.unknown"], GIVEN, unknown),
        case("modify/no-parameters", &["modify.missing"], &[VOLUMES, MODIFY], none),
        case("modify/create-repeat", &["modify.create-repeat"], GIVEN, create_repeat),
    ]
}

fn request(volume_id: &str, mutable_parameters: Map) -> v1::ControllerModifyVolumeRequest {
    v1::ControllerModifyVolumeRequest { volume_id: volume_id.into(), mutable_parameters, ..Default::default() }
}

fn good(cx: &Cx) -> Map {
    cx.driver.options.mutable_parameters.clone().unwrap_or_default()
}

fn bad(cx: &Cx) -> Map {
    cx.driver.options.bad_mutable_parameters.clone().unwrap_or_else(unknown_key)
}

fn unknown_key() -> Map {
    Map::from([("zzz.example.invalid/no-such-key".to_owned(), "1".to_owned())])
}

/// What can be seen of a volume without knowing what its parameters do: what ControllerGetVolume tells, and whether Validate
/// confirms the good parameters as the volume's. Drivers that look at neither always give the same.
async fn seen(cx: &Cx, volume: &v1::Volume) -> Outcome<(Option<v1::Volume>, bool)> {
    let mut found = None;
    if cx.driver.caps.has(Rpc::GetVolume) {
        let request = v1::ControllerGetVolumeRequest { volume_id: volume.volume_id.clone() };
        found = ok(cx.controller_get_volume(request).await, "ControllerGetVolume")?.volume;
    }
    let mut validate = super::validate::request(cx, volume);
    validate.mutable_parameters = good(cx);
    let answer = cx.validate_volume_capabilities(validate).await;
    let answer = ok_or(answer, &[Code::InvalidArgument], "ValidateVolumeCapabilities")?;
    Ok((found, answer.is_some_and(|answer| answer.confirmed.is_some())))
}

async fn applies(cx: Cx) -> Outcome {
    let id = cx.create("modify").await?.volume_id;
    for what in ["--mutable-parameters", "the same again", "once more"] {
        ok(cx.controller_modify_volume(request(&id, good(&cx))).await, what)?;
    }
    if let Some(other) = cx.driver.options.other_mutable_parameters.clone() {
        ok(cx.controller_modify_volume(request(&id, other)).await, "--other-mutable-parameters")?;
        ok(cx.controller_modify_volume(request(&id, good(&cx))).await, "back again")?;
    }
    Ok(())
}

async fn unknown_parameter(cx: Cx) -> Outcome {
    let volume = cx.create("modify").await?;
    let before = seen(&cx, &volume).await?;
    let answer = cx.controller_modify_volume(request(&volume.volume_id, bad(&cx))).await;
    refused(answer, Code::InvalidArgument, "a parameter that must be refused")?;
    same(&seen(&cx, &volume).await?, &before, "the volume afterwards")
}

/// Applied or not: a create request tells, too. One with the parameters that a volume has now is its repeat.
async fn atomic(cx: Cx) -> Outcome {
    let create = cx.create_request("modify");
    let volume = some(ok(cx.create_volume(create.clone()).await, "CreateVolume")?.volume, "volume")?;
    let id = volume.volume_id.clone();
    let before = seen(&cx, &volume).await?;
    // All of the good ones stay in it. The bad one sorts last: who applies them one by one has then applied something.
    let mut mixed = unknown_key();
    mixed.extend(bad(&cx));
    mixed.extend(good(&cx));
    let answer = cx.controller_modify_volume(request(&id, mixed)).await;
    refused(answer, Code::InvalidArgument, "a bad parameter among good ones")?;
    same(&seen(&cx, &volume).await?, &before, "the volume afterwards")?;
    let again = ok(cx.create_volume(create.clone()).await, "the volume's own request again")?;
    same(&some(again.volume, "volume")?, &volume, "the repeat's volume after a refused modification")?;
    let mut modified = create;
    modified.mutable_parameters = good(&cx);
    let what = "a create request with the parameters of the refused modification";
    refused(cx.create_volume(modified).await, Code::AlreadyExists, what).map(drop)
}

async fn unknown(cx: Cx) -> Outcome {
    let answer = cx.controller_modify_volume(request(&no_such_id(&cx), good(&cx))).await;
    refused(answer, Code::NotFound, "a volume that isn't there").map(drop)
}

async fn none(cx: Cx) -> Outcome {
    let id = cx.create("modify").await?.volume_id;
    let answer = cx.controller_modify_volume(request(&id, Map::new())).await;
    refused(answer, Code::InvalidArgument, "no parameters").map(drop)
}

async fn create_repeat(cx: Cx) -> Outcome {
    let create = cx.create_request("modify");
    let volume = some(ok(cx.create_volume(create.clone()).await, "CreateVolume")?.volume, "volume")?;
    ok(cx.controller_modify_volume(request(&volume.volume_id, good(&cx))).await, "--mutable-parameters")?;
    let mut modified = create.clone();
    modified.mutable_parameters = good(&cx);
    for (what, request) in [("the volume's own request", create), ("one with its present parameters", modified)] {
        let answer = cx.create_volume(request).await;
        if let Some(answer) = ok_or(answer, &[Code::AlreadyExists], &format!("after a modification, {what}"))? {
            let id = some(answer.volume, "volume")?.volume_id;
            ensure!(id == volume.volume_id, "after a modification, {what} makes a second volume of the name");
        }
    }
    Ok(())
}
