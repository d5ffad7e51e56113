//! What holds between several values: names, sockets and directories used twice, sums.

use super::error::{Errors, Place};
use super::types::Config;
use super::units;
use std::path::{Component, Path, PathBuf};

/// Checks what no value shows alone. Values that are wrong by themselves are empty here and skipped.
pub(super) fn check(config: &Config, errors: &mut Errors<'_>) {
    names(config, errors);
    sockets(config, errors);
    overlaps(config, &directories(config, |path| Some(lexical(path))), errors);
    memory(config, errors);
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

/// A directory that only its owner may see into.
pub(super) struct Owned {
    key: String,
    at: Place,
    path: PathBuf,
    is_pool: bool,
}

impl Owned {
    /// Who may use this directory as a pool would see the other.
    fn sees(&self, other: &Self) -> bool {
        self.is_pool && other.path.starts_with(&self.path)
    }
}

/// The state directory and all pools, by the paths that `resolve` gives; those that it gives none for are left out.
pub(super) fn directories(config: &Config, resolve: impl Fn(&Path) -> Option<PathBuf>) -> Vec<Owned> {
    let state = ("stateDir".to_owned(), config.state_dir_at, &config.state_dir, false);
    let pools = config.drivers.iter().enumerate().flat_map(|(index, driver)| {
        driver.backend.grants.pools.iter().map(move |(name, pool)| {
            (format!("drivers[{index}].backend.grants.pools.{name}.path"), pool.at, &pool.path, true)
        })
    });
    let resolved = |(key, at, path, is_pool): (String, Place, &PathBuf, bool)| {
        Some(Owned { key, at, path: resolve(path)?, is_pool })
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
        let (pool, other) = if later.is_pool { (later, first) } else { (first, later) };
        let relation = if pool.path == other.path {
            "is the same directory as"
        } else if pool.path.starts_with(&other.path) {
            "lies inside"
        } else {
            "holds"
        };
        let message = format!("{relation} {} ({}): choose separate directories", other.key, config.locate(other.at));
        errors.add(pool.at, &pool.key, message);
    }
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
