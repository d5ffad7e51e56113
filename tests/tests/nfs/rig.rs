//! A server, its share where the controller has it mounted, and hosts over both.

use bulkhead_tests::{Driver, Sandbox};
use bulkhead_vm::{Mounted, NfsServer, Squash, Version};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

pub const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Much more than any test writes: sizes of volumes are promises.
const SHARE: u64 = 16 * GIB;
/// What the driver is called.
pub const DRIVER: &str = "nfs.csi.bulkhead.dev";

/// A share, mounted where the controller's pool is.
pub struct Share {
    // Unmounted before the server goes.
    pool: Mounted,
    server: NfsServer,
}

impl Share {
    /// `mounting`: the options with which the controller mounts it.
    pub fn new(squash: Squash, mounting: &str) -> Self {
        let mut server = NfsServer::sized(&[Version::V3, Version::V4_1, Version::V4_2], SHARE);
        let source = server.export("share", squash);
        Self { pool: Mounted::mount("nfs", source, mounting), server }
    }

    /// The pool, as the controller sees it.
    pub fn pool(&self) -> &Path {
        self.pool.path()
    }

    /// The share, as its server sees it.
    pub fn served(&self) -> PathBuf {
        self.server.path().join("share")
    }

    /// The driver of a controller.
    pub fn controller(&self) -> Driver {
        let pools = vec![("fast".to_owned(), self.pool().to_owned())];
        Driver { pools, pool: "directoryMode: \"0777\"", ..Self::node() }
    }

    /// The driver of a node, which has no pool.
    pub fn node() -> Driver {
        let config = "shares: { fast: { servers: [127.0.0.1], export: /share, options: [hard] } }";
        Driver { config: config.into(), ..Driver::plain("nfs") }
    }

    /// Nothing is left in the pool.
    pub fn assert_empty(&self) {
        for part in ["objects", "tmp", "trash", "placing"] {
            let left: Vec<_> = fs::read_dir(self.pool().join(part)).unwrap().map(|e| e.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// A sandbox that pods of other users can pass through.
pub fn sandbox() -> Sandbox {
    let sandbox = Sandbox::enter();
    fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o711)).unwrap();
    sandbox
}

pub fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
