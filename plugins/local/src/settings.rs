//! The backend's config, which arrives as flat text: nested keys joined by dots, list items by index. Unknown keys are refused:
//! a misspelt one must not be ignored in silence.

use crate::host::config;
use crate::nodes::{MAX_NAME, NODE};
use bulkhead_sdk::prelude::*;
use std::collections::BTreeMap;
use std::str::FromStr;

const DEFAULT_POOL: &str = "defaultPool";
const MAX_VOLUMES: &str = "maxVolumesPerNode";
const LOW_SPACE: &str = "lowSpacePercent";
const TOPOLOGY_KEYS: &str = "topologyKeys.";
const POOLS: &str = "pools.";
const SHARED: &str = ".shared";
const ACCESSIBLE_FROM: &str = ".accessibleFrom.";

/// What the operator has set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `defaultPool`: for StorageClasses and inline volumes that name none.
    pub default_pool: Option<String>,
    /// `maxVolumesPerNode`, at least 1. `None`: no limit.
    pub max_volumes_per_node: Option<u32>,
    /// `node`: ids carry it, see [`crate::nodes`]. `None`: they name no node.
    pub node: Option<String>,
    /// `lowSpacePercent`, 0 to 100: a pool with less than this free is nearly full.
    pub low_space_percent: u8,
    /// `topologyKeys`, in their order.
    pub topology_keys: Vec<String>,
    pools: BTreeMap<String, PoolSettings>,
}

/// What the operator says of one pool.
#[derive(Clone, Debug, Default, PartialEq)]
struct PoolSettings {
    shared: bool,
    places: Vec<Topology>,
}

impl Settings {
    /// As they are in the host's config.
    pub fn configured() -> Result<Self> {
        Self::parse(&entries())
    }

    /// `failed-precondition` with the key's name if something can't be used.
    pub fn parse(entries: &[(String, String)]) -> Result<Self> {
        let mut settings = Self {
            default_pool: None,
            max_volumes_per_node: None,
            node: None,
            low_space_percent: 5,
            topology_keys: topology_keys(entries),
            pools: BTreeMap::new(),
        };
        let mut places: BTreeMap<(String, u32), Topology> = BTreeMap::new();
        for (key, value) in entries {
            match key.as_str() {
                DEFAULT_POOL => settings.default_pool = Some(value.clone()),
                MAX_VOLUMES => {
                    let limit = number(key, value, "a number from 1 on")?;
                    settings.max_volumes_per_node = Some(limit).filter(|limit| *limit > 0);
                    if limit == 0 {
                        return Err(bad(key, "must be a number from 1 on; leave it out for no limit"));
                    }
                }
                NODE => {
                    if value.is_empty() || value.len() > MAX_NAME || value.chars().any(char::is_control) {
                        return Err(bad(key, &format!("must be a node's name, of 1 to {MAX_NAME} bytes")));
                    }
                    settings.node = Some(value.clone());
                }
                LOW_SPACE => {
                    settings.low_space_percent = number(key, value, "a number from 0 to 100")?;
                    if settings.low_space_percent > 100 {
                        return Err(bad(key, "must be a number from 0 to 100"));
                    }
                }
                _ if key.starts_with(TOPOLOGY_KEYS) => {}
                _ => match key.strip_prefix(POOLS).and_then(of_pool) {
                    Some((pool, Item::Shared)) => settings.pool(pool).shared = flag(key, value)?,
                    Some((pool, Item::Segment(place, segment))) => {
                        if !settings.topology_keys.iter().any(|known| known == segment) {
                            return Err(bad(key, &format!("`{segment}` isn't one of `topologyKeys`")));
                        }
                        let place = places.entry((pool.to_owned(), place));
                        let place = place.or_insert_with(|| Topology { segments: Vec::new() });
                        place.segments.push((segment.to_owned(), value.clone()));
                    }
                    None => return Err(bad(key, "is no setting of this backend")),
                },
            }
        }
        for ((pool, _), place) in places {
            settings.pool(&pool).places.push(place);
        }
        Ok(settings)
    }

    fn pool(&mut self, name: &str) -> &mut PoolSettings {
        self.pools.entry(name.to_owned()).or_default()
    }

    /// `pools.NAME.shared`: the pool's directory is the same on several nodes.
    pub fn is_shared(&self, pool: &str) -> bool {
        self.pools.get(pool).is_some_and(|pool| pool.shared)
    }

    /// `pools.NAME.accessibleFrom`: where the pool can be reached; empty = everywhere.
    pub fn places(&self, pool: &str) -> &[Topology] {
        self.pools.get(pool).map_or(&[], |pool| &pool.places)
    }

    /// The pool is reachable from somewhere in `term`.
    pub fn fits(&self, pool: &str, term: &Topology) -> bool {
        let places = self.places(pool);
        places.is_empty() || places.iter().any(|place| place.fits(term))
    }

    /// As [`Settings::fits`], for a requirement: at least one of its places.
    pub fn meets(&self, pool: &str, requirement: Option<&TopologyRequirement>) -> bool {
        let requisite = requirement.map_or(&[][..], |requirement| &requirement.requisite);
        requisite.is_empty() || requisite.iter().any(|term| self.fits(pool, term))
    }

    /// Pools that the config names somewhere.
    pub fn named_pools(&self) -> impl Iterator<Item = &str> {
        self.pools.keys().chain(&self.default_pool).map(String::as_str)
    }
}

