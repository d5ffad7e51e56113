//! The few looks at the disk: the file itself, the host name, and whether what the config names is there.

use super::check;
use super::error::{ConfigError, Errors};
use super::types::Config;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Reads the config file.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let refuse = |message: String| ConfigError::new(path, None, "", message);
    let unreadable = |error: io::Error| refuse(format!("can't be read ({error}): name a readable file"));
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(refuse("is a directory: name a file".into()));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(refuse("is larger than 1MiB: is this the config?".into()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        refuse(format!("line {line} is not UTF-8: save the file as UTF-8"))
    })
}

/// The host name, if there is one (proc_sys_kernel(5)).
pub(super) fn kernel_host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    // What the kernel says before anybody has set one.
    (!name.is_empty() && name != "(none)").then(|| name.to_owned())
}

impl Config {
    /// Checks that what the config names is there: pools are directories, none inside another also by symlinks, and
    /// sources are readable files. `silent`: directories that are not looked at, as they would not answer.
    ///
    /// # Errors
    /// All that is wrong, sorted by line.
    pub fn check_paths(&self, silent: &BTreeSet<PathBuf>) -> Result<(), Vec<ConfigError>> {
        let mut errors = Errors::new(&self.file);
        (0..self.drivers.len()).for_each(|index| self.look_for(index, silent, &mut errors));
        check::overlaps(self, &check::directories(self, |path| resolved(path, silent)), &mut errors);
        errors.finish(())
    }

    /// As [`Config::check_paths`], of what `drivers[index]` names. Of two drivers whose pools lie in one another both are
    /// refused.
    ///
    /// # Errors
    /// All that is wrong, sorted by line.
    pub fn check_paths_of(&self, index: usize, silent: &BTreeSet<PathBuf>) -> Result<(), Vec<ConfigError>> {
        let mut errors = Errors::new(&self.file);
        self.look_for(index, silent, &mut errors);
        let directories = check::directories(self, |path| resolved(path, silent));
        check::overlaps_of(self, index, &directories, &mut errors);
        errors.finish(())
    }

    /// Looks for the source and the pools of one driver.
    fn look_for(&self, index: usize, silent: &BTreeSet<PathBuf>, errors: &mut Errors<'_>) {
        let Some(driver) = self.drivers.get(index) else { return };
        let backend = &driver.backend;
        if let Err(problem) = readable_file(&backend.source) {
            let message = format!("{} {problem}: build or copy the component there", backend.source.display());
            errors.add(backend.source_at, format!("drivers[{index}].backend.source"), message);
        }
        for (name, pool) in backend.grants.pools.iter().filter(|(_, pool)| !silent.contains(&pool.path)) {
            let problem = match fs::metadata(&pool.path) {
                Ok(found) if found.is_dir() => continue,
                Ok(_) => "is not a directory: name one".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    "is not there: create the directory".to_owned()
                }
                Err(error) => format!("can't be looked at ({error}): make it accessible"),
            };
            let message = format!("{} {problem}", pool.path.display());
            errors.add(pool.at, format!("drivers[{index}].backend.grants.pools.{name}.path"), message);
        }
    }
}

/// Without links; none if it is not there or can't be looked at.
fn resolved(path: &Path, silent: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    if silent.contains(path) { None } else { fs::canonicalize(path).ok() }
}

fn readable_file(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("can't be looked at ({error})"),
    })?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    // Opened only now: opening a FIFO would wait for a writer.
    File::open(path).map(drop).map_err(|error| format!("can't be read ({error})"))
}
