//! Paths that clients send are reached only beneath the kubelet root, without following a link.

use crate::dir::open_beneath;
use crate::error::{Context, IoResult, io_error};
use bulkhead_domain::{Error, Result, limits};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The kubelet root, open.
#[derive(Debug)]
pub(crate) struct PathFence {
    root: OwnedFd,
    /// As the operator and clients call it.
    configured: PathBuf,
    /// Without links: as mountinfo shows it.
    canonical: PathBuf,
}

/// A path below the root: its parent, open, and its last component, which need not exist.
///
/// What a client renames or replaces after the parent was opened can't lead anywhere else any more.
#[derive(Debug)]
pub(crate) struct Place {
    parent: OwnedFd,
    name: OsString,
    /// As mountinfo shows it.
    canonical: PathBuf,
}

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Directory,
    File,
    BlockDevice,
    /// A link, a socket, ...
    Other,
}

impl AsFd for PathFence {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl PathFence {
    /// Opens the root. Links on the way to the root itself are the operator's own and are followed, once.
    ///
    /// # Errors
    /// FailedPrecondition: it is no directory, or not an absolute path.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let refuse = |why: &dyn std::fmt::Display| {
            Error::failed_precondition(format_args!(
                "kubelet root {}: {why}; make the directory or correct the configuration",
                root.display()
            ))
        };
        if !root.is_absolute() {
            return Err(refuse(&"not an absolute path"));
        }
        let canonical = root.canonicalize().map_err(|e| refuse(&e))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&canonical, flags, Mode::empty()).map_err(|e| refuse(&e))?;
        Ok(Self { root: fd, configured: root.components().collect(), canonical })
    }

    /// Checks the shape of a path and gives the part below the root.
    ///
    /// # Errors
    /// InvalidArgument: empty, relative, longer than 4095 bytes, a NUL, a `.`, `..` or empty component (one slash at
    /// the end is fine), or not below the root. `what` names the field.
    fn below(&self, what: &str, path: &Path) -> Result<PathBuf> {
        let refuse = |why: &str| Err(Error::invalid_argument(format_args!("{what}: {why}")));
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return refuse("is missing");
        }
        if bytes.len() > limits::PATH_BYTES {
            return refuse("is longer than 4095 bytes");
        }
        if bytes.contains(&0) {
            return refuse("holds a NUL");
        }
        if std::str::from_utf8(bytes).is_err() {
            return refuse("is not UTF-8");
        }
        let Some(relative) = bytes.strip_prefix(b"/") else { return refuse("is not an absolute path") };
        let relative = relative.strip_suffix(b"/").unwrap_or(relative);
        for component in relative.split(|&byte| byte == b'/') {
            match component {
                b"" => return refuse("has an empty component"),
                b"." | b".." => return refuse("has a . or .. component"),
                _ if component.len() > 255 => return refuse("has a component longer than 255 bytes"),
                _ => {}
            }
        }
        let below = path.strip_prefix(&self.configured).or_else(|_| path.strip_prefix(&self.canonical));
        match below {
            Ok(below) if below.as_os_str().is_empty() => refuse("is the kubelet root itself"),
            Ok(below) => Ok(below.components().collect()),
            Err(_) => refuse(&format!("does not lie below the kubelet root {}", self.configured.display())),
        }
    }

    /// The root, as mountinfo shows it.
    pub(crate) fn root(&self) -> &Path {
        &self.canonical
    }

    /// A path as it is called in the journal and in mountinfo, without looking whether it is there.
    ///
    /// # Errors
    /// InvalidArgument, as for [`PathFence::resolve`].
    pub(crate) fn canonical(&self, what: &str, path: &Path) -> Result<PathBuf> {
        Ok(self.canonical.join(self.below(what, path)?))
    }

    /// Opens the parent of a path. None: the parent does not exist. `what` names the field in errors.
    ///
    /// # Errors
    /// InvalidArgument: the path has the wrong shape, or leads through a link or something that is no directory.
    pub(crate) fn resolve(&self, what: &str, path: &Path) -> Result<Option<Place>> {
        let below = self.below(what, path)?;
        let canonical = self.canonical.join(&below);
        let name = below.file_name().map(OsStr::to_owned).unwrap_or_default();
        let parent = below.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match open_beneath(&self.root, parent, flags, Mode::empty()) {
            Ok(parent) => Ok(Some(Place { parent, name, canonical })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::XDEV) => {
                Err(Error::invalid_argument(format_args!("{what}: leads through a symbolic link")))
            }
            Err(Errno::NOTDIR) => {
                Err(Error::invalid_argument(format_args!("{what}: leads through something that is no directory")))
            }
            Err(e) => Err(io_error(format_args!("cannot open the parent of {}", canonical.display()), e)),
        }
    }
}

