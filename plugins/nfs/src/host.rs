//! The one border to the host: what it offers in a component, and a double of it in unit tests.

#[cfg(not(test))]
pub use bulkhead_sdk::{config, pools};

#[cfg(test)]
pub use crate::fake::{config, pools};
