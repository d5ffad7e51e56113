//! What a backend may import, behind its grants.
//!
//! **Invariant:** nothing is reachable that the config does not grant, and what is not granted answers "denied".

pub mod auth;
pub mod http;
mod pace;
mod pools;
mod secrets;
mod state;
mod transport;

pub use bulkhead_node::pool::PoolStore;
pub use bulkhead_node::pool::{
    CopyOrder, Created, ExtentPage, Object, ObjectKind, ObjectPage, ObjectSpec, PoolInfo, Provisioning, Updated,
};
pub use pace::Pace;
pub use pools::Granted;
pub use secrets::{BackendSecrets, SECRET_BYTES, SIGNED_BYTES, SecretError, Seen, Stamp, Value, hmac_sha256};
pub use state::{Entry, KeyPage, State, StateConfig, StateError};
pub use transport::{BoxFuture, Transport, TransportError};
