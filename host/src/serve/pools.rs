//! Pools that do not answer are found before anything else looks at them, on threads that may be lost.

use crate::{
    config::{Config, ConfigError},
    ops::lane::{Lane, Wait},
};
use bulkhead_domain::ErrorKind;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// How long a pool may take to say how large it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pools of all drivers. One that does not answer costs one thread, however often it is asked.
pub(super) struct Pools(BTreeMap<PathBuf, Lane>);

impl Pools {
    /// Those of the config. Nothing is looked at yet.
    pub(super) fn new(config: &Config) -> Self {
        let pools = config.drivers.iter().flat_map(|driver| &driver.backend.grants.pools);
        Self(pools.map(|(name, pool)| (pool.path.clone(), Lane::new(format!("pool {name}"), 1))).collect())
    }

    /// Directories of pools that do not answer within five seconds. One that is not there has answered.
    pub(super) async fn silent(&self) -> BTreeSet<PathBuf> {
        let (mut asked, mut silent) = (JoinSet::new(), BTreeSet::new());
        let deadline = Instant::now() + PATIENCE;
        for (path, lane) in &self.0 {
            let (path, lane) = (path.clone(), lane.clone());
            asked.spawn(async move {
                let directory = path.clone();
                let look = lane.run(Wait::Until(deadline), move || Ok(bulkhead_node::pool::look(&directory)));
                let answer = tokio::time::timeout_at(deadline.into(), look).await;
                match answer {
                    Ok(Ok(_)) => None,
                    Ok(Err(error)) if error.kind() != ErrorKind::Unavailable => None,
                    Ok(Err(_)) | Err(_) => Some(path),
                }
            });
        }
        while let Some(ended) = asked.join_next().await {
            silent.extend(ended.ok().flatten());
        }
        silent
    }
}

/// What is wrong with a driver some of whose pools do not answer.
pub(super) fn not_answering(config: &Config, index: usize, silent: &BTreeSet<PathBuf>) -> Vec<ConfigError> {
    let pools = config.drivers[index].backend.grants.pools.iter().filter(|(_, pool)| silent.contains(&pool.path));
    let error = |name: &str, path: &std::path::Path, at| {
        let message = format!(
            "{} does not answer: look at the file system that it is on, and at the server or daemon behind that",
            path.display()
        );
        config.error(at, format!("drivers[{index}].backend.grants.pools.{name}.path"), message)
    };
    pools.map(|(name, pool)| error(name, &pool.path, pool.at)).collect()
}

/// Everything that the config names, looked at without waiting for what does not answer.
pub(super) async fn check_paths(config: &Config) -> Vec<ConfigError> {
    let silent = Pools::new(config).silent().await;
    let mut errors: Vec<_> =
        (0..config.drivers.len()).flat_map(|index| not_answering(config, index, &silent)).collect();
    errors.extend(config.check_paths(&silent).err().unwrap_or_default());
    errors
}
