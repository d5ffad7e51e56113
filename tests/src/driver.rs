//! A driver of a host's config.

use crate::{Sandbox, host::backend};
use std::path::PathBuf;

/// One driver of a config.
#[derive(Debug, Clone)]
pub struct Driver {
    /// CSI name.
    pub name: String,
    /// The component.
    pub source: PathBuf,
    /// Pools by name.
    pub pools: Vec<(String, PathBuf)>,
    /// More keys of each pool, like `directoryMode: "0777"`.
    pub pool: &'static str,
    /// `grants.access`.
    pub access: Vec<&'static str>,
    /// YAML of the backend's config, one `key: value` a line.
    pub config: String,
    /// `http` of the backend, like `{ totalTimeout: 1s }`.
    pub http: String,
    /// Entries of `grants.http`, like `{ scheme: https, host: localhost, methods: [GET] }`.
    pub requests: Vec<String>,
    /// YAML of more keys of the backend, such as `secrets`, one `key: value` a line.
    pub backend: String,
    /// YAML of more grants, one `key: value` a line.
    pub grants: String,
    /// YAML of the limits, one `key: value` a line.
    pub limits: String,
    /// YAML of `offer`, like `{ listing: false }`.
    pub offer: String,
    /// `csi`, like `"1.13"`; empty: the default.
    pub csi: &'static str,
}

impl Driver {
    /// The local backend over one pool called `fast`.
    pub fn local(sandbox: &Sandbox) -> Self {
        let pools = vec![("fast".into(), sandbox.dir("pool"))];
        Self { pools, access: vec!["pool-image", "pool-directory"], ..Self::plain("local") }
    }

    /// The hostile backend over one pool called `bad`. See `tests/backends/bad`.
    pub fn bad(sandbox: &Sandbox) -> Self {
        let pools = vec![("bad".into(), sandbox.dir("pool-bad"))];
        Self { pools, access: vec!["pool-image", "pool-directory"], ..Self::plain("bad") }
    }

    /// A backend without pools.
    pub fn plain(name: &str) -> Self {
        Self {
            name: format!("{name}.csi.bulkhead.dev"),
            source: backend(name),
            pools: vec![],
            pool: "",
            access: vec!["nfs"],
            config: String::new(),
            http: String::new(),
            requests: vec![],
            backend: String::new(),
            grants: String::new(),
            limits: String::new(),
            offer: String::new(),
            csi: "",
        }
    }
}
