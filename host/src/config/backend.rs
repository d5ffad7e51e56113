//! The part of [`Lower`] about one driver's backend: source, settings, grants, limits, and what is withheld of it.

use super::lower::Lower;
use super::raw::{Maybe, Placed, RawBackend, RawGrants, RawHttp, RawLimits, RawOffer, Text};
use super::types::{BackendConfig, Grants, HttpGrant, Limits, Offering, Pool, Scheme, SecretsGrant};
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
    BackendConfig {
        source: source.unwrap_or_default(),
        source_at: raw.source.at,
        digest,
        digest_at: raw.digest.0.as_ref().map(|text| text.at),
        config: with.settings(&format!("{path}.config"), raw),
        grants,
    }
}

impl Lower<'_, '_> {
    fn settings(&mut self, path: &str, raw: &RawBackend) -> BTreeMap<String, String> {
        let settings = raw.config.as_ref().map(|tree| tree.flatten(self.source, path, self.errors)).unwrap_or_default();
        let mut out = BTreeMap::new();
        for setting in settings {
            let key = format!("{path}.{}", setting.key);
            let Some(value) = self.expand(&key, &setting.text) else { continue };
            if value.len() > SETTING_BYTES {
                let message = format!("is too long: write at most {}", units::exact(SETTING_BYTES as u64));
                self.errors.add(setting.text.at, key, message);
            }
            out.insert(setting.key, value);
        }
        out
    }

    fn grants(&mut self, path: &str, raw: &Placed<RawGrants>) -> Grants {
        let (at, raw) = (raw.at, &raw.value);
        let access = raw.access.as_deref().unwrap_or_default();
        let http = raw.http.iter().flatten().enumerate();
        Grants {
            pools: self.pools(&format!("{path}.pools"), raw),
            state: self.read_or(&format!("{path}.state"), &raw.state, false, units::flag),
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
            at,
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
                pools.insert(name.text.clone(), Pool { path, copy_limit_bytes, at: text.at });
            }
        }
        pools
    }

    fn http(&mut self, path: &str, raw: &Placed<RawHttp>) -> Option<HttpGrant> {
        let (at, raw) = (raw.at, &raw.value);
        let scheme = self.read(&format!("{path}.scheme"), &raw.scheme, |text| match text {
            "http" => Ok(Scheme::Http),
            "https" => Ok(Scheme::Https),
            _ => Err("is not a scheme that is allowed: write https or http".into()),
        });
        let host = self.read(&format!("{path}.host"), &raw.host, units::host);
        let default = if scheme == Some(Scheme::Http) { 80 } else { 443 };
        let port = self.read_or(&format!("{path}.port"), &raw.port, default, |text| {
            units::count(text, 1..=u32::from(u16::MAX)).map(|port| port as u16)
        });
        if raw.methods.value.is_empty() {
            self.errors.add(raw.methods.at, format!("{path}.methods"), "is empty: write at least one method");
        }
        let methods = self.words(&format!("{path}.methods"), &raw.methods.value, &METHODS);
        let auth = self.read_or(&format!("{path}.auth"), &raw.auth, None, |text| {
            units::text(text, limits::STRING_BYTES).map(Some)
        });
        let methods = methods.into_iter().map(str::to_owned).collect();
        Some(HttpGrant { scheme: scheme?, host: host?, port, methods, auth, at })
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