/// `topologyKeys` alone, whatever else is wrong: `get-info` can't fail.
fn topology_keys(entries: &[(String, String)]) -> Vec<String> {
    let keys = entries.iter().filter_map(|(key, value)| {
        let number: u32 = key.strip_prefix(TOPOLOGY_KEYS)?.parse().ok()?;
        Some((number, value.clone()))
    });
    keys.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// All of the config.
fn entries() -> Vec<(String, String)> {
    config::keys().into_iter().filter_map(|key| config::get(&key).map(|value| (key, value))).collect()
}

enum Item<'a> {
    Shared,
    /// A place's number, and the topology key.
    Segment(u32, &'a str),
}

/// Splits `NAME.shared` or `NAME.accessibleFrom.0.KEY`. Names of pools and topology keys may hold dots.
fn of_pool(rest: &str) -> Option<(&str, Item<'_>)> {
    let segment = rest.split_once(ACCESSIBLE_FROM).and_then(|(pool, rest)| {
        let (number, key) = rest.split_once('.')?;
        Some((pool, Item::Segment(number.parse().ok()?, key)))
    });
    segment.or_else(|| rest.strip_suffix(SHARED).map(|pool| (pool, Item::Shared))).filter(|(pool, _)| !pool.is_empty())
}

fn bad(key: &str, what: &str) -> Error {
    Error::precondition(format!("the backend's config: `{key}` {what}"))
}

fn number<T: FromStr>(key: &str, value: &str, what: &str) -> Result<T> {
    value.parse().map_err(|_| bad(key, &format!("must be {what}")))
}

fn flag(key: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|_| bad(key, "must be true or false"))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::fake::map;

    pub fn place(segments: &[(&str, &str)]) -> Topology {
        Topology { segments: map(segments) }
    }

    #[test]
    fn all_settings_are_read() {
        let settings = Settings::parse(&map(&[
            ("defaultPool", "fast"),
            ("lowSpacePercent", "12"),
            ("maxVolumesPerNode", "3"),
            ("node", "n1"),
            ("pools.a.b.accessibleFrom.0.x.io/rack", "r1"),
            ("pools.a.b.accessibleFrom.0.x.io/zone", "z1"),
            ("pools.a.b.accessibleFrom.10.x.io/zone", "z3"),
            ("pools.a.b.accessibleFrom.2.x.io/zone", "z2"),
            ("pools.a.b.shared", "true"),
            ("topologyKeys.0", "x.io/zone"),
            ("topologyKeys.1", "x.io/rack"),
        ]));
        let settings = settings.expect("good settings");
        assert_eq!((settings.default_pool.as_deref(), settings.max_volumes_per_node), (Some("fast"), Some(3)));
        assert_eq!((settings.low_space_percent, settings.node.as_deref()), (12, Some("n1")));
        assert_eq!(settings.topology_keys, ["x.io/zone", "x.io/rack"]);
        assert!(settings.is_shared("a.b") && !settings.is_shared("a") && !settings.is_shared("fast"));
        let places = [
            place(&[("x.io/rack", "r1"), ("x.io/zone", "z1")]),
            place(&[("x.io/zone", "z2")]),
            place(&[("x.io/zone", "z3")]),
        ];
        assert_eq!(settings.places("a.b"), places);
        assert_eq!(settings.named_pools().collect::<Vec<_>>(), ["a.b", "fast"]);
        let plain = Settings::parse(&[]).expect("no settings");
        assert_eq!((plain.low_space_percent, plain.max_volumes_per_node), (5, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, value) in [
            ("defaultpool", "fast"),
            ("maxVolumesPerNode", "0"),
            ("maxVolumesPerNode", "many"),
            ("node", ""),
            ("lowSpacePercent", "101"),
            ("lowSpacePercent", "-1"),
            ("pools.fast", "x"),
            ("pools.fast.size", "x"),
            ("pools..shared", "true"),
            ("pools.fast.shared", "yes"),
            ("pools.fast.accessibleFrom", "z1"),
            ("pools.fast.accessibleFrom.0", "z1"),
            ("pools.fast.accessibleFrom.0.x.io/zone", "z1"),
        ] {
            let error = Settings::parse(&map(&[(key, value)])).unwrap_err();
            assert!(matches!(&error, Error::FailedPrecondition(text) if text.contains(key)), "{key}: {error:?}");
        }
    }

    #[test]
    fn pools_are_where_their_places_are() {
        let config = map(&[
            ("topologyKeys.0", "x/zone"),
            ("topologyKeys.1", "x/rack"),
            ("pools.a.accessibleFrom.0.x/zone", "z1"),
            ("pools.a.accessibleFrom.1.x/zone", "z2"),
            ("pools.a.accessibleFrom.1.x/rack", "r1"),
        ]);
        let settings = Settings::parse(&config).expect("good settings");
        assert!(settings.fits("a", &place(&[("x/zone", "z1"), ("x/rack", "r9")])));
        assert!(settings.fits("a", &place(&[("x/zone", "z2")])));
        assert!(!settings.fits("a", &place(&[("x/zone", "z2"), ("x/rack", "r2")])));
        assert!(!settings.fits("a", &place(&[("x/zone", "z3")])));
        assert!(settings.fits("everywhere", &place(&[("x/zone", "z3")])));
        let requirement = |zones: &[&str]| TopologyRequirement {
            requisite: zones.iter().map(|zone| place(&[("x/zone", zone)])).collect(),
            preferred: Vec::new(),
        };
        assert!(settings.meets("a", None) && settings.meets("a", Some(&requirement(&[]))));
        assert!(settings.meets("a", Some(&requirement(&["z9", "z2"]))));
        assert!(!settings.meets("a", Some(&requirement(&["z9"]))));
    }
}
