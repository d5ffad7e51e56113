//! What lies on the disk and in the mount table, beside what calls show.

use super::{
    ground::{Executor, Ground},
    world::{POOLS, Record, World, want},
};
use bulkhead_tests::Sandbox;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// All of it.
#[derive(Debug)]
pub struct Seen {
    /// What a pod wrote, by volume or snapshot; only where it can be read.
    tags: Vec<(String, Option<u8>, u64)>,
    /// Objects as `POOL/NAME`.
    objects: BTreeSet<String>,
    records: usize,
    /// Mount points, with how often; and loop devices.
    mounts: Option<(BTreeMap<PathBuf, usize>, usize)>,
}

pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Pods at which a volume can be read in this world, and whether it is a device.
fn readable(record: &Record) -> Vec<(u8, bool)> {
    if let Some((inline, _)) = record.inline.as_ref().filter(|_| record.whole) {
        return vec![(inline.pod, false)];
    }
    let whole = record.targets.iter().filter(|(_, target)| record.whole && target.whole);
    whole.map(|(pod, _)| (*pod, record.cap.is_block())).collect()
}

impl Seen {
    /// Looks. What can be read is known from `world`, one of those that are possible.
    pub fn look(ground: &Ground, sandbox: Option<&Sandbox>, world: &World) -> Self {
        let in_pool = |pool: &&str| {
            let pool = (*pool).to_owned();
            names(&ground.root.join(&pool).join("objects")).into_iter().map(move |name| format!("{pool}/{name}"))
        };
        let objects: BTreeSet<String> = POOLS.iter().flat_map(in_pool).collect();
        let (mut tags, records) = (vec![], ground.records());
        if ground.executor == Executor::Recording {
            let ours = objects.iter().filter(|id| !id.contains("/e-"));
            tags.extend(ours.map(|id| (id.clone(), None, ground.read_object(id))));
        } else {
            for (id, record) in &world.node {
                for (pod, block) in readable(record) {
                    tags.push((id.clone(), Some(pod), ground.read(id, pod, block)));
                }
            }
        }
        let mounts = sandbox.map(|sandbox| {
            let mut points = BTreeMap::new();
            for (point, ..) in sandbox.mounts().into_iter().filter(|(point, ..)| point.starts_with(&ground.root)) {
                *points.entry(point).or_insert(0) += 1;
            }
            (points, sandbox.loops().len())
        });
        Self { tags, objects, records, mounts }
    }

    /// This is what `world` looks like.
    pub fn fits(&self, ground: &Ground, world: &World) -> Result<(), String> {
        for (id, pod, tag) in &self.tags {
            let volume = world.volumes.get(id).map(|volume| volume.tag);
            let snapshot = world.snapshots.get(id).map(|snapshot| snapshot.tag);
            let record = world.node.get(id);
            let inline = record.and_then(|record| record.inline.as_ref()).map(|(_, tag)| *tag);
            // What is published in one possible world is not in another.
            let there = pod.is_none_or(|pod| {
                record.is_some_and(|record| readable(record).iter().any(|(readable, _)| *readable == pod))
            });
            let object = volume.or(snapshot);
            let wanted = if pod.is_some() { inline.or(object) } else { object };
            if let Some(wanted) = wanted.filter(|_| there) {
                want(*tag == wanted, || format!("{id} holds {wanted}, what was written last"))?;
            }
        }
        let wanted: BTreeSet<_> = world.volumes.keys().chain(world.snapshots.keys()).cloned().collect();
        let (scratch, ours): (Vec<_>, Vec<_>) = self.objects.iter().cloned().partition(|id| id.contains("/e-"));
        let ours: BTreeSet<_> = ours.into_iter().collect();
        want(ours == wanted, || format!("objects {wanted:?}"))?;
        let inline = world.node.values().filter(|record| record.inline.is_some());
        let (whole, broken): (Vec<_>, Vec<_>) = inline.partition(|record| record.whole);
        let right = (whole.len()..=whole.len() + broken.len()).contains(&scratch.len());
        want(right, || format!("{} objects of inline volumes", whole.len()))?;
        want(self.records == world.node.len(), || format!("{} records in the journal", world.node.len()))?;
        match &self.mounts {
            Some((points, loops)) => mounted(ground, world, points, *loops),
            None => Ok(()),
        }
    }
}

fn mounted(ground: &Ground, world: &World, points: &BTreeMap<PathBuf, usize>, loops: usize) -> Result<(), String> {
    let (mut must, mut may, mut devices, mut doubtful) = (BTreeSet::new(), BTreeSet::new(), 0, 0);
    for (id, record) in &world.node {
        let block = record.cap.is_block();
        if let Some((inline, _)) = &record.inline {
            if record.whole { &mut must } else { &mut may }.insert(ground.target(id, inline.pod));
        } else if !block {
            if record.whole { &mut must } else { &mut may }.insert(ground.staging(id, record.path));
        }
        for (pod, target) in &record.targets {
            let whole = record.whole && target.whole;
            if whole { &mut must } else { &mut may }.insert(ground.target(id, *pod));
            // A read-only view of a device that can be written is a device of its own.
            let view = usize::from(block && target.read_only && !record.read_only);
            if whole { devices += view } else { doubtful += 1 }
        }
        if record.image {
            if record.whole { devices += 1 } else { doubtful += 2 }
        }
    }
    let stray = points.iter().find(|(point, count)| **count != 1 || !(must.contains(*point) || may.contains(*point)));
    want(stray.is_none(), || format!("nothing but its own mounts, once, not {stray:?}"))?;
    let missing = must.iter().find(|point| !points.contains_key(*point));
    want(missing.is_none(), || format!("{missing:?} mounted"))?;
    let right = (devices..=devices + doubtful).contains(&loops);
    want(right, || format!("{devices} loop devices"))
}
