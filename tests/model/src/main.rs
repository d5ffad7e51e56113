//! `bulkhead-recorder CONFIG CACHE`: the host as `bulkhead serve` puts it together, with another node engine in it: one that
//! mounts nothing and notes what it is asked. Everything above it is the real thing, down to the socket, the compiled
//! backend and the pools. So the model-based test can kill it thousands of times without root.

mod mutant;
mod recorder;
mod rules;

use anyhow::{Context, anyhow};
use bulkhead::{
    config::{Config, ConfigError},
    csi::{self, Service, Socket},
    directory::{Folder, Nodes},
    imports::Pace,
    ops::{Driver, Parts, node_half::NodeHalf, ports::NodeDirectory, work::Work},
    registry::{self, Loaded, Mode},
    wasm::CompileCache,
};
use bulkhead_domain::{node::NodeFacts, volume::NodeId};
use std::{path::PathBuf, sync::Arc};

fn all(errors: Vec<ConfigError>) -> anyhow::Error {
    anyhow!(errors.into_iter().map(|error| error.to_string()).collect::<Vec<_>>().join("\n"))
}

fn driver(config: &Config, one: Loaded<'_>, work: Work) -> anyhow::Result<Driver> {
    one.open_pools(config).map_err(|error| all(vec![error]))?;
    let facts = NodeFacts {
        node_id: config.node.id.clone(),
        name: config.node.id.clone(),
        labels: config.node.labels.clone(),
        ..NodeFacts::default()
    };
    let folder = config.node.directory.as_ref().map(|(path, _)| Folder::new(path, config.node.facts.interval));
    let nodes = Arc::new(Nodes::new(folder));
    nodes.publish(&facts).map_err(|e| anyhow!("{e}"))?;
    let pools = registry::pools(&one.config.backend);
    let lie = mutant::lie();
    let engine = recorder::Recorder::open(&config.state_dir, &pools, &config.node.id, lie)?;
    let backend =
        mutant::Mutant::new(one.ready, lie, pools.into_iter().map(|(name, pool)| (name, pool.path)).collect());
    Ok(Driver::new(Parts {
        name: one.config.name.clone(),
        backend: Arc::new(backend),
        node: Some(NodeHalf::new(Arc::new(engine), work.clone(), one.config.limits.call_timeout)),
        node_id: NodeId::parse(config.node.id.as_str()).map_err(|e| anyhow!("node.id: {e}"))?,
        directory: nodes,
        controller: true,
        call_timeout: one.config.limits.call_timeout,
        work,
        pace: Arc::new(Pace::default()),
    }))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (config, cache) = arguments.next().zip(arguments.next()).context("usage: bulkhead-recorder CONFIG CACHE")?;
    let config = Config::load(&config, &|name| std::env::var(name).ok()).map_err(all)?;
    let cache = CompileCache::open(&cache)?;
    let engine = registry::engine(&config)?;
    let work = Work::new(engine.runtime());
    let configured = config.drivers.first().context("no driver is configured")?;
    let (service, socket) = (Service::starting(&configured.name), Socket::bind(&configured.endpoint)?);
    let serving = tokio::spawn(csi::serve(service.clone(), socket, std::future::pending()));
    let loaded = registry::load(&config, Mode::All, &engine, Some(&cache)).await.map_err(all)?;
    let one = loaded.into_iter().next().context("no driver was loaded")?;
    service.ready(driver(&config, one, work)?);
    serving.await?.context("the server failed")
}
