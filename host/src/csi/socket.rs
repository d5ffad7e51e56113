//! The unix socket of a driver: a stale one is replaced, one on which somebody answers is not.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net,
    },
    path::{Path, PathBuf},
    task::{Context, Poll},
};
use tokio::net::{UnixListener, UnixStream};

/// Why a socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers.
    #[error("somebody answers on {}: stop that process or choose another endpoint", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} is there and is not a socket: remove it or choose another endpoint", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refuses.
    #[error("can't listen on {}: {reason}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The kernel's reason.
        reason: io::Error,
    },
}

/// A bound socket. Removed when dropped, if it is still the one that was bound.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    unlink: Unlink,
}

/// Removes the socket file when dropped.
#[derive(Debug)]
struct Unlink {
    path: PathBuf,
    /// Open as a place only: as long as it is, no other file gets its inode number.
    file: fs::File,
}

/// open(2); the same on all architectures that this host is built for.
const O_PATH: i32 = 0o10_000_000;

impl Unlink {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new().read(true).custom_flags(O_PATH).open(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn is_there(&self) -> io::Result<bool> {
        let (ours, there) = (self.file.metadata()?, fs::symlink_metadata(&self.path)?);
        Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    }
}

/// Looks whether the path can be bound, without touching it.
///
/// # Errors
/// Somebody answers, or something else is there.
pub fn probe_socket(path: &Path) -> Result<(), BindError> {
    if is_socket(path)? { judge(path, net::UnixStream::connect(path).map(drop)) } else { Ok(()) }
}

/// A socket is at the path; nothing may be, but nothing else.
fn is_socket(path: &Path) -> Result<bool, BindError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(reason) => Err(BindError::Io { path: path.to_owned(), reason }),
        Ok(meta) if !meta.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => Ok(true),
    }
}

/// What an attempt to connect says about who is there.
fn judge(path: &Path, connected: io::Result<()>) -> Result<(), BindError> {
    match connected {
        Ok(()) => Err(BindError::InUse(path.to_owned())),
        // Somebody listens, and does not accept.
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse(path.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(reason) => Err(BindError::Io { path: path.to_owned(), reason }),
    }
}

impl Socket {
    /// Binds `path`, readable and writable for this user only. Makes the directory it is in, but nothing else beside it.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        probe_socket(path)?;
        Self::bind_unused(path)
    }

    /// As [`Socket::bind`], again and again if need be: somebody who is there and never accepts can't hold the caller.
    pub(super) async fn bind_again(path: PathBuf) -> Result<Self, BindError> {
        if is_socket(&path)? {
            judge(&path, UnixStream::connect(&path).await.map(drop))?;
        }
        Self::bind_unused(&path)
    }

    fn bind_unused(path: &Path) -> Result<Self, BindError> {
        let failed = |reason| BindError::Io { path: path.to_owned(), reason };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::remove_file(path) {
            Ok(()) => tracing::info!(path = %path.display(), "replaced a stale socket"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let unlink = Unlink::of(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, unlink })
    }

    /// Where it was bound.
    pub(super) fn path(&self) -> &Path {
        &self.unlink.path
    }

    /// Its file is still the one that was bound.
    pub(super) fn is_there(&self) -> bool {
        self.unlink.is_there().unwrap_or(false)
    }

    /// The next connection.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        self.listener.poll_accept(cx).map_ok(|(stream, _)| stream)
    }
}

impl Drop for Unlink {
    fn drop(&mut self) {
        if self.is_there().unwrap_or(false)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "can't remove the socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stale_is_replaced_and_live_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/csi.sock");
        let first = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Socket::bind(&path), Err(BindError::InUse(_))));
        let Socket { listener, unlink } = first;
        drop(listener);
        assert!(path.exists());
        let second = Socket::bind(&path).unwrap();
        assert!(second.is_there() && !unlink.is_there().unwrap());
        drop(unlink);
        assert!(path.exists(), "the first one must not remove the second one's socket");
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "x").unwrap();
        assert!(matches!(Socket::bind(&path), Err(BindError::NotASocket(_))));
        assert!(matches!(Socket::bind_again(path).await, Err(BindError::NotASocket(_))));
    }

    #[tokio::test]
    async fn somebody_who_never_accepts_holds_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("csi.sock");
        let deaf = net::UnixListener::bind(&path).unwrap();
        // Until the kernel's queue is full, and once more.
        let mut waiting = vec![];
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }
        assert!(!waiting.is_empty());
        assert!(matches!(Socket::bind_again(path.clone()).await, Err(BindError::InUse(_))));
        drop(deaf);
        let socket = Socket::bind_again(path.clone()).await.unwrap();
        assert!(socket.is_there() && matches!(Socket::bind_again(path).await, Err(BindError::InUse(_))));
    }
}
