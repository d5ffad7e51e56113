//! What a call may have come to that nobody knows the end of: the host was killed, or says that it does not know.
//!
//! It happened, or it did not. On the node there is a third thing: a record of it that the next call finishes or takes back.

use super::{Branch, Content, Expect, Record, World};
use crate::calls::{Call, Inline};

impl World {
    /// Every world that a cut-short `call` may leave.
    pub fn cut(&self, call: &Call) -> Vec<Self> {
        let mut worlds = vec![self.clone()];
        if call.only_reads() {
            return worlds;
        }
        for Branch { next, expect } in self.step(call) {
            if matches!(expect, Expect::Ok(_)) {
                self.halves(call, &next, &mut worlds);
            }
            add(&mut worlds, next);
        }
        if let Call::Stage { volume, path, cap, read_only } = call
            && self.volumes.contains_key(volume)
            && self.node.get(volume).is_none_or(|record| !record.whole && record.inline.is_none())
            && self.can_be_planned(volume, *cap)
        {
            // Also one that is refused for what is on the image: that is looked at after the intent is noted.
            let record = self.staged(volume, *path, *cap, *read_only || cap.is_reader_only());
            for marked in [false, true] {
                add(&mut worlds, self.with_record(volume, Record { whole: false, marked, ..record.clone() }));
            }
        }
        match call {
            // What an earlier call had left is taken back first.
            Call::Stage { volume, .. } | Call::Inline(Inline { volume, .. })
                if self.node.get(volume).is_some_and(|record| !record.whole) =>
            {
                self.settled(volume).into_iter().for_each(|world| add(&mut worlds, world));
                self.half_marked(volume, &mut worlds);
            }
            Call::DeleteGroup { group, .. } => self.half_removed(group, &mut worlds),
            Call::CreateGroup { name, .. } => {
                for group in super::POOLS.map(|pool| super::group_id(pool, name)) {
                    if self.group_is_whole(&group) == Some(false) {
                        self.half_removed(&group, &mut worlds);
                    }
                }
            }
            _ => {}
        }
        worlds
    }

    fn halves(&self, call: &Call, next: &Self, worlds: &mut Vec<Self>) {
        match call {
            Call::Stage { volume, .. } if self.node.get(volume) != next.node.get(volume) => {
                let Some(record) = next.node.get(volume) else { return };
                let formats =
                    self.volumes.get(volume).map(|v| v.content) != next.volumes.get(volume).map(|v| v.content);
                for marked in [false, true] {
                    let half = Record { whole: false, marked, ..record.clone() };
                    add(worlds, next.with_record(volume, half.clone()));
                    add(worlds, self.with_record(volume, half.clone()));
                    if formats {
                        let murky = next.with_volume(volume, |volume| volume.content = Content::Murky);
                        add(worlds, murky.with_record(volume, half));
                    }
                }
            }
            Call::Unstage { volume, .. } if self.node.get(volume) != next.node.get(volume) => {
                let Some(record) = self.node.get(volume) else { return };
                let mut bare = record.clone();
                bare.targets.clear();
                for targets in [record.targets.clone(), bare.targets] {
                    add(worlds, self.with_record(volume, Record { targets, ..record.clone() }));
                }
                self.half_marked(volume, worlds);
            }
            Call::Publish { volume, pod, .. } | Call::Unpublish { volume, pod } => {
                let record = self.node.get(volume);
                if record.is_some_and(|record| record.inline.is_some()) {
                    return self.half_marked(volume, worlds);
                }
                let Some(mut record) = record.cloned() else { return };
                let there = next.node.get(volume).and_then(|record| record.targets.get(pod));
                let Some(target) = there.or(record.targets.get(pod)).copied() else { return };
                if record.targets.get(pod) == there {
                    return;
                }
                record.targets.insert(*pod, super::Target { whole: false, ..target });
                add(worlds, self.with_record(volume, record.clone()));
                record.targets.remove(pod);
                add(worlds, self.with_record(volume, record));
            }
            Call::Expand { volume, .. } => {
                let Some(file) = next.volumes.get(volume).filter(|volume| volume.image).map(|volume| volume.file)
                else {
                    return;
                };
                add(worlds, self.with_volume(volume, |volume| volume.file = file));
            }
            Call::Inline(inline) if self.node.get(&inline.volume) != next.node.get(&inline.volume) => {
                if let Some(record) = next.node.get(&inline.volume) {
                    add(worlds, self.with_record(&inline.volume, Record { whole: false, ..record.clone() }));
                }
            }
            _ => {}
        }
    }

    /// The record as it may be while it is taken back.
    fn half_marked(&self, volume: &str, worlds: &mut Vec<Self>) {
        let Some(record) = self.node.get(volume) else { return };
        let marks: &[bool] = if record.marked { &[true, false] } else { &[false] };
        for marked in marks {
            // What was published is taken off first.
            let targets = Default::default();
            let half = Record { whole: false, marked: *marked, targets, ..record.clone() };
            add(worlds, self.with_record(volume, half.clone()));
            for settled in self.settled(volume) {
                add(worlds, settled.with_record(volume, half.clone()));
            }
        }
    }

    /// Members go one by one.
    fn half_removed(&self, group: &str, worlds: &mut Vec<Self>) {
        let members: Vec<_> = self.members(group).map(|(id, ..)| id.clone()).collect();
        let mut next = self.clone();
        for member in members {
            next.snapshots.remove(&member);
            add(worlds, next.clone());
        }
    }
}

/// Adds a world that is not there yet.
pub fn add(worlds: &mut Vec<World>, world: World) {
    if !worlds.contains(&world) {
        worlds.push(world);
    }
}
