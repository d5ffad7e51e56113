//! Attachment, for the guest.

use super::{facts_to_wit, map_to_wit, volumes::capability_to_wit};
use crate::{ops::ports::AttachOrder, wasm::bindings::offered};

/// ControllerPublishVolume.
pub fn attach_request(order: AttachOrder) -> offered::attachment::PublishRequest {
    offered::attachment::PublishRequest {
        volume_id: order.volume_id.as_str().to_owned(),
        node: facts_to_wit(order.node),
        capability: capability_to_wit(order.capability),
        read_only: order.read_only,
        context: map_to_wit(order.context),
    }
}
