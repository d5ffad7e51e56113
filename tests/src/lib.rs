//! What the tests of several tiers share: a sandbox, a host process in it, clients, and components to load.

pub mod client;
pub mod components;
pub mod host;
pub mod sandbox;

pub use client::Client;
pub use host::{Driver, Host, HostBuilder};
pub use sandbox::Sandbox;
