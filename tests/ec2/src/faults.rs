//! Faults that moto doesn't have: what can go wrong between a client and EC2.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// What goes wrong with a request. The name of each in JSON is written with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The request is done, and the connection closed without a reply.
    LostReply,
    /// The connection is closed, and nothing is done.
    LostRequest,
    /// RequestLimitExceeded, and nothing is done.
    Throttle,
    /// A server error, and nothing is done.
    ErrorBefore,
    /// The request is done, and the reply is a server error.
    ErrorAfter,
    /// The request is done, and the reply comes in small pieces over a long time.
    SlowBody,
    /// The request is done, and the reply is no XML.
    Garbage,
    /// The request is done, and the connection breaks in the middle of the reply.
    Truncated,
    /// The request is done, and the reply doesn't end.
    Flood,
    /// The request is done, and there is no reply for a long time.
    Hang,
    /// The body gets another on its way: moto refuses the signature, and nothing is done.
    Tampered,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::LostReply,
        Self::LostRequest,
        Self::Throttle,
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::SlowBody,
        Self::Garbage,
        Self::Truncated,
        Self::Flood,
        Self::Hang,
        Self::Tampered,
    ];

    /// Its name in JSON.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether the request is done.
    pub fn has_effect(self) -> bool {
        !matches!(self, Self::LostRequest | Self::Throttle | Self::ErrorBefore | Self::Tampered)
    }
}

/// Shares of requests, 0 to 1, that meet a fault; together at most 1.
pub type Rates = BTreeMap<Fault, f64>;

/// Which request meets which fault.
#[derive(Debug)]
pub struct Dice {
    seed: u64,
    state: u64,
    planned: VecDeque<(String, Fault)>,
}

impl Dice {
    /// Chance from this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed, planned: VecDeque::new() }
    }

    /// The next request of this action meets the fault, whatever the rates say. An empty action is any.
    pub fn plan(&mut self, action: &str, fault: Fault) {
        self.planned.push_back((action.into(), fault));
    }

    /// The fault of a request.
    pub fn throw(&mut self, action: &str, rates: &Rates, seed: u64) -> Option<Fault> {
        if self.seed != seed {
            (self.seed, self.state) = (seed, seed);
        }
        let planned = self.planned.iter().position(|(wanted, _)| wanted.is_empty() || wanted == action);
        if let Some(at) = planned {
            return self.planned.remove(at).map(|(_, fault)| fault);
        }
        let mut left = self.next();
        rates.iter().find_map(|(fault, rate)| {
            left -= rate;
            (left < 0.0).then_some(*fault)
        })
    }

    /// Uniform, from 0 up to but without 1: splitmix64.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn next(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Dice, Fault, Rates};

    #[test]
    fn rates_are_kept_and_seeds_repeat() {
        let rates = Rates::from([(Fault::LostReply, 0.1), (Fault::Throttle, 0.2)]);
        let throw = |seed| {
            let mut dice = Dice::new(seed);
            (0..10_000).map(|_| dice.throw("A", &rates, seed)).collect::<Vec<_>>()
        };
        let thrown = throw(7);
        let share = |fault| thrown.iter().filter(|thrown| **thrown == fault).count();
        assert!((900..1100).contains(&share(Some(Fault::LostReply))), "{}", share(Some(Fault::LostReply)));
        assert!((1850..2150).contains(&share(Some(Fault::Throttle))), "{}", share(Some(Fault::Throttle)));
        assert_eq!(throw(7), thrown);
        assert_ne!(throw(8), thrown);
    }

    #[test]
    fn a_planned_fault_meets_its_action_once() {
        let mut dice = Dice::new(1);
        dice.plan("B", Fault::Hang);
        assert_eq!(dice.throw("A", &Rates::new(), 1), None);
        assert_eq!(dice.throw("B", &Rates::new(), 1), Some(Fault::Hang));
        assert_eq!(dice.throw("B", &Rates::new(), 1), None);
    }
}
