//! Which step comes next: mostly something that means something now, and often the last thing again, or its opposite.

mod values;

use super::{
    calls::{At, Call, Step},
    dice::Dice,
    world::{MIB, World, group_id, snapshot_id, volume_id},
};
use bulkhead_node::failpoint;

const GROUPS: [&str; 2] = ["g0", "g1"];
const PODS: u64 = 3;
const M: i64 = 1 << 20;

/// How often what is asked.
const CALLS: &[(u64, &str)] = &[
    (14, "CreateVolume"),
    (8, "DeleteVolume"),
    (8, "Attach"),
    (6, "Detach"),
    (3, "Validate"),
    (3, "ListVolumes"),
    (1, "BadToken"),
    (1, "Capacity"),
    (8, "CreateSnapshot"),
    (4, "DeleteSnapshot"),
    (2, "ListSnapshots"),
    (2, "GetSnapshot"),
    (5, "Expand"),
    (2, "GetVolume"),
    (4, "Modify"),
    (1, "VolumeHealth"),
    (1, "ListHealth"),
    (4, "CreateGroup"),
    (3, "DeleteGroup"),
    (2, "GetGroup"),
    (2, "Allocated"),
    (2, "Delta"),
    (12, "Stage"),
    (8, "Unstage"),
    (12, "Publish"),
    (9, "Unpublish"),
    (5, "Inline"),
    (4, "Stats"),
    (4, "NodeExpand"),
    (2, "NodeHealth"),
    (1, "NodeInfo"),
    (1, "StorageHealth"),
    (1, "Identity"),
    (10, "Write"),
];

