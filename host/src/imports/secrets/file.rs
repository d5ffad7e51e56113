//! A value in a file that somebody else may replace at any time.
//!
//! Kubernetes mounts a secret as a link to a directory that it swaps; others write the file anew. Both change what [`Stamp`]
//! holds, and the file is read again.

use super::{SECRET_BYTES, Value};
use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

pub(super) struct SecretFile {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Value)>>,
}

/// What tells one state of a file from another: device, inode, size, and the times of the last changes, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp([u64; 3], [i64; 4]);

impl Stamp {
    /// Of a file that is as this says.
    pub fn of(m: &Metadata) -> Self {
        Self([m.dev(), m.ino(), m.size()], [m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()])
    }
}

impl SecretFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::default() }
    }

    /// The value as the file has it now. Errors name the file, what is wrong and what to do.
    pub(super) fn read(&self) -> Result<Value, String> {
        let path = self.path.display();
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => format!("{path} is not there: put the value there"),
            _ => format!("{path} can't be read ({error}): make it readable"),
        };
        let metadata = std::fs::metadata(&self.path).map_err(unreadable)?;
        // Before it is opened: opening a FIFO would wait for a writer.
        if !metadata.is_file() {
            return Err(format!("{path} is not a file: name one"));
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = read.as_ref().filter(|(stamp, _)| *stamp == Stamp::of(&metadata)) {
            return Ok(value.clone());
        }
        let file = File::open(&self.path).map_err(unreadable)?;
        // Of what is open now, which need not be what was looked at above.
        let stamp = Stamp::of(&file.metadata().map_err(unreadable)?);
        // Reserved once: a buffer that grows would leave copies behind.
        let mut bytes = Vec::with_capacity(SECRET_BYTES + 3);
        file.take(SECRET_BYTES as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
        let value = Value::new(bytes).without_newline();
        match value.expose().len() {
            0 => Err(format!("{path} is empty: put the value there")),
            length if length > SECRET_BYTES => Err(format!("{path} is larger than 64KiB: is this the right file?")),
            _ => {
                *read = Some((stamp, value.clone()));
                Ok(value)
            }
        }
    }
}

impl Value {
    /// Without one newline at the end: editors and `echo` leave it there.
    fn without_newline(self) -> Self {
        let bytes = self.expose();
        match bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
            Some(line) => Self::new(line.to_vec()),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink, path::Path};

    fn read(file: &SecretFile) -> String {
        String::from_utf8(file.read().unwrap().expose().to_vec()).unwrap()
    }

    #[test]
    fn one_newline_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for (content, value) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a \n", " a "), ("a\nb", "a\nb")]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&SecretFile::new(path.clone())), value);
        }
    }

    #[test]
    fn a_swapped_link_and_a_new_content_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, content) in [("v1", "first"), ("v2", "other")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("password"), content).unwrap();
        }
        // As kubelet does it: password -> ..data/password, ..data -> v1, replaced by a rename.
        symlink("v1", at("..data")).unwrap();
        symlink("..data/password", at("password")).unwrap();
        let file = SecretFile::new(at("password"));
        assert_eq!((read(&file), read(&file)), ("first".into(), "first".into()));
        symlink("v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(read(&file), "other");
        fs::write(at("v2").join("password"), "again").unwrap();
        assert_eq!(read(&file), "again");
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let problem = |path: &Path| SecretFile::new(path.to_owned()).read().unwrap_err();
        assert!(problem(&path).ends_with("s is not there: put the value there"));
        assert!(problem(dir.path()).ends_with("is not a file: name one"));
        assert!(problem(Path::new("/dev/zero")).ends_with("is not a file: name one"));
        fs::write(&path, "\n").unwrap();
        assert!(problem(&path).ends_with("s is empty: put the value there"));
        fs::write(&path, vec![b'x'; SECRET_BYTES]).unwrap();
        assert_eq!(read(&SecretFile::new(path.clone())).len(), SECRET_BYTES);
        fs::write(&path, vec![b'x'; SECRET_BYTES + 1]).unwrap();
        assert!(problem(&path).ends_with("is larger than 64KiB: is this the right file?"));
    }
}
