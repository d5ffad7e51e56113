//! File systems mounted for a test.

use crate::machine::{require, run, try_run};
use std::path::{Path, PathBuf};

/// A mount at a directory of its own. Dropped, it is unmounted (lazily where that takes long: a hung server holds nobody up) and the directory removed.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
}

impl Mounted {
    /// Makes a file system of `kind` (`ext4`, `xfs`) on `device` and mounts it.
    ///
    /// # Panics
    /// Outside the VM; mkfs or mount fails.
    pub fn fresh(kind: &str, device: &Path) -> Self {
        require();
        let force = if kind == "xfs" { "-f" } else { "-F" };
        run(&format!("mkfs.{kind}"), ["-q".as_ref(), force.as_ref(), device]);
        Self::mount(kind, device, "rw")
    }

    /// Mounts what is there, by mount(8): `source` is a device or `server:/share`.
    ///
    /// # Panics
    /// Outside the VM; mount fails.
    pub fn mount(kind: &str, source: impl AsRef<Path>, options: &str) -> Self {
        require();
        let dir = tempfile::Builder::new().prefix("vm-mount-").tempdir_in("/tmp").expect("a directory");
        // From here on it is removed by our own drop, which never removes what is mounted there.
        let mounted = Self { point: dir.keep() };
        let arguments = ["-t", kind, "-o", options].map(Path::new);
        run("mount", arguments.into_iter().chain([source.as_ref(), &mounted.point]));
        mounted
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // By a child that can be killed: the last unmount of NFSv4.1 waits for the server, even a lazy one.
        let killed = ["--signal=KILL", "10", "umount", "--internal-only"].map(Path::new);
        let umount = |more: &[&Path]| try_run("timeout", killed.iter().chain(more));
        let _ = umount(&[&self.point]).or_else(|_| umount(&["--lazy".as_ref(), &self.point]));
        // Fails where something is still mounted or lies in it.
        let _ = std::fs::remove_dir(&self.point);
    }
}
