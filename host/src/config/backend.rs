//! The part of [`Lower`] about one driver's backend: source, settings, grants, limits, and what is withheld of it.

mod auth;
mod credentials;
mod http;
mod template;

use super::Place;
use super::lower::Lower;
use super::raw::{Maybe, Placed, RawBackend, RawGrants, RawLimits, RawOffer, Text};
use super::tree::{Node, Value};
use super::types::{BackendConfig, Grants, HttpSettings, Limits, Offering, Pool, SecretsGrant, StateGrant};
use super::units;
use bulkhead_domain::{
    limits,
    offer::{ExpandedBy, Interface},
    plan::Access,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Methods that a grant may name.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Longest value of a setting, in bytes.
const SETTING_BYTES: usize = 64 << 10;

/// Types the `backend` of a driver; `path` is its key.
pub(super) fn lower(with: &mut Lower<'_, '_>, path: &str, raw: &Placed<RawBackend>) -> BackendConfig {
    let base = with.base.clone();
    let (at, raw) = (raw.at, &raw.value);
    let source = with.read(&format!("{path}.source"), &raw.source, |text| units::source(text, &base));
    let digest = raw.digest.0.as_ref().and_then(|text| with.read(&format!("{path}.digest"), text, units::digest));
    let grants = match &raw.grants {
        Some(grants) => with.grants(&format!("{path}.grants"), grants),
        None => Grants { at, ..Grants::default() },
    };
    let secret_names: Vec<&str> =
        raw.secrets.iter().flat_map(|all| &all.0).map(|(name, _)| name.text.as_str()).collect();
    let profile_names: Vec<&str> = raw.auth.iter().flat_map(|all| &all.0).map(|(name, _)| name.text.as_str()).collect();
    with.signed_grants(&format!("{path}.grants"), &grants, &profile_names);
    let (config, config_at) = with.settings(&format!("{path}.config"), raw);
    BackendConfig {
        source: source.unwrap_or_default(),
        source_at: raw.source.at,
        digest,
        digest_at: raw.digest.0.as_ref().map(|text| text.at),
        config,
        config_at,
        http: match &raw.http {
            Some(http) => with.http_settings(&format!("{path}.http"), http),
            None => HttpSettings { at, ..HttpSettings::default() },
        },
        secrets: with.secrets(&format!("{path}.secrets"), raw.secrets.as_ref()),
        auth: with.profiles(&format!("{path}.auth"), raw.auth.as_ref(), &secret_names),
        grants,
    }
}

impl Lower<'_, '_> {
    fn settings(&mut self, path: &str, raw: &RawBackend) -> (BTreeMap<String, String>, BTreeMap<String, Place>) {
        let settings = raw.config.as_ref().map(|tree| tree.flatten(self.source, path, self.errors)).unwrap_or_default();
        let (mut out, mut places) = (BTreeMap::new(), BTreeMap::new());
        for setting in settings {
            let key = format!("{path}.{}", setting.key);
            let Some(value) = self.expand(&key, &setting.text) else { continue };
            if value.len() > SETTING_BYTES {
                let message = format!("is too long: write at most {}", units::exact(SETTING_BYTES as u64));
                self.errors.add(setting.text.at, key, message);
            }
            places.insert(setting.key.clone(), setting.text.at);
            out.insert(setting.key, value);
        }
        (out, places)
    }

    fn grants(&mut self, path: &str, raw: &Placed<RawGrants>) -> Grants {
        let (at, raw) = (raw.at, &raw.value);
        let access = raw.access.as_deref().unwrap_or_default();
        let http = raw.http.iter().flatten().enumerate();
        Grants {
            pools: self.pools(&format!("{path}.pools"), raw),
            state: raw.state.0.as_ref().and_then(|state| self.state(&format!("{path}.state"), state)),
            secrets: raw.secrets.as_deref().map(|uses| {
                let uses = self.words(&format!("{path}.secrets"), uses, &["sign", "reveal"]);
                SecretsGrant { sign: uses.contains(&"sign"), reveal: uses.contains(&"reveal") }
            }),
            http: http.filter_map(|(index, grant)| self.http(&format!("{path}.http[{index}]"), grant)).collect(),
            access: self
                .words(&format!("{path}.access"), access, &Access::NAMES)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            devices: self.device_paths(&format!("{path}.devices"), raw.devices.as_deref().unwrap_or_default()),
            at,
        }
    }

    fn device_paths(&mut self, path: &str, prefixes: &[Text]) -> Vec<String> {
        let numbered = prefixes.iter().enumerate();
        let read = |(index, text)| self.read(&format!("{path}[{index}]"), text, units::device_path);
        numbered.filter_map(read).collect()
    }

    fn state(&mut self, path: &str, node: &Node) -> Option<StateGrant> {
        let at = node.at;
        let granted = |quota_bytes| StateGrant { quota_bytes, at };
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null | Value::List(_) => {
                self.errors.add(at, path, "is neither true, false nor a map: write true, or { quota: SIZE }");
                return None;
            }
            scalar => {
                let text = Text { text: scalar.as_written(self.source), at };
                return self.read(path, &text, units::flag)?.then(|| granted(StateGrant::QUOTA_BYTES));
            }
        };
        let mut quota = StateGrant::QUOTA_BYTES;
        for (key, node) in entries {
            let path = format!("{path}.{}", key.text);
            match &node.value {
                _ if key.text != "quota" => self.errors.add(key.at, path, "is not known: write quota"),
                Value::Map(_) | Value::Null | Value::List(_) => {
                    self.errors.add(node.at, path, "is not a size: write e.g. 64MiB, or a plain number of bytes");
                }
                scalar => {
                    let text = Text { text: scalar.as_written(self.source), at: node.at };
                    let read = self.read(&path, &text, |text| units::size(text, 64 << 10..=256 << 20));
                    quota = read.unwrap_or(quota);
                }
            }
        }
        Some(granted(quota))
    }

    /// Refuses grants whose requests would be signed by a profile that isn't there.
    fn signed_grants(&mut self, path: &str, grants: &Grants, profiles: &[&str]) {
        for (index, grant) in grants.http.iter().enumerate() {
            let Some(name) = grant.auth.as_deref().filter(|name| !profiles.contains(name)) else { continue };
            let there = if profiles.is_empty() { "none".to_owned() } else { profiles.join(", ") };
            let message = format!(
                "{name:?} names no auth profile of this backend (there: {there}): add it to backend.auth, or name one of them"
            );
            self.errors.add(grant.at, format!("{path}.http[{index}].auth"), message);
        }
    }

    fn pools(&mut self, path: &str, raw: &RawGrants) -> BTreeMap<String, Pool> {
        let base = self.base.clone();
        let mut pools = BTreeMap::new();
        for (name, pool) in raw.pools.iter().flat_map(|pools| &pools.0) {
            let key = format!("{path}.{}", name.text);
            if let Err(problem) = limits::object_name("the name of a pool", &name.text) {
                self.errors.add(name.at, &key, format!("{problem}: choose another name"));
            }
            let text = &pool.path;
            if let Some(path) = self.read(&format!("{key}.path"), text, |text| units::path(text, &base)) {
                let copy_limit_bytes =
                    self.read_or(&format!("{key}.copyLimit"), &pool.copy_limit, Pool::COPY_LIMIT_BYTES, |text| {
                        units::size(text, 0..=limits::MAX_BYTES)
                    });
                let directory_mode =
                    self.read_or(&format!("{key}.directoryMode"), &pool.directory_mode, None, |text| {
                        units::permissions(text).map(Some)
                    });
                pools.insert(name.text.clone(), Pool { path, copy_limit_bytes, directory_mode, at: text.at });
            }
        }
        pools
    }

    /// A list of words, each at most once.
    fn words(&mut self, path: &str, texts: &[Text], known: &[&'static str]) -> Vec<&'static str> {
        let mut found: Vec<(&'static str, &Text)> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let key = format!("{path}[{index}]");
            let Some(word) = self.read(&key, text, |text| units::word(text, known)) else { continue };
            match found.iter().find(|(earlier, _)| *earlier == word) {
                Some((_, first)) => {
                    self.errors.add(
                        text.at,
                        key,
                        format!("{word:?} is there twice (first at line {}): remove one", first.at.line),
                    );
                }
                None => found.push((word, text)),
            }
        }
        found.into_iter().map(|(word, _)| word).collect()
    }

    /// Types the `limits` of a driver.
    pub(super) fn limits(&mut self, path: &str, raw: &RawLimits) -> Limits {
        let default = Limits::default();
        let times = Duration::from_millis(100)..=Duration::from_secs(600);
        Limits {
            memory_bytes: self.read_or(&format!("{path}.memory"), &raw.memory, default.memory_bytes, |t| {
                units::size(t, 1 << 20..=4 << 30)
            }),
            call_timeout: self.read_or(&format!("{path}.callTimeout"), &raw.call_timeout, default.call_timeout, |t| {
                units::duration(t, times)
            }),
            concurrency: self.read_or(&format!("{path}.concurrency"), &raw.concurrency, default.concurrency, |t| {
                units::count(t, 1..=1000)
            }),
            log_lines: self
                .read_or(&format!("{path}.logLines"), &raw.log_lines, default.log_lines, |t| units::count(t, 0..=200)),
        }
    }

    /// Types the `offer` of a driver.
    pub(super) fn offer(&mut self, path: &str, raw: &RawOffer) -> Offering {
        let mut offer = Offering::default();
        for ability in abilities(raw) {
            let key = format!("{path}.{}", ability.key);
            if !self.read_or(&key, ability.text, true, units::flag) {
                offer.withheld.extend(ability.interfaces);
            }
        }
        match self.read_or(&format!("{path}.expansion"), &raw.expansion, Some(ExpandedBy::Both), expanded_by) {
            Some(by) => offer.expanded_by = by,
            None => offer.withheld.extend([Interface::Expansion]),
        }
        offer.expanded_by_at = raw.expansion.0.as_ref().map(|text| text.at);
        offer.withhold_mount_group = !self.read_or(&format!("{path}.mountGroup"), &raw.mount_group, true, units::flag);
        offer
    }
}

/// None: nobody grows volumes.
fn expanded_by(text: &str) -> Result<Option<ExpandedBy>, units::Problem> {
    match text {
        "both" | "true" => Ok(Some(ExpandedBy::Both)),
        "controller" => Ok(Some(ExpandedBy::Controller)),
        "node" => Ok(Some(ExpandedBy::Node)),
        "none" | "false" => Ok(None),
        _ => Err("says of no half that it grows volumes: write both, controller, node or none".into()),
    }
}

/// A key of `offer` that is true or false.
struct Ability<'a> {
    key: &'static str,
    text: &'a Maybe,
    interfaces: &'static [Interface],
}

fn abilities(raw: &RawOffer) -> [Ability<'_>; 12] {
    use Interface as I;
    let ability = |key, text, interfaces| Ability { key, text, interfaces };
    [
        ability("attachment", &raw.attachment, &[I::Attachment]),
        ability("capacity", &raw.capacity, &[I::Capacity]),
        ability("changedBlocks", &raw.changed_blocks, &[I::ChangedBlocks]),
        ability("cloning", &raw.cloning, &[I::Cloning]),
        ability("ephemeral", &raw.ephemeral, &[I::Ephemeral]),
        ability("groupSnapshots", &raw.group_snapshots, &[I::GroupSnapshots]),
        ability("health", &raw.health, &[I::Health, I::HealthListing, I::StorageHealth]),
        ability("inspection", &raw.inspection, &[I::Inspection]),
        ability("listing", &raw.listing, &[I::Listing]),
        ability("modification", &raw.modification, &[I::Modification]),
        ability("snapshots", &raw.snapshots, &[I::Snapshots]),
        ability("snapshotListing", &raw.snapshot_listing, &[I::SnapshotListing]),
    ]
}
