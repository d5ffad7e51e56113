//! [`RawConfig`] to the types that the host works with: `${ENV}`, defaults, units. Errors are collected; where one was
//! found a harmless stand-in takes the value's place, so that the rest is judged too.

use super::error::{Errors, Place};
use super::raw::{Maybe, Placed, RawConfig, RawDriver, RawNode, RawTotals, Text};
use super::types::{Config, DriverConfig, NodeConfig};
use super::{backend, units};
use bulkhead_domain::{StringMap, limits, offer::CsiVersion, topology};
use std::path::{Path, PathBuf};

const STATE_DIR: &str = "/var/lib/bulkhead";
const KUBELET_ROOT: &str = "/var/lib/kubelet";
/// How much of a wrong value an error shows.
const SHOWN_CHARACTERS: usize = 120;

/// What a config depends on besides its text.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// As it was named; its directory is where relative paths begin.
    pub file: &'a Path,
    /// Environment variables.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The kernel's host name; asked only if nothing else names the node.
    pub host_name: &'a dyn Fn() -> Option<String>,
}

/// Everything that turns a raw value into a typed one.
pub(super) struct Lower<'a, 'e> {
    /// The file's text.
    pub source: &'a str,
    /// Where relative paths begin.
    pub base: PathBuf,
    pub around: Surroundings<'a>,
    pub errors: &'a mut Errors<'e>,
}

impl Lower<'_, '_> {
    /// Expands `text`. None: an error was noted.
    pub(super) fn expand(&mut self, key: &str, text: &Text) -> Option<String> {
        let expanded = units::expand(&text.text, self.around.env);
        expanded.map_err(|problem| self.errors.add(text.at, key, problem)).ok()
    }

