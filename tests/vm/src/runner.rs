//! The machine's outside: which test programs run in it, the machine itself, and what it says.

mod machine;
mod programs;
mod report;

pub use machine::{Machine, Place};
pub use programs::{Job, Run, jobs, parse};
pub use report::{Outcome, Report};
