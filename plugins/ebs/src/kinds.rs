//! EBS volume types and what each can have.

use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

/// A type. Sizes are GiB.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    min: u64,
    max: u64,
    /// IOPS that can be asked for.
    pub iops: Option<Iops>,
    /// Throughput can be asked for.
    pub throughput: bool,
    /// Several nodes at once.
    pub multi_attach: bool,
}

/// Of a volume, and per GiB of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Iops {
    min: u64,
    max: u64,
    per_gib: u64,
    /// There is no default.
    pub required: bool,
}

const fn plain(name: &'static str, min: u64, max: u64) -> Kind {
    Kind { name, min, max, iops: None, throughput: false, multi_attach: false }
}

const KINDS: [Kind; 9] = [
    Kind {
        iops: Some(Iops { min: 3000, max: 80_000, per_gib: 500, required: false }),
        throughput: true,
        ..plain("gp3", 1, 65_536)
    },
    plain("gp2", 1, 16_384),
    Kind { iops: Some(Iops { min: 100, max: 64_000, per_gib: 50, required: true }), ..plain("io1", 4, 16_384) },
    Kind {
        iops: Some(Iops { min: 100, max: 256_000, per_gib: 1000, required: true }),
        multi_attach: true,
        ..plain("io2", 4, 65_536)
    },
    plain("st1", 125, 16_384),
    plain("sc1", 125, 16_384),
    plain("standard", 1, 1024),
    // Of Snow devices.
    plain("sbp1", 1, 16_384),
    plain("sbg1", 1, 16_384),
];

impl Kind {
    /// `gp3`: what the public EBS driver takes where a class says nothing.
    pub const DEFAULT: &'static Self = &KINDS[0];

    /// By its name, in whatever case.
    pub fn parse(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name))
    }

    /// All names, for messages.
    pub fn names() -> String {
        KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
    }

    /// Which sizes there are. With no size asked for it is 100 GiB, as with the public driver.
    pub fn sizes(&self, least: u64) -> SizeRules {
        let min = (self.min * GIB).max(least);
        SizeRules {
            default: if least > 0 { min } else { min.max(100 * GIB) },
            min,
            max: self.max * GIB,
            granularity: GIB,
        }
    }
}

impl Iops {
    /// `per_gib` for each GiB, within what the type can have. Too little is an error unless it may be `raised`.
    pub fn scaled(&self, per_gib: u64, gib: u64, raised: bool) -> Result<u64> {
        let wanted = per_gib.saturating_mul(gib);
        if wanted < self.min && !raised {
            return Err(Error::invalid(format!(
                "parameter `iopsPerGB` gives {wanted} IOPS for {gib} GiB, less than {}, the least of this type; a larger \
                 value or volume helps, or `allowAutoIOPSPerGBIncrease`",
                self.min
            )));
        }
        Ok(wanted.min(self.per_gib.saturating_mul(gib)).min(self.max).max(self.min))
    }
}
