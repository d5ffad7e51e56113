//! Secrets that the operator gives a backend in files, and values that must not be seen.
//!
//! **Invariant:** a value leaves this room only into a request that is signed with it, into an HMAC, or, by
//! `grants.secrets: [reveal]`, into the backend. It is in no error, no log line and no Debug output.

mod file;

use crate::config::{SecretSource, SecretsGrant};
use bulkhead_domain::mask::mask;
use file::SecretFile;
pub use file::Stamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use zeroize::Zeroizing;

/// Largest value, in bytes.
pub const SECRET_BYTES: usize = 64 << 10;
/// Most bytes that one HMAC is made over.
pub const SIGNED_BYTES: usize = 64 << 10;

/// A value that must not be seen. Wiped when the last clone is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Arc<Zeroizing<Vec<u8>>>);

impl Value {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// The 32 bytes of HMAC-SHA-256 (RFC 2104) over `data`.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    // A key of any length is fine.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Why a secret can't be had; says so to an operator, naming secret and file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The config has no secret of this name.
    #[error("there is no secret {0:?} in backend.secrets: add it")]
    Unknown(String),
    /// The file isn't as it should be.
    #[error("secret {name}: {problem}")]
    File {
        /// The secret.
        name: String,
        /// File, problem, and what to do.
        problem: String,
    },
}

/// The secrets of one backend. Cheap to clone; all clones share what was read. The default has none, and grants none.
#[derive(Clone, Default)]
pub struct BackendSecrets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, SecretFile>,
    grant: Option<SecretsGrant>,
    seen: Seen,
    revealed: AtomicU64,
}

impl BackendSecrets {
    /// The secrets in `sources`. `grant`: what the backend itself may do with secrets. Nothing is read yet.
    pub fn new(sources: &BTreeMap<String, SecretSource>, grant: Option<SecretsGrant>) -> Self {
        let files = sources.iter().map(|(name, source)| (name.clone(), SecretFile::new(source.file.clone()))).collect();
        Self(Arc::new(Inner { files, grant, ..Inner::default() }))
    }

    /// What the backend may do with secrets; none = not even name them.
    pub fn grant(&self) -> Option<SecretsGrant> {
        self.0.grant
    }

    /// Names of the secrets, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.files.keys().map(String::as_str)
    }

    /// There is a secret of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.files.contains_key(name)
    }

    /// The value of a secret as its file has it now. Looks at the disk, and reads the file if it has changed.
    ///
    /// # Errors
    /// There is no such secret, or its file can't be read.
    pub fn read(&self, name: &str) -> Result<Value, SecretError> {
        let file = self.0.files.get(name).ok_or_else(|| SecretError::Unknown(name.to_owned()))?;
        let value = file.read().map_err(|problem| SecretError::File { name: name.to_owned(), problem })?;
        self.0.seen.add(name, &value);
        Ok(value)
    }

    /// As [`BackendSecrets::read`], on a thread that may block.
    ///
    /// # Errors
    /// There is no such secret, or its file can't be read.
    pub async fn get(&self, name: &str) -> Result<Value, SecretError> {
        let (this, owned) = (self.clone(), name.to_owned());
        let read = tokio::task::spawn_blocking(move || this.read(&owned)).await;
        read.unwrap_or_else(|_| {
            Err(SecretError::File { name: name.to_owned(), problem: "the host is shutting down".into() })
        })
    }

    /// Reads a file that isn't a secret of its own name but as worth keeping: a token that somebody else rotates.
    pub(super) fn read_other(&self, path: &Path) -> Result<Value, String> {
        let value = SecretFile::new(path.to_owned()).read()?;
        self.0.seen.add(&path.to_string_lossy(), &value);
        Ok(value)
    }

    /// Values that were read or fetched so far.
    pub fn seen(&self) -> &Seen {
        &self.0.seen
    }

    /// The backend looks at a value. How often it has done so, this time included.
    pub fn count_reveal(&self) -> u64 {
        self.0.revealed.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How often the backend has looked at values of secrets since the host started.
    pub fn revealed(&self) -> u64 {
        self.0.revealed.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for BackendSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendSecrets").field("names", &self.0.files.keys()).field("grant", &self.0.grant).finish()
    }
}

/// Values that a backend may have come across: they are masked in what it says. Cheap to clone; all clones share them.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<BTreeMap<String, [Option<Value>; 2]>>>);

impl Seen {
    /// Remembers a value, and the one before it: a call that began earlier may know that.
    pub fn add(&self, source: &str, value: &Value) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(source) {
            Some([Some(latest), _]) if latest == value => {}
            Some(kept) => *kept = [Some(value.clone()), kept[0].take()],
            None => drop(all.insert(source.to_owned(), [Some(value.clone()), None])),
        }
    }

    /// All of them.
    pub fn values(&self) -> Vec<Value> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().flatten().flatten().cloned().collect()
    }

    /// Replaces them in `text`, with those in `others`, in whatever form they stand there.
    pub fn mask<'a>(&self, text: &str, others: impl IntoIterator<Item = &'a [u8]>) -> String {
        let values = self.values();
        let others: Vec<&[u8]> = others.into_iter().collect();
        mask(text, values.iter().map(Value::expose).chain(others.iter().copied()))
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn sources(files: &[(&str, &Path)]) -> BTreeMap<String, SecretSource> {
        let source = |path: &Path| SecretSource { file: path.to_owned(), at: Place::default() };
        files.iter().map(|(name, path)| ((*name).to_owned(), source(path))).collect()
    }

    #[test]
    fn a_secret_is_read_and_masked_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "hunter2!\n").unwrap();
        let secrets = BackendSecrets::new(&sources(&[("password", &file)]), None);
        assert_eq!(secrets.seen().mask("hunter2!", []), "hunter2!", "nothing is read before it is asked for");
        let value = secrets.read("password").unwrap();
        assert_eq!(value.expose(), b"hunter2!");
        assert_eq!(secrets.seen().mask("is hunter2! or other", [b"other".as_slice()]), "is <redacted> or <redacted>");
        let shown = format!("{secrets:?} {value:?} {:?} {:#?}", secrets.seen(), secrets);
        assert!(!shown.contains("hunter2!") && shown.contains("password"), "{shown}");
        assert_eq!(
            secrets.read("other").unwrap_err().to_string(),
            "there is no secret \"other\" in backend.secrets: add it"
        );
    }

    #[test]
    fn the_value_before_is_masked_too() {
        let seen = Seen::default();
        for value in ["first-value", "second-value", "second-value", "third-value"] {
            seen.add("token", &Value::new(value.into()));
        }
        assert_eq!(seen.mask("first-value second-value third-value", []), "first-value <redacted> <redacted>");
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn hmac_as_published() {
        let hex = |key: &[u8], data: &[u8]| hex::encode(hmac_sha256(key, data));
        assert_eq!(
            hex(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
