//! `bulkhead serve`: nothing is begun before everything is checked, and nothing is left when it ends.

use crate::{
    config::{Config, ConfigError},
    csi::{self, BindError, Service, Socket, probe_socket},
    ops::{Driver, ports::NodeEngine, work::Work},
    registry::{self, Loaded, Mode},
    wasm::CompileCache,
};
use anyhow::Context;
use bulkhead_domain::node::NodeFacts;
use bulkhead_node::{Engine, EngineConfig, LOCK_FILE, LockGuard, check_kubelet_root, lock_dir};
use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{signal::unix::SignalKind, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// At shutdown: how much longer than the longest call is waited for operations, and then for clients to read their answers.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);

/// What ended a command.
#[derive(Debug)]
pub enum Failure {
    /// The config, or something it names, is wrong.
    Config(Vec<ConfigError>),
    /// Something else failed.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// `bulkhead check`: everything that `serve` would look at, without serving or leaving a trace.
///
/// # Errors
/// All that is wrong.
pub async fn check(config: &Config, mode: Mode) -> Result<(), Failure> {
    let mut errors = preflight(config, mode);
    // Without a lock file nobody has it locked, and making one would be a trace.
    if config.state_dir.join(LOCK_FILE).exists() {
        errors.extend(lock(config).err());
    }
    refuse(errors)?;
    let engine = registry::engine(config)?;
    registry::load(config, mode, &engine, None).await.map_err(Failure::Config)?;
    Ok(())
}

/// All that can be found wrong by looking, without making anything.
fn preflight(config: &Config, mode: Mode) -> Vec<ConfigError> {
    let mut errors = config.check_paths().err().unwrap_or_default();
    if config.state_dir.exists() && !config.state_dir.is_dir() {
        let message = format!("{} is not a directory: choose another path", config.state_dir.display());
        errors.push(config.error(config.state_dir_at, "stateDir", message));
    }
    if mode.node()
        && let Err(e) = check_kubelet_root(&config.node.kubelet_root)
    {
        errors.push(config.error(config.node.kubelet_root_at, "node.kubeletRoot", e.to_string()));
    }
    for (index, driver) in config.drivers.iter().enumerate() {
        if let Err(e) = probe_socket(&driver.endpoint) {
            errors.push(config.error(driver.endpoint_at, format!("drivers[{index}].endpoint"), e.to_string()));
        }
    }
    errors
}

fn refuse(mut errors: Vec<ConfigError>) -> Result<(), Failure> {
    errors.sort_by_key(|error| error.place);
    if errors.is_empty() { Ok(()) } else { Err(Failure::Config(errors)) }
}

fn lock(config: &Config) -> Result<LockGuard, ConfigError> {
    lock_dir(&config.state_dir).map_err(|e| config.error(config.state_dir_at, "stateDir", e.to_string()))
}

/// `bulkhead serve`: until SIGTERM or SIGINT.
///
/// # Errors
/// All that keeps it from starting; a server that fails.
pub async fn serve(config: &Config, mode: Mode) -> Result<(), Failure> {
    let mut errors = preflight(config, mode);
    if errors.is_empty() {
        make_state_dir(&config.state_dir)?;
    }
    let _lock = if config.state_dir.is_dir() { lock(config).map_err(|e| errors.push(e)).ok() } else { None };
    refuse(errors)?;
    // Registered before anything is begun: a signal that comes early must not kill a half-started host.
    let stop = on_signal()?;
    let cache = CompileCache::open(&config.state_dir.join("cache"))?;
    let engine = registry::engine(config)?;
    let loaded = registry::load(config, mode, &engine, Some(&cache)).await.map_err(Failure::Config)?;
    let work = Work::new(engine.runtime());
    let bound = bind(config, mode, loaded, &work)?;
    run(bound, stop, &work, longest_call(config)).await?;
    tracing::info!("stopped");
    Ok(())
}

/// A driver, its socket, and where that is.
type Bound = (Driver, Socket, PathBuf);

/// The last step before serving; the first that makes anything outside the state directory.
fn bind(config: &Config, mode: Mode, loaded: Vec<Loaded<'_>>, work: &Work) -> Result<Vec<Bound>, Failure> {
    let mut drivers = vec![];
    for one in loaded {
        if mode.controller() {
            one.open_pools(config).map_err(|e| Failure::Config(vec![e]))?;
        }
        let engine = if mode.node() { Some(node_engine(config, &one)?) } else { None };
        let (endpoint, at) = (one.config.endpoint.clone(), one.config.endpoint_at);
        drivers.push((one.into_driver(mode, engine, facts(config), work.clone()), endpoint, at));
    }
    let mut bound = vec![];
    for (index, (driver, endpoint, at)) in drivers.into_iter().enumerate() {
        let error = |e: BindError| config.error(at, format!("drivers[{index}].endpoint"), e.to_string());
        let socket = Socket::bind(&endpoint).map_err(|e| Failure::Config(vec![error(e)]))?;
        bound.push((driver, socket, endpoint));
    }
    Ok(bound)
}

fn longest_call(config: &Config) -> Duration {
    config.drivers.iter().map(|driver| driver.limits.call_timeout).max().unwrap_or_default()
}

/// Serves all drivers until `stop`, or until one of them fails. Then operations that run are waited for.
async fn run(bound: Vec<Bound>, stop: CancellationToken, work: &Work, longest_call: Duration) -> anyhow::Result<()> {
    let mut servers = JoinSet::new();
    for (driver, socket, endpoint) in bound {
        tracing::info!(driver = driver.name(), endpoint = %endpoint.display(), "serving");
        let name = driver.name().to_owned();
        let stop = stop.clone();
        servers.spawn(async move {
            csi::serve(Service::new(driver), socket, stop.cancelled_owned())
                .await
                .with_context(|| format!("the server of driver {name} failed"))
        });
    }
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(ended) = servers.join_next() => ended.context("a server ended").flatten(),
    };
    stop.cancel();
    tracing::info!("stopping: no new calls; those that run end or meet their deadline");
    let left = work.close(longest_call + SHUTDOWN_MARGIN).await;
    if left > 0 {
        tracing::warn!(left, "operations that did not end in time are left to the journal");
    }
    // A connection closes when its client has read the last answer. One that does not read must not keep the host.
    let closed = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_MARGIN, closed).await.is_err() {
        tracing::warn!("cutting off clients that do not close their connections");
        servers.shutdown().await;
    }
    ended
}

