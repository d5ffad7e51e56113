//! The one border to the host: what it offers in a component, and a double of it in unit tests. HTTP isn't here: the SDK has a
//! double of its own for that.

#[cfg(not(test))]
pub use bulkhead_sdk::{call, config};

#[cfg(test)]
pub use crate::fake::host::{call, config};
