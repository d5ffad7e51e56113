//! CreateVolume with its client token, and DeleteVolume.

use super::{Hand, gib, no_volume, required};
use crate::{
    Change, Element, Form, Reply,
    upstream::Incoming,
    world::{Token, Volume},
};
use std::time::Instant;

/// The longest token, in ASCII characters.
const TOKEN: usize = 64;

pub(super) async fn create(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let token = incoming.form.get("ClientToken").filter(|token| !token.is_empty());
    // A second request with the token waits for the end of the first.
    let _alone = match token {
        Some(token) if token.len() > TOKEN || !token.is_ascii() => {
            return Reply::refused("InvalidParameterValue", "A client token has at most 64 ASCII characters");
        }
        Some(token) => Some(hand.world.alone(&format!("token {token}")).await),
        None => None,
    };
    if let Err(refused) = is_possible(hand, &incoming.form) {
        return refused;
    }
    // EC2 looks at the limit first: a repeated request whose volume is there is refused too.
    if let Err(refused) = take_place(hand) {
        return refused;
    }
    let known = token.and_then(|token| hand.world.facts().tokens.get(token).cloned());
    let reply = match known {
        Some(known) => repeated(hand, &incoming.form, &known).await,
        None => first(hand, incoming, token).await,
    };
    reply.unwrap_or_else(|reply| {
        hand.world.facts().living -= 1;
        reply
    })
}

/// One more volume, or the answer that there are too many.
fn take_place(hand: &Hand<'_>) -> Result<(), Reply> {
    let mut facts = hand.world.facts();
    if hand.rules.volume_limit.is_some_and(|limit| facts.living >= limit) {
        return Err(Reply::refused("VolumeLimitExceeded", "You have exceeded your maximum number of volumes."));
    }
    facts.living += 1;
    Ok(())
}

/// Makes the volume; as an error what leaves none.
async fn first(hand: &Hand<'_>, incoming: &Incoming, token: Option<&str>) -> Result<Reply, Reply> {
    let reply = hand.upstream.forward(incoming).await;
    let Some(mut volume) = reply.is_ok().then(|| reply.tree().ok()).flatten() else { return Err(reply) };
    let id = volume.get("volumeId").to_owned();
    volume.set("status", if hand.rules.creating_ms > 0 { "creating" } else { "available" });
    let reply = reply.with(&volume);
    let made = Volume {
        made: Some(Instant::now()),
        broken: hand.rules.fail_creation,
        attachment: None,
        modification: None,
        snapshot: None,
    };
    {
        let mut facts = hand.world.facts();
        facts.volumes.insert(id.clone(), made);
        if let Some(token) = token {
            let (parameters, volume) = (parameters(&incoming.form), id.clone());
            facts.tokens.insert(token.into(), Token { parameters, reply: reply.clone(), volume });
        }
    }
    let bytes = volume.get("size").parse().ok().and_then(gib).unwrap_or(0);
    let snapshot = incoming.form.get("SnapshotId").filter(|id| !id.is_empty()).map(str::to_owned);
    hand.tell(Change::Created { volume: id, bytes, snapshot }).await?;
    Ok(reply)
}

/// The answer to a token that was used: the volume as it is now, or as it was made if it is gone. Never a volume more.
async fn repeated(hand: &Hand<'_>, form: &Form, known: &Token) -> Result<Reply, Reply> {
    if known.parameters != parameters(form) {
        let message = "The client token was used before, with other parameters.";
        return Err(Reply::refused("IdempotentParameterMismatch", message));
    }
    let now = hand.volume(&known.volume).await.ok();
    let state = hand.world.facts().volumes.get(&known.volume).map(|volume| volume.state(hand.rules));
    let (Some(now), Some(state), Ok(mut root)) = (now, state, known.reply.tree()) else {
        return Err(known.reply.clone());
    };
    root.children = now.children;
    root.set("status", state);
    root.children.push(Element::leaf("requestId", "bulkhead-ec2"));
    Err(known.reply.with(&root))
}

/// What makes a request what it is: all but the token.
fn parameters(form: &Form) -> Vec<(String, String)> {
    let token = |name: &str| name.eq_ignore_ascii_case("ClientToken");
    let mut all: Vec<_> = form.0.iter().filter(|(name, _)| !token(name)).cloned().collect();
    all.sort();
    all
}

