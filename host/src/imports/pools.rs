//! Pools that a backend was granted.

use bulkhead_domain::{Error, Result};
use bulkhead_node::pool::{PoolConfig, PoolStore};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

/// What one backend may use. Cheap to clone; all clones share what is open.
#[derive(Clone, Default)]
pub struct Granted(Arc<Inner>);

#[derive(Default)]
struct Inner {
    configs: BTreeMap<String, PoolConfig>,
    node_id: String,
    pools: OnceLock<Arc<PoolStore>>,
}

impl Granted {
    /// Grants pools by name to a backend on `node_id`. Their directories are not touched before [`Granted::open`], so that a config
    /// that is refused leaves nothing in them.
    pub fn pools(configs: BTreeMap<String, PoolConfig>, node_id: String) -> Self {
        Self(Arc::new(Inner { configs, node_id, pools: OnceLock::new() }))
    }

    /// Opens the pools, for calls to come.
    ///
    /// # Errors
    /// A directory can't be used.
    pub fn open(&self) -> Result<()> {
        let store = PoolStore::open(&self.0.configs, &self.0.node_id)?;
        // A second time changes nothing.
        let _ = self.0.pools.set(Arc::new(store));
        Ok(())
    }

    /// Names of the pools, sorted; empty if none is granted.
    pub fn pool_names(&self) -> Vec<String> {
        self.0.configs.keys().cloned().collect()
    }

    /// The pools.
    ///
    /// # Errors
    /// PERMISSION_DENIED if none is granted, UNAVAILABLE before they are open.
    pub fn pool_store(&self) -> Result<Arc<PoolStore>> {
        if self.0.configs.is_empty() {
            return Err(Error::permission_denied("no pool is granted to this backend"));
        }
        self.0.pools.get().cloned().ok_or_else(|| Error::unavailable("the pools are not open yet"))
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("pools", &self.pool_names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    #[test]
    fn a_directory_is_touched_when_it_is_opened_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let granted = Granted::pools([("fast".to_owned(), PoolConfig::new(dir.path()))].into(), "node".to_owned());
        assert_eq!(granted.pool_names(), ["fast"]);
        assert_eq!(granted.pool_store().unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let clone = granted.clone();
        granted.open().unwrap();
        assert_eq!(clone.pool_store().unwrap().names(), ["fast"]);
        assert!(std::fs::read_dir(dir.path()).unwrap().count() > 0);
        assert_eq!(Granted::default().pool_store().unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}
