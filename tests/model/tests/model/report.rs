//! What people read.

use super::{
    calls::Step,
    ground::Executor,
    run::{Figures, Setting},
    shrink::Shrunk,
};
use std::time::Duration;

/// At most so many characters.
const LONG: usize = 600;

pub fn short(text: &str) -> String {
    if text.len() <= LONG { text.to_owned() } else { format!("{}...", text.chars().take(LONG).collect::<String>()) }
}

/// A sequence that goes wrong, line by line.
pub fn failure(setting: &Setting, made: &[Step], shrunk: &Shrunk) -> String {
    let line = |(number, step): (usize, &Step)| format!("{number:4}  {step:?}");
    let lines: Vec<_> = shrunk.steps.iter().enumerate().map(line).collect();
    let found = &shrunk.divergence;
    format!(
        "{:?}, CSI {}: a divergence at step {} of {}; shortest sequence found in {} tries:\n{}\n\
         at step {}: {}\nexpected: {}\n     got: {}\nlast lines of the host's log:\n{}",
        setting.executor,
        if setting.csi_1_13 { "1.13" } else { "1.12" },
        made.len(),
        made.len(),
        shrunk.tries,
        lines.join("\n"),
        found.step,
        found.what,
        found.expected.join("\n      or: "),
        short(&found.got),
        found.log,
    )
}

pub fn figures(executor: Executor, figures: &Figures, took: Duration) -> String {
    let list = |counts: &std::collections::BTreeMap<String, usize>| {
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{executor:?}: {} steps in {took:.1?} ({:.0} a second), {} calls, {} starts, {} calls cut short, at most {} possible \
         worlds\n  calls: {}\n  answers: {}",
        figures.steps,
        figures.steps as f64 / took.as_secs_f64(),
        figures.calls.values().sum::<usize>(),
        figures.restarts,
        figures.lost,
        figures.most_worlds,
        list(&figures.calls),
        list(&figures.codes),
    )
}
