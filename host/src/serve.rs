//! `bulkhead serve`: nothing is begun before everything is checked, and nothing is left when it ends.

mod drivers;
mod pools;
mod vitals;

use crate::{
    config::{Config, ConfigError},
    csi::{self, BindError, Registration, Service, Socket, probe_socket},
    health,
    registry::{self, Mode},
};
use anyhow::Context;
use bulkhead_node::{LOCK_FILE, LockGuard, check_kubelet_root, lock_dir};
use drivers::Host;
use std::{fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};
use tokio::{signal::unix::SignalKind, task::JoinSet};
use tokio_util::sync::CancellationToken;
use vitals::Overview;

/// At shutdown: how much longer than the longest call is waited for operations, and then for clients to read their answers.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);
/// At shutdown: how long kubelet may keep the connection on which it asked about a driver.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long after a Probe that was not good the next one comes, before a driver is offered to kubelet.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

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
    let mut errors = pools::check_paths(config).await;
    errors.extend(preflight(config, mode));
    // Without a lock file nobody has it locked, and making one would be a trace.
    if config.state_dir.join(LOCK_FILE).exists() {
        errors.extend(lock(config).err());
    }
    errors.extend(listen_for_health(config).err());
    refuse(errors)?;
    let engine = registry::engine(config)?;
    registry::load(config, mode, &engine, None).await.map_err(Failure::Config)?;
    Ok(())
}

/// All but the drivers' own that can be found wrong by looking, without making anything.
fn preflight(config: &Config, mode: Mode) -> Vec<ConfigError> {
    let mut errors = vec![];
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

fn listen_for_health(config: &Config) -> Result<Option<health::Listener>, ConfigError> {
    let Some((address, at)) = config.health else { return Ok(None) };
    health::Listener::bind(address).map(Some).map_err(|why| config.error(at, "health.endpoint", why))
}

/// `bulkhead serve`: until SIGTERM or SIGINT. With `keep_going` a driver that can't be loaded fails alone, and is tried again.
///
/// # Errors
/// All that keeps it from starting; a server that fails.
pub async fn serve(config: &Config, mode: Mode, keep_going: bool) -> Result<(), Failure> {
    let mut errors = if keep_going { vec![] } else { pools::check_paths(config).await };
    errors.extend(preflight(config, mode));
    if errors.is_empty() {
        make_state_dir(&config.state_dir)?;
    }
    let _lock = if config.state_dir.is_dir() { lock(config).map_err(|e| errors.push(e)).ok() } else { None };
    let port = listen_for_health(config).map_err(|e| errors.push(e)).ok().flatten();
    refuse(errors)?;
    // Registered before anything is begun: a signal that comes early must not kill a half-started host.
    let stop = on_signal()?;
    let host = Arc::new(Host::new(config, mode)?);
    let halt = CancellationToken::new();
    let (services, mut servers) = listen(config, &halt)?;
    let overview = overview(&host, mode, &services, &stop);
    let mut offers = offer_to_kubelet(&overview, &stop);
    let health = port.map(|port| tokio::spawn(health::serve(port, Arc::new(overview))));
    let started = tokio::select! {
        started = start(&host, &services, keep_going) => started,
        // Asked to stop while a backend is being compiled.
        () = stop.cancelled() => Ok(JoinSet::new()),
    };
    let (ended, comings) = match started {
        Ok(comings) => tokio::select! {
            () = stop.cancelled() => (Ok(()), comings),
            Some(ended) = servers.join_next() => (ended.context("a server ended").flatten(), comings),
            Some(ended) = offers.join_next() => (ended.context("a registration ended").flatten(), comings),
        },
        Err(failure) => {
            shut_down((stop, offers), (halt, servers), &host).await;
            return Err(failure);
        }
    };
    drop(comings);
    shut_down((stop, offers), (halt, servers), &host).await;
    if let Some(health) = health {
        health.abort();
    }
    ended?;
    tracing::info!("stopped");
    Ok(())
}

/// Gives the drivers that are still coming.
async fn start(host: &Arc<Host>, services: &[Service], keep_going: bool) -> Result<JoinSet<()>, Failure> {
    if keep_going { host.start_each(services).await } else { host.start_all(services).await }
}

/// Binds all sockets and begins to serve on them. A client that comes before the backends are loaded (which takes as long
/// as compiling them) is told so, rather than finding nothing there.
fn listen(config: &Config, halt: &CancellationToken) -> Result<(Vec<Service>, Servers), Failure> {
    let mut bound = vec![];
    for (index, driver) in config.drivers.iter().enumerate() {
        let error =
            |e: BindError| config.error(driver.endpoint_at, format!("drivers[{index}].endpoint"), e.to_string());
        bound.push((driver, Socket::bind(&driver.endpoint).map_err(|e| Failure::Config(vec![error(e)]))?));
    }
    let (mut services, mut servers) = (vec![], JoinSet::new());
    for (driver, socket) in bound {
        let service = Service::starting(&driver.name);
        let (serving, name, halt) = (service.clone(), driver.name.clone(), halt.clone());
        servers.spawn(async move {
            csi::serve(serving, socket, halt.cancelled_owned())
                .await
                .with_context(|| format!("the server of driver {name} failed"))
        });
        services.push(service);
    }
    Ok((services, servers))
}

type Servers = JoinSet<anyhow::Result<()>>;

fn overview(host: &Host, mode: Mode, services: &[Service], stop: &CancellationToken) -> Overview {
    let node = &host.config.node;
    let drivers = services.iter().zip(&host.config.drivers).map(|(service, driver)| {
        let offered = mode.node() && node.registration;
        let socket = || node.registration_socket(&driver.name);
        (service.clone(), offered.then(|| Registration::new(&driver.name, socket(), &driver.endpoint)))
    });
    Overview { engine: host.engine.clone(), drivers: drivers.collect(), stop: stop.clone() }
}

/// Offers every driver to kubelet once it is ready by its own account: kubelet asks it at once who its node is, and does not
/// ask again for a while if that fails.
fn offer_to_kubelet(overview: &Overview, stop: &CancellationToken) -> Servers {
    let mut offers = JoinSet::new();
    for (service, registration) in &overview.drivers {
        let Some(registration) = registration.clone() else { continue };
        let (service, stop) = (service.clone(), stop.clone());
        offers.spawn(async move {
            let ready = async {
                let driver = service.served().await;
                while driver.probe(None).await != Ok(true) {
                    tokio::time::sleep(PROBE_PAUSE).await;
                }
            };
            tokio::select! {
                () = ready => {}
                () = stop.cancelled() => return Ok(()),
            }
            let what = || format!("the registration of driver {} failed", service.name());
            registration.serve(stop.cancelled_owned()).await.with_context(what)
        });
    }
    offers
}

/// Tells kubelet first, then ends all servers; operations that run are waited for.
async fn shut_down(
    (stop, mut offers): (CancellationToken, Servers),
    (halt, mut servers): (CancellationToken, Servers),
    host: &Host,
) {
    stop.cancel();
    tracing::info!("stopping: no new calls; those that run end or meet their deadline");
    let _ = tokio::time::timeout(GOODBYE, async { while offers.join_next().await.is_some() {} }).await;
    offers.shutdown().await;
    halt.cancel();
    let longest_call = host.config.drivers.iter().map(|driver| driver.limits.call_timeout).max().unwrap_or_default();
    let left = host.work.close(longest_call + SHUTDOWN_MARGIN).await;
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
