//! What an operator says about a node in place of what the host would find out.

use super::{Maybe, Text};
use schemars::JsonSchema;
use serde::Deserialize;

/// What the operator says about this node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Facts")]
pub(in crate::config) struct RawFacts {
    /// Where the node runs, if in a cloud.
    pub cloud: Option<RawCloud>,
}

/// Where a node runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Cloud")]
pub(in crate::config) struct RawCloud {
    /// aws, azure, gcp, openstack or another short name.
    #[schemars(with = "String")]
    pub provider: Text,
    /// By which the cloud's API knows the machine.
    #[schemars(with = "String")]
    pub instance_id: Text,
    /// Like m6i.large.
    #[schemars(with = "String")]
    pub instance_type: Text,
    /// Region.
    #[schemars(with = "String")]
    pub region: Text,
    /// Zone. Default: none, for regions without zones.
    #[serde(default)]
    #[schemars(with = "String")]
    pub zone: Maybe,
    /// Attachments that already take a slot, 0 to 1000. Default: not known.
    #[serde(default)]
    #[schemars(with = "super::super::schema::Count")]
    pub used_attachment_slots: Maybe,
}
