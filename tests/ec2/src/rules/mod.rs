//! EC2's own rules that moto lacks. They are always on; how long states last is in the settings.

mod attach;
mod clock;
mod describe;
mod modify;
mod paging;
mod snapshot;
mod volume;

pub(crate) use clock::{now as clock_now, wrong_clock};

use crate::{
    Change, Element, Form, Reply, Rules,
    disks::Disks,
    upstream::{Incoming, Upstream},
    world::World,
};

/// What a rule has at hand.
pub(crate) struct Hand<'a> {
    /// moto.
    pub upstream: &'a Upstream,
    /// What moto doesn't know.
    pub world: &'a World,
    /// The settings as they were when the request came.
    pub rules: &'a Rules,
    /// The region's zones.
    pub zones: &'a [String],
    /// Who is told of changes.
    pub disks: Option<Disks>,
}

/// Answers a request whose signature is right.
pub(crate) async fn answer(hand: &Hand<'_>, incoming: &Incoming) -> Reply {
    match incoming.action.as_str() {
        "CreateVolume" => volume::create(hand, incoming).await,
        "DeleteVolume" => volume::delete(hand, incoming).await,
        "AttachVolume" => attach::attach(hand, incoming).await,
        "DetachVolume" => attach::detach(hand, incoming).await,
        "ModifyVolume" => modify::modify(hand, incoming).await,
        "DescribeVolumesModifications" => modify::describe(hand, incoming).await,
        "CreateSnapshot" => snapshot::create(hand, incoming).await,
        "DeleteSnapshot" => snapshot::delete(hand, incoming).await,
        "DescribeSnapshots" => snapshot::describe(hand, incoming).await,
        "DescribeVolumes" => describe::volumes(hand, incoming).await,
        "DescribeInstances" => describe::instances(hand, incoming).await,
        _ => hand.upstream.forward(incoming).await,
    }
}

/// A parameter that must be there.
fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, Reply> {
    let missing = || Reply::refused("MissingParameter", format!("The request must contain the parameter {name}"));
    form.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
}

/// GiB in bytes.
fn gib(number: i64) -> Option<u64> {
    u64::try_from(number).ok()?.checked_mul(1 << 30)
}

/// As EC2 says that there is no such volume.
fn no_volume(id: &str) -> Reply {
    Reply::refused("InvalidVolume.NotFound", format!("The volume '{id}' does not exist."))
}

impl Hand<'_> {
    /// Tells of a change, and waits until it is true of disks as well. An error is EC2's answer.
    async fn tell(&self, change: Change) -> Result<(), Reply> {
        let Some(Disks(tell)) = self.disks.clone() else { return Ok(()) };
        let what = format!("{change:?}");
        let told = tokio::task::spawn_blocking(move || tell(change)).await;
        told.map_err(|e| Reply::error(500, "InternalError", format!("{what}: {e}")))
    }

    /// A volume as moto has it.
    async fn volume(&self, id: &str) -> Result<Element, Reply> {
        let tree = self.upstream.own(&Form::action("DescribeVolumes", &[("VolumeId.1", id)])).await?;
        tree.items("volumeSet").first().cloned().ok_or_else(|| no_volume(id))
    }

    /// Refuses a volume that can't be seen yet or is still being made.
    fn is_made(&self, id: &str) -> Result<(), Reply> {
        let mut facts = self.world.facts();
        let volume = facts.volume(id);
        if volume.is_hidden(self.rules) {
            return Err(no_volume(id));
        }
        match volume.state(self.rules) {
            state @ ("creating" | "error") => {
                Err(Reply::refused("IncorrectState", format!("The volume '{id}' is in the '{state}' state.")))
            }
            _ => Ok(()),
        }
    }
}
