//! Values that calls are made of: mostly of what is there.

use super::{Generator, M};
use crate::{
    calls::{Cap, Create, Inline, Mode, Source, Use},
    world::{POOLS, World, snapshot_id, volume_id},
};

const NAMES: [&str; 6] = ["v0", "v1", "v2", "v3", "v4", "_odd name"];
pub const SNAPSHOTS: [&str; 4] = ["s0", "s1", "s2", "s3"];
const INLINE: [&str; 2] = ["csi-0", "csi-1"];

impl Generator {
    pub(super) fn inline(&mut self, pod: u8, volume: String) -> Inline {
        let volume = if self.dice.chance(85) { (*self.dice.pick(&INLINE)).to_owned() } else { volume };
        let mode = self.dice.weighted(&[(8, Mode::SingleNodeWriter), (1, Mode::SingleNodeReaderOnly)]);
        let usage = self.dice.weighted(&[(6, Use::Mount("")), (3, Use::Mount("ext4")), (1, Use::Block)]);
        Inline {
            volume,
            pod,
            cap: Cap { usage, mode },
            read_only: self.dice.chance(15),
            pool: self.dice.weighted(&[(5, ""), (2, "fast"), (2, "slow"), (1, "none")]),
            size: self.dice.weighted(&[(9, "20Mi"), (1, "1GB")]),
            kind: self.dice.weighted(&[(5, ""), (4, "directory"), (1, "tape")]),
            fs: self.dice.weighted(&[(8, ""), (2, "ext4"), (1, "btrfs")]),
        }
    }

    pub(super) fn create(&mut self, world: &World) -> Create {
        // A repeat of what is there, as it was or a little different.
        if !world.volumes.is_empty() && self.dice.chance(20) {
            let all: Vec<_> = world.volumes.values().collect();
            let volume = *self.dice.pick(&all);
            let size = i64::try_from(volume.size).unwrap();
            let (required, limit) =
                self.dice.weighted(&[(4, (size, 0)), (2, (0, size)), (1, (size + 4096, 0)), (1, (0, size - 1))]);
            let zones = self.zones();
            let mut again = Create { required, limit, zones, ..volume.made.clone() };
            if self.dice.chance(30) {
                again.mutable = self.dice.weighted(&[(1, ""), (1, "thin"), (1, "thick")]);
            }
            return again;
        }
        let mut caps = vec![self.cap()];
        if self.dice.chance(15) {
            caps.push(self.cap());
        }
        if self.dice.chance(2) {
            caps.clear();
        }
        let xfs = caps.iter().any(|cap| cap.usage == Use::Mount("xfs"));
        let source = self.dice.chance(35).then(|| {
            if self.dice.chance(50) {
                Source::Volume(self.volume(world))
            } else {
                Source::Snapshot(self.snapshot(world))
            }
        });
        let kind = self.dice.weighted(&[(6, ""), (2, "image"), (4, "directory"), (1, "tape")]);
        // Space that is taken at once, and raw volumes that a file system may be put on, have a size that suits both.
        let (required, limit) = if xfs {
            self.dice.weighted(&[(3, (300 * M, 0)), (1, (0, 0)), (1, (0, 20 * M))])
        } else {
            self.dice.weighted(&[
                (8, (16 * M, 0)),
                (3, (20 * M, 24 * M)),
                (1, (16 * M + 1, 0)),
                (1, (24 * M, 24 * M)),
                (1, (20 * M, 16 * M)),
                (1, (0, 8 * M)),
                (1, (-1, 0)),
            ])
        };
        let thick = if xfs || source.is_some() { 0 } else { 2 };
        Create {
            name: (*self.dice.pick(&NAMES)).to_owned(),
            caps,
            pool: self.dice.weighted(&[(6, ""), (3, "fast"), (4, "slow"), (1, "none")]),
            kind,
            provisioning: self.dice.weighted(&[(8, ""), (1, "thin"), (thick, "thick")]),
            mutable: self.dice.weighted(&[(16, ""), (2, "thin"), (thick, "thick"), (1, "eager")]),
            required,
            limit,
            source,
            zones: self.zones(),
        }
    }

    pub(super) fn zones(&mut self) -> Vec<&'static str> {
        match self.dice.below(12) {
            0 => vec!["z1"],
            1 => vec!["z2"],
            2 => vec!["z2", "z1"],
            3 => vec!["z3"],
            _ => vec![],
        }
    }

    pub(super) fn cap(&mut self) -> Cap {
        let usage = self.dice.weighted(&[
            (5, Use::Mount("")),
            (6, Use::Mount("ext4")),
            (1, Use::Mount("xfs")),
            (1, Use::Mount("btrfs")),
            (5, Use::Block),
        ]);
        let mode = self.dice.weighted(&[
            (4, Mode::SingleNodeWriter),
            (6, Mode::SingleNodeMultiWriter),
            (2, Mode::SingleNodeSingleWriter),
            (1, Mode::SingleNodeReaderOnly),
            (1, Mode::MultiNodeReaderOnly),
            (1, Mode::MultiNodeSingleWriter),
            (2, Mode::MultiNodeMultiWriter),
        ]);
        Cap { usage, mode }
    }

    /// As the volume is used, or could be.
    pub(super) fn cap_for(&mut self, world: &World, volume: &str) -> Cap {
        let staged = world.node.get(volume).map(|record| record.cap);
        let made = world.volumes.get(volume).and_then(|volume| volume.made.caps.first().copied());
        let attached = world.volumes.get(volume).and_then(|volume| volume.nodes.values().next().map(|way| way.cap));
        let known: Vec<Cap> = [staged, made, attached].into_iter().flatten().collect();
        if known.is_empty() || self.dice.chance(20) { self.cap() } else { *self.dice.pick(&known) }
    }

    pub(super) fn volume(&mut self, world: &World) -> String {
        let known: Vec<_> = world.volumes.keys().collect();
        if !known.is_empty() && self.dice.chance(82) {
            return (*self.dice.pick(&known)).clone();
        }
        if self.dice.chance(20) {
            return self.dice.weighted(&[(1, "nonsense"), (1, "none/v0"), (1, "fast/_s_s0")]).to_owned();
        }
        let pool = *self.dice.pick(&POOLS);
        volume_id(pool, NAMES[usize::try_from(self.dice.below(6)).unwrap()])
    }

    pub(super) fn snapshot(&mut self, world: &World) -> String {
        let known: Vec<_> = world.snapshots.keys().collect();
        if !known.is_empty() && self.dice.chance(82) {
            return (*self.dice.pick(&known)).clone();
        }
        if self.dice.chance(20) {
            return self.dice.weighted(&[(1, "nonsense"), (1, "none/_s_s0"), (1, "fast/v0")]).to_owned();
        }
        let pool = *self.dice.pick(&POOLS);
        snapshot_id(pool, SNAPSHOTS[usize::try_from(self.dice.below(4)).unwrap()])
    }
}