impl Place {
    /// As mountinfo shows it.
    pub(crate) fn canonical(&self) -> &Path {
        &self.canonical
    }

    /// The parent, open.
    pub(crate) fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }

    /// The last component.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// What is there, links not followed. A dead file system gives an error.
    pub(crate) fn found(&self) -> IoResult<Found> {
        let stat = match statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(e) => return Err(e),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Found::Directory,
            FileType::RegularFile => Found::File,
            FileType::BlockDevice => Found::BlockDevice,
            _ => Found::Other,
        })
    }

    /// Opens it as a place only (O_PATH): what is mounted there, if something is.
    pub(crate) fn open(&self) -> IoResult<OwnedFd> {
        open_beneath(&self.parent, Path::new(&self.name), OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Makes a directory (mode 0750) or an empty file (0600) there. One that is there already is fine if it is of that
    /// kind.
    pub(crate) fn make(&self, directory: bool) -> IoResult<()> {
        let made = if directory {
            rustix::fs::mkdirat(&self.parent, &self.name, Mode::from_raw_mode(0o750))
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            open_beneath(&self.parent, Path::new(&self.name), flags, Mode::from_raw_mode(0o600)).map(drop)
        };
        match (made, directory) {
            (Err(Errno::EXIST), true) if self.found()? == Found::Directory => Ok(()),
            (Err(Errno::EXIST), false) if self.found()? == Found::File => Ok(()),
            (other, _) => other,
        }
    }

    /// Removes an empty directory or an empty file. Nothing there is fine; anything else stays (`NOTEMPTY`).
    pub(crate) fn remove(&self) -> IoResult<()> {
        let removed = match self.found()? {
            Found::Nothing => Ok(()),
            Found::Directory => rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR),
            Found::File if statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW)?.st_size == 0 => {
                rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::empty())
            }
            _ => Err(Errno::NOTEMPTY),
        };
        match removed {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// A path to it for system calls that take nothing else. It leads through the open parent, so nothing can
    /// be put in between; only the last component may change, and the calls that use it do not follow links.
    pub(crate) fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.parent.as_raw_fd())).join(&self.name)
    }
}

/// Checks that a directory can serve as the kubelet root: it exists and is a directory.
///
/// # Errors
/// FailedPrecondition, saying what is wrong with it.
pub fn check_kubelet_root(path: &Path) -> Result<()> {
    PathFence::open(path).map(drop)
}

/// How long a mount may be busy before that is taken for more than a passing descriptor.
const BUSY: Duration = Duration::from_secs(1);

