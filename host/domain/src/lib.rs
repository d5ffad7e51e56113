//! The words of Bulkhead: plain data and the rules on it.
//!
//! **Invariant:** no I/O, no async, no protobuf, no WIT. Everything here can be tested with a function call.
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | what can go wrong, in the terms a client must tell apart |
//! | [`limits`] | CSI's limits on strings, maps and lists, checked in one place |
//! | [`volume`] | ids, volumes, pages |
//! | [`capability`] | access types and modes |
//! | [`capacity`] | size ranges |
//! | [`topology`] | places |
//! | [`request`] | what a client asked for, parsed |
//! | [`mod@mask`] | hiding values of secrets in texts |
//! | [`digest`] | telling a repeated request from a different one |
//! | [`snapshot`], [`blocks`] | snapshots, groups of them, what is in them |
//! | [`health`] | what is wrong with volumes and storage |
//! | [`plan`] | how a volume reaches a node |
//! | [`node`] | facts about a node, and what the node engine is asked |
//! | [`offer`] | what a backend offers, and the CSI capabilities that follow |

pub mod blocks;
pub mod capability;
pub mod capacity;
pub mod digest;
pub mod error;
pub mod health;
pub mod limits;
pub mod mask;
pub mod node;
pub mod offer;
pub mod plan;
pub mod request;
pub mod snapshot;
pub mod topology;
pub mod volume;

use std::collections::BTreeMap;

pub use error::{Error, ErrorKind, Result};

/// A CSI string map. Ordered, so that whatever is made from it is the same every time.
pub type StringMap = BTreeMap<String, String>;
