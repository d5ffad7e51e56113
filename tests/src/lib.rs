//! What the tests of several tiers share: a sandbox, a host process in it, clients, and components to load.

pub mod client;
pub mod components;
pub mod host;
pub mod http;
pub mod kubelet;
pub mod listing;
pub mod pernode;
pub mod raw;
pub mod sandbox;
pub mod skips;
pub mod snapshot;
mod snapshots;

pub use client::Client;
pub use host::{Driver, Host, HostBuilder};
pub use kubelet::Kubelet;
pub use listing::{Listing, World};
pub use sandbox::Sandbox;
pub use snapshot::{Places, Snapshot};