/// What can't be had at all.
fn is_possible(hand: &Hand<'_>, form: &Form) -> Result<(), Reply> {
    let wrong = |message: String| Err(Reply::refused("InvalidParameterValue", message));
    // EC2 takes the zone's other id too; moto doesn't.
    let zone = required(form, "AvailabilityZone")?;
    if !hand.zones.iter().any(|known| known == zone) {
        return Err(Reply::refused("InvalidZone.NotFound", format!("The zone '{zone}' does not exist.")));
    }
    let kind = form.get("VolumeType").unwrap_or("gp2");
    let snapshot = match form.get("SnapshotId") {
        Some(id) => {
            let facts = hand.world.facts();
            let snapshot = facts.snapshots.get(id);
            if snapshot.is_some_and(|snapshot| snapshot.is_pending(hand.rules)) {
                return Err(Reply::refused(
                    "IncorrectState",
                    format!("Snapshot is in invalid state - pending: '{id}'"),
                ));
            }
            snapshot.map(|snapshot| snapshot.size)
        }
        None => None,
    };
    let size = form.number("Size");
    if let (Some(size), Some(least)) = (size, snapshot)
        && size < least
    {
        return wrong(format!("Volume of {size}GiB is smaller than its snapshot; expect size >= {least}GiB."));
    }
    let Some(size) = size.or(snapshot) else { return Ok(()) };
    settled(kind, size, form.number("Iops"), form.number("Throughput")).or_else(wrong)
}

/// Whether a volume of this kind can be so large (GiB) and so fast.
pub(super) fn settled(kind: &str, size: i64, iops: Option<i64>, throughput: Option<i64>) -> Result<(), String> {
    let (least, most) = match kind {
        "gp3" | "io2" => (if kind == "io2" { 4 } else { 1 }, 65_536),
        "gp2" => (1, 16_384),
        "io1" => (4, 16_384),
        "st1" | "sc1" => (125, 16_384),
        "standard" => (1, 1_024),
        other => return Err(format!("Invalid volume type: {other}")),
    };
    if !(least..=most).contains(&size) {
        return Err(format!("Volume of {size}GiB: {kind} has {least} to {most} GiB."));
    }
    let ratio = match kind {
        "gp3" => Some((3_000, (500 * size).clamp(3_000, 80_000))),
        "io1" => Some((100, (50 * size).min(64_000))),
        "io2" => Some((100, (1_000 * size).min(256_000))),
        _ => None,
    };
    if let (Some(iops), Some((least, most))) = (iops, ratio)
        && !(least..=most).contains(&iops)
    {
        return Err(format!("Volume iops of {iops}: {kind} of {size} GiB has {least} to {most}."));
    }
    if let Some(throughput) = throughput
        && kind == "gp3"
        && !(125..=2_000).contains(&throughput)
    {
        return Err(format!("Throughput of {throughput}: gp3 has 125 to 2000 MiB/s."));
    }
    Ok(())
}

pub(super) async fn delete(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    let id = match required(&incoming.form, "VolumeId") {
        Ok(id) => id.to_owned(),
        Err(refused) => return refused,
    };
    let _alone = hand.world.alone(&id).await;
    {
        let facts = hand.world.facts();
        let volume = facts.volumes.get(&id);
        if volume.is_some_and(|volume| volume.is_hidden(hand.rules)) {
            return no_volume(&id);
        }
        if volume.is_some_and(|volume| volume.is_creating(hand.rules)) {
            return Reply::refused("IncorrectState", format!("The volume '{id}' is in the 'creating' state."));
        }
        if let Some(attachment) = volume.and_then(|volume| volume.attached(hand.rules)) {
            let message = format!("Volume {id} is currently attached to {}", attachment.instance);
            return Reply::refused("VolumeInUse", message);
        }
    }
    let reply = hand.upstream.forward(incoming).await;
    if !reply.is_ok() {
        return reply;
    }
    {
        let mut facts = hand.world.facts();
        let through_us = facts.volumes.remove(&id).is_some_and(|volume| volume.made.is_some());
        facts.living -= usize::from(through_us);
    }
    hand.tell(Change::Deleted { volume: id }).await.map_or_else(|broken| broken, |()| reply)
}
