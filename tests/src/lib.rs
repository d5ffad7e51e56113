//! What the tests of several tiers share: a sandbox, a host process in it, clients, and components to load.

mod channel;
pub mod client;
pub mod components;
mod driver;
pub mod fuse;
pub mod host;
pub mod http;
pub mod kubelet;
pub mod listing;
pub mod patient;
pub mod pernode;
pub mod raw;
pub mod sandbox;
pub mod sanity;
pub mod secrets;
pub mod skips;
pub mod snapshot;
mod snapshots;
pub mod suite;
pub mod web;

pub use channel::Channel;
pub use client::Client;
pub use driver::Driver;
pub use host::{Host, HostBuilder};
pub use kubelet::Kubelet;
pub use listing::{Listing, World};
pub use sandbox::Sandbox;
pub use snapshot::{Places, Snapshot};
