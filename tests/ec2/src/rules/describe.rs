//! DescribeVolumes and DescribeInstances: states that moto doesn't have.

use super::{Hand, no_volume, paging};
use crate::{Element, Form, Reply, upstream::Incoming};

/// Filters on what moto has otherwise than the proxy says it.
const STATES: [&str; 4] = ["status", "attachment.status", "attachment.instance-id", "attachment.device"];

pub(super) async fn volumes(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let mut reply = hand.upstream.forward(incoming).await;
    if !reply.is_ok() {
        return reply;
    }
    let filters = incoming.form.filters();
    let states: Vec<_> = filters.iter().filter(|(name, _)| STATES.contains(name)).collect();
    if !states.is_empty() {
        // Once moto has taken the signature: all volumes that fit the other filters.
        reply = match hand.upstream.own(&without_states(&incoming.form)).await {
            Ok(tree) => reply.with(&tree),
            Err(refused) => return refused,
        };
    }
    let Ok(mut tree) = reply.tree() else { return reply };
    let Some(set) = tree.child_mut("volumeSet") else { return reply };
    let asked = incoming.form.list("VolumeId");
    let mut hidden = None;
    {
        let facts = hand.world.facts();
        set.children.retain(|item| {
            let id = item.get("volumeId");
            let shown = !facts.volumes.get(id).is_some_and(|volume| volume.is_hidden(hand.rules));
            if !shown && asked.contains(&id) {
                hidden = Some(id.to_owned());
            }
            shown
        });
    }
    if let Some(id) = hidden {
        return no_volume(&id);
    }
    for item in &mut set.children {
        as_seen(hand, item);
    }
    set.children.retain(|item| states.iter().all(|(name, values)| fits(item, name, values)));
    paging::page(&incoming.form, &mut tree, ("volumeSet", "volumeId", "VolumeId", 500))
        .map_or_else(|refused| refused, |()| reply.with(&tree))
}

/// The request without filters of `STATES`. The others are numbered anew: moto reads them up to the first gap.
fn without_states(form: &Form) -> Form {
    let mut rest = Form(form.0.iter().filter(|(name, _)| !name.starts_with("Filter.")).cloned().collect());
    let others = form.filters().into_iter().filter(|(name, _)| !STATES.contains(name));
    for (number, (name, values)) in (1..).zip(others) {
        rest.0.push((format!("Filter.{number}.Name"), name.into()));
        let value = |(at, value): (usize, &str)| (format!("Filter.{number}.Value.{at}"), value.to_owned());
        rest.0.extend((1..).zip(values).map(value));
    }
    rest
}

/// Gives a volume of moto the state that it has here.
fn as_seen(hand: &Hand<'_>, item: &mut Element) {
    let mut facts = hand.world.facts();
    let id = item.get("volumeId").to_owned();
    let Some(volume) = facts.volumes.get_mut(&id) else { return };
    let mut state = volume.state(hand.rules);
    if let Some(attachment) = volume.attached(hand.rules) {
        let set = Element::node("attachmentSet", vec![attachment.item(&id, hand.rules)]);
        item.remove("attachmentSet");
        item.children.push(set);
    } else if !item.items("attachmentSet").is_empty() {
        // Attached past the proxy.
        state = "in-use";
    }
    item.set("status", state);
    if let Some(modification) = &volume.modification {
        modification.hide(item, hand.rules);
    }
}

fn fits(item: &Element, filter: &str, values: &[&str]) -> bool {
    let attachments = item.items("attachmentSet");
    match filter {
        "status" => values.contains(&item.get("status")),
        "attachment.status" => attachments.iter().any(|a| values.contains(&a.get("status"))),
        "attachment.instance-id" => attachments.iter().any(|a| values.contains(&a.get("instanceId"))),
        _ => attachments.iter().any(|a| values.contains(&a.get("device"))),
    }
}

pub(super) async fn instances(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let reply = hand.upstream.forward(incoming).await;
    let Some(mut tree) = reply.is_ok().then(|| reply.tree().ok()).flatten() else { return reply };
    let Some(reservations) = tree.child_mut("reservationSet") else { return reply };
    for reservation in &mut reservations.children {
        let Some(instances) = reservation.child_mut("instancesSet") else { continue };
        for instance in &mut instances.children {
            mappings(hand, instance);
        }
    }
    reply.with(&tree)
}

fn mappings(hand: &Hand<'_>, instance: &mut Element) {
    let id = instance.get("instanceId").to_owned();
    let Some(set) = instance.child_mut("blockDeviceMapping") else { return };
    let facts = hand.world.facts();
    for ebs in set.children.iter_mut().filter_map(|mapping| mapping.child_mut("ebs")) {
        let known = facts.volumes.get(ebs.get("volumeId")).and_then(|volume| volume.attached(hand.rules));
        if let Some(attachment) = known {
            ebs.set("status", attachment.state(hand.rules));
        }
    }
    for (volume, attachment) in facts.leaving(&id, hand.rules) {
        let ebs = [
            ("attachTime", attachment.time.as_str()),
            ("deleteOnTermination", "false"),
            ("status", "detaching"),
            ("volumeId", volume),
        ];
        let ebs = Element::node("ebs", ebs.map(|(name, text)| Element::leaf(name, text)).to_vec());
        set.children.push(Element::node("item", vec![Element::leaf("deviceName", &attachment.device), ebs]));
    }
}
