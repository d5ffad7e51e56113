//! What an operator says about a node in place of what the host would find out.

use super::{Maybe, Text};
use schemars::JsonSchema;
use serde::Deserialize;

/// What is known of this node. Each key goes before what the host would find out by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Facts")]
pub(in crate::config) struct RawFacts {
    /// Directory in which the node's own etc, sys, proc, dev and lib are: in a container, where its node's root is mounted. Default: /.
    #[serde(default)]
    #[schemars(with = "String")]
    pub root: Maybe,
    /// How often the node is looked at and made known again, 1s to 1h. Default: 60s.
    #[serde(default)]
    #[schemars(with = "super::super::schema::Time")]
    pub interval: Maybe,
    /// IP addresses that storage traffic may come from, best first.
    #[schemars(with = "Option<Vec<String>>")]
    pub addresses: Option<Vec<Text>>,
    /// iSCSI qualified names.
    #[schemars(with = "Option<Vec<String>>")]
    pub iscsi_initiators: Option<Vec<Text>>,
    /// NVMe qualified name.
    #[serde(default)]
    #[schemars(with = "String")]
    pub nvme_host_nqn: Maybe,
    /// NVMe host id, a UUID.
    #[serde(default)]
    #[schemars(with = "String")]
    pub nvme_host_id: Maybe,
    /// Fibre Channel port names, 16 hexadecimal digits each.
    #[schemars(with = "Option<Vec<String>>")]
    pub fc_wwpns: Option<Vec<Text>>,
    /// What can be reached from here: nfs, iscsi, nvme-tcp, fc, loop, ...
    #[schemars(with = "Option<Vec<String>>")]
    pub transports: Option<Vec<Text>>,
    /// Where the node runs, if in a cloud.
    pub cloud: Option<RawCloud>,
}

/// Where a node runs. Without metadata, instanceId, instanceType and region are required.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Cloud")]
pub(in crate::config) struct RawCloud {
    /// aws, azure, gcp, openstack or another short name.
    #[schemars(with = "String")]
    pub provider: Text,
    /// Ask the instance metadata service for what is not set here; aws only. Default: false.
    #[serde(default)]
    #[schemars(with = "super::super::schema::Flag")]
    pub metadata: Maybe,
    /// Where that service is. Default: http://169.254.169.254.
    #[serde(default)]
    #[schemars(with = "String")]
    pub metadata_endpoint: Maybe,
    /// By which the cloud's API knows the machine.
    #[serde(default)]
    #[schemars(with = "String")]
    pub instance_id: Maybe,
    /// Like m6i.large.
    #[serde(default)]
    #[schemars(with = "String")]
    pub instance_type: Maybe,
    /// Region.
    #[serde(default)]
    #[schemars(with = "String")]
    pub region: Maybe,
    /// Zone. Default: none, for regions without zones.
    #[serde(default)]
    #[schemars(with = "String")]
    pub zone: Maybe,
    /// Attachments that already take a slot, 0 to 1000. Default: disks of the cloud that are in use and no volumes.
    #[serde(default)]
    #[schemars(with = "super::super::schema::Count")]
    pub used_attachment_slots: Maybe,
}
