//! The backend's config, which arrives as flat text: nested keys joined by dots, list items by index. Unknown keys are refused:
//! a misspelt one must not be ignored in silence.

use crate::host::config;
use crate::names::{MAX_SHARE, is_share};
use bulkhead_sdk::prelude::*;
use std::collections::BTreeMap;

const DEFAULT_SHARE: &str = "defaultShare";
const COPY_IN_USE: &str = "copyInUse";
const SHARES: &str = "shares.";
/// Versions that a plan can name.
const VERSIONS: [&str; 4] = ["3", "4", "4.1", "4.2"];
/// Longest path of an export, which leaves room for a volume's directory beneath it.
const MAX_EXPORT: usize = 512;

/// What the operator has set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `defaultShare`: for StorageClasses that name none.
    pub default_share: Option<String>,
    /// `copyInUse`: snapshots and clones of volumes that are attached for writing.
    pub copy_in_use: bool,
    /// `shares`, by name.
    pub shares: BTreeMap<String, Export>,
}

/// Where nodes find a share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Export {
    /// `servers`: alternatives, best first; at least one.
    pub servers: Vec<String>,
    /// `export`: what on the servers the directory is that the pool of this name has on the controller. Absolute, without a
    /// slash at its end; empty: the server's root.
    pub export: String,
    /// `version`. `None`: what server and node agree on.
    pub version: Option<String>,
    /// `options` of each mount.
    pub options: Vec<String>,
}

impl Settings {
    /// As they are in the host's config.
    pub fn configured() -> Result<Self> {
        let entry = |key: String| config::get(&key).map(|value| (key, value));
        Self::parse(&config::keys().into_iter().filter_map(entry).collect::<Vec<_>>())
    }

    /// `failed-precondition` with the key's name if something can't be used.
    pub fn parse(entries: &[(String, String)]) -> Result<Self> {
        let mut settings = Self::default();
        let mut lists: BTreeMap<(String, bool), BTreeMap<u32, String>> = BTreeMap::new();
        let mut exports = Vec::new();
        for (key, value) in entries {
            match (key.as_str(), key.strip_prefix(SHARES).and_then(of_share)) {
                (DEFAULT_SHARE, _) => settings.default_share = Some(value.clone()),
                (COPY_IN_USE, _) => {
                    let bad = || bad(key, "must be true or false");
                    settings.copy_in_use = value.parse().map_err(|_| bad())?;
                }
                (_, Some((name, item))) => {
                    if !is_share(name) || name.len() > MAX_SHARE {
                        return Err(bad(key, &format!("must have a share's name, of 1 to {MAX_SHARE} characters")));
                    }
                    let share = settings.shares.entry(name.to_owned()).or_default();
                    match item {
                        Item::Export => {
                            share.export = export(key, value)?;
                            exports.push(name);
                        }
                        Item::Version if VERSIONS.contains(&value.as_str()) => share.version = Some(value.clone()),
                        Item::Version => return Err(bad(key, &format!("must be one of {}", VERSIONS.join(", ")))),
                        Item::Listed { servers, index } => {
                            let list = lists.entry((name.to_owned(), servers)).or_default();
                            list.insert(index, value.clone());
                        }
                    }
                }
                (_, None) => return Err(bad(key, "is no setting of this backend")),
            }
        }
        for ((name, servers), list) in lists {
            let share = settings.shares.entry(name).or_default();
            *(if servers { &mut share.servers } else { &mut share.options }) = list.into_values().collect();
        }
        for (name, share) in &settings.shares {
            if share.servers.is_empty() || !exports.contains(&name.as_str()) {
                return Err(bad(&format!("{SHARES}{name}"), "needs `servers` and `export`"));
            }
        }
        Ok(settings)
    }

    /// Where nodes find that share.
    pub fn export(&self, share: &str) -> Option<&Export> {
        self.shares.get(share)
    }
}

enum Item {
    Export,
    Version,
    Listed { servers: bool, index: u32 },
}

/// Splits `NAME.export` or `NAME.servers.0`. Names may hold dots.
fn of_share(rest: &str) -> Option<(&str, Item)> {
    for (suffix, item) in [(".export", Item::Export), (".version", Item::Version)] {
        if let Some(name) = rest.strip_suffix(suffix) {
            return Some((name, item));
        }
    }
    let (list, index) = rest.rsplit_once('.')?;
    let index = index.parse().ok()?;
    let listed = |suffix: &str, servers| Some((list.strip_suffix(suffix)?, Item::Listed { servers, index }));
    listed(".servers", true).or_else(|| listed(".options", false))
}

fn export(key: &str, path: &str) -> Result<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let absolute = path.is_empty() || path.strip_prefix('/').is_some_and(is_path);
    if !absolute || path.len() > MAX_EXPORT {
        return Err(bad(
            key,
            &format!("must be an absolute path on the server, of at most {MAX_EXPORT} bytes, without `..`"),
        ));
    }
    Ok(path.to_owned())
}

/// A relative path that stays where it is.
pub fn is_path(path: &str) -> bool {
    let whole = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    path.split('/').all(whole)
}

fn bad(key: &str, what: &str) -> Error {
    Error::precondition(format!("the backend's config: `{key}` {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::map;

    #[test]
    fn everything_can_be_set() {
        let settings = Settings::parse(&map(&[
            ("defaultShare", "a.b"),
            ("copyInUse", "true"),
            ("shares.a.b.export", "/srv/k8s/"),
            ("shares.a.b.servers.1", "fd00::2"),
            ("shares.a.b.servers.0", "one.example"),
            ("shares.a.b.version", "4.1"),
            ("shares.a.b.options.0", "hard"),
            ("shares.root.export", "/"),
            ("shares.root.servers.0", "10.0.0.1"),
        ]));
        let settings = settings.expect("good settings");
        assert_eq!((settings.default_share.as_deref(), settings.copy_in_use), (Some("a.b"), true));
        let share = Export {
            servers: vec!["one.example".to_owned(), "fd00::2".to_owned()],
            export: "/srv/k8s".to_owned(),
            version: Some("4.1".to_owned()),
            options: vec!["hard".to_owned()],
        };
        assert_eq!(settings.export("a.b"), Some(&share));
        assert_eq!(settings.export("root").unwrap().export, "");
        assert_eq!(settings.export("c"), None);
    }

    #[test]
    fn what_can_not_be_used_is_named() {
        let good = [("shares.a.export", "/x"), ("shares.a.servers.0", "s")];
        assert!(Settings::parse(&map(&good)).is_ok());
        for bad in [
            ("share.a.export", "/x"),
            ("shares.a.exports", "/x"),
            ("shares.a.server", "s"),
            ("shares.a.servers.x", "s"),
            ("shares.a.export", "x"),
            ("shares.a.export", "/x/../y"),
            ("shares.a.export", "/x//y"),
            ("shares.a.version", "2"),
            ("shares..export", "/x"),
            ("shares.b.export", "/x"),
            ("shares.b.servers.0", "s"),
            ("copyInUse", "yes"),
        ] {
            let error = Settings::parse(&map(&[good[0], good[1], bad])).expect_err(bad.0);
            let key = bad.0.split(".servers.0").next().unwrap().trim_end_matches(".export");
            assert!(matches!(&error, Error::FailedPrecondition(text) if text.contains(key)), "{bad:?}: {error:?}");
        }
    }
}
