//! Pools that a backend was granted.

use bulkhead_domain::{Error, Result};
use bulkhead_node::pool::PoolStore;
use std::{fmt, sync::Arc};

/// What one backend may use.
#[derive(Clone, Default)]
pub struct Granted {
    pools: Option<Arc<PoolStore>>,
}

impl Granted {
    /// Grants the pools of `store`, which holds no others.
    pub fn pools(store: Arc<PoolStore>) -> Self {
        Self { pools: Some(store) }
    }

    /// Names of the pools, sorted; empty if none is granted.
    pub fn pool_names(&self) -> Vec<String> {
        self.pools.as_ref().map(|store| store.names()).unwrap_or_default()
    }

    /// The pools.
    ///
    /// # Errors
    /// PERMISSION_DENIED if none is granted.
    pub fn pool_store(&self) -> Result<Arc<PoolStore>> {
        self.pools.clone().ok_or_else(|| Error::permission_denied("no pool is granted to this backend"))
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("pools", &self.pool_names()).finish()
    }
}
