//! ModifyVolume: states that take time, and a pause before the next one.

use super::{Hand, gib, required, volume::settled};
use crate::{Change, Element, Form, Reply, Rules, settings::ms, upstream::Incoming, world::Modification};
use std::time::Instant;

/// Names of what can be modified: in a request, in a volume, in a modification after `original` and `target`.
const WHAT: [(&str, &str, &str); 5] = [
    ("Size", "size", "Size"),
    ("VolumeType", "volumeType", "VolumeType"),
    ("Iops", "iops", "Iops"),
    ("Throughput", "throughput", "Throughput"),
    ("MultiAttachEnabled", "multiAttachEnabled", "MultiAttachEnabled"),
];

pub(super) async fn modify(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let id = match required(&incoming.form, "VolumeId") {
        Ok(id) => id.to_owned(),
        Err(refused) => return refused,
    };
    let _alone = hand.world.alone(&id).await;
    let before = match may_modify(hand, &incoming.form, &id).await {
        Ok(before) => before,
        Err(refused) => return refused,
    };
    let reply = hand.upstream.forward(incoming).await;
    let Some(mut tree) = reply.is_ok().then(|| reply.tree().ok()).flatten() else { return reply };
    let Some(item) = tree.child_mut("volumeModification") else { return reply };
    let modification = Modification { since: Instant::now(), before, item: item.clone() };
    modification.fill(item, hand.rules);
    hand.world.facts().volume(&id).modification = Some(modification);
    let reply = reply.with(&tree);
    let Some(bytes) = incoming.form.number("Size").and_then(gib) else { return reply };
    hand.tell(Change::Grown { volume: id, bytes }).await.map_or_else(|broken| broken, |()| reply)
}

/// The volume as it is before.
async fn may_modify(hand: &Hand<'_>, form: &Form, id: &str) -> Result<Element, Reply> {
    let before = hand.volume(id).await?;
    hand.is_made(id)?;
    if let Some(last) = &hand.world.facts().volume(id).modification {
        let (state, _) = last.state(hand.rules);
        if state != "completed" {
            let message = format!("Cannot modify volume {id} in modification state {}", state.to_uppercase());
            return Err(Reply::refused("IncorrectModificationState", message));
        }
        if last.since.elapsed() < ms(hand.rules.cooldown_ms) {
            let message = "You've reached the maximum modification rate per volume limit.";
            return Err(Reply::refused("VolumeModificationRateExceeded", message));
        }
    }
    let has = |name: &str| before.get(name).parse::<i64>().ok();
    let size = has("size").unwrap_or(0);
    let wanted = form.number("Size").unwrap_or(size);
    if wanted < size {
        let message = format!("New size cannot be smaller than existing size: {wanted} of {size} GiB");
        return Err(Reply::refused("InvalidParameterValue", message));
    }
    let kind = form.get("VolumeType").unwrap_or(before.get("volumeType"));
    settled(kind, wanted, form.number("Iops"), form.number("Throughput"))
        .map_err(|message| Reply::refused("InvalidParameterValue", message))?;
    Ok(before)
}

impl Modification {
    /// Makes moto's item what EC2 says: how far it is, and every value before and after.
    fn fill(&self, item: &mut Element, rules: &Rules) {
        let (state, progress) = self.state(rules);
        item.set("modificationState", state);
        item.set("progress", progress.to_string());
        if state != "completed" {
            item.remove("endTime");
        }
        for (_, name, what) in WHAT {
            let (old, new) = (format!("original{what}"), format!("target{what}"));
            let before = self.before.get(name);
            if before.is_empty() && item.get(&new).is_empty() {
                continue;
            }
            // moto's own word on the value before is empty where it had a default.
            if !before.is_empty() {
                item.set(&old, before);
            }
            if item.get(&new).is_empty() {
                item.set(&new, before);
            }
        }
    }

    /// Until it takes effect a volume is as it was before.
    pub(super) fn hide(&self, volume: &mut Element, rules: &Rules) {
        if self.state(rules).0 != "modifying" {
            return;
        }
        for (_, name, _) in WHAT {
            match self.before.get(name) {
                "" => volume.remove(name),
                before => volume.set(name, before),
            }
        }
    }
}

pub(super) async fn describe(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let reply = hand.upstream.forward(incoming).await;
    let Some(mut tree) = reply.is_ok().then(|| reply.tree().ok()).flatten() else { return reply };
    let Some(set) = tree.child_mut("volumeModificationSet") else { return reply };
    // moto has the whole history, EC2 tells the last of each volume.
    let mut last: Vec<Element> = vec![];
    for item in std::mem::take(&mut set.children) {
        last.retain(|other| other.get("volumeId") != item.get("volumeId"));
        last.push(item);
    }
    let facts = hand.world.facts();
    for item in &mut last {
        let known = facts.volumes.get(item.get("volumeId")).and_then(|volume| volume.modification.as_ref());
        if let Some(modification) = known {
            modification.fill(item, hand.rules);
        }
    }
    let never =
        incoming.form.list("VolumeId").into_iter().find(|id| !last.iter().any(|item| item.get("volumeId") == *id));
    if let Some(id) = never {
        let message = format!("Modification for volume '{id}' does not exist.");
        return Reply::refused("InvalidVolumeModification.NotFound", message);
    }
    set.children = last;
    reply.with(&tree)
}
