//! Drivers that are loaded: `DriverConfig -> Verified -> Compiled -> Ready -> Driver`. Used by `serve` and by `check`, so that
//! what passes the one passes the other.

use crate::{
    config::{BackendConfig, Config, ConfigError, DriverConfig, Place},
    egress,
    imports::{BackendSecrets, Granted, StateConfig},
    loader,
    ops::{Driver, Parts, node_half::NodeHalf, ports::NodeDirectory, work::Work},
    wasm::{CompileCache, Compiled, Engine, EngineSettings, LoadError, Permissions, Ready},
};
use bulkhead_domain::{Error, volume::NodeId};
use bulkhead_node::pool::PoolConfig;
use std::{collections::BTreeMap, fmt::Display, sync::Arc, time::Instant};

/// Which halves a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Controller and node.
    All,
    /// Controller only: touches no mount.
    Controller,
    /// Node only.
    Node,
}

impl Mode {
    /// Serves the controller half.
    pub fn controller(self) -> bool {
        self != Self::Node
    }

    /// Serves the node half.
    pub fn node(self) -> bool {
        self != Self::Controller
    }
}

/// A driver with where it will be served.
pub struct Loaded<'a> {
    /// As configured.
    pub config: &'a DriverConfig,
    /// Its backend.
    pub ready: Ready,
    /// Its key in the config: `drivers[INDEX]`.
    key: String,
    /// What it may use.
    granted: Granted,
}

/// An engine that is large enough for all drivers of a config.
///
/// # Errors
/// The kernel refuses the address space or the threads.
pub fn engine(config: &Config) -> anyhow::Result<Engine> {
    let limits = || config.drivers.iter().map(|driver| driver.limits);
    Engine::new(EngineSettings {
        max_instance_memory: limits().map(|l| l.memory_bytes).max().unwrap_or_default(),
        // One more for each backend: it is asked what it is while it is loaded.
        max_calls: limits().map(|l| l.concurrency.saturating_add(1)).fold(0, u32::saturating_add),
        total_memory: config.total_memory_bytes,
    })
}

/// Loads every driver. All that is wrong is reported, not only the first.
///
/// # Errors
/// One for each driver that can't be loaded, with its place in the config.
pub async fn load<'a>(
    config: &'a Config,
    mode: Mode,
    engine: &Engine,
    cache: Option<&CompileCache>,
) -> Result<Vec<Loaded<'a>>, Vec<ConfigError>> {
    let (mut loaded, mut errors) = (vec![], vec![]);
    for index in 0..config.drivers.len() {
        match load_one(config, index, mode, engine, cache).await {
            Ok(one) => loaded.push(one),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(loaded) } else { Err(errors) }
}

/// Loads `drivers[index]`, which must be there.
///
/// # Errors
/// It can't be loaded, with the place in the config.
pub async fn load_one<'a>(
    config: &'a Config,
    index: usize,
    mode: Mode,
    engine: &Engine,
    cache: Option<&CompileCache>,
) -> Result<Loaded<'a>, ConfigError> {
    let driver = &config.drivers[index];
    let backend = &driver.backend;
    let path = format!("drivers[{index}]");
    let at = |place: Place, key: &str, what: &dyn Display| {
        config.error(place, format!("{path}.backend.{key}"), what.to_string())
    };
    let start = Instant::now();
    let fetched = loader::fetch(&backend.source).map_err(|e| at(backend.source_at, "source", &e))?;
    let verified =
        fetched.verify(backend.digest).map_err(|e| at(backend.digest_at.unwrap_or(backend.source_at), "digest", &e))?;
    let granted = granted(config, index, mode).await?;
    let load_error = |e: LoadError| match &e {
        LoadError::NotGranted { .. } => at(backend.grants.at, "grants", &e),
        LoadError::ConfigRefused(why) => match backend.setting_named_in(why) {
            Some((key, place)) => at(place, &format!("config.{key}"), &e),
            None => at(backend.config_at.values().min().copied().unwrap_or(backend.source_at), "config", &e),
        },
        _ => at(backend.source_at, "source", &format_args!("{} {e}", backend.source.display())),
    };
    let (digest, compiler, cache) = (*verified.digest(), engine.clone(), cache.cloned());
    let compiled = tokio::task::spawn_blocking(move || Compiled::new(&compiler, cache.as_ref(), &verified))
        .await
        .map_err(|e| at(backend.source_at, "source", &format_args!("the compiler failed: {e}")))?
        .map_err(load_error)?;
    let from_cache = compiled.from_cache();
    let permissions = Permissions {
        driver: driver.name.clone(),
        config: backend.config.clone(),
        granted: granted.clone(),
        access: backend.grants.access.clone(),
        memory_bytes: driver.limits.memory_bytes,
        concurrency: driver.limits.concurrency,
        log_lines: driver.limits.log_lines,
        node_only: !mode.controller(),
    };
    let mut ready = compiled.ready(engine, permissions).await.map_err(load_error)?;
    let offer = &driver.offer;
    ready.shape(driver.csi, &offer.withheld, offer.withhold_mount_group, offer.expanded_by);
    let refused: Vec<_> =
        backend.grants.access.iter().filter(|access| !bulkhead_node::CARRIED_OUT.contains(&access.as_str())).collect();
    if mode.node() && !refused.is_empty() {
        tracing::warn!(driver = driver.name, access = ?refused, "granted, but this host can't carry out such plans yet");
    }
    let ms = start.elapsed().as_millis();
    tracing::info!(driver = driver.name, digest = hex::encode(digest), from_cache, ms, "backend is ready");
    Ok(Loaded { config: driver, ready, key: path, granted })
}

