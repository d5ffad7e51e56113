//! What this process knows of its node: what the operator says goes before what is found out, field by field. It is looked at again
//! and made known again at an interval.

use crate::{
    cloud::{AmazonMetadata, Instance},
    config::{CloudConfig, Config, FactsConfig},
    ops::{ports::NodeDirectory, work::blocking},
};
use anyhow::Context;
use bulkhead_domain::{
    Error, Result, StringMap,
    node::{CloudFacts, NodeFacts},
};
use bulkhead_node::{FactFinder, FoundFacts};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long the metadata service is left alone after it has not answered; doubled each time, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest wait for a node directory to take the first entry: one on a network may not answer at all.
const FIRST_ENTRY: Duration = Duration::from_secs(10);

/// Collects the facts of a node and makes them known. Cheap to clone.
#[derive(Clone)]
pub struct Facts(Arc<Inner>);

struct Inner {
    node_id: String,
    labels: StringMap,
    told: FactsConfig,
    finder: FactFinder,
    metadata: Option<AmazonMetadata>,
    nodes: Arc<dyn NodeDirectory>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    instance: Option<Instance>,
    last: Option<NodeFacts>,
    /// What was said about the metadata service, and about the directory.
    said: [String; 2],
}

impl Facts {
    /// Of the node that `config` is about, to be made known in `nodes`. Looks at nothing yet. Call it on a runtime.
    ///
    /// # Errors
    /// The metadata service is to be asked, and TLS can't be had.
    pub fn new(config: &Config, nodes: Arc<dyn NodeDirectory>) -> anyhow::Result<Self> {
        let told = config.node.facts.clone();
        let endpoint = told.cloud.as_ref().and_then(|cloud| cloud.metadata.as_deref());
        let metadata = endpoint.map(AmazonMetadata::new).transpose();
        let metadata = metadata.map_err(|e| anyhow::anyhow!("{e:?}")).context("can't ask for instance metadata")?;
        Ok(Self(Arc::new(Inner {
            node_id: config.node.id.clone(),
            labels: config.node.labels.clone(),
            finder: FactFinder::new(&told.root, &config.node.kubelet_root),
            told,
            metadata,
            nodes,
            state: Mutex::default(),
        })))
    }

    /// The first round. This process knows its node afterwards, also when it fails; it takes some seconds at most.
    ///
    /// # Errors
    /// The node can't be made known to others.
    pub async fn begin(&self) -> Result<()> {
        let found = self.collect().await?;
        let late = || Error::unavailable("node.directory takes too long: this node isn't known to controllers yet");
        tokio::time::timeout(FIRST_ENTRY, self.publish(found)).await.unwrap_or_else(|_| Err(late()))
    }

    /// All further rounds, for as long as it is awaited.
    pub async fn keep(self) {
        let interval = self.0.told.interval;
        let mut pause = FIRST_PAUSE;
        loop {
            let waits = self.0.metadata.is_some() && self.state().instance.is_none();
            tokio::time::sleep(if waits { pause.min(interval) } else { interval }).await;
            pause = (pause * 2).min(interval);
            let round = async { self.publish(self.collect().await?).await };
            let problem = round.await.err().map(|e| e.to_string()).unwrap_or_default();
            self.say(1, problem);
        }
    }

    /// That this node could not be made known, once.
    pub fn complain(&self, error: &Error) {
        self.say(1, error.to_string());
    }

    async fn collect(&self) -> Result<NodeFacts> {
        self.ask_for_instance().await;
        let this = self.clone();
        let facts = blocking(move || Ok(this.merged(this.0.finder.find()))).await?;
        let mut state = self.state();
        if state.last.as_ref() != Some(&facts) {
            let addresses = facts.addresses.join(" ");
            let transports = facts.transports.join(" ");
            let instance = facts.cloud.as_ref().map(|cloud| cloud.instance_id.as_str());
            tracing::info!(node = facts.node_id, addresses, transports, instance, "this node's facts");
            state.last = Some(facts.clone());
        }
        Ok(facts)
    }