/// Makes steps.
pub struct Generator {
    pub dice: Dice,
    recent: Vec<Call>,
    /// What nobody knows the end of.
    pub lost: Option<Call>,
    tags: u64,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), recent: vec![], lost: None, tags: 1 }
    }

    /// The next step in a world like this one. `armed`: a failpoint is set.
    pub fn step(&mut self, world: &World, armed: Option<&str>) -> Step {
        if let Some(call) = self.lost.take() {
            match self.dice.below(10) {
                0..5 => return Step::Call(call),
                5..7 => return opposite(&call).map_or(Step::Look { page: 0 }, Step::Call),
                7 => return Step::Look { page: 1 },
                _ => {}
            }
        }
        match self.dice.below(1000) {
            0..25 => return self.restart(world),
            25..70 => {
                let call = self.call(world, armed);
                // Most calls take less than a millisecond, some with the kernel a hundred.
                let longest = self.dice.below(if world.kernel { 17 } else { 12 });
                return Step::Kill(call, self.dice.below(1 << longest));
            }
            70..90 => return Step::Look { page: i32::try_from(self.dice.below(4)).unwrap() },
            _ => {}
        }
        // A failpoint is not kept for ever.
        if armed.is_some() && self.dice.chance(8) {
            return Step::Restart { stop: false, failpoint: None };
        }
        let call = self.call(world, armed);
        self.recent.push(call.clone());
        if self.recent.len() > 6 {
            self.recent.remove(0);
        }
        Step::Call(call)
    }

    fn restart(&mut self, world: &World) -> Step {
        let names: Vec<_> = failpoint::ALL.iter().copied().filter(|name| !name.contains("replay")).collect();
        let action = if self.dice.chance(70) { "kill" } else { "error" };
        let failpoint = self.dice.chance(75).then(|| (*self.dice.pick(&names), action));
        Step::Restart { stop: world.kernel && self.dice.chance(30), failpoint }
    }

    fn call(&mut self, world: &World, armed: Option<&str>) -> Call {
        if !self.recent.is_empty() && self.dice.chance(14) {
            let call = self.dice.pick(&self.recent).clone();
            if self.dice.chance(50) {
                return call;
            }
            if let Some(opposite) = opposite(&call) {
                return opposite;
            }
        }
        let likely = armed.filter(|_| self.dice.chance(60)).and_then(|name| self.reaching(name));
        let kind = likely.unwrap_or_else(|| self.dice.weighted(CALLS));
        self.of_kind(kind, world)
    }

    /// A kind of call that comes by a failpoint.
    fn reaching(&mut self, name: &str) -> Option<&'static str> {
        let kinds: &[&'static str] = match name.split('.').next()? {
            "pool-create" => &["CreateVolume", "Inline"],
            "pool-resize" => &["Expand", "Modify", "Attach"],
            "pool-thin" => &["Modify"],
            "pool-delete" => &["DeleteVolume", "DeleteSnapshot", "DeleteGroup"],
            "pool-copy" => &["CreateSnapshot", "CreateGroup", "CreateVolume"],
            "stage" => &["Stage"],
            "ephemeral" => &["Inline"],
            "publish" => &["Publish"],
            "unpublish" => &["Unpublish"],
            "unstage" => &["Unstage", "Stage"],
            "expand" => &["NodeExpand"],
            _ => return None,
        };
        Some(*self.dice.pick(kinds))
    }

    fn of_kind(&mut self, kind: &str, world: &World) -> Call {
        let volume = self.volume(world);
        let snapshot = self.snapshot(world);
        let max = i32::try_from(self.dice.below(4)).unwrap();
        match kind {
            "CreateVolume" => Call::CreateVolume(self.create(world)),
            "DeleteVolume" => Call::DeleteVolume { volume },
            "Attach" => {
                let node = self.dice.weighted(&[(6, "node-1"), (3, "node-2"), (1, "node-3")]);
                let cap = self.cap_for(world, &volume);
                Call::Attach { volume, node, cap, read_only: self.dice.chance(25) }
            }
            "Detach" => {
                let node = self.dice.weighted(&[(5, "node-1"), (3, "node-2"), (1, "node-3"), (1, "")]);
                Call::Detach { volume, node }
            }
            "Validate" => {
                let caps = vec![self.cap_for(world, &volume)];
                let pool = self.dice.weighted(&[(4, ""), (1, "fast"), (1, "slow")]);
                let kind = self.dice.weighted(&[(4, ""), (1, "image"), (1, "directory")]);
                let mutable = self.dice.weighted(&[(2, ""), (2, "thin"), (2, "thick"), (1, "eager")]);
                Call::Validate { volume, caps, pool, kind, mutable }
            }
            "ListVolumes" => Call::ListVolumes { max },
            "BadToken" => {
                let token = self.dice.weighted(&[(1, "x"), (1, "12345678.fast/v0"), (1, "-1")]);
                Call::BadToken { snapshots: self.dice.chance(50), token }
            }
            "Capacity" => {
                let pool = self.dice.weighted(&[(3, ""), (1, "fast"), (1, "slow"), (1, "none")]);
                let provisioning = self.dice.weighted(&[(3, ""), (2, "thick"), (1, "eager")]);
                Call::Capacity { cap: self.cap(), pool, provisioning }
            }
            "CreateSnapshot" => {
                let zone = self.dice.weighted(&[(12, None), (1, Some("z1")), (1, Some("z2"))]);
                let name = (*self.dice.pick(&values::SNAPSHOTS)).to_owned();
                Call::CreateSnapshot { name, volume, parameter: self.dice.chance(3), zone }
            }
            "DeleteSnapshot" => Call::DeleteSnapshot { snapshot },
            "ListSnapshots" => {
                let volume = if self.dice.chance(50) { volume } else { String::new() };
                let snapshot = if self.dice.chance(30) { snapshot } else { String::new() };
                Call::ListSnapshots { volume, snapshot, max }
            }
            "GetSnapshot" => Call::GetSnapshot { snapshot },
            "GetVolume" => Call::GetVolume { volume },
            "VolumeHealth" => Call::VolumeHealth { volume },
            "ListHealth" => Call::ListHealth { max },
            "Expand" | "Modify" => self.change(kind, world, volume),
            "CreateGroup" | "DeleteGroup" | "GetGroup" => self.group(kind, world),
            "Allocated" | "Delta" => self.blocks(kind, world, snapshot, max),
            _ => self.on_node(kind, world, volume),
        }
    }

    fn change(&mut self, kind: &str, world: &World, volume: String) -> Call {
        if kind == "Modify" {
            let key = self.dice.weighted(&[(9, "provisioning"), (1, "pool")]);
            // Thick takes its space at once: not where there is much of it.
            let small = world.volumes.get(&volume).is_none_or(|v| v.size <= 64 * MIB || !v.image);
            let value = self.dice.weighted(&[(5, "thin"), (if small { 5 } else { 0 }, "thick"), (1, "eager")]);
            return Call::Modify { volume, key, value };
        }
        let now = world.volumes.get(&volume).map_or(16 * MIB, |volume| volume.size);
        let now = i64::try_from(now).unwrap();
        let (required, limit) = self.dice.weighted(&[
            (6, (now + 4 * M, 0)),
            (2, (now + 4 * M + 1, 0)),
            (1, (now + 4 * M, now + 8 * M)),
            (1, (now, 0)),
            (1, (now - 4096, 0)),
            (1, (0, now - 1)),
            (1, (now + 2, now + 1)),
            (1, (now + 1, now + 2)),
            (1, (0, 0)),
            (1, (-1, 0)),
        ]);
        let cap = self.dice.chance(60).then(|| self.cap_for(world, &volume));
        Call::Expand { volume, required, limit, cap }
    }

    fn group(&mut self, kind: &str, world: &World) -> Call {
        let name = (*self.dice.pick(&GROUPS)).to_owned();
        if kind == "CreateGroup" {
            let mut volumes: Vec<String> = (0..=self.dice.below(3)).map(|_| self.volume(world)).collect();
            volumes.sort();
            if self.dice.chance(90) {
                volumes.dedup();
            }
            if self.dice.chance(50) {
                volumes.reverse();
            }
            return Call::CreateGroup { name, volumes, parameter: self.dice.chance(3) };
        }
        let pool = self.dice.weighted(&[(8, "fast"), (4, "slow"), (1, "none")]);
        let group = group_id(pool, &name);
        let mut members: Vec<String> =
            if self.dice.chance(50) { world.members(&group).map(|(id, ..)| id.clone()).collect() } else { vec![] };
        if self.dice.chance(15) {
            members.push(self.snapshot(world));
        }
        if kind == "DeleteGroup" { Call::DeleteGroup { group, members } } else { Call::GetGroup { group, members } }
    }

    fn blocks(&mut self, kind: &str, world: &World, snapshot: String, max: i32) -> Call {
        let offset = self.dice.weighted(&[(6, 0), (1, M), (1, M + 4096), (1, 16 * M), (1, 1 << 40), (1, -1)]);
        if kind == "Allocated" {
            return Call::Allocated { snapshot, offset, max };
        }
        let of_same = world.snapshots.get(&snapshot).map(|s| s.source.clone());
        let others: Vec<_> = world.snapshots.iter().filter(|(_, s)| Some(&s.source) == of_same.as_ref()).collect();
        let target = if others.is_empty() || self.dice.chance(20) {
            self.snapshot(world)
        } else {
            self.dice.pick(&others).0.clone()
        };
        Call::Delta { base: snapshot, target, offset, max }
    }

    fn on_node(&mut self, kind: &str, world: &World, volume: String) -> Call {
        let staged: Vec<&String> = world.node.keys().collect();
        // What is on the node already is more interesting.
        let volume = match kind {
            "Stage" | "Inline" => volume,
            _ if staged.is_empty() || self.dice.chance(20) => volume,
            _ => (*self.dice.pick(&staged)).clone(),
        };
        let record = world.node.get(&volume);
        let path = record.map_or(0, |record| record.path);
        let path = if self.dice.chance(12) { 1 - path } else { path };
        let pod = u8::try_from(self.dice.below(PODS)).unwrap();
        let known: Vec<u8> = record.map(|record| record.targets.keys().copied().collect()).unwrap_or_default();
        let pod = if known.is_empty() || self.dice.chance(40) { pod } else { *self.dice.pick(&known) };
        let inline_pod = record.and_then(|record| record.inline.as_ref()).map(|(inline, _)| inline.pod);
        let pod = inline_pod.filter(|_| self.dice.chance(80)).unwrap_or(pod);
        let at = self.dice.weighted(&[(4, At::Staging(path)), (5, At::Pod(pod)), (1, At::Nowhere)]);
        match kind {
            "Stage" => {
                let cap = self.cap_for(world, &volume);
                Call::Stage { volume, path, cap, read_only: self.dice.chance(12) }
            }
            "Unstage" => Call::Unstage { volume, path },
            "Publish" => {
                let cap = self.cap_for(world, &volume);
                Call::Publish { volume, path, pod, cap, read_only: self.dice.chance(25) }
            }
            "Unpublish" => Call::Unpublish { volume, pod },
            "Inline" => Call::Inline(self.inline(pod, volume)),
            "Stats" => Call::Stats { volume, at },
            "NodeExpand" => {
                let now = world.volumes.get(&volume).map_or(0, |volume| i64::try_from(volume.size).unwrap());
                let (required, limit) = self.dice.weighted(&[
                    (5, (now, 0)),
                    (2, (0, 0)),
                    (1, (now + 4096, 0)),
                    (1, (0, 4096)),
                    (1, (2, 1)),
                ]);
                Call::NodeExpand { volume, at, required, limit }
            }
            "NodeHealth" => Call::NodeHealth { volume, at: Some(at).filter(|_| self.dice.chance(60)) },
            "NodeInfo" => Call::NodeInfo,
            "StorageHealth" => Call::StorageHealth,
            "Identity" => Call::Identity,
            "Write" => {
                self.tags += 1;
                let ids = world.node.keys().flat_map(|id| (0..3).map(move |pod| (id.clone(), pod)));
                let writable: Vec<_> = ids.filter(|(id, pod)| world.is_writable(id, *pod)).collect();
                let (volume, pod) = if writable.is_empty() { (volume, pod) } else { self.dice.pick(&writable).clone() };
                Call::Write { volume, pod, tag: self.tags }
            }
            other => unreachable!("no such call: {other}"),
        }
    }
}

/// What takes a call back, where its arguments alone say that.
fn opposite(call: &Call) -> Option<Call> {
    Some(match call.clone() {
        Call::CreateVolume(create) => {
            let pool = if create.pool.is_empty() { "fast" } else { create.pool };
            Call::DeleteVolume { volume: volume_id(pool, &create.name) }
        }
        Call::Attach { volume, node, .. } => Call::Detach { volume, node },
        Call::CreateSnapshot { name, volume, .. } => {
            Call::DeleteSnapshot { snapshot: snapshot_id(volume.split('/').next()?, &name) }
        }
        Call::CreateGroup { name, volumes, .. } => {
            Call::DeleteGroup { group: group_id(volumes.first()?.split('/').next()?, &name), members: vec![] }
        }
        Call::Stage { volume, path, .. } => Call::Unstage { volume, path },
        Call::Publish { volume, pod, .. } => Call::Unpublish { volume, pod },
        Call::Inline(inline) => Call::Unpublish { volume: inline.volume, pod: inline.pod },
        _ => return None,
    })
}
