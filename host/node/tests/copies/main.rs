//! Copies, ranges and provisioning of pool objects, without root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copy;
mod ranges;
mod sets;

use bulkhead_domain::{Error, ErrorKind, StringMap};
use bulkhead_node::pool::{CopyOrder, Object, ObjectKind, ObjectSpec, PoolConfig, PoolStore, Provisioning, Updated};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const POOL: &str = "fast";
const MIB: u64 = 1 << 20;

fn open(path: &Path) -> PoolStore {
    PoolStore::open(&[(POOL.to_owned(), PoolConfig::new(path))].into(), "node-1").unwrap()
}

fn spec(name: &str, kind: ObjectKind, size_bytes: u64) -> ObjectSpec {
    ObjectSpec { name: name.into(), kind, size_bytes, provisioning: Provisioning::Thin, metadata: StringMap::new() }
}

fn image(name: &str, size: u64) -> ObjectSpec {
    spec(name, ObjectKind::Image, size)
}

fn order(source: &str, target: ObjectSpec) -> CopyOrder {
    CopyOrder { source: source.into(), target, read_only: false }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error.message().to_owned()
}

struct Fixture {
    dir: tempfile::TempDir,
    store: PoolStore,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        Self { dir, store }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn image(&self, name: &str) -> File {
        let path = self.at(&format!("objects/{name}/image"));
        File::options().read(true).write(true).open(path).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(&format!("objects/{name}/image"))).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.store.list_objects(POOL, "", None).unwrap().objects.into_iter().map(|object| object.spec.name).collect()
    }

    #[track_caller]
    fn nothing_left(&self) {
        for left in ["tmp", "trash", "placing", "freezing"] {
            assert_eq!(fs::read_dir(self.at(left)).unwrap().count(), 0, "{left}");
        }
    }

    /// An image of 8 MiB with a little data, far apart.
    fn sample(&self, name: &str) -> Object {
        let made = self.store.create_object(POOL, &image(name, 8 * MIB)).unwrap();
        for (at, byte) in [(0, 1), (3 * MIB + 5, 2), (8 * MIB - 1, 3)] {
            self.image(name).write_all_at(&[byte], at).unwrap();
        }
        made
    }
}
