//! Bulkhead: one host process that serves CSI to an orchestrator and forwards volume operations to sandboxed WebAssembly
//! components, the backends.
//!
//! A request goes one way through the house:
//!
//! ```text
//! gRPC -> csi::parse -> domain request -> ops (lock) -> wasm (backend) -> plan or result -> node engine -> csi::render
//! ```
//!
//! | room | knows | must not know |
//! |---|---|---|
//! | [`csi`] | protobuf, gRPC codes | wasmtime, the kernel |
//! | [`ops`] | the order of steps, locks, idempotency | protobuf, wasmtime, the kernel: it sees traits only |
//! | [`loader`] | how bytes come in and are verified | what is in them |
//! | [`wasm`] | wasmtime and the WIT | protobuf, the kernel |
//! | [`imports`] | what a backend may import, behind grants | wasmtime, protobuf |
//! | [`config`] | the config file | everything else |
//! | [`cloud`] | instance metadata, over HTTP | everything else |
//! | [`health`] | HTTP | everything else |
//! | [`registry`] | drivers that are ready to serve | how they were loaded |
//!
//! The walls are kept by crates (`bulkhead-domain`, `bulkhead-node`, `bulkhead-proto`) and by a test that reads the
//! imports of every room.

pub mod cli;
pub mod cloud;
pub mod config;
pub mod csi;
pub mod directory;
mod egress;
pub mod facts;
pub mod health;
pub mod imports;
pub mod inspect;
pub mod loader;
mod node_half;
pub mod ops;
mod pacing;
pub mod registry;
pub mod serve;
pub mod telemetry;
pub mod wasm;
