//! How drivers come up: all or none of them, or each by itself.

use super::{
    Failure,
    pools::{Pools, not_answering},
};
use crate::{
    config::{Config, ConfigError, DriverConfig},
    csi::Service,
    directory::{Folder, Nodes},
    facts::Facts,
    ops::{
        Driver,
        node_half::NodeHalf,
        ports::{NodeDirectory, NodeEngine},
        work::Work,
    },
    registry::{self, Loaded, Mode},
    wasm::{self, CompileCache},
};
use anyhow::Context;
use bulkhead_domain::{offer::ExpandedBy, volume::NodeId};
use bulkhead_node::{DeviceConfig, Engine, EngineConfig};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// How long a driver that can't be loaded waits before it is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long clients have to come back for what was cut short before it is taken back.
const GRACE: Duration = Duration::from_secs(60);
/// How long opening a driver's pools may take before that is said.
const SLOW: Duration = Duration::from_secs(10);
/// Longest such wait: what is missing (a pool to be mounted, a component to be copied) comes without notice.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What all drivers of a process share.
pub(super) struct Host {
    pub config: Config,
    pools: Pools,
    mode: Mode,
    pub engine: wasm::Engine,
    cache: CompileCache,
    pub work: Work,
    nodes: Arc<dyn NodeDirectory>,
    node_id: NodeId,
    /// None in controller mode.
    facts: Option<Facts>,
}

impl Host {
    /// Makes the runtime of the guests.
    ///
    /// # Errors
    /// The cache's directory or the threads can't be had.
    pub fn new(config: &Config, mode: Mode) -> anyhow::Result<Self> {
        let cache = CompileCache::open(&config.state_dir.join("cache"))?;
        let engine = registry::engine(config)?;
        let folder = config.node.directory.as_ref().map(|(path, _)| Folder::new(path, config.node.facts.interval));
        let (work, nodes) = (Work::new(engine.runtime()), Arc::new(Nodes::new(folder)));
        let node_id = NodeId::parse(config.node.id.as_str()).map_err(|why| anyhow::anyhow!("node.id: {why}"))?;
        let facts = mode.node().then(|| Facts::new(config, nodes.clone())).transpose()?;
        Ok(Self { config: config.clone(), pools: Pools::new(config), mode, engine, cache, work, nodes, node_id, facts })
    }

    /// Loads the backends of all drivers and hands them to the services, which until then answer that they are starting. This node
    /// is kept known for as long as the set is.
    ///
    /// # Errors
    /// All that is wrong; then none is served.
    pub async fn start_all(&self, services: &[Service]) -> Result<JoinSet<()>, Failure> {
        let load = registry::load(&self.config, self.mode, &self.engine, Some(&self.cache));
        let (loaded, known) = tokio::join!(load, self.begin());
        let mut drivers = vec![];
        for one in loaded.map_err(Failure::Config)? {
            drivers.push(self.open(one, None).await?);
        }
        known.map_err(|error| anyhow::anyhow!("{error}"))?;
        for (driver, service) in drivers.into_iter().zip(services) {
            self.hand_over(driver, service);
        }
        let mut comings = JoinSet::new();
        self.keep_known(&mut comings);
        Ok(comings)
    }

    /// Brings every driver up by itself, for as long as the set is kept: one that can't be loaded is tried again and again.
    ///
    /// # Errors
    /// None: a node that can't be made known is tried again too.
    pub async fn start_each(self: &Arc<Self>, services: &[Service]) -> Result<JoinSet<()>, Failure> {
        if let (Err(error), Some(facts)) = (self.begin().await, &self.facts) {
            facts.complain(&error);
        }
        let mut comings = JoinSet::new();
        self.keep_known(&mut comings);
        for (index, service) in services.iter().cloned().enumerate() {
            let host = self.clone();
            comings.spawn(async move { host.bring_up(index, &service).await });
        }
        Ok(comings)
    }

    /// Finds out who this node is and makes it known.
    async fn begin(&self) -> bulkhead_domain::Result<()> {
        match &self.facts {
            Some(facts) => facts.begin().await,
            None => Ok(()),
        }
    }

    fn keep_known(&self, comings: &mut JoinSet<()>) {
        if let Some(facts) = self.facts.clone() {
            comings.spawn(facts.keep());
        }
    }

    fn hand_over(&self, driver: Driver, service: &Service) {
        let configured = self.config.drivers.iter().find(|configured| configured.name == driver.name());
        let endpoint = configured.map(|configured| configured.endpoint.display());
        tracing::info!(driver = driver.name(), endpoint = endpoint.map(tracing::field::display), "serving");
        service.ready(driver);
    }

