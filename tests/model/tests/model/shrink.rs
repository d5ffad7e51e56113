//! A shorter sequence that goes wrong too: parts are left out as long as it still does.

use super::{
    calls::Step,
    run::{Divergence, Figures, Setting, Steps, run},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// The shortest that was found in time, and how it goes wrong.
pub struct Shrunk {
    pub steps: Vec<Step>,
    pub divergence: Divergence,
    pub tries: usize,
}

/// Where nothing of the kind is found, that is the whole sequence: then it was chance that decided, like the moment of a kill.
pub fn shrink(base: &Path, setting: &Setting, made: &[Step], divergence: Divergence, patience: Duration) -> Shrunk {
    let (start, mut tries) = (Instant::now(), 0);
    let mut best = Shrunk { steps: made.to_vec(), divergence, tries: 0 };
    let mut part = made.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at < best.steps.len() && start.elapsed() < patience {
            let mut fewer = best.steps.clone();
            fewer.drain(at..(at + part).min(fewer.len()));
            tries += 1;
            match replay(base, setting, &fewer) {
                Some((steps, divergence)) => best = Shrunk { steps, divergence, tries },
                None => at += part,
            }
        }
        part /= 2;
    }
    Shrunk { tries, ..best }
}

/// How far it went until it went wrong.
fn replay(base: &Path, setting: &Setting, steps: &[Step]) -> Option<(Vec<Step>, Divergence)> {
    let (mut made, mut figures) = (vec![], Figures::default());
    let done = super::runtime().block_on(run(base, setting, Steps::Old(steps), &mut made, &mut figures));
    done.err().map(|divergence| (made, divergence))
}
