//! All flows, by subject.

mod basic;
mod copies;
mod deployment;
mod drivers;
mod faults;
mod growth;
mod lifecycle;
mod privileges;
mod scale;

use crate::space::Space;
use anyhow::Result;
use std::time::Duration;

/// Patience with what waits for somebody's back-off.
const LONG: Duration = Duration::from_secs(180);

/// How the driver is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Two nodes, each with its own storage and its own sidecars.
    PerNode,
    /// One node, everything offered, sidecars that elect a leader.
    Beside,
}

/// What one user does.
#[derive(Debug)]
pub struct Flow {
    /// Short, of lower-case letters and dashes.
    pub name: &'static str,
    /// What it shows, for people.
    pub about: &'static str,
    /// Where it makes sense.
    pub shapes: &'static [Shape],
    /// Gives what is worth telling, such as a time.
    pub run: fn(&Space<'_>) -> Result<Option<String>>,
}

/// In the order in which they run.
pub const ALL: &[&[Flow]] = &[
    basic::FLOWS,
    copies::FLOWS,
    growth::FLOWS,
    faults::FLOWS,
    lifecycle::FLOWS,
    drivers::FLOWS,
    deployment::FLOWS,
    privileges::FLOWS,
    scale::FLOWS,
];
/// For flows that make sense everywhere.
const BOTH: &[Shape] = &[Shape::PerNode, Shape::Beside];
