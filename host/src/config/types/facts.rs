//! What the operator says about a node, and how the rest is found out.

use std::{path::PathBuf, time::Duration};

/// What the host knows of its node: what is set here goes before what it finds out, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsConfig {
    /// Where the node's own /etc, /sys, /proc, /dev and /lib are.
    pub root: PathBuf,
    /// How often the node is looked at and made known again.
    pub interval: Duration,
    /// IP addresses, best first.
    pub addresses: Option<Vec<String>>,
    /// iSCSI names.
    pub iscsi_initiators: Option<Vec<String>>,
    /// NVMe qualified name.
    pub nvme_host_nqn: Option<String>,
    /// NVMe host id.
    pub nvme_host_id: Option<String>,
    /// 16 lower-case hexadecimal digits each.
    pub fc_wwpns: Option<Vec<String>>,
    /// What can be reached from here.
    pub transports: Option<Vec<String>>,
    /// Where the node runs, if in a cloud.
    pub cloud: Option<CloudConfig>,
}

impl Default for FactsConfig {
    fn default() -> Self {
        Self {
            root: "/".into(),
            interval: Duration::from_secs(60),
            addresses: None,
            iscsi_initiators: None,
            nvme_host_nqn: None,
            nvme_host_id: None,
            fc_wwpns: None,
            transports: None,
            cloud: None,
        }
    }
}

/// Where a node runs. What is none here comes from the metadata service; without one, all but zone and slots are set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudConfig {
    /// Short name: `aws`, ...
    pub provider: String,
    /// Scheme and authority of the instance metadata service, if it is asked.
    pub metadata: Option<String>,
    /// The cloud's id of the machine.
    pub instance_id: Option<String>,
    /// The cloud's type of the machine.
    pub instance_type: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Zone.
    pub zone: Option<String>,
    /// Attachments that already take a slot.
    pub used_attachment_slots: Option<u32>,
}
