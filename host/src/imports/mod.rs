//! What a backend may import, behind its grants.
//!
//! **Invariant:** nothing is reachable that the config does not grant, and what is not granted answers "denied".

mod pools;

pub use bulkhead_node::pool::PoolStore;
pub use bulkhead_node::pool::{CopyOrder, ExtentPage, Object, ObjectKind, ObjectSpec, PoolInfo, Provisioning};
pub use pools::Granted;
