//! What the rest of the host sees of the config. Paths are absolute, sizes are bytes, defaults are filled in.

mod auth;
mod facts;
pub(super) mod http;

pub use self::auth::{
    AuthMethod, AuthProfile, CredentialSource, Json, Login, LoginBody, OAuth2, Piece, Role, SecretSource, SigV4,
    Template, TokenFrom,
};
pub use facts::{CloudConfig, FactsConfig};
pub use http::{AddressKind, Addresses, ClientCertificate, HostPattern, HttpGrant, HttpSettings, Proxy, Scheme};

use super::{ConfigError, Place};
use bulkhead_domain::{
    StringMap,
    offer::{CsiVersion, ExpandedBy, Interface},
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Journal, state and compile cache; mode 0700.
    pub state_dir: PathBuf,
    /// Where `stateDir` stands; the start of the file if it is a default.
    pub state_dir_at: Place,
    /// Who this host is.
    pub node: NodeConfig,
    /// At least one.
    pub drivers: Vec<DriverConfig>,
    /// Bytes of linear memory over all backends together.
    pub total_memory_bytes: u64,
    /// Where that stands; the start of the file if it is a default.
    pub total_memory_at: Place,
    /// Where health is told over HTTP, and where that stands.
    pub health: Option<(SocketAddr, Place)>,
}

/// Who this host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// CSI node_id, 1 to 256 bytes.
    pub id: String,
    /// Staging and target paths must lie beneath. Absolute, without `..`.
    pub kubelet_root: PathBuf,
    /// Where that stands; the start of the file if it is a default.
    pub kubelet_root_at: Place,
    /// Where nodes make themselves known to controllers in other processes, and where that stands.
    pub directory: Option<(PathBuf, Place)>,
    /// Each driver is registered with kubelet.
    pub registration: bool,
    /// Published with the node's facts.
    pub labels: StringMap,
    /// What the operator says of it, and how the rest is found out.
    pub facts: FactsConfig,
}

impl NodeConfig {
    /// The socket on which kubelet is told of a driver: `KUBELETROOT/plugins_registry/DRIVER@reg.sock`.
    ///
    /// Kubelet sends the socket's path, with percent signs for slashes, as the HTTP/2 authority of its requests. Our HTTP/2
    /// library refuses percent signs in the name of a host, but not in what stands before an `@`.
    pub fn registration_socket(&self, driver: &str) -> PathBuf {
        self.kubelet_root.join("plugins_registry").join(format!("{driver}@reg.sock"))
    }
}

/// One CSI driver: a name, a socket, a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverConfig {
    /// CSI plugin name, at most 63 characters.
    pub name: String,
    /// Its place.
    pub name_at: Place,
    /// Path of the unix socket, at most 107 bytes.
    pub endpoint: PathBuf,
    /// Its place; of the driver if it came from `CSI_ENDPOINT`.
    pub endpoint_at: Place,
    /// Which generation of CSI is spoken.
    pub csi: CsiVersion,
    /// What is withheld of what the backend exports.
    pub offer: Offering,
    /// What serves it.
    pub backend: BackendConfig,
    /// How much one call and all calls may take.
    pub limits: Limits,
    /// Where the driver's entry begins.
    pub at: Place,
}

/// What is withheld of what a backend exports. The default withholds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offering {
    /// Interfaces that count as not exported.
    pub withheld: BTreeSet<Interface>,
    /// VOLUME_MOUNT_GROUP counts as not promised.
    pub withhold_mount_group: bool,
    /// Which half grows volumes, if `expansion` isn't withheld.
    pub expanded_by: ExpandedBy,
    /// Where that stands, if it is set.
    pub expanded_by_at: Option<Place>,
}

/// The component and what it gets.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendConfig {
    /// The component's file.
    pub source: PathBuf,
    /// Where `source` stands.
    pub source_at: Place,
    /// SHA-256 that the file must have.
    pub digest: Option<[u8; 32]>,
    /// Where `digest` stands, if it is set.
    pub digest_at: Option<Place>,
    /// The backend's own settings: nested keys joined by dots, list items by index, all values as text as written.
    pub config: BTreeMap<String, String>,
    /// Where each of them stands.
    pub config_at: BTreeMap<String, Place>,
    /// How its requests travel.
    pub http: HttpSettings,
    /// Secrets of its own and of its auth profiles, by name.
    pub secrets: BTreeMap<String, SecretSource>,
    /// How its requests are signed, by name.
    pub auth: BTreeMap<String, AuthProfile>,
    /// What it may use.
    pub grants: Grants,
}

