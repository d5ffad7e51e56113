//! What is on disk, mounted and attached, for comparing before and after.

use crate::Sandbox;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Everything below some directories, by path: kind, mode, owner, size, time of the last change, target of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing(BTreeMap<PathBuf, String>);

impl Listing {
    /// Walks `dirs`; one that is not there adds nothing. Symbolic links are not followed, mounts are.
    ///
    /// # Panics
    /// Something can't be read.
    pub fn of(dirs: &[PathBuf]) -> Self {
        let mut listing = Self::default();
        let mut left = dirs.to_vec();
        while let Some(path) = left.pop() {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_dir() {
                left.extend(fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
            }
            listing.0.insert(path.clone(), describe(&path, &meta));
        }
        listing
    }

    /// Without what lies at or below `path`.
    #[must_use]
    pub fn without(mut self, path: &Path) -> Self {
        self.0.retain(|found, _| !found.starts_with(path));
        self
    }

    /// Fails the test unless `self`, taken later, is as `before`. Shows only what differs.
    ///
    /// # Panics
    /// Something differs.
    pub fn assert_same(&self, before: &Self, what: &str) {
        let paths = before.0.keys().chain(self.0.keys());
        let differs = |path: &&PathBuf| before.0.get(*path) != self.0.get(*path);
        let show = |path: &PathBuf| format!("{}: {:?} -> {:?}", path.display(), before.0.get(path), self.0.get(path));
        let mut changes: Vec<_> = paths.filter(differs).map(show).collect();
        changes.dedup();
        assert!(changes.is_empty(), "{what} changed something:\n{}", changes.join("\n"));
    }
}

fn describe(path: &Path, meta: &fs::Metadata) -> String {
    let target = fs::read_link(path).map(|target| format!(" -> {}", target.display())).unwrap_or_default();
    // A directory's size is the file system's own business; its time tells when an entry came or went.
    let size = if meta.is_dir() { 0 } else { meta.size() };
    // A mounted image is written to by the kernel in its own time.
    let image = path.file_name().is_some_and(|name| name == "image");
    let changed = if image { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
    format!("{:o} {}:{} {size} {changed:?}{target}", meta.mode(), meta.uid(), meta.gid())
}

/// Files, mounts and loop devices of a sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    files: Listing,
    mounts: Vec<(PathBuf, String, String)>,
    loops: Vec<String>,
}

impl World {
    /// Of the directories `dirs` of a sandbox, its mounts and its loop devices.
    pub fn of(sandbox: &Sandbox, dirs: &[&str]) -> Self {
        let dirs: Vec<_> = dirs.iter().map(|dir| sandbox.path().join(dir)).collect();
        Self { files: Listing::of(&dirs), mounts: sandbox.mounts(), loops: sandbox.loops() }
    }

    /// Fails the test unless `self`, taken later, is as `before`.
    ///
    /// # Panics
    /// Something differs.
    pub fn assert_same(&self, before: &Self, what: &str) {
        self.files.assert_same(&before.files, what);
        assert_eq!(self.mounts, before.mounts, "{what} changed the mount table");
        assert_eq!(self.loops, before.loops, "{what} changed loop devices");
    }
}
