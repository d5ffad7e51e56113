//! A directory held open: everything beneath it is reached from the descriptor, without following a link.

use crate::error::{Context, IoResult};
use bulkhead_domain::Result;
use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Nothing below a pool, the journal or the kubelet root is ever reached through a link.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// openat2(2) beneath `dir`, no link followed. The kernel may ask to try again when something is renamed meanwhile, and says EXDEV of
/// what was moved out of `dir` while it was looked up: the next try finds that it is gone.
pub(crate) fn open_beneath(dir: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> IoResult<OwnedFd> {
    let mut tries = 0;
    loop {
        match fs::openat2(dir.as_fd(), path, flags | OFlags::CLOEXEC, mode, BENEATH) {
            Err(Errno::AGAIN | Errno::INTR | Errno::XDEV) if tries < 64 => tries += 1,
            other => return other,
        }
    }
}

/// A directory and where it is, for messages.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens a directory that the operator named: links on the way to it are followed.
    pub(crate) fn open(path: &Path) -> IoResult<Self> {
        let fd = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Where it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where `name` in it is, for messages.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a directory in it.
    pub(crate) fn dir(&self, name: impl AsRef<Path>) -> IoResult<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = open_beneath(&self.fd, name.as_ref(), flags, Mode::empty())?;
        Ok(Self { fd, path: self.join(name) })
    }

    /// Opens or makes a file in it. `mode` counts only for a new file, which belongs to the directory's owner.
    pub(crate) fn file(&self, name: impl AsRef<Path>, flags: OFlags, mode: u32) -> IoResult<File> {
        let makes = flags.contains(OFlags::CREATE);
        let mode = if makes { Mode::from_raw_mode(mode) } else { Mode::empty() };
        let file = open_beneath(&self.fd, name.as_ref(), flags | OFlags::NOFOLLOW, mode).map(File::from)?;
        if makes {
            self.hand_over(|user, group| fs::fchown(&file, user, group))?;
        }
        Ok(file)
    }

    /// Makes a directory in it, which belongs to the same owner.
    pub(crate) fn make_dir(&self, name: impl AsRef<Path>, mode: u32) -> IoResult<()> {
        let name = name.as_ref();
        fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))?;
        self.hand_over(|user, group| fs::chownat(&self.fd, name, user, group, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// What root makes in somebody's directory becomes theirs: a pool is used by nodes, which are root, and by a controller that
    /// isn't, and either may come first.
    fn hand_over(&self, change: impl FnOnce(Option<Uid>, Option<Gid>) -> IoResult<()>) -> IoResult<()> {
        if !geteuid().is_root() {
            return Ok(());
        }
        let owner = fs::fstat(&self.fd)?;
        if (owner.st_uid, owner.st_gid) == (0, 0) {
            return Ok(());
        }
        match change(Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid))) {
            // A file server that takes root for somebody else has given it to them.
            Err(Errno::PERM) => Ok(()),
            other => other,
        }
    }

    /// As [`Dir::make_dir`]; one that is there already is fine.
    pub(crate) fn ensure_dir(&self, name: impl AsRef<Path>, mode: u32) -> IoResult<Self> {
        match self.make_dir(&name, mode) {
            Ok(()) | Err(Errno::EXIST) => self.dir(name),
            Err(e) => Err(e),
        }
    }

    /// Removes a file. A missing one is fine.
    pub(crate) fn remove_file(&self, name: impl AsRef<Path>) -> IoResult<()> {
        missing_is_fine(fs::unlinkat(&self.fd, name.as_ref(), AtFlags::empty()))
    }

    /// Removes an empty directory. A missing one is fine.
    pub(crate) fn remove_dir(&self, name: impl AsRef<Path>) -> IoResult<()> {
        missing_is_fine(fs::unlinkat(&self.fd, name.as_ref(), AtFlags::REMOVEDIR))
    }

    /// Moves an entry into another directory of the same file system, never over something that is there (`EEXIST`).
    ///
    /// NFS knows no RENAME_NOREPLACE. There rename(2) does for directories, since it replaces only an empty one and
    /// those that are moved by this never are.
    pub(crate) fn move_into(&self, name: impl AsRef<Path>, to: &Dir, new_name: impl AsRef<Path>) -> IoResult<()> {
        let (name, new_name) = (name.as_ref(), new_name.as_ref());
        match fs::renameat_with(&self.fd, name, &to.fd, new_name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => match fs::renameat(&self.fd, name, &to.fd, new_name) {
                Err(Errno::NOTEMPTY) => Err(Errno::EXIST),
                other => other,
            },
            other => other,
        }
    }

    /// Makes its entries durable.
    pub(crate) fn sync(&self) -> IoResult<()> {
        fs::fsync(&self.fd)
    }

    /// Names in it, in no order, without `.` and `..`.
    pub(crate) fn names(&self) -> IoResult<Vec<OsString>> {
        names_of(fs::Dir::read_from(&self.fd)?)
    }

    /// As [`Dir::names`], for the last thing that is done with it: spares opening it once more.
    pub(crate) fn into_names(self) -> IoResult<Vec<OsString>> {
        names_of(fs::Dir::new(self.fd)?)
    }

    /// Reads a whole file of at most `max` bytes. None: no such file.
    pub(crate) fn read(&self, name: impl AsRef<Path>, max: u64) -> Result<Option<Vec<u8>>> {
        let path = self.join(&name);
        let file = match self.file(name, OFlags::RDONLY | OFlags::NONBLOCK, 0) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e).during(format_args!("cannot open {}", path.display())),
        };
        // Most files here are small: one read, and one that finds the end.
        let mut bytes = Vec::with_capacity(2048);
        file.take(max + 1).read_to_end(&mut bytes).during(format_args!("cannot read {}", path.display()))?;
        if bytes.len() as u64 > max {
            return Err(bulkhead_domain::Error::unavailable(format_args!(
                "{} is larger than {max} bytes and was not written by this host",
                path.display()
            )));
        }
        Ok(Some(bytes))
    }

    /// Puts `bytes` in place of a file: after a crash the old or the new content is there, whole and durable.
    /// Two callers must not replace one file at once.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = format!(".{name}.tmp");
        let what = || format!("cannot write {}", self.join(name).display());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut file = self.file(&temporary, flags, 0o600).during(what())?;
        file.write_all(bytes).and_then(|()| file.sync_all()).during(what())?;
        fs::renameat(&self.fd, &temporary, &self.fd, name).during(what())?;
        self.sync().during(what())
    }
}

fn names_of(entries: fs::Dir) -> IoResult<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// The outcome that was wanted is there already.
fn missing_is_fine(result: IoResult<()>) -> IoResult<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
