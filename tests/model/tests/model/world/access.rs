//! Uses, sizes and places.

use super::{Branch, World};
use crate::calls::Cap;
use tonic::Code;

pub const MIB: u64 = 1 << 20;
const BLOCK: u64 = 4096;

/// What all capabilities of a request want together.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    pub block: bool,
    pub mounted: bool,
    pub named: Option<&'static str>,
    /// Several nodes; true: some write.
    pub nodes: Option<bool>,
}

impl Access {
    /// None: no volume can serve them all.
    pub fn of(caps: &[Cap]) -> Option<Self> {
        let mut all = Self { block: false, mounted: false, named: None, nodes: None };
        for cap in caps {
            if cap.is_multi_node() {
                all.nodes = Some(all.nodes.unwrap_or(false) || !cap.is_reader_only());
            }
            all.block |= cap.is_block();
            all.mounted |= !cap.is_block();
            if let Some(fs) = cap.fs() {
                if !matches!(fs, "ext4" | "xfs") || all.named.is_some_and(|other| other != fs) {
                    return None;
                }
                all.named = Some(fs);
            }
        }
        Some(all)
    }

    /// A volume of that kind in that pool can serve it.
    pub fn suits(self, image: bool, pool: &str) -> bool {
        let device = image || !self.block;
        let shared = pool == "slow";
        device
            && match self.nodes {
                None => true,
                Some(writes) => shared && !(image && writes),
            }
    }

    /// As well, made for that file system.
    pub fn served_by(self, image: bool, pool: &str, fs: Option<&str>) -> bool {
        self.suits(image, pool) && (fs.is_none() || self.named.is_none() || fs == self.named)
    }

    pub fn fs(self, made_for: Option<&'static str>) -> Option<&'static str> {
        self.mounted.then(|| self.named.or(made_for).unwrap_or("ext4"))
    }

    pub fn min_bytes(self, image: bool, made_for: Option<&'static str>) -> u64 {
        match self.fs(made_for) {
            Some("xfs") if image => 300 * MIB,
            Some(_) if image => 16 * MIB,
            _ => BLOCK,
        }
    }
}

/// The least size that is enough, in whole blocks. None: out of range.
pub fn choose_size(required: i64, limit: i64, default: u64, min: u64) -> Option<u64> {
    let set = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    let limit = set(limit).unwrap_or(u64::MAX >> 1);
    let wanted = set(required).unwrap_or(default.min(limit - limit % BLOCK));
    Some(wanted.max(min).next_multiple_of(BLOCK)).filter(|size| *size <= limit)
}

/// Where a pool can be reached.
pub fn zone_of(pool: &str) -> &'static str {
    if pool == "slow" { "z2" } else { "z1" }
}

/// A pool meets a requirement.
pub fn meets(pool: &str, zones: &[&str]) -> bool {
    zones.is_empty() || zones.contains(&zone_of(pool))
}

impl World {
    /// What the shape of a range is answered with, if it is a bad one.
    pub(super) fn bad_range(&self, required: i64, limit: i64) -> Option<Vec<Branch>> {
        if required < 0 || limit < 0 {
            return Some(self.refuse(Code::InvalidArgument));
        }
        (limit > 0 && required > limit).then(|| self.refuse(Code::OutOfRange))
    }
}
