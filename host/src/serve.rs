//! `bulkhead serve`: nothing is begun before everything is checked, and nothing is left when it ends.

use crate::{
    config::{Config, ConfigError},
    csi::{self, Service, Socket, probe_socket},
    ops::{Driver, ports::NodeEngine, work::Work},
    registry::{self, Loaded, Mode},
    wasm::CompileCache,
};
use anyhow::Context;
use bulkhead_domain::node::NodeFacts;
use bulkhead_node::{Engine, EngineConfig, lock_dir};
use std::{fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};
use tokio::{signal::unix::SignalKind, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Longest wait at shutdown for calls that run: a little more than the longest call may take.
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
    let mut errors = config.check_paths().err().unwrap_or_default();
    errors.extend(socket_errors(config));
    if config.state_dir.is_dir()
        && let Err(e) = lock_dir(&config.state_dir)
    {
        errors.push(config.error(config.state_dir_at, "stateDir", e.to_string()));
    }
    if !errors.is_empty() {
        return Err(Failure::Config(errors));
    }
    let engine = registry::engine(config)?;
    registry::load(config, mode, &engine, None).await.map_err(Failure::Config)?;
    Ok(())
}

fn socket_errors(config: &Config) -> Vec<ConfigError> {
    let error = |driver: &crate::config::DriverConfig| {
        let error = probe_socket(&driver.endpoint).err()?;
        let key = format!("drivers[{}].endpoint", driver.name);
        Some(config.error(driver.endpoint_at, key, error.to_string()))
    };
    config.drivers.iter().filter_map(error).collect()
}

/// `bulkhead serve`: until SIGTERM or SIGINT.
///
/// # Errors
/// All that keeps it from starting; a server that fails.
pub async fn serve(config: &Config, mode: Mode) -> Result<(), Failure> {
    config.check_paths().map_err(Failure::Config)?;
    make_state_dir(&config.state_dir)?;
    let state_error =
        |e: bulkhead_domain::Error| Failure::Config(vec![config.error(config.state_dir_at, "stateDir", e.to_string())]);
    let _lock = lock_dir(&config.state_dir).map_err(state_error)?;
    let errors = socket_errors(config);
    if !errors.is_empty() {
        return Err(Failure::Config(errors));
    }
    // Registered before anything is begun: a signal that comes early must not kill a half-started host.
    let stop = on_signal()?;
    let cache = CompileCache::open(&config.state_dir.join("cache"))?;
    let engine = registry::engine(config)?;
    let loaded = registry::load(config, mode, &engine, Some(&cache)).await.map_err(Failure::Config)?;
    let work = Work::new(engine.runtime());
    let mut drivers = vec![];
    for one in loaded {
        let engine = if mode.node() { Some(node_engine(config, &one)?) } else { None };
        let (endpoint, at) = (one.config.endpoint.clone(), one.config.endpoint_at);
        drivers.push((one.into_driver(mode, engine, facts(config), work.clone()), endpoint, at));
    }
    let mut bound = vec![];
    for (driver, endpoint, at) in drivers {
        let key = format!("drivers[{}].endpoint", driver.name());
        let socket =
            Socket::bind(&endpoint).map_err(|e| Failure::Config(vec![config.error(at, key, e.to_string())]))?;
        bound.push((driver, socket, endpoint));
    }
    run(bound, stop).await?;
    let patience = config.drivers.iter().map(|d| d.limits.call_timeout).max().unwrap_or_default() + SHUTDOWN_MARGIN;
    let left = work.close(patience).await;
    if left > 0 {
        tracing::warn!(left, "operations that did not end in time are left to the journal");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Serves all drivers until `stop`, or until one of them fails.
async fn run(bound: Vec<(Driver, Socket, std::path::PathBuf)>, stop: CancellationToken) -> anyhow::Result<()> {
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
    tokio::select! {
        () = stop.cancelled() => {}
        Some(ended) = servers.join_next() => {
            stop.cancel();
            ended.context("a server ended")??;
        }
    }
    tracing::info!("stopping: no new calls; those that run end or meet their deadline");
    while let Some(ended) = servers.join_next().await {
        ended.context("a server ended")??;
    }
    Ok(())
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
