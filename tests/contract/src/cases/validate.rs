//! ValidateVolumeCapabilities.

use super::{VOLUMES, no_such_id};
use crate::{
    Case, Cx, Outcome, Usage, case,
    check::{ok, ok_or, refused, same, some},
    ensure,
};
use bulkhead_proto::v1::{self, volume_capability::access_mode::Mode};
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("validate/unknown", &["validate.unknown"], &[VOLUMES], unknown),
        case("validate/confirmed", &["validate.confirmed", "validate.echo"], &[VOLUMES], confirmed).every_use(),
        case("validate/unsupported", &["validate.unsupported", "validate.one-bad"], &[VOLUMES], unsupported)
            .every_use(),
        case("validate/other-context", &["validate.other-context"], &[VOLUMES], other_context),
    ]
}

/// That the volume is what it was made as.
pub(super) fn request(cx: &Cx, volume: &v1::Volume) -> v1::ValidateVolumeCapabilitiesRequest {
    v1::ValidateVolumeCapabilitiesRequest {
        volume_id: volume.volume_id.clone(),
        volume_context: volume.volume_context.clone(),
        volume_capabilities: vec![cx.capability()],
        parameters: cx.driver.options.parameters.clone().unwrap_or_default(),
        ..Default::default()
    }
}

async fn unknown(cx: Cx) -> Outcome {
    let volume = v1::Volume { volume_id: no_such_id(&cx), ..Default::default() };
    let answer = cx.validate_volume_capabilities(request(&cx, &volume)).await;
    refused(answer, Code::NotFound, "a volume that isn't there").map(drop)
}

async fn confirmed(cx: Cx) -> Outcome {
    let volume = cx.create("validate").await?;
    let full = request(&cx, &volume);
    let mut bare = full.clone();
    bare.volume_context.clear();
    bare.parameters.clear();
    for (what, request) in [("with context and parameters", full), ("without them", bare)] {
        let answer = ok(cx.validate_volume_capabilities(request.clone()).await, what)?;
        let why = format!("{what}: not confirmed ({})", answer.message);
        let Some(confirmed) = answer.confirmed else { return Err(crate::Stop::Fail(why)) };
        same(&confirmed.volume_capabilities, &request.volume_capabilities, "confirmed capabilities")?;
        // What is confirmed may be left out, but it can't be something else.
        for (field, is, given) in [
            ("volume_context", &confirmed.volume_context, &request.volume_context),
            ("parameters", &confirmed.parameters, &request.parameters),
            ("mutable_parameters", &confirmed.mutable_parameters, &request.mutable_parameters),
        ] {
            ensure!(is.is_empty() || is == given, "{what}: confirmed {field} is {is:?}, was given {given:?}");
        }
    }
    Ok(())
}

async fn unsupported(cx: Cx) -> Outcome {
    let volume = cx.create("validate").await?;
    let other = Usage::Mount("no-such-fs".into());
    let bad = crate::cx::capability(&other, Mode::SingleNodeWriter);
    for (what, capabilities) in
        [("a file system of no meaning", vec![bad.clone()]), ("a good and a bad one", vec![cx.capability(), bad])]
    {
        let mut request = request(&cx, &volume);
        request.volume_capabilities = capabilities;
        let answer = ok(cx.validate_volume_capabilities(request).await, what)?;
        ensure!(answer.confirmed.is_none(), "{what}: must not be confirmed");
        ensure!(!answer.message.is_empty(), "{what}: there is no message that says why");
    }
    Ok(())
}

async fn other_context(cx: Cx) -> Outcome {
    let volume = cx.create("validate").await?;
    let mut request = request(&cx, &volume);
    request.volume_context.insert("example.invalid/no-such-key".into(), "1".into());
    let answer = cx.validate_volume_capabilities(request).await;
    if let Some(answer) = ok_or(answer, &[Code::InvalidArgument], "a context that isn't the volume's")? {
        ensure!(answer.confirmed.is_none(), "a volume context that isn't the volume's must not be confirmed");
        some(Some(answer.message).filter(|message| !message.is_empty()), "message that says why")?;
    }
    Ok(())
}
