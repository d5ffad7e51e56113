//! Pools that a backend was granted.

use bulkhead_domain::{Error, Result};
use bulkhead_node::pool::PoolStore;
use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

/// What one backend may use. Cheap to clone; all clones share what is open.
#[derive(Clone, Default)]
pub struct Granted(Arc<Inner>);

#[derive(Default)]
struct Inner {
    paths: BTreeMap<String, PathBuf>,
    pools: OnceLock<Arc<PoolStore>>,
}

impl Granted {
    /// Grants pools by name and directory. The directories are not touched before [`Granted::open`], so that a config
    /// that is refused leaves nothing in them.
    pub fn pools(paths: BTreeMap<String, PathBuf>) -> Self {
        Self(Arc::new(Inner { paths, pools: OnceLock::new() }))
    }

    /// Opens the pools, for calls to come.
    ///
    /// # Errors
    /// A directory can't be used.
    pub fn open(&self) -> Result<()> {
        let store = PoolStore::open(&self.0.paths)?;
        // A second time changes nothing.
        let _ = self.0.pools.set(Arc::new(store));
        Ok(())
    }

    /// Names of the pools, sorted; empty if none is granted.
    pub fn pool_names(&self) -> Vec<String> {
        self.0.paths.keys().cloned().collect()
    }

    /// The pools.
    ///
    /// # Errors
    /// PERMISSION_DENIED if none is granted, UNAVAILABLE before they are open.
    pub fn pool_store(&self) -> Result<Arc<PoolStore>> {
        if self.0.paths.is_empty() {
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
        let granted = Granted::pools([("fast".to_owned(), dir.path().to_owned())].into());
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
