//! Snapshots: pending for a while, and not too many at once.

use super::{Hand, paging, required};
use crate::{Change, Reply, settings::ms, upstream::Incoming, world::Snapshot};
use std::time::Instant;

/// The account that moto is.
const ACCOUNT: &str = "123456789012";

pub(super) async fn create(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let id = match required(&incoming.form, "VolumeId") {
        Ok(id) => id.to_owned(),
        Err(refused) => return refused,
    };
    let _alone = hand.world.alone(&id).await;
    // An unknown volume is moto's to refuse.
    let known = hand.world.facts().volumes.get(&id).cloned();
    if let Some(volume) = known {
        if let Err(refused) = hand.is_made(&id) {
            return refused;
        }
        if volume.snapshot.is_some_and(|last| last.elapsed() < ms(hand.rules.snapshot_interval_ms)) {
            let message = "The maximum per volume CreateSnapshot request rate has been exceeded.";
            return Reply::refused("SnapshotCreationPerVolumeRateExceeded", message);
        }
    }
    let reply = hand.upstream.forward(incoming).await;
    let Some(mut tree) = reply.is_ok().then(|| reply.tree().ok()).flatten() else { return reply };
    let made = Snapshot { made: Instant::now(), size: tree.get("volumeSize").parse().unwrap_or(0) };
    if made.is_pending(hand.rules) {
        tree.set("status", "pending");
        tree.set("progress", "0%");
    }
    let snapshot = tree.get("snapshotId").to_owned();
    {
        let mut facts = hand.world.facts();
        facts.volume(&id).snapshot = Some(made.made);
        facts.snapshots.insert(snapshot.clone(), made);
    }
    let told = hand.tell(Change::Cut { snapshot, volume: id }).await;
    told.map_or_else(|broken| broken, |()| reply.with(&tree))
}

// A snapshot may be deleted while it is pending, and its volume too: EC2 has what it needs by then.
pub(super) async fn delete(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let reply = hand.upstream.forward(incoming).await;
    if reply.is_ok()
        && let Some(id) = incoming.form.get("SnapshotId")
    {
        hand.world.facts().snapshots.remove(id);
        if let Err(broken) = hand.tell(Change::Dropped { snapshot: id.into() }).await {
            return broken;
        }
    }
    reply
}

pub(super) async fn describe(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let reply = hand.upstream.forward(incoming).await;
    let Some(mut tree) = reply.is_ok().then(|| reply.tree().ok()).flatten() else { return reply };
    let Some(set) = tree.child_mut("snapshotSet") else { return reply };
    // moto shows the snapshots of all accounts, whoever is asked for.
    let owners: Vec<_> =
        incoming.form.list("Owner").into_iter().map(|owner| if owner == "self" { ACCOUNT } else { owner }).collect();
    set.children.retain(|item| owners.is_empty() || owners.contains(&item.get("ownerId")));
    let facts = hand.world.facts();
    for item in &mut set.children {
        let pending = |snapshot: &Snapshot| snapshot.is_pending(hand.rules);
        if facts.snapshots.get(item.get("snapshotId")).is_some_and(pending) {
            item.set("status", "pending");
            item.set("progress", "0%");
        }
    }
    drop(facts);
    paging::page(&incoming.form, &mut tree, ("snapshotSet", "snapshotId", "SnapshotId", 1_000))
        .map_or_else(|refused| refused, |()| reply.with(&tree))
}
