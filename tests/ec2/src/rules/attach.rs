//! AttachVolume and DetachVolume.

use super::{Hand, no_volume, required};
use crate::{Change, Element, Form, Reply, upstream::Incoming, world::Attachment};
use std::time::Instant;

pub(super) async fn attach(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let form = &incoming.form;
    let parameter = |name| required(form, name).map(str::to_owned);
    let (volume, instance, device) = match (parameter("VolumeId"), parameter("InstanceId"), parameter("Device")) {
        (Ok(volume), Ok(instance), Ok(device)) => (volume, instance, device),
        (Err(refused), ..) | (_, Err(refused), _) | (.., Err(refused)) => return refused,
    };
    let _volume = hand.world.alone(&volume).await;
    let _instance = hand.world.alone(&instance).await;
    if let Err(refused) = may_attach(hand, &volume, &instance, &device).await {
        return refused;
    }
    let reply = hand.upstream.forward(incoming).await;
    let Some(tree) = reply.is_ok().then(|| reply.tree().ok()).flatten() else { return reply };
    let time = tree.get("attachTime").to_owned();
    let change = Change::Attached { volume: volume.clone(), instance: instance.clone(), device: device.clone() };
    let attachment = Attachment { instance, device, time, since: Instant::now(), leaving: None };
    hand.world.facts().volume(&volume).attachment = Some(attachment);
    hand.tell(change).await.map_or_else(|broken| broken, |()| reply)
}

async fn may_attach(hand: &Hand<'_>, volume: &str, instance: &str, device: &str) -> Result<(), Reply> {
    let there = hand.volume(volume).await?;
    hand.is_made(volume)?;
    let in_use =
        |by: &str| Err(Reply::refused("VolumeInUse", format!("{volume} is already attached to an instance: {by}")));
    if let Some(attachment) = hand.world.facts().volume(volume).attached(hand.rules) {
        return in_use(&attachment.instance);
    }
    if let Some(attachment) = there.items("attachmentSet").first() {
        return in_use(attachment.get("instanceId"));
    }
    let tree = hand.upstream.own(&Form::action("DescribeInstances", &[("InstanceId.1", instance)])).await?;
    let found = tree.items("reservationSet").iter().flat_map(|reservation| reservation.items("instancesSet")).next();
    let unknown =
        || Reply::refused("InvalidInstanceID.NotFound", format!("The instance ID '{instance}' does not exist"));
    let found = found.ok_or_else(unknown)?;
    let state = found.child("instanceState").map_or("", |state| state.get("name"));
    if !["running", "stopped", "stopping"].contains(&state) {
        return Err(Reply::refused("IncorrectState", format!("Instance '{instance}' is not 'running': {state}")));
    }
    let (zone, wanted) =
        (found.child("placement").map_or("", |p| p.get("availabilityZone")), there.get("availabilityZone"));
    if zone != wanted {
        let message = format!("The volume '{volume}' is not in the same availability zone as instance '{instance}'");
        return Err(Reply::refused("InvalidVolume.ZoneMismatch", message));
    }
    has_place(hand, found, instance, device)
}

/// Whether the instance takes one volume more, at this device. Those that are leaving have their place until they are gone.
fn has_place(hand: &Hand<'_>, found: &Element, instance: &str, device: &str) -> Result<(), Reply> {
    let facts = hand.world.facts();
    let there = found.items("blockDeviceMapping").iter().map(|mapping| mapping.get("deviceName"));
    let leaving = facts.leaving(instance, hand.rules).map(|(_, attachment)| attachment.device.as_str());
    let devices: Vec<_> = there.chain(leaving).collect();
    if devices.contains(&device) {
        let message = format!("Invalid value '{device}' for unixDevice. Attachment point {device} is already in use");
        return Err(Reply::refused("InvalidParameterValue", message));
    }
    if devices.len() >= hand.rules.attach_limit {
        let message = format!("Instance '{instance}' has {} volumes, which is all it can have", devices.len());
        return Err(Reply::refused("AttachmentLimitExceeded", message));
    }
    Ok(())
}

pub(super) async fn detach(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let id = match required(&incoming.form, "VolumeId") {
        Ok(id) => id.to_owned(),
        Err(refused) => return refused,
    };
    let _volume = hand.world.alone(&id).await;
    let (instance, device) = match may_detach(hand, &incoming.form, &id).await {
        Ok(found) => found,
        Err(refused) => return refused,
    };
    let _instance = hand.world.alone(&instance).await;
    let reply = if incoming.form.get("InstanceId").is_some_and(|instance| !instance.is_empty()) {
        hand.upstream.forward(incoming).await
    } else {
        // moto can't do without the instance, EC2 can: moto judges whether the caller may, and breaks on it (500) if so. The body is
        // signed, so the proxy then asks on its own account.
        let judged = hand.upstream.forward(incoming).await;
        if judged.status != http::StatusCode::INTERNAL_SERVER_ERROR {
            return judged;
        }
        let form = [("VolumeId", id.as_str()), ("InstanceId", instance.as_str()), ("Device", device.as_str())];
        match hand.upstream.own(&Form::action("DetachVolume", &form)).await {
            Ok(tree) => Reply::xml(http::StatusCode::OK, &tree),
            Err(reply) => reply,
        }
    };
    let Some(tree) = reply.is_ok().then(|| reply.tree().ok()).flatten() else { return reply };
    let time = tree.get("attachTime").to_owned();
    let seen = Attachment { instance, device, time, since: Instant::now(), leaving: None };
    hand.world.facts().volume(&id).attachment.get_or_insert(seen).leaving = Some(Instant::now());
    hand.tell(Change::Detached { volume: id }).await.map_or_else(|broken| broken, |()| reply)
}

/// Instance and device that it is to be detached from.
async fn may_detach(hand: &Hand<'_>, form: &Form, id: &str) -> Result<(String, String), Reply> {
    let there = hand.volume(id).await?;
    if hand.world.facts().volume(id).is_hidden(hand.rules) {
        return Err(no_volume(id));
    }
    let state =
        |state: &str| Err(Reply::refused("IncorrectState", format!("Volume '{id}' is in the '{state}' state.")));
    let leaving = hand.world.facts().volume(id).attached(hand.rules).is_some_and(|found| found.leaving.is_some());
    if leaving {
        return state("detaching");
    }
    let Some(attachment) = there.items("attachmentSet").first() else { return state("available") };
    let (instance, device) = (attachment.get("instanceId"), attachment.get("device"));
    let other = |name, is: &str| form.get(name).is_some_and(|wanted| !wanted.is_empty() && wanted != is);
    if other("InstanceId", instance) || other("Device", device) {
        let message = format!("The attachment of volume '{id}' to that instance or device does not exist.");
        return Err(Reply::refused("InvalidAttachment.NotFound", message));
    }
    Ok((instance.into(), device.into()))
}
