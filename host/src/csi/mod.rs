//! The only room that knows protobuf and gRPC codes: it parses requests into domain values and renders answers.
//!
//! **Invariant:** every INVALID_ARGUMENT about the shape of a request arises in `parse`, before anything else is looked
//! at. No policy lives here.

mod controller;
mod group;
mod identity;
mod incoming;
mod metadata;
mod node;

mod parse;
mod registration;
mod render;
mod server;
mod socket;
mod status;

pub use registration::Registration;
pub use server::{Service, State, serve};
pub use socket::{BindError, Socket, probe_socket};