    /// Expands `text` and reads it. None: an error was noted, about the text as the file has it.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        text: &Text,
        read: impl FnOnce(&str) -> Result<T, units::Problem>,
    ) -> Option<T> {
        let value = self.expand(key, text)?;
        let problem = match read(&value) {
            Ok(read) => return Some(read),
            Err(problem) => problem,
        };
        let expanded = if value == text.text { "" } else { "the value of " };
        let shown = match text.text.char_indices().nth(SHOWN_CHARACTERS) {
            Some((end, _)) => format!("{:?}...", &text.text[..end]),
            None => format!("{:?}", text.text),
        };
        self.errors.add(text.at, key, format!("{expanded}{shown} {problem}"));
        None
    }

    /// As [`Lower::read`], of a value that may be missing or wrong: then it is `default`.
    pub(super) fn read_or<T>(
        &mut self,
        key: &str,
        text: &Maybe,
        default: T,
        read: impl FnOnce(&str) -> Result<T, units::Problem>,
    ) -> T {
        text.0.as_ref().and_then(|text| self.read(key, text, read)).unwrap_or(default)
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.around.env)(name).filter(|value| !value.is_empty())
    }

    fn config(&mut self, raw: &RawConfig) -> Config {
        self.read("version", &raw.version, |text| match text {
            "1" => Ok(()),
            _ => Err("is not a version of this file that is known here: write 1".into()),
        });
        let base = self.base.clone();
        let state_dir = self.read_or("stateDir", &raw.state_dir, STATE_DIR.into(), |text| units::path(text, &base));
        let default = Config::TOTAL_MEMORY_BYTES;
        let total_memory_bytes = match &raw.limits {
            Some(RawTotals { memory }) => {
                self.read_or("limits.memory", memory, default, |t| units::size(t, 1 << 20..=1 << 40))
            }
            None => default,
        };
        if raw.drivers.value.is_empty() {
            self.errors.add(raw.drivers.at, "drivers", "is empty: write at least one driver");
        }
        let alone = raw.drivers.value.len() == 1;
        Config {
            file: self.around.file.to_owned(),
            state_dir,
            state_dir_at: raw.state_dir.0.as_ref().map_or(raw.version.at, |text| text.at),
            node: self.node(raw.node.as_ref(), raw.version.at),
            drivers: raw
                .drivers
                .value
                .iter()
                .enumerate()
                .map(|(index, driver)| self.driver(index, driver, alone))
                .collect(),
            total_memory_bytes,
            total_memory_at: raw
                .limits
                .as_ref()
                .and_then(|l| l.memory.0.as_ref())
                .map_or(raw.version.at, |text| text.at),
            health: raw.health.as_ref().and_then(|health| health.endpoint.0.as_ref()).and_then(|text| {
                let address = self.read("health.endpoint", text, units::socket_address)?;
                Some((address, text.at))
            }),
        }
    }

    fn node(&mut self, raw: Option<&RawNode>, start: Place) -> NodeConfig {
        let max = limits::NODE_ID_BYTES;
        let id = match raw.and_then(|raw| raw.id.0.as_ref()) {
            Some(text) => self.read("node.id", text, |text| units::text(text, max)),
            None => {
                let id = self
                    .variable("NODE_NAME")
                    .or_else(|| (self.around.host_name)())
                    .filter(|id| units::text(id, max).is_ok());
                if id.is_none() {
                    let message = "neither NODE_NAME nor the host name gives a usable id: write one of 1 to 256 bytes";
                    self.errors.add(start, "node.id", message);
                }
                id
            }
        };
        let none = Maybe(None);
        let root = raw.map_or(&none, |raw| &raw.kubelet_root);
        let kubelet_root = self.read_or("node.kubeletRoot", root, KUBELET_ROOT.into(), units::absolute_directory);
        let mut labels = StringMap::new();
        for (key, value) in raw.and_then(|raw| raw.labels.as_ref()).iter().flat_map(|labels| &labels.0) {
            let path = format!("node.labels.{}", key.text);
            if topology::check_key(&key.text).is_err() {
                self.errors.add(
                    key.at,
                    &path,
                    "is not a label: write NAME or PREFIX/NAME, of letters, digits and - _ .",
                );
            }
            if let Some(value) = self.read(&path, value, |text| units::text(text, limits::TOPOLOGY_VALUE_BYTES)) {
                labels.insert(key.text.clone(), value);
            }
        }
        let kubelet_root_at = root.0.as_ref().map_or(start, |text| text.at);
        let base = self.base.clone();
        let directory = raw.and_then(|raw| raw.directory.0.as_ref()).and_then(|text| {
            let path = self.read("node.directory", text, |text| units::path(text, &base))?;
            Some((path, text.at))
        });
        let registration = raw.map_or(&none, |raw| &raw.registration);
        let registration = self.read_or("node.registration", registration, false, units::flag);
        let facts = self.facts(raw.and_then(|raw| raw.facts.as_ref()));
        NodeConfig { id: id.unwrap_or_default(), kubelet_root, kubelet_root_at, directory, registration, labels, facts }
    }

    fn driver(&mut self, index: usize, raw: &Placed<RawDriver>, alone: bool) -> DriverConfig {
        let path = format!("drivers[{index}]");
        let (at, raw) = (raw.at, &raw.value);
        let (endpoint, endpoint_at) = self.endpoint(&format!("{path}.endpoint"), raw, at, alone);
        DriverConfig {
            name: self.read(&format!("{path}.name"), &raw.name, units::driver_name).unwrap_or_default(),
            name_at: raw.name.at,
            endpoint,
            endpoint_at,
            csi: self.read_or(&format!("{path}.csi"), &raw.csi, CsiVersion::default(), |text| match text {
                "1.12" => Ok(CsiVersion::V1_12),
                "1.13" => Ok(CsiVersion::V1_13),
                _ => Err("is not a generation of CSI that is known here: write \"1.12\" or \"1.13\"".into()),
            }),
            offer: raw.offer.as_ref().map(|offer| self.offer(&format!("{path}.offer"), offer)).unwrap_or_default(),
            backend: backend::lower(self, &format!("{path}.backend"), &raw.backend),
            limits: raw
                .limits
                .as_ref()
                .map(|limits| self.limits(&format!("{path}.limits"), limits))
                .unwrap_or_default(),
            at,
        }
    }

    fn endpoint(&mut self, key: &str, raw: &RawDriver, driver: Place, alone: bool) -> (PathBuf, Place) {
        if let Some(text) = &raw.endpoint.0 {
            return (self.read(key, text, units::endpoint).unwrap_or_default(), text.at);
        }
        let problem = match self.variable("CSI_ENDPOINT") {
            Some(value) if alone => match units::endpoint(&value) {
                Ok(path) => return (path, driver),
                Err(problem) => format!("the value of the environment variable CSI_ENDPOINT {problem}"),
            },
            None if alone => "is missing, and CSI_ENDPOINT is not set: write unix:///PATH".into(),
            _ => "is missing: write unix:///PATH (CSI_ENDPOINT counts only where there is a single driver)".into(),
        };
        self.errors.add(driver, key, problem);
        (PathBuf::new(), driver)
    }
}

/// Types the whole file.
pub(super) fn lower(raw: &RawConfig, source: &str, around: Surroundings<'_>, errors: &mut Errors<'_>) -> Config {
    let base = around.file.parent().unwrap_or(Path::new("")).to_owned();
    Lower { source, base, around, errors }.config(raw)
}
