//! What of the proxy can be changed while it runs. The JSON of the admin port has these names.

use crate::{Fault, Rates};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// EC2's rules.
    pub rules: Rules,
    /// Requests of EC2 per second; without limit if absent.
    pub throttle: Option<Bucket>,
    /// Faults of every action that `actions` doesn't name.
    pub faults: Rates,
    /// Faults of single actions.
    pub actions: BTreeMap<String, Rates>,
    /// What chance begins with. The same seed and the same order of requests give the same faults.
    pub seed: u64,
    /// How long `hang` takes, in milliseconds.
    pub hang_ms: u64,
    /// How long a `slow-body` takes, in milliseconds.
    pub slow_ms: u64,
    /// How long a `flood` is, in bytes.
    pub flood_bytes: u64,
    /// Requests that moto is given at once. It is one Python process: more don't make it faster. Read when the proxy starts.
    pub moto_at_once: usize,
}

/// Lengths and limits of EC2's rules. In EC2 most are minutes or hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// A new volume is `creating` for so many milliseconds.
    pub creating_ms: u64,
    /// A new volume can't be seen by Describe calls for so many milliseconds: EC2 is eventually consistent.
    pub hidden_ms: u64,
    /// An attachment is `attaching` for so many milliseconds.
    pub attaching_ms: u64,
    /// An attachment is `detaching` for so many milliseconds.
    pub detaching_ms: u64,
    /// A snapshot is `pending` for so many milliseconds.
    pub snapshot_ms: u64,
    /// A modification is `modifying` for so many milliseconds.
    pub modifying_ms: u64,
    /// After that it is `optimizing` for so many milliseconds.
    pub optimizing_ms: u64,
    /// From the beginning of a modification until the next may begin, in milliseconds. EC2: 6 hours.
    pub cooldown_ms: u64,
    /// From one snapshot of a volume until the next may begin, in milliseconds. EC2: 15 seconds.
    pub snapshot_interval_ms: u64,
    /// Volumes on an instance, the one that it boots from among them.
    pub attach_limit: usize,
    /// Volumes made through the proxy that there may be.
    pub volume_limit: Option<usize>,
    /// How far the time of a signature may be off, in seconds.
    pub clock_skew_s: u64,
    /// How far the proxy's own clock is ahead, in seconds, for clients whose clock can't be set wrong. The Date header says the
    /// proxy's time.
    pub clock_offset_s: i64,
    /// Every volume made from now on ends in state `error` instead of `available`.
    pub fail_creation: bool,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Requests per second.
    pub rate: f64,
    /// Requests at once, after a pause.
    pub burst: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            throttle: None,
            faults: Rates::new(),
            actions: BTreeMap::new(),
            seed: 1,
            hang_ms: 600_000,
            slow_ms: 5_000,
            flood_bytes: 256 << 20,
            moto_at_once: 4,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            creating_ms: 50,
            hidden_ms: 0,
            attaching_ms: 50,
            detaching_ms: 50,
            snapshot_ms: 100,
            modifying_ms: 50,
            optimizing_ms: 100,
            cooldown_ms: 300,
            snapshot_interval_ms: 0,
            attach_limit: 28,
            volume_limit: None,
            clock_skew_s: 300,
            clock_offset_s: 0,
            fail_creation: false,
        }
    }
}

impl Rules {
    /// No state lasts.
    #[must_use]
    pub fn at_once() -> Self {
        Self {
            creating_ms: 0,
            attaching_ms: 0,
            detaching_ms: 0,
            snapshot_ms: 0,
            modifying_ms: 0,
            optimizing_ms: 0,
            cooldown_ms: 0,
            ..Self::default()
        }
    }
}

impl Settings {
    /// Rates of one action.
    pub fn rates(&self, action: &str) -> &Rates {
        self.actions.get(action).unwrap_or(&self.faults)
    }

    /// The same faults for every action.
    #[must_use]
    pub fn with_faults(mut self, rates: &[(Fault, f64)]) -> Self {
        self.faults = rates.iter().copied().collect();
        self
    }
}

/// Milliseconds.
pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
