//! The part of [`Lower`] about what is known of a node.

use super::lower::Lower;
use super::raw::facts::{RawCloud, RawFacts};
use super::raw::{Maybe, Text};
use super::types::{CloudConfig, FactsConfig};
use super::units;
use bulkhead_domain::limits;
use std::time::Duration;

/// Where Amazon's cloud serves the metadata of an instance.
const METADATA: &str = "http://169.254.169.254";
/// Providers whose metadata service is known here.
const KNOWN: &[&str] = &["aws"];
/// Longest iSCSI or NVMe qualified name, in bytes (RFC 7143; NVMe Base Specification).
const QUALIFIED_NAME_BYTES: usize = 223;
/// The longest are resource ids of Azure.
const INSTANCE_ID_BYTES: usize = 512;

impl Lower<'_, '_> {
    pub(super) fn facts(&mut self, raw: Option<&RawFacts>) -> FactsConfig {
        let default = FactsConfig::default();
        let Some(raw) = raw else { return default };
        let base = self.base.clone();
        let times = Duration::from_secs(1)..=Duration::from_secs(3600);
        FactsConfig {
            root: self.read_or("node.facts.root", &raw.root, default.root, |text| units::path(text, &base)),
            interval: self
                .read_or("node.facts.interval", &raw.interval, default.interval, |text| units::duration(text, times)),
            addresses: self.list("addresses", raw.addresses.as_deref(), |text| match text.parse() {
                Ok(address) => Ok(std::net::IpAddr::to_string(&address)),
                Err(_) => Err("is not an IP address: write one without port and prefix".into()),
            }),
            iscsi_initiators: self
                .list("iscsiInitiators", raw.iscsi_initiators.as_deref(), |text| name(text, &["iqn.", "eui.", "naa."])),
            nvme_host_nqn: self.fact("nvmeHostNqn", &raw.nvme_host_nqn, |text| name(text, &["nqn."])),
            nvme_host_id: self.fact("nvmeHostId", &raw.nvme_host_id, uuid),
            fc_wwpns: self.list("fcWwpns", raw.fc_wwpns.as_deref(), wwpn),
            transports: self.list("transports", raw.transports.as_deref(), |text| units::text(text, 32)),
            cloud: raw.cloud.as_ref().map(|cloud| self.cloud(cloud)),
        }
    }

    fn fact(
        &mut self,
        key: &str,
        text: &Maybe,
        read: impl FnOnce(&str) -> Result<String, units::Problem>,
    ) -> Option<String> {
        text.0.as_ref().and_then(|text| self.read(&format!("node.facts.{key}"), text, read))
    }

    fn list(
        &mut self,
        key: &str,
        texts: Option<&[Text]>,
        read: impl Fn(&str) -> Result<String, units::Problem>,
    ) -> Option<Vec<String>> {
        let path = |index: usize| format!("node.facts.{key}[{index}]");
        let texts = texts?.iter().enumerate();
        Some(texts.filter_map(|(index, text)| self.read(&path(index), text, &read)).collect())
    }

    fn cloud(&mut self, raw: &RawCloud) -> CloudConfig {
        const PATH: &str = "node.facts.cloud";
        let provider = self.read(&format!("{PATH}.provider"), &raw.provider, |text| units::text(text, 32));
        let provider = provider.unwrap_or_default();
        let asked = self.read_or(&format!("{PATH}.metadata"), &raw.metadata, false, units::flag);
        let at = raw.metadata.0.as_ref().map_or(raw.provider.at, |text| text.at);
        if asked && !provider.is_empty() && !KNOWN.contains(&provider.as_str()) {
            let known = KNOWN.join(", ");
            let message =
                format!("the metadata service of {provider} is not known here, only that of {known}: leave it out");
            self.errors.add(at, format!("{PATH}.metadata"), message);
        }
        let key = format!("{PATH}.metadataEndpoint");
        let endpoint = self.read_or(&key, &raw.metadata_endpoint, METADATA.to_owned(), units::login_endpoint);
        if let (false, Some(text)) = (asked, &raw.metadata_endpoint.0) {
            self.errors.add(text.at, key, "is not asked: write metadata: true");
        }
        let mut word = |key: &str, value: &Maybe, bytes: usize| {
            let text = value.0.as_ref()?;
            self.read(&format!("{PATH}.{key}"), text, |text| units::text(text, bytes))
        };
        let bytes = limits::STRING_BYTES;
        let (instance_id, instance_type) =
            (word("instanceId", &raw.instance_id, INSTANCE_ID_BYTES), word("instanceType", &raw.instance_type, bytes));
        let (region, zone) = (word("region", &raw.region, bytes), word("zone", &raw.zone, bytes));
        for (key, value) in
            [("instanceId", &raw.instance_id), ("instanceType", &raw.instance_type), ("region", &raw.region)]
        {
            if !asked && value.0.is_none() {
                let message = match KNOWN.contains(&provider.as_str()) {
                    true => "is missing: add it, or metadata: true",
                    false => "is missing: add it",
                };
                self.errors.add(raw.provider.at, format!("{PATH}.{key}"), message);
            }
        }
        let slots = |text: &str| units::count(text, 0..=1000).map(Some);
        let used_attachment_slots =
            self.read_or(&format!("{PATH}.usedAttachmentSlots"), &raw.used_attachment_slots, None, slots);
        let metadata = asked.then_some(endpoint);
        CloudConfig { provider, metadata, instance_id, instance_type, region, zone, used_attachment_slots }
    }
}

fn name(text: &str, prefixes: &[&str]) -> Result<String, units::Problem> {
    let fits = text.len() <= QUALIFIED_NAME_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && prefixes.iter().any(|prefix| text.starts_with(prefix)) {
        return Ok(text.to_owned());
    }
    let prefixes = prefixes.join(" or ");
    Err(format!("is not a qualified name: write {prefixes} and more, at most {QUALIFIED_NAME_BYTES} bytes"))
}

fn uuid(text: &str) -> Result<String, units::Problem> {
    let dashes: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    if text.len() == 36 && digits == 32 && dashes == [8, 13, 18, 23] {
        return Ok(text.to_ascii_lowercase());
    }
    Err("is not a UUID: write it as in /etc/nvme/hostid".into())
}

fn wwpn(text: &str) -> Result<String, units::Problem> {
    let lower = text.to_ascii_lowercase().replace(':', "");
    let digits = lower.strip_prefix("0x").unwrap_or(&lower);
    if digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_owned());
    }
    Err("is not a port name: write 16 hexadecimal digits".into())
}
