//! The backend's config, which arrives as flat text: nested keys joined by dots, list items by index. Unknown keys are refused: a
//! misspelt one must not be ignored in silence.

use crate::host::config;
use crate::tags;
use bulkhead_sdk::prelude::*;
use std::collections::BTreeMap;

/// The topology key of the public EBS driver: node labels and volumes that it has made keep their meaning.
const TOPOLOGY_KEY: &str = "topology.ebs.csi.aws.com/zone";

/// What the operator has set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `region`. Required.
    pub region: String,
    /// `endpoint`, without a slash at its end.
    pub endpoint: String,
    /// `clusterId`. Required: volumes and snapshots of another cluster don't exist for this driver.
    pub cluster: String,
    /// `zones`: where volumes go whose request doesn't say. Empty: any zone of the region.
    pub zones: Vec<String>,
    /// `topologyKey`.
    pub topology_key: String,
    /// `extraTags`: on everything that is made.
    pub extra_tags: StringMap,
    /// `volumeAttachLimit`: instead of what the instance type allows.
    pub attach_limit: Option<u32>,
    /// `reservedVolumeAttachments`: slots that aren't for CSI's volumes, instead of what the node counts itself.
    pub reserved_attachments: Option<u32>,
}

impl Settings {
    /// As they are in the host's config.
    pub fn configured() -> Result<Self> {
        Self::parse(&entries())
    }

    /// `failed-precondition` with the key's name if something is missing or can't be used.
    pub fn parse(entries: &[(String, String)]) -> Result<Self> {
        let mut settings = Self {
            region: String::new(),
            endpoint: String::new(),
            cluster: String::new(),
            zones: Vec::new(),
            topology_key: lookup(entries, "topologyKey").unwrap_or(TOPOLOGY_KEY).to_owned(),
            extra_tags: Vec::new(),
            attach_limit: None,
            reserved_attachments: None,
        };
        let mut zones: BTreeMap<u32, String> = BTreeMap::new();
        for (key, value) in entries {
            match key.as_str() {
                "region" if is_word(value) => settings.region = value.clone(),
                "region" => return Err(bad(key, "must be a region's name, such as eu-central-1")),
                "endpoint" if is_url(value) => settings.endpoint = value.trim_end_matches('/').to_owned(),
                "endpoint" => return Err(bad(key, "must be a URL, such as https://ec2.eu-central-1.amazonaws.com")),
                "clusterId" if is_word(value) && value.len() <= 100 => settings.cluster = value.clone(),
                "clusterId" => return Err(bad(key, "must have 1 to 100 letters, digits, `.`, `_`, `/` or `-`")),
                "topologyKey" => {}
                "volumeAttachLimit" => settings.attach_limit = Some(number(key, value, 1)?),
                "reservedVolumeAttachments" => settings.reserved_attachments = Some(number(key, value, 0)?),
                _ => match (key.strip_prefix("zones."), key.strip_prefix("extraTags.")) {
                    (Some(index), _) if is_word(value) => {
                        let index = index.parse().map_err(|_| bad("zones", "must be a list of zones"))?;
                        zones.insert(index, value.clone());
                    }
                    (_, Some(tag)) => {
                        tags::check(tag, value).map_err(|why| bad(key, &why))?;
                        settings.extra_tags.push((tag.to_owned(), value.clone()));
                    }
                    _ => return Err(bad(key, "is no setting of this backend")),
                },
            }
        }
        for (key, value) in [("region", &settings.region), ("clusterId", &settings.cluster)] {
            if value.is_empty() {
                return Err(bad(key, "is missing; set it in the host's config file"));
            }
        }
        if settings.endpoint.is_empty() {
            let domain = if settings.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            settings.endpoint = format!("https://ec2.{}.{domain}", settings.region);
        }
        settings.zones = zones.into_values().collect();
        Ok(settings)
    }

    /// The place that a zone is.
    pub fn place(&self, zone: &str) -> Topology {
        Topology { segments: vec![(self.topology_key.clone(), zone.to_owned())] }
    }
}

/// All of the config.
pub fn entries() -> Vec<(String, String)> {
    config::keys().into_iter().filter_map(|key| config::get(&key).map(|value| (key, value))).collect()
}

fn bad(key: &str, what: &str) -> Error {
    Error::precondition(format!("the backend's config: `{key}` {what}"))
}

fn number(key: &str, value: &str, least: u32) -> Result<u32> {
    let number = value.parse().ok().filter(|number| *number >= least);
    number.ok_or_else(|| bad(key, &format!("must be a number from {least} on")))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
}

fn is_url(text: &str) -> bool {
    bulkhead_sdk::http::Request::post(text).parts().is_ok() && !text.contains('?')
}
