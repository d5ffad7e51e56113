//! What a backend may call. `call`, `logging` and `config` are there for everybody; a component that calls one of the others
//! asks for a grant by it, and a component that doesn't call them doesn't import them.

/// The call in progress: role, deadline, idempotency key, resume text.
pub mod call {
    pub use crate::bindings::imports::bulkhead::backend::call::{
        HostRole, idempotency_key, remaining_ms, request_id, resume, role,
    };
}

/// The host's log; the macros [`info!`](crate::info) and its like are shorter.
pub mod logging {
    pub use crate::bindings::imports::bulkhead::backend::logging::Level;
    #[cfg(target_family = "wasm")]
    pub use crate::bindings::imports::bulkhead::backend::logging::log;

    /// In a backend's own unit tests there is no host: the line goes to the standard error stream.
    #[cfg(not(target_family = "wasm"))]
    pub fn log(level: Level, message: &str) {
        eprintln!("{level:?}: {message}");
    }
}

/// This backend's `config` in the host's config file.
pub mod config {
    pub use crate::bindings::imports::bulkhead::backend::config::{get, keys};
    use crate::types::{Error, Result};

    /// The value under `key`.
    ///
    /// # Errors
    /// `failed-precondition` if it isn't set: no retry helps, the operator must set it.
    pub fn required(key: &str) -> Result<String> {
        get(key).ok_or_else(|| {
            Error::precondition(format!("the backend's config lacks `{key}`; set it in the host's config file"))
        })
    }
}

/// Storage of the host that the operator has named in config. Granted by `grants.pools`.
pub mod pools {
    pub use crate::bindings::imports::bulkhead::backend::pools::{
        CopyOrder, Created, Extent, ExtentPage, Object, ObjectKind, ObjectPage, ObjectSpec, PoolError, PoolInfo,
        Provisioning, allocated_extents, copy_objects, create_object, delete_object, differing_extents, list_objects,
        pool_names, resize_object, stat_object, stat_pool, update_object,
    };
}

/// Small durable facts with compare-and-swap. Granted by `grants.state`.
pub mod state {
    pub use crate::bindings::imports::bulkhead::backend::state::{
        Entry, KeyPage, StateError, compare_and_swap, delete, get, list_keys,
    };
}

/// Secrets as handles. Granted by `grants.secrets`.
pub mod secrets {
    pub use crate::bindings::imports::bulkhead::backend::secrets::{Secret, get, keys};
}

/// Signing with a secret that stays in the host. Granted by `grants.secrets: [sign]`.
pub mod secrets_sign {
    pub use crate::bindings::imports::bulkhead::backend::secrets_sign::hmac_sha256;
}

/// The value of a secret. Granted by `grants.secrets: [reveal]`.
pub mod secrets_reveal {
    pub use crate::bindings::imports::bulkhead::backend::secrets_reveal::reveal;
}