/// Unmounts the topmost mount at a place, never through a link.
///
/// Busy is asked again for a second: while another thread starts a program, the child has copies of all descriptors of
/// this process from fork(2) until exec(2), also of those that are closed here by now.
///
/// # Errors
/// Unavailable: still busy, or what the kernel says.
pub(crate) fn unmount(place: &Place) -> Result<()> {
    let deadline = Instant::now() + BUSY;
    let mut pause = Duration::from_millis(1);
    loop {
        match rustix::mount::unmount(place.proc_path(), rustix::mount::UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(pause),
            other => return other.during(format_args!("cannot unmount {}", place.canonical().display())),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Takes the topmost mount off a place at once, busy or dead: the kernel drops it when the last user does.
///
/// # Errors
/// As the kernel says.
pub(crate) fn detach(place: &Place) -> Result<()> {
    let flags = rustix::mount::UnmountFlags::NOFOLLOW | rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(place.proc_path(), flags)
        .during(format_args!("cannot unmount {}", place.canonical().display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    /// A root with directories, a file, and links out of it and within it.
    fn tree() -> (tempfile::TempDir, PathFence) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        std::fs::create_dir(outer.path().join("outside")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("/etc", root.join("a/etc")).unwrap();
        symlink("b", root.join("a/in")).unwrap();
        symlink("/proc/self/root", root.join("a/b/magic")).unwrap();
        let fence = PathFence::open(&root).unwrap();
        (outer, fence)
    }

    #[test]
    fn good_paths_are_reached() {
        let (outer, fence) = tree();
        let root = outer.path().join("root");
        for path in ["a", "a/", "a/b/c", "a/b/c/new", "new"] {
            let place = fence.resolve("path", &root.join(path)).unwrap().unwrap();
            assert_eq!(place.canonical(), root.canonicalize().unwrap().join(path.trim_end_matches('/')));
        }
        assert!(fence.resolve("path", &root.join("nothing/x")).unwrap().is_none());
        let place = fence.resolve("path", &root.join("out")).unwrap().unwrap();
        assert_eq!(place.found().unwrap(), Found::Other);
    }

    #[test]
    fn links_and_files_on_the_way_are_refused() {
        let (outer, fence) = tree();
        for path in ["out/x", "a/etc/passwd", "a/in/c", "file/x", "a/b/magic/etc", "a/b/magic/etc/passwd"] {
            let refused = fence.resolve("path", &outer.path().join("root").join(path)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{path}");
        }
    }

    #[test]
    fn made_and_removed_is_only_what_is_empty() {
        let (outer, fence) = tree();
        let at = |path: &str| fence.resolve("path", &outer.path().join("root").join(path)).unwrap().unwrap();
        for directory in [true, false] {
            at("new").make(directory).unwrap();
            at("new").make(directory).unwrap();
            assert_eq!(at("new").make(!directory), Err(Errno::EXIST));
            at("new").remove().unwrap();
            at("new").remove().unwrap();
        }
        assert_eq!(at("out").make(true), Err(Errno::EXIST));
        for kept in ["a", "out"] {
            assert_eq!(at(kept).remove(), Err(Errno::NOTEMPTY), "{kept}");
        }
        std::fs::write(outer.path().join("root/file"), "x").unwrap();
        assert_eq!(at("file").remove(), Err(Errno::NOTEMPTY));
    }

    #[test]
    fn a_root_must_be_a_directory() {
        let (outer, _) = tree();
        for bad in [outer.path().join("nothing"), outer.path().join("root/file"), "relative".into()] {
            assert_eq!(check_kubelet_root(&bad).unwrap_err().kind(), ErrorKind::FailedPrecondition);
        }
    }

    fn component() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => prop::sample::select(vec!["a", "b", "c", "root", "outside", "file", "new"]).prop_map(str::to_owned),
            3 => prop::sample::select(vec!["out", "etc", "in", "magic", "..", ".", "", "proc", "self"]).prop_map(str::to_owned),
            1 => "\\PC{0,8}",
            1 => "[a-z\0\n ]{0,4}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn nothing_outside_is_ever_reached(parts in prop::collection::vec(component(), 0..8), below: bool) {
            let (outer, fence) = tree();
            let mut path = if below { outer.path().join("root").into_os_string() } else { OsString::new() };
            for part in &parts {
                path.push("/");
                path.push(part);
            }
            if let Ok(Some(place)) = fence.resolve("path", Path::new(&path)) {
                let parent = std::fs::read_link(format!("/proc/self/fd/{}", place.parent.as_raw_fd())).unwrap();
                let root = outer.path().join("root").canonicalize().unwrap();
                prop_assert!(parent.starts_with(&root), "{path:?} leads to {parent:?}");
                prop_assert_eq!(parent.join(place.name()), place.canonical());
                let name = Path::new(place.name());
                prop_assert!(name.components().count() == 1);
                prop_assert!(matches!(name.components().next(), Some(std::path::Component::Normal(_))));
            }
        }
    }
}