    async fn publish(&self, facts: NodeFacts) -> Result<()> {
        let nodes = self.0.nodes.clone();
        blocking(move || nodes.publish(&facts)).await
    }

    /// A machine stays who it is for as long as it runs: asked until it has answered.
    async fn ask_for_instance(&self) {
        let Some(metadata) = &self.0.metadata else { return };
        if self.state().instance.is_some() {
            return;
        }
        let problem = match metadata.instance().await {
            Ok(instance) => {
                self.state().instance = Some(instance);
                String::new()
            }
            Err(problem) => problem,
        };
        self.say(0, problem);
    }

    fn merged(&self, found: FoundFacts) -> NodeFacts {
        let told = &self.0.told;
        NodeFacts {
            node_id: self.0.node_id.clone(),
            name: self.0.node_id.clone(),
            addresses: told.addresses.clone().unwrap_or(found.addresses),
            iscsi_initiators: told.iscsi_initiators.clone().unwrap_or(found.iscsi_initiators),
            nvme_host_nqn: told.nvme_host_nqn.clone().or(found.nvme_host_nqn),
            nvme_host_id: told.nvme_host_id.clone().or(found.nvme_host_id),
            fc_wwpns: told.fc_wwpns.clone().unwrap_or(found.fc_wwpns),
            cloud: told
                .cloud
                .as_ref()
                .and_then(|cloud| merged(cloud, self.state().instance.as_ref(), found.used_slots)),
            transports: told.transports.clone().unwrap_or(found.transports),
            labels: self.0.labels.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a problem when it is another than before; an empty one is its end.
    fn say(&self, about: usize, problem: String) {
        let mut state = self.state();
        if state.said[about] == problem {
            return;
        }
        match problem.is_empty() {
            true => tracing::info!(node = self.0.node_id, "well again: {}", state.said[about]),
            false => tracing::warn!(node = self.0.node_id, "{problem}; tried again"),
        }
        state.said[about] = problem;
    }
}

/// None while something that a backend needs is missing.
fn merged(told: &CloudConfig, instance: Option<&Instance>, used_slots: Option<u32>) -> Option<CloudFacts> {
    let either = |told: &Option<String>, found: fn(&Instance) -> &String| {
        told.clone().or_else(|| instance.map(|instance| found(instance).clone()))
    };
    Some(CloudFacts {
        provider: told.provider.clone(),
        instance_id: either(&told.instance_id, |instance| &instance.id)?,
        instance_type: either(&told.instance_type, |instance| &instance.kind)?,
        region: either(&told.region, |instance| &instance.region)?,
        // A region without zones has none; but where the service has yet to say, nothing is known.
        zone: match either(&told.zone, |instance| &instance.zone) {
            None if told.metadata.is_some() => return None,
            zone => zone.unwrap_or_default(),
        },
        used_attachment_slots: told.used_attachment_slots.or(used_slots),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_says_goes_first_field_by_field() {
        let told = CloudConfig {
            provider: "aws".into(),
            metadata: Some("http://m".into()),
            instance_type: Some("told".into()),
            ..CloudConfig::default()
        };
        let [id, kind, region, zone] = ["i-1", "found", "r", "z"].map(str::to_owned);
        let instance = Instance { id, kind, region, zone };
        assert_eq!(merged(&told, None, Some(3)), None, "half of it is nothing");
        let cloud = merged(&told, Some(&instance), Some(3)).unwrap();
        assert_eq!((cloud.instance_id.as_str(), cloud.instance_type.as_str()), ("i-1", "told"));
        assert_eq!((cloud.zone.as_str(), cloud.used_attachment_slots), ("z", Some(3)));
        let told = CloudConfig { used_attachment_slots: Some(0), ..told };
        assert_eq!(merged(&told, Some(&instance), Some(3)).unwrap().used_attachment_slots, Some(0));
        let whole = CloudConfig { metadata: None, instance_id: Some("i-2".into()), region: Some("r".into()), ..told };
        assert_eq!(merged(&whole, None, None).unwrap().zone, "");
    }
}
