//! What a backend was granted, and its pools.

use super::{BackendSecrets, Pace, State, StateConfig, http::Egress};
use bulkhead_domain::{Error, Result, request::Secrets};
use bulkhead_node::pool::{PoolConfig, PoolStore};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

/// What one backend may use. Cheap to clone; all clones share what is open.
#[derive(Clone, Default)]
pub struct Granted {
    pools: Arc<Inner>,
    http: Option<Egress>,
    state: Option<State>,
    pace: Pace,
    secrets: BackendSecrets,
}

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
        let pools = Arc::new(Inner { configs, node_id, pools: OnceLock::new() });
        Self { pools, ..Self::default() }
    }

    /// Grants a store for small durable facts. Nothing of it is touched before [`State::open`].
    #[must_use]
    pub fn with_state(self, config: StateConfig) -> Self {
        Self { state: Some(State::new(config)), ..self }
    }

    /// The store for small durable facts; none if it is not granted.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Grants requests. Clones that were made before don't get them.
    #[must_use]
    pub fn with_http(self, http: Egress) -> Self {
        Self { http: Some(http), ..self }
    }

    /// What sends requests; none if none are granted.
    pub fn http(&self) -> Option<&Egress> {
        self.http.as_ref()
    }

    /// How fast requests may leave: the same for all calls of this backend.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Grants secrets too. Clones made earlier don't have them.
    #[must_use]
    pub fn with_secrets(self, secrets: BackendSecrets) -> Self {
        Self { secrets, ..self }
    }

    /// The secrets that the operator gives the backend and its profiles, and what the backend may do with secrets.
    pub fn secrets(&self) -> &BackendSecrets {
        &self.secrets
    }

    /// Hides in `text` what the backend must not say: secrets of the call, those of its own, and tokens of its profiles.
    pub fn mask(&self, call: &Secrets, text: &str) -> String {
        self.secrets.seen().mask(text, call.values())
    }

    /// Opens the pools, for calls to come.
    ///
    /// # Errors
    /// A directory can't be used.
    pub fn open(&self) -> Result<()> {
        let store = PoolStore::open(&self.pools.configs, &self.pools.node_id)?;
        // A second time changes nothing.
        let _ = self.pools.pools.set(Arc::new(store));
        Ok(())
    }

    /// Names of the pools, sorted; empty if none is granted.
    pub fn pool_names(&self) -> Vec<String> {
        self.pools.configs.keys().cloned().collect()
    }

    /// The pools.
    ///
    /// # Errors
    /// PERMISSION_DENIED if none is granted, UNAVAILABLE before they are open.
    pub fn pool_store(&self) -> Result<Arc<PoolStore>> {
        if self.pools.configs.is_empty() {
            return Err(Error::permission_denied("no pool is granted to this backend"));
        }
        self.pools.pools.get().cloned().ok_or_else(|| Error::unavailable("the pools are not open yet"))
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("pools", &self.pool_names())
            .field("state", &self.state.is_some())
            .field("http", &self.http)
            .field("secrets", &self.secrets)
            .finish()
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
