//! What needs a look at the disk.

use super::*;
use std::collections::BTreeSet;
use std::fs;
use tempfile::TempDir;

/// A directory with the config `f.yaml`.
fn on_disk(text: impl AsRef<[u8]>) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("f.yaml"), text).expect("write the config");
    dir
}

/// Shown errors, with the directory's name replaced by DIR.
#[track_caller]
fn shown<T: std::fmt::Debug>(dir: &TempDir, result: Result<T, Vec<ConfigError>>) -> Vec<String> {
    let errors = result.expect_err("should be refused");
    let name = dir.path().to_str().expect("a plain name");
    errors.iter().map(|error| error.to_string().replace(name, "DIR")).collect()
}

fn load_file(dir: &TempDir) -> Result<Config, Vec<ConfigError>> {
    Config::load(&dir.path().join("f.yaml"), &|_| None)
}

#[test]
fn unreadable_files() {
    let dir = on_disk("");
    let missing = Config::load(&dir.path().join("no.yaml"), &|_| None);
    let text = "DIR/no.yaml: can't be read (No such file or directory (os error 2)): name a readable file";
    assert_eq!(shown(&dir, missing), [text]);
    assert_eq!(shown(&dir, Config::load(dir.path(), &|_| None)), ["DIR: is a directory: name a file"]);
    let dir = on_disk(b"version: 1\nstateDir: \xff\n");
    assert_eq!(shown(&dir, load_file(&dir)), ["DIR/f.yaml: line 2 is not UTF-8: save the file as UTF-8"]);
    let dir = on_disk(format!("# {}\n", "x".repeat(1 << 20)));
    assert_eq!(shown(&dir, load_file(&dir)), ["DIR/f.yaml: is larger than 1MiB: is this the config?"]);
}

#[test]
fn the_host_name_is_the_last_resort() {
    let dir = on_disk(MINIMAL);
    let config = load_file(&dir).expect("this machine has a host name");
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").expect("procfs");
    assert_eq!(config.node.id, kernel.trim());
}

const TWO_POOLS: &str = "version: 1
drivers:
  - name: a
    endpoint: /a
    backend:
      source: a.wasm
      grants:
        pools:
          one: { path: one }
          two: { path: two }
";

#[test]
fn all_there() {
    let dir = on_disk(TWO_POOLS);
    for pool in ["one", "two"] {
        fs::create_dir(dir.path().join(pool)).expect("a pool");
    }
    fs::write(dir.path().join("a.wasm"), b"").expect("a source");
    assert_eq!(load_file(&dir).expect("fits").check_paths(&BTreeSet::new()), Ok(()));
}

#[test]
fn nothing_there() {
    let dir = on_disk(TWO_POOLS);
    fs::write(dir.path().join("two"), b"").expect("a file where a pool should be");
    let config = load_file(&dir).expect("paths are looked at later");
    assert_eq!(
        shown(&dir, config.check_paths(&BTreeSet::new())),
        [
            "DIR/f.yaml:6:15: drivers[0].backend.source: DIR/a.wasm is not there: build or copy the component there",
            "DIR/f.yaml:9:24: drivers[0].backend.grants.pools.one.path: DIR/one is not there: create the directory",
            "DIR/f.yaml:10:24: drivers[0].backend.grants.pools.two.path: DIR/two is not a directory: name one",
        ]
    );
}

#[test]
fn a_source_that_is_no_file() {
    let dir = on_disk(MINIMAL);
    fs::create_dir(dir.path().join("a.wasm")).expect("a directory");
    let found = shown(&dir, load_file(&dir).expect("fits").check_paths(&BTreeSet::new()));
    let text =
        "DIR/f.yaml:6:15: drivers[0].backend.source: DIR/a.wasm is not a file: build or copy the component there";
    assert_eq!(found, [text]);
}

#[test]
fn symlinks_do_not_hide_that_pools_overlap() {
    let dir = on_disk(TWO_POOLS);
    fs::create_dir(dir.path().join("one")).expect("a pool");
    std::os::unix::fs::symlink("one", dir.path().join("two")).expect("a symlink");
    fs::write(dir.path().join("a.wasm"), b"").expect("a source");
    let found = shown(&dir, load_file(&dir).expect("fits as text").check_paths(&BTreeSet::new()));
    assert_eq!(
        found,
        ["DIR/f.yaml:10:24: drivers[0].backend.grants.pools.two.path: is the same directory as \
         drivers[0].backend.grants.pools.one.path (DIR/f.yaml:9:24): choose separate directories"]
    );
}

#[test]
fn one_driver_is_looked_at_alone() {
    let second = "  - name: b
    endpoint: /b
    backend: { source: b.wasm, grants: { pools: { three: { path: three } } } }
";
    let dir = on_disk(format!("{TWO_POOLS}{second}"));
    for pool in ["one", "two"] {
        fs::create_dir(dir.path().join(pool)).expect("a pool");
    }
    fs::write(dir.path().join("a.wasm"), b"").expect("a source");
    let config = load_file(&dir).expect("fits");
    assert_eq!(config.check_paths_of(0, &BTreeSet::new()), Ok(()));
    assert_eq!(shown(&dir, config.check_paths_of(1, &BTreeSet::new())).len(), 2, "source and pool");
    fs::write(dir.path().join("b.wasm"), b"").expect("a source");
    std::os::unix::fs::symlink(dir.path().join("two"), dir.path().join("three")).expect("a symlink");
    for (index, other) in
        [(0, "drivers[1].backend.grants.pools.three.path"), (1, "drivers[0].backend.grants.pools.two.path")]
    {
        let errors = shown(&dir, config.check_paths_of(index, &BTreeSet::new()));
        assert!(errors.len() == 1 && errors[0].contains(&format!("is the same directory as {other}")), "{errors:?}");
    }
    assert_eq!(shown(&dir, config.check_paths(&BTreeSet::new())).len(), 1);
}
