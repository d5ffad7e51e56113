//! GetCapacity.

use super::{TOPOLOGY, VOLUMES, create_topology};
use crate::{
    Case, Cx, Need, Outcome, Stop, Usage, case,
    check::{ok, ok_or, refused_as},
    ensure,
};
use bulkhead_proto::v1::{self, controller_service_capability::rpc::Type as Rpc, volume_capability::access_mode::Mode};
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    const CAPACITY: Need = Need::Controller(Rpc::GetCapacity);
    vec![
        case("capacity/sane", &["capacity.sane"], &[CAPACITY], sane).every_use(),
        case("capacity/maximum", &["capacity.maximum"], &[CAPACITY, VOLUMES], maximum),
        case("capacity/topology", &["capacity.topology"], &[CAPACITY, TOPOLOGY, Need::NodeService], topology),
        case("capacity/bad-parameters", &["capacity.bad-parameters"], &[CAPACITY, Need::Option("bad-parameters")], bad),
        case("capacity/bad-capability", &["capacity.bad-capability"], &[CAPACITY], bad_capability),
    ]
}

fn request(cx: &Cx) -> v1::GetCapacityRequest {
    v1::GetCapacityRequest {
        volume_capabilities: vec![cx.capability()],
        parameters: cx.driver.options.parameters.clone().unwrap_or_default(),
        accessible_topology: None,
    }
}

async fn sane(cx: Cx) -> Outcome {
    let full = request(&cx);
    for (what, request) in [("nothing asked", v1::GetCapacityRequest::default()), ("everything asked", full)] {
        let answer = ok(cx.get_capacity(request).await, what)?;
        ensure!(answer.available_capacity >= 0, "{what}: available_capacity is {}", answer.available_capacity);
        let minimum = answer.minimum_volume_size.unwrap_or(0);
        ensure!(minimum >= 0, "{what}: minimum_volume_size is {minimum}");
        if let Some(maximum) = answer.maximum_volume_size {
            ensure!(maximum >= 0 && maximum >= minimum, "{what}: maximum {maximum} and minimum {minimum}");
        }
    }
    Ok(())
}

async fn maximum(cx: Cx) -> Outcome {
    let Some(maximum) = ok(cx.get_capacity(request(&cx)).await, "GetCapacity")?.maximum_volume_size else {
        return Err(Stop::skip("GetCapacity tells no maximum_volume_size"));
    };
    let Some(above) = maximum.checked_add(1 << 40) else { return Ok(()) };
    let mut create = cx.create_request("above-maximum");
    create.capacity_range = Some(v1::CapacityRange { required_bytes: above, limit_bytes: 0 });
    let codes = [Code::OutOfRange, Code::ResourceExhausted];
    refused_as(cx.create_volume(create).await, &codes, "a volume above maximum_volume_size").map(drop)
}

async fn topology(cx: Cx) -> Outcome {
    let known = create_topology::known(&cx)?;
    let here = v1::GetCapacityRequest { accessible_topology: Some(known[0].clone()), ..request(&cx) };
    let anywhere = ok(cx.get_capacity(request(&cx)).await, "without a topology")?.available_capacity;
    let available = ok(cx.get_capacity(here).await, "the node's own topology")?.available_capacity;
    ensure!(anywhere == 0 || available > 0, "there is room somewhere, but none in the node's own topology");
    let nowhere = create_topology::nowhere(&known[0]);
    let request = v1::GetCapacityRequest { accessible_topology: Some(nowhere), ..request(&cx) };
    none(&cx, request, "a topology that nobody has").await
}

/// There is none, or it is refused.
async fn none(cx: &Cx, request: v1::GetCapacityRequest, what: &str) -> Outcome {
    if let Some(answer) = ok_or(cx.get_capacity(request).await, &[Code::InvalidArgument], what)? {
        ensure!(answer.available_capacity == 0, "{what}: there is no room, but {} is told", answer.available_capacity);
    }
    Ok(())
}

async fn bad(cx: Cx) -> Outcome {
    let parameters = cx.driver.options.bad_parameters.clone().unwrap_or_default();
    let bad = v1::GetCapacityRequest { parameters, ..request(&cx) };
    // Where a scheduler looks at capacity first, a driver that has none to offer never gets to say what is wrong.
    if let Some(answer) = ok_or(cx.get_capacity(bad).await, &[Code::InvalidArgument], "--bad-parameters")? {
        let good = ok(cx.get_capacity(request(&cx)).await, "good parameters")?.available_capacity;
        // Others may come and go between the two calls.
        let room = good.saturating_mul(2).max(1 << 30);
        let available = answer.available_capacity;
        ensure!(available <= room, "--bad-parameters: {available} bytes, more than the {good} of good ones");
    }
    Ok(())
}

async fn bad_capability(cx: Cx) -> Outcome {
    let bad = crate::cx::capability(&Usage::Mount("no-such-fs".into()), Mode::SingleNodeWriter);
    let request = v1::GetCapacityRequest { volume_capabilities: vec![bad], ..request(&cx) };
    none(&cx, request, "a file system of no meaning").await
}