fn node_engine(config: &Config, one: &Loaded<'_>) -> anyhow::Result<Arc<dyn NodeEngine>> {
    let engine = Engine::open(EngineConfig {
        state_dir: config.state_dir.clone(),
        kubelet_root: config.node.kubelet_root.clone(),
        driver: one.config.name.clone(),
        node_id: config.node.id.clone(),
        pools: one.config.backend.grants.pools.iter().map(|(name, pool)| (name.clone(), pool.path.clone())).collect(),
        single_node_multi_writer: one.ready.promises().single_node_multi_writer,
    })
    .with_context(|| format!("driver {}: the node engine can't start", one.config.name))?;
    Ok(Arc::new(engine))
}

/// What this version knows of its node: who it is and what the kernel can do.
fn facts(config: &Config) -> NodeFacts {
    NodeFacts {
        node_id: config.node.id.clone(),
        name: config.node.id.clone(),
        labels: config.node.labels.clone(),
        transports: bulkhead_node::transports(),
        ..NodeFacts::default()
    }
}

fn make_state_dir(dir: &Path) -> anyhow::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("can't make the state directory {}", dir.display()))
}

fn on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut int) =
        (tokio::signal::unix::signal(SignalKind::terminate())?, tokio::signal::unix::signal(SignalKind::interrupt())?);
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        cancel.cancel();
    });
    Ok(stop)
}