/// What a backend may use. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Pools by name.
    pub pools: BTreeMap<String, Pool>,
    /// The key-value store; none = not granted.
    pub state: Option<StateGrant>,
    /// Secrets as handles; none = not even those.
    pub secrets: Option<SecretsGrant>,
    /// Where it may connect to.
    pub http: Vec<HttpGrant>,
    /// Kinds of access that its plans may use: names of [`bulkhead_domain::plan::Access::NAMES`].
    pub access: BTreeSet<String>,
    /// What the path of a device in a plan must begin with.
    pub devices: Vec<String>,
    /// Where a missing grant would go: `grants`, or `backend` if there are none.
    pub at: Place,
}

/// A directory of the host that a backend may keep objects in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The directory.
    pub path: PathBuf,
    /// Most bytes that are copied while a file system in use is frozen, where extents can't be shared.
    pub copy_limit_bytes: u64,
    /// Permission bits of new directories.
    pub directory_mode: Option<u32>,
    /// Where the path stands.
    pub at: Place,
}

impl Pool {
    /// Default of [`Pool::copy_limit_bytes`]: about a second of a pod's writes held back on a slow disk.
    pub const COPY_LIMIT_BYTES: u64 = 256 << 20;
}

/// How much a backend may keep in its key-value store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateGrant {
    /// Bytes of keys and values, and a little for each; 64 KiB to 256 MiB.
    pub quota_bytes: u64,
    /// Where the grant stands.
    pub at: Place,
}

impl StateGrant {
    /// Default of [`StateGrant::quota_bytes`].
    pub const QUOTA_BYTES: u64 = 16 << 20;
}

/// What a backend may do with secrets beyond naming them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SecretsGrant {
    /// `secrets-sign`.
    pub sign: bool,
    /// `secrets-reveal`.
    pub reveal: bool,
}

/// How much one backend may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory of one call, 1 MiB to 4 GiB. Default 64 MiB.
    pub memory_bytes: u64,
    /// Longest that a call may take, 100 ms to 10 min. Default 30 s.
    pub call_timeout: Duration,
    /// Calls in flight, 1 to 1000. Default 64.
    pub concurrency: u32,
    /// Lines that one call may log, 0 to 200 (the interface's own limit). Default 200.
    pub log_lines: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, call_timeout: Duration::from_secs(30), concurrency: 64, log_lines: 200 }
    }
}

impl Config {
    /// Default of [`Config::total_memory_bytes`].
    pub const TOTAL_MEMORY_BYTES: u64 = 1 << 30;

    /// `FILE:LINE:COLUMN`, for messages.
    pub fn locate(&self, place: Place) -> String {
        format!("{}:{place}", self.file.display())
    }

    /// An error about a value of this file, for checks that are made elsewhere. `key` is the value's path, e.g.
    /// `drivers[0].backend.source`; `message` says what is wrong and what to do.
    pub fn error(&self, place: Place, key: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.file, Some(place), key, message)
    }
}

impl BackendConfig {
    /// The setting that a text of the backend names in backticks, and where it stands. None: it names none that is set.
    pub fn setting_named_in(&self, text: &str) -> Option<(&str, Place)> {
        let quoted = text.split('`').skip(1).step_by(2);
        quoted.filter_map(|key| self.config_at.get_key_value(key)).map(|(key, place)| (key.as_str(), *place)).next()
    }
}

impl fmt::Debug for BackendConfig {
    /// Without the values of `config`: they may come from the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendConfig")
            .field("source", &self.source)
            .field("source_at", &self.source_at)
            .field("digest", &self.digest.map(hex::encode))
            .field("digest_at", &self.digest_at)
            .field("config", &self.config.keys())
            .field("http", &self.http)
            .field("secrets", &self.secrets)
            .field("auth", &self.auth)
            .field("grants", &self.grants)
            .finish()
    }
}