/// What the backend of `drivers[index]` may use. Pools and state are not touched yet; files of secrets and certificates are read. A
/// node half has no secrets and sends no requests: their files needn't be there.
async fn granted(config: &Config, index: usize, mode: Mode) -> Result<Granted, ConfigError> {
    let driver = &config.drivers[index];
    let backend = &driver.backend;
    let mut granted = Granted::pools(pools(backend), config.node.id.clone());
    if let Some(state) = backend.grants.state {
        let path = config.state_dir.join("state").join(format!("{}.redb", driver.name));
        granted = granted.with_state(StateConfig { path, quota: state.quota_bytes });
    }
    if !mode.controller() {
        return Ok(granted);
    }
    let secrets = BackendSecrets::new(&backend.secrets, backend.grants.secrets);
    for (name, source) in &backend.secrets {
        let key = || format!("drivers[{index}].backend.secrets.{name}.file");
        secrets.get(name).await.map_err(|e| config.error(source.at, key(), e.to_string()))?;
    }
    let http = egress::of_driver(config, index, granted.pace().clone(), &secrets)?;
    granted = granted.with_secrets(secrets);
    Ok(match http {
        Some(http) => granted.with_http(http),
        None => granted,
    })
}

/// The pools of a backend, as the node engine wants them.
pub fn pools(backend: &BackendConfig) -> BTreeMap<String, PoolConfig> {
    let pools = backend.grants.pools.iter();
    pools
        .map(|(name, pool)| {
            let (path, directory_mode) = (pool.path.clone(), pool.directory_mode);
            (name.clone(), PoolConfig { path, copy_limit_bytes: pool.copy_limit_bytes, directory_mode })
        })
        .collect()
}

impl Loaded<'_> {
    /// Opens the pools that it was granted.
    ///
    /// # Errors
    /// One of them can't be used.
    pub fn open_pools(&self, config: &Config) -> Result<(), ConfigError> {
        self.granted.open().map_err(|e| self.pools_error(config, &e))
    }

    /// What it may use.
    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    /// That its pools can't be opened, with the place in the config.
    pub fn pools_error(&self, config: &Config, error: &Error) -> ConfigError {
        let key = format!("{}.backend.grants.pools", self.key);
        config.error(self.config.backend.grants.at, key, error.to_string())
    }

    /// That its state can't be opened, with the place in the config.
    pub fn state_error(&self, config: &Config, error: &Error) -> ConfigError {
        let grants = &self.config.backend.grants;
        let key = format!("{}.backend.grants.state", self.key);
        config.error(grants.state.map_or(grants.at, |state| state.at), key, error.to_string())
    }

    /// Makes the driver that is served.
    pub fn into_driver(
        self,
        mode: Mode,
        node: Option<NodeHalf>,
        (node_id, directory): (NodeId, Arc<dyn NodeDirectory>),
        work: Work,
    ) -> Driver {
        Driver::new(Parts {
            name: self.config.name.clone(),
            pace: Arc::new(self.granted.pace().clone()),
            backend: Arc::new(self.ready),
            node,
            node_id,
            directory,
            controller: mode.controller(),
            call_timeout: self.config.limits.call_timeout,
            work,
        })
    }
}
