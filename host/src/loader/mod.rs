//! Bytes in, verified bytes out: `BackendConfig -> Fetched -> Verified`. Knows nothing of what is in them.

use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Largest component that is loaded, in bytes. Compiling is work for the host, so it is bounded.
pub const MAX_COMPONENT_BYTES: u64 = 128 << 20;

/// Why a component can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// It is larger than [`MAX_COMPONENT_BYTES`].
    #[error("{} is larger than {} MiB: not a component that this host loads", path.display(), MAX_COMPONENT_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not the file that the config names.
    #[error("{} has digest sha256:{found}, and the config wants sha256:{wanted}: it is not the file you meant", path.display())]
    OtherDigest {
        /// The file.
        path: PathBuf,
        /// Of the file.
        found: String,
        /// Of the config.
        wanted: String,
    },
}

/// Bytes as they came.
#[derive(Debug)]
pub struct Fetched {
    path: PathBuf,
    bytes: Vec<u8>,
    digest: [u8; 32],
}

/// Bytes that are what the config asked for.
#[derive(Debug)]
pub struct Verified {
    bytes: Vec<u8>,
    digest: [u8; 32],
}

/// Reads a component.
///
/// # Errors
/// It is not there, can't be read, is not a file or too large.
pub fn fetch(path: &Path) -> Result<Fetched, FetchError> {
    let unreadable = |source| FetchError::Unreadable { path: path.to_owned(), source };
    let mut bytes = vec![];
    // One byte more than allowed tells whether there is more.
    File::open(path).map_err(unreadable)?.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_COMPONENT_BYTES {
        return Err(FetchError::TooLarge { path: path.to_owned() });
    }
    let digest = Sha256::digest(&bytes).into();
    Ok(Fetched { path: path.to_owned(), bytes, digest })
}

impl Fetched {
    /// Compares with the digest that the config wants, if it wants one.
    ///
    /// # Errors
    /// They differ.
    pub fn verify(self, wanted: Option<[u8; 32]>) -> Result<Verified, FetchError> {
        match wanted {
            Some(wanted) if wanted != self.digest => Err(FetchError::OtherDigest {
                path: self.path,
                found: hex::encode(self.digest),
                wanted: hex::encode(wanted),
            }),
            _ => Ok(Verified { bytes: self.bytes, digest: self.digest }),
        }
    }
}

impl Verified {
    /// The component.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of it.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        std::fs::write(&path, b"abc").unwrap();
        let right: [u8; 32] = Sha256::digest(b"abc").into();
        assert_eq!(fetch(&path).unwrap().verify(Some(right)).unwrap().bytes(), b"abc");
        assert!(fetch(&path).unwrap().verify(None).is_ok());
        let error = fetch(&path).unwrap().verify(Some([0; 32])).unwrap_err().to_string();
        assert!(error.contains("a.wasm") && error.contains(&hex::encode(right)), "{error}");
        assert!(fetch(dir.path()).is_err() && fetch(&dir.path().join("b")).is_err());
    }
}
