//! What holds between several values: names, sockets and directories used twice, sums.

use super::error::{Errors, Place};
use super::types::{Config, DriverConfig};
use super::units;
use bulkhead_domain::offer::ExpandedBy;
use std::path::{Component, Path, PathBuf};

/// Kinds of access to objects of pools.
const POOLED: [&str; 2] = ["pool-image", "pool-directory"];

/// Checks what no value shows alone. Values that are wrong by themselves are empty here and skipped.
pub(super) fn check(config: &Config, errors: &mut Errors<'_>) {
    names(config, errors);
    sockets(config, errors);
    registration(config, errors);
    overlaps(config, &directories(config, |path| Some(lexical(path))), errors);
    memory(config, errors);
    expansion(config, errors);
}

fn names(config: &Config, errors: &mut Errors<'_>) {
    for (index, driver) in config.drivers.iter().enumerate() {
        let same = |name: &str| !name.is_empty() && name.eq_ignore_ascii_case(&driver.name);
        if let Some(first) = config.drivers[..index].iter().find(|first| same(&first.name)) {
            let message = format!(
                "{:?} is used twice (first at line {}): give each driver its own name",
                driver.name, first.name_at.line
            );
            errors.add(driver.name_at, format!("drivers[{index}].name"), message);
        }
    }
}

fn sockets(config: &Config, errors: &mut Errors<'_>) {
    for (index, driver) in config.drivers.iter().enumerate() {
        let path = lexical(&driver.endpoint);
        let same = |other: &Path| !other.as_os_str().is_empty() && lexical(other) == path;
        if let Some(first) = config.drivers[..index].iter().find(|first| same(&first.endpoint)) {
            let message =
                format!("is used twice (first at line {}): give each driver its own socket", first.endpoint_at.line);
            errors.add(driver.endpoint_at, format!("drivers[{index}].endpoint"), message);
        }
    }
}

fn registration(config: &Config, errors: &mut Errors<'_>) {
    let named = |(_, driver): &(usize, &DriverConfig)| !driver.name.is_empty();
    for (index, driver) in config.drivers.iter().enumerate().filter(named).filter(|_| config.node.registration) {
        let socket = config.node.registration_socket(&driver.name);
        let bytes = socket.as_os_str().len();
        if bytes > units::SOCKET_BYTES {
            let message = format!(
                "its registration socket {} would be {bytes} bytes long, a socket's path has at most {}: choose a shorter name, \
                 or a shorter node.kubeletRoot",
                socket.display(),
                units::SOCKET_BYTES
            );
            errors.add(driver.name_at, format!("drivers[{index}].name"), message);
        }
        let taken = |(_, other): &(usize, &DriverConfig)| lexical(&other.endpoint) == socket;
        if let Some((other, its)) = config.drivers.iter().enumerate().find(taken) {
            let message = format!("is the registration socket of drivers[{index}]: choose another endpoint");
            errors.add(its.endpoint_at, format!("drivers[{other}].endpoint"), message);
        }
    }
}

fn memory(config: &Config, errors: &mut Errors<'_>) {
    for (index, driver) in config.drivers.iter().enumerate() {
        if driver.limits.memory_bytes > config.total_memory_bytes {
            let message = format!(
                "{} is less than the {} of drivers[{index}]: write at least that, or lower drivers[{index}].limits.memory",
                units::exact(config.total_memory_bytes),
                units::exact(driver.limits.memory_bytes)
            );
            errors.add(config.total_memory_at, "limits.memory", message);
        }
    }
}

/// The node alone can grow only what is in a pool of its own: elsewhere somebody has to ask the backend.
fn expansion(config: &Config, errors: &mut Errors<'_>) {
    for (index, driver) in config.drivers.iter().enumerate() {
        let Some(at) = driver.offer.expanded_by_at.filter(|_| driver.offer.expanded_by == ExpandedBy::Node) else {
            continue;
        };
        let grants = &driver.backend.grants;
        let other = grants.access.iter().find(|name| !POOLED.contains(&name.as_str()));
        let problem = match other {
            Some(name) => format!("its plans may use {name}, and a node can grow nothing but objects of pools"),
            None if grants.pools.is_empty() => {
                "it has no pool, and a node can grow nothing but objects of pools".into()
            }
            None => continue,
        };
        let message = format!(
            "is node, but {problem}: write both, or leave no more than pool-image and pool-directory in grants.access \
             and add a pool to grants.pools"
        );
        errors.add(at, format!("drivers[{index}].offer.expansion"), message);
    }
}

/// A directory that only its owner may see into.
pub(super) struct Owned {
    /// Index of the driver whose pool it is.
    driver: Option<usize>,
    key: String,
    at: Place,
    path: PathBuf,
}

impl Owned {
    /// Who may use this directory as a pool would see the other.
    fn sees(&self, other: &Self) -> bool {
        self.driver.is_some() && other.path.starts_with(&self.path)
    }
}

/// The state directory and all pools, by the paths that `resolve` gives; those that it gives none for are left out.
pub(super) fn directories(config: &Config, resolve: impl Fn(&Path) -> Option<PathBuf>) -> Vec<Owned> {
    let state = (None, "stateDir".to_owned(), config.state_dir_at, &config.state_dir);
    let pools = config.drivers.iter().enumerate().flat_map(|(index, driver)| {
        driver.backend.grants.pools.iter().map(move |(name, pool)| {
            (Some(index), format!("drivers[{index}].backend.grants.pools.{name}.path"), pool.at, &pool.path)
        })
    });
    let resolved = |(driver, key, at, path): (Option<usize>, String, Place, &PathBuf)| {
        Some(Owned { driver, key, at, path: resolve(path)? })
    };
    let mut all: Vec<_> = std::iter::once(state).chain(pools).filter_map(resolved).collect();
    all.sort_by_key(|owned| owned.at);
    all
}

/// Refuses directories that lie in one another: a backend would see what belongs to another, or to the host. Only a pool
/// beneath the state directory is fine: nothing of the host's is in it.
pub(super) fn overlaps(config: &Config, directories: &[Owned], errors: &mut Errors<'_>) {
    for (index, later) in directories.iter().enumerate() {
        let Some(first) = directories[..index].iter().find(|first| first.sees(later) || later.sees(first)) else {
            continue;
        };
        // The state directory's place may be no more than the start of the file: the pool is the one to move.
        let (pool, other) = if later.driver.is_some() { (later, first) } else { (first, later) };
        errors.add(pool.at, &pool.key, overlap(config, pool, other));
    }
}

/// As [`overlaps`], of the pools of one driver alone. Both drivers of such a pair are refused, whichever is looked at.
pub(super) fn overlaps_of(config: &Config, index: usize, directories: &[Owned], errors: &mut Errors<'_>) {
    for (at, pool) in directories.iter().enumerate().filter(|(_, pool)| pool.driver == Some(index)) {
        let mut others = directories.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other);
        if let Some(other) = others.find(|other| other.sees(pool) || pool.sees(other)) {
            errors.add(pool.at, &pool.key, overlap(config, pool, other));
        }
    }
}

fn overlap(config: &Config, pool: &Owned, other: &Owned) -> String {
    let relation = if pool.path == other.path {
        "is the same directory as"
    } else if pool.path.starts_with(&other.path) {
        "lies inside"
    } else {
        "holds"
    };
    format!("{relation} {} ({}): choose separate directories", other.key, config.locate(other.at))
}

/// Without `.`, `..` and doubled slashes, as the text goes; symlinks are not looked at.
fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut out, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
        out
    })
}