    async fn bring_up(&self, index: usize, service: &Service) {
        let driver = service.name();
        let (mut pause, mut node, mut said) = (FIRST_PAUSE, None, String::new());
        loop {
            let why = match self.attempt(index, node.as_ref()).await {
                Ok(driver) => return self.hand_over(driver, service),
                Err(failure) => self.reason(index, failure),
            };
            if why != said {
                tracing::error!(driver, "{why}; only this driver is not served, and it is tried again");
                said.clone_from(&why);
            }
            if node.is_none() && self.mode.node() {
                node = self.teardown(index).await;
            }
            service.broken(why, node.clone());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, index: usize, before: Option<&NodeHalf>) -> Result<Driver, Failure> {
        // Those of the other drivers too: whether pools lie in one another can only be seen by looking at all of them.
        let silent = self.pools.silent().await;
        let mut errors = not_answering(&self.config, index, &silent);
        errors.extend(self.config.check_paths_of(index, &silent).err().unwrap_or_default());
        super::refuse(errors)?;
        let one = registry::load_one(&self.config, index, self.mode, &self.engine, Some(&self.cache)).await;
        self.open(one.map_err(|error| Failure::Config(vec![error]))?, before).await
    }

    /// As one line, with file and line.
    fn reason(&self, index: usize, failure: Failure) -> String {
        let errors = match failure {
            Failure::Config(errors) => errors,
            Failure::Other(error) => {
                let key = format!("drivers[{index}]");
                vec![self.config.error(self.config.drivers[index].at, key, format!("{error:#}"))]
            }
        };
        errors.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Opens what belongs to a driver: pools and state, and on a node the engine. Calls of `before`, that are still running over the same
    /// journal, are respected.
    async fn open(&self, one: Loaded<'_>, before: Option<&NodeHalf>) -> Result<Driver, Failure> {
        if self.mode.controller() {
            let granted = one.granted().clone();
            let opened = opening(one.config, move || granted.open()).await.context("opening the pools")?;
            opened.map_err(|e| Failure::Config(vec![one.pools_error(&self.config, &e)]))?;
            if let Some(state) = one.granted().state().cloned() {
                let opened = tokio::task::spawn_blocking(move || state.open()).await.context("opening the state")?;
                opened.map_err(|e| Failure::Config(vec![one.state_error(&self.config, &e)]))?;
            }
        }
        let node = if self.mode.node() {
            let engine = self.node_engine(one.config, Some(&one)).await?;
            let half = match before {
                Some(before) => before.with_engine(engine),
                None => self.node_half(one.config, engine),
            };
            tokio::spawn(half.clone().reconcile(GRACE));
            Some(half)
        } else {
            None
        };
        Ok(one.into_driver(self.mode, node, (self.node_id.clone(), self.nodes.clone()), self.work.clone()))
    }

    /// What takes volumes of a driver down that can't be served: the journal says where everything is, so neither the backend nor
    /// its pools are needed. None if not even that can be had.
    async fn teardown(&self, index: usize) -> Option<NodeHalf> {
        let driver = &self.config.drivers[index];
        match self.node_engine(driver, None).await {
            Ok(engine) => Some(self.node_half(driver, engine)),
            Err(error) => {
                tracing::error!(driver = driver.name, "{error:#}; its volumes can't be taken down either");
                None
            }
        }
    }

    fn node_half(&self, driver: &DriverConfig, engine: Arc<dyn NodeEngine>) -> NodeHalf {
        NodeHalf::new(engine, self.work.clone(), driver.limits.call_timeout)
    }

    async fn node_engine(
        &self,
        driver: &DriverConfig,
        one: Option<&Loaded<'_>>,
    ) -> anyhow::Result<Arc<dyn NodeEngine>> {
        let promises = one.map(|one| one.ready.promises());
        let config = EngineConfig {
            state_dir: self.config.state_dir.clone(),
            kubelet_root: self.config.node.kubelet_root.clone(),
            driver: driver.name.clone(),
            node_id: self.config.node.id.clone(),
            pools: one.map(|one| registry::pools(&one.config.backend)).unwrap_or_default(),
            devices: DeviceConfig { prefixes: driver.backend.grants.devices.clone(), ..DeviceConfig::default() },
            single_node_multi_writer: promises.is_some_and(|promises| promises.single_node_multi_writer),
            volume_mount_group: promises.is_some_and(|promises| promises.volume_mount_group),
            grows_objects: driver.offer.expanded_by == ExpandedBy::Node,
        };
        let what = || format!("driver {}: the node engine can't start", driver.name);
        let opened = opening(driver, move || Engine::open(config)).await.with_context(what)?;
        let engine = Arc::new(opened.with_context(what)?);
        let compares = engine.clone();
        // Not waited for, also at the end: it looks at mounts that may not answer.
        drop(self.engine.runtime().spawn_blocking(move || compares.tell_disagreement()));
        Ok(engine)
    }
}

/// Opens something of a driver's on a thread that may block. That takes as long as it takes, for what crashes left in pools is
/// removed then; if it is long, the log says what is waited for.
async fn opening<T: Send + 'static>(
    driver: &DriverConfig,
    open: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    let mut opening = tokio::task::spawn_blocking(open);
    if let Ok(opened) = tokio::time::timeout(SLOW, &mut opening).await {
        return opened;
    }
    let pools: Vec<_> = driver.backend.grants.pools.values().map(|pool| pool.path.display().to_string()).collect();
    let (driver, pools) = (driver.name.as_str(), pools.join(", "));
    tracing::warn!(
        driver,
        pools,
        "opening the pools takes long: what is left in them is being removed, or one does not answer"
    );
    opening.await
}
