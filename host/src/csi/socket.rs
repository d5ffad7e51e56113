//! The unix socket of a driver: a stale one is replaced, one on which somebody answers is not.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net,
    },
    path::{Path, PathBuf},
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

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
pub struct Unlink {
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
    let failed = |reason| BindError::Io { path: path.to_owned(), reason };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed(e)),
        Ok(meta) if !meta.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => match net::UnixStream::connect(path) {
            Ok(_) => Err(BindError::InUse(path.to_owned())),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(e) => Err(failed(e)),
        },
    }
}

impl Socket {
    /// Binds `path`, readable and writable for this user only. Makes the directory it is in, but nothing else beside it.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |reason| BindError::Io { path: path.to_owned(), reason };
        probe_socket(path)?;
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

    /// Connections as they come, and what removes the socket in the end.
    pub fn into_incoming(self) -> (UnixListenerStream, Unlink) {
        (UnixListenerStream::new(self.listener), self.unlink)
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
        let (incoming, unlink) = first.into_incoming();
        drop(incoming);
        assert!(path.exists());
        let second = Socket::bind(&path).unwrap();
        drop(unlink);
        assert!(path.exists(), "the first one must not remove the second one's socket");
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "x").unwrap();
        assert!(matches!(Socket::bind(&path), Err(BindError::NotASocket(_))));
    }
}
