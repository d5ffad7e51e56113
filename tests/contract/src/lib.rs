//! A contract suite for CSI drivers: a client over the socket that checks the rules of the specification that the usual
//! conformance suite leaves out. `README.md` tells how to point it at a driver, `rules.md` lists the rules.
//!
//! As a library: make [`Options`], [`Driver::connect`], then [`run`] over [`cases::all`].

pub mod calls;
pub mod case;
pub mod cases;
pub mod check;
pub mod control;
pub mod cx;
pub mod data;
pub mod driver;
pub mod fault;
pub mod fields;
pub mod kernel;
pub mod life;
pub mod memory;
pub mod options;
pub mod report;
pub mod rules;
pub mod run;
pub mod undo;
pub mod writer;

pub use case::{Case, Need, Outcome, Stop, case};
pub use control::Control;
pub use cx::Cx;
pub use driver::{Driver, Side};
pub use options::{Options, Usage};
pub use report::{Report, Verdict};
pub use run::run;
