//! The config file: YAML in, plain typed values out. Nothing of YAML, serde or its units is visible outside this room.
//!
//! | module | does |
//! |---|---|
//! | `raw` | the file's shape as serde reads it, and what the JSON schema is made from |
//! | `tree` | a backend's free-form settings, flattened to text |
//! | `paths` | leads from a place in the file to its key, for errors that serde reports by place only |
//! | `parse` | text to `raw`, and the YAML library's errors in our words |
//! | `lower` | `raw` to the types of this file: `${ENV}`, defaults, units; collects errors instead of stopping |
//! | `backend` | the part of `lower` about one backend; its secrets and auth profiles in modules of their own |
//! | `facts` | the part of `lower` about what is known of a node |
//! | `check` | what holds between several values: names, sockets and pools used twice |
//! | `files` | what needs a look at the disk: are pools and sources there |
//! | `units` | texts of one value: sizes, times, digests, names |
//! | `schema` | the JSON schema |
//! | `snippet` | grants as YAML, ready to paste |
//!
//! **Invariant:** what is wrong with a value is said about the text as the file has it, never about what an environment
//! variable put in its place (but for names that are used twice and paths that aren't there); and a backend's settings are
//! in no error and no Debug output.

mod backend;
mod check;
mod error;
mod facts;
mod files;
mod lower;
mod parse;
mod paths;
mod raw;
mod schema;
mod snippet;
mod tree;
mod types;
mod units;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, Place};
pub use schema::json_schema;
pub use snippet::grant_snippet;
pub use types::{
    AddressKind, Addresses, AuthMethod, AuthProfile, BackendConfig, ClientCertificate, CloudConfig, Config,
    CredentialSource, DriverConfig, FactsConfig, Grants, HostPattern, HttpGrant, HttpSettings, Json, Limits, Login,
    LoginBody, NodeConfig, OAuth2, Offering, Piece, Pool, Proxy, Role, Scheme, SecretSource, SecretsGrant, SigV4,
    StateGrant, Template, TokenFrom,
};

use std::path::Path;

impl Config {
    /// Reads and checks the file at `path`; `env` looks up an environment variable. Looks at nothing else on the disk
    /// but, where neither `node.id` nor `NODE_NAME` is set, the kernel's host name: see [`Config::check_paths`].
    ///
    /// # Errors
    /// All that is wrong, sorted by line. What makes the file unreadable as a whole (not there, not YAML, an unknown key, a
    /// list where a map belongs) comes alone.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<ConfigError>> {
        let text = files::read(path).map_err(|error| vec![error])?;
        Self::from_text(&text, path, env, &files::kernel_host_name)
    }

    /// As [`Config::load`], of a text. `file` stands in errors and its directory is where relative paths begin; it needn't
    /// be there.
    fn from_text(
        text: &str,
        file: &Path,
        env: &dyn Fn(&str) -> Option<String>,
        host_name: &dyn Fn() -> Option<String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let raw = parse::parse(text, file).map_err(|error| vec![error])?;
        let mut errors = error::Errors::new(file);
        let config = lower::lower(&raw, text, lower::Surroundings { file, env, host_name }, &mut errors);
        check::check(&config, &mut errors);
        errors.finish(config)
    }
}
