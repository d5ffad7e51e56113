//! `bulkhead serve`: nothing is begun before everything is checked, and nothing is left when it ends.

use crate::{
    config::{Config, ConfigError},
    csi::{self, BindError, Service, Socket, probe_socket},
    directory::{self, Nodes},
    ops::{
        Driver,
        ports::{NodeDirectory, NodeEngine},
        work::Work,
    },
    registry::{self, Loaded, Mode},
    wasm::{self, CompileCache},
};
use anyhow::Context;
use bulkhead_domain::node::NodeFacts;
use bulkhead_node::{Engine, EngineConfig, LOCK_FILE, LockGuard, check_kubelet_root, lock_dir};
use std::{fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};
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
    let work = Work::new(engine.runtime());
    let (services, mut servers) = listen(config, &stop)?;
    let started = tokio::select! {
        started = start(config, mode, (&engine, &cache), &services, &work) => started,
        // Asked to stop while a backend is being compiled.
        () = stop.cancelled() => Ok(()),
    };
    let ended = match started {
        Ok(()) => tokio::select! {
            () = stop.cancelled() => Ok(()),
            Some(ended) = servers.join_next() => ended.context("a server ended").flatten().map_err(Failure::Other),
        },
        Err(failure) => Err(failure),
    };
    shut_down(stop, servers, &work, longest_call(config)).await;
    ended?;
    tracing::info!("stopped");
    Ok(())
}

/// Loads the backends and hands their drivers to the services, which until then answer that they are starting.
async fn start(
    config: &Config,
    mode: Mode,
    (engine, cache): (&wasm::Engine, &CompileCache),
    services: &[Service],
    work: &Work,
) -> Result<(), Failure> {
    let loaded = registry::load(config, mode, engine, Some(cache)).await.map_err(Failure::Config)?;
    let drivers = drivers(config, mode, loaded, work)?;
    if mode.node()
        && let Some((directory, _)) = &config.node.directory
    {
        directory::publish(directory, &facts(config))?;
    }
    for ((driver, service), configured) in drivers.into_iter().zip(services).zip(&config.drivers) {
        tracing::info!(driver = driver.name(), endpoint = %configured.endpoint.display(), "serving");
        service.ready(driver);
    }
    Ok(())
}

/// Binds all sockets and begins to serve on them. A client that comes before the backends are loaded (which takes as long
/// as compiling them) is told so, rather than finding nothing there.
fn listen(config: &Config, stop: &CancellationToken) -> Result<(Vec<Service>, Servers), Failure> {
    let mut bound = vec![];
    for (index, driver) in config.drivers.iter().enumerate() {
        let error =
            |e: BindError| config.error(driver.endpoint_at, format!("drivers[{index}].endpoint"), e.to_string());
        bound.push((driver, Socket::bind(&driver.endpoint).map_err(|e| Failure::Config(vec![error(e)]))?));
    }
    let (mut services, mut servers) = (vec![], JoinSet::new());
    for (driver, socket) in bound {
        let service = Service::starting(&driver.name);
        let (serving, name, stop) = (service.clone(), driver.name.clone(), stop.clone());
        servers.spawn(async move {
            csi::serve(serving, socket, stop.cancelled_owned())
                .await
                .with_context(|| format!("the server of driver {name} failed"))
        });
        services.push(service);
    }
    Ok((services, servers))
}

type Servers = JoinSet<anyhow::Result<()>>;

/// Opens what belongs to the drivers: pools, and on a node the engines.
fn drivers(config: &Config, mode: Mode, loaded: Vec<Loaded<'_>>, work: &Work) -> Result<Vec<Driver>, Failure> {
    let here = mode.node().then(|| facts(config));
    let directory = config.node.directory.as_ref().map(|(path, _)| path.clone());
    let nodes: Arc<dyn NodeDirectory> = Arc::new(Nodes::new(here, directory));
    let mut drivers = vec![];
    for one in loaded {
        if mode.controller() {
            one.open_pools(config).map_err(|e| Failure::Config(vec![e]))?;
        }
        let engine = if mode.node() { Some(node_engine(config, &one)?) } else { None };
        drivers.push(one.into_driver(mode, engine, (facts(config), nodes.clone()), work.clone()));
    }
    Ok(drivers)
}

fn longest_call(config: &Config) -> Duration {
    config.drivers.iter().map(|driver| driver.limits.call_timeout).max().unwrap_or_default()
}

/// Ends all servers; operations that run are waited for.
async fn shut_down(stop: CancellationToken, mut servers: Servers, work: &Work, longest_call: Duration) {
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
}

fn node_engine(config: &Config, one: &Loaded<'_>) -> anyhow::Result<Arc<dyn NodeEngine>> {
    let engine = Engine::open(EngineConfig {
        state_dir: config.state_dir.clone(),
        kubelet_root: config.node.kubelet_root.clone(),
        driver: one.config.name.clone(),
        node_id: config.node.id.clone(),
        pools: registry::pools(&one.config.backend),
        single_node_multi_writer: one.ready.promises().single_node_multi_writer,
        volume_mount_group: one.ready.promises().volume_mount_group,
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
