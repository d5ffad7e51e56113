//! A private mount namespace and a directory, both gone when the test ends, however it ends.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Keeps mounts, loop devices and files of one test together. The mount namespace belongs to the thread that made the
/// sandbox and to every thread and process that it starts afterwards.
#[derive(Debug)]
pub struct Sandbox {
    dir: Option<TempDir>,
    root: PathBuf,
}

/// Whether tests that mount can run here.
///
/// # Panics
/// With `CI=true` and without root: skipping would hide that nothing was tested.
pub fn can_mount() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "these tests need root, and CI=true forbids to skip them"
        );
        eprintln!("NOT RUN: this test mounts file systems and needs root");
    }
    root
}

impl Sandbox {
    /// Enters a new mount namespace in which nothing propagates back, and makes a directory.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn enter() -> Self {
        // SAFETY: only the mount namespace of this thread changes; no memory or file descriptor is affected.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.expect("unshare(CLONE_NEWNS)");
        rustix::mount::mount_change(
            "/",
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
        )
        .expect("make / private");
        let dir = tempfile::Builder::new().prefix("bulkhead-test-").tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("its path");
        Self { dir: Some(dir), root }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A directory in it, made if it is not there.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    /// Mounts below the sandbox, as `(mount point, root in its file system, options)`.
    pub fn mounts(&self) -> Vec<(PathBuf, String, String)> {
        // Of the thread: the process's own namespace is another one.
        let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let line = |line: &str| {
            let fields: Vec<_> = line.split(' ').collect();
            let point = PathBuf::from(fields.get(4)?.replace("\\040", " "));
            point.starts_with(&self.root).then(|| (point, fields[3].to_owned(), fields[5].to_owned()))
        };
        table.lines().filter_map(line).collect()
    }

    /// Loop devices whose backing file lies below the sandbox, also deleted ones, and devices on top of such devices. A
    /// device comes after the one that it stands on.
    pub fn loops(&self) -> Vec<String> {
        // Devices that are in use have a size: of a thousand loop devices only those are looked at.
        let sized = fs::read_to_string("/proc/partitions").expect("/proc/partitions");
        let device = |line: &str| {
            let name = line.split_whitespace().nth(3)?;
            let backing = fs::read_to_string(Path::new("/sys/block").join(name).join("loop/backing_file")).ok()?;
            Some((name.to_owned(), PathBuf::from(backing.trim())))
        };
        let mut others: Vec<_> = sized.lines().filter_map(device).collect();
        others.sort();
        let mut loops: Vec<String> = vec![];
        loop {
            let ours = |backing: &Path| {
                backing.starts_with(&self.root) || loops.iter().any(|below| backing == Path::new("/dev").join(below))
            };
            let (found, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, backing)| ours(backing));
            if found.is_empty() {
                return loops;
            }
            loops.extend(found.into_iter().map(|(name, _)| name));
            others = rest;
        }
    }

    /// Journal records of all drivers below `state`.
    pub fn journal(&self, state: &Path) -> Vec<PathBuf> {
        let Ok(drivers) = fs::read_dir(state.join("node")) else { return vec![] };
        let records = |dir: io::Result<fs::DirEntry>| fs::read_dir(dir.ok()?.path()).ok();
        let json = |entry: io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            (path.extension().is_some_and(|e| e == "json")).then_some(path)
        };
        drivers.filter_map(records).flatten().filter_map(json).collect()
    }

    /// Fails the test if a mount or a loop device is left.
    ///
    /// # Panics
    /// Something is left.
    pub fn assert_clean(&self) {
        assert_eq!(self.mounts(), vec![], "mounts are left");
        assert_eq!(self.loops(), Vec::<String>::new(), "loop devices are left");
    }
}

impl Sandbox {
    /// Takes away all mounts and loop devices that are left.
    pub fn clear(&self) {
        // Before anything is unmounted: the path of what lies on a file system is lost with its mount.
        let loops: Vec<_> = self.loops().into_iter().map(|device| (backing_of(&device), device)).collect();
        // Deepest first; a test that failed may have left some.
        let mut mounts = self.mounts();
        mounts.sort_by_key(|(point, ..)| std::cmp::Reverse(point.as_os_str().len()));
        for (point, ..) in mounts {
            let _ = rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH);
        }
        // Those on top first.
        for (backing, device) in loops.iter().rev() {
            // Many are gone with their mounts, and by now another sandbox may have a device of that name.
            if backing.is_empty() || backing_of(device) != *backing {
                continue;
            }
            let _ = Command::new("losetup").arg("-d").arg(format!("/dev/{device}")).stderr(Stdio::null()).status();
        }
    }
}

/// Device and inode of the file behind a loop device; empty if there is none.
fn backing_of(device: &str) -> String {
    let columns = ["-n", "-O", "BACK-INO,BACK-MAJ:MIN"];
    let output = Command::new("losetup").args(columns).arg(format!("/dev/{device}")).stderr(Stdio::null()).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.clear();
        drop(self.dir.take());
    }
}
