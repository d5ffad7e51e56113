//! Values that tests use as secrets, and the search for them in what a host leaves behind: its log, its state directory, what it
//! answers over HTTP, and errors.
//!
//! What a test plants is looked for in everything of all hosts of its process, at the end of each: see [`crate::Host`]. A value is
//! found as it is, in base64 (standard and URL-safe, padded or not, wherever it stands in what was encoded), in hexadecimal of
//! either case, and percent-encoded. No finding says what was found.

use crate::http;
use base64::{Engine as _, alphabet, engine};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

/// Shorter values would be found by chance.
const SHORTEST: usize = 8;
/// What of a URL is never encoded (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Kinds of requests with secrets, as csi-sanity and our own suite name them.
const KINDS: [&str; 13] = [
    "CreateVolumeSecret",
    "DeleteVolumeSecret",
    "ControllerPublishVolumeSecret",
    "ControllerUnpublishVolumeSecret",
    "ControllerValidateVolumeCapabilitiesSecret",
    "ControllerExpandVolumeSecret",
    "ControllerModifyVolumeSecret",
    "CreateSnapshotSecret",
    "DeleteSnapshotSecret",
    "ListSnapshotsSecret",
    "GetSnapshotSecret",
    "NodeStageVolumeSecret",
    "NodePublishVolumeSecret",
];

/// Something to look for, and how it is written there.
type Needle = (Vec<u8>, &'static str);

/// Everything planted in this process.
fn planted() -> MutexGuard<'static, BTreeSet<Needle>> {
    static PLANTED: Mutex<BTreeSet<Needle>> = Mutex::new(BTreeSet::new());
    PLANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this value is a secret: nothing of any host of this process may show it.
///
/// # Panics
/// It is shorter than 8 bytes, and would be found where nobody has leaked it.
pub fn plant(value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    assert!(value.len() >= SHORTEST, "a planted secret has at least {SHORTEST} bytes");
    planted().extend(forms(value));
}

/// A new secret, planted: random, with characters that each encoding changes. `name` is not secret.
pub fn fresh(name: &str) -> String {
    static COUNT: Mutex<u64> = Mutex::new(0);
    let mut count = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
    *count += 1;
    let seed = format!("{name} {count} {} {:?}", std::process::id(), SystemTime::now());
    let value = format!("{name}/{}+=~", &hex::encode(Sha256::digest(seed))[..40]);
    plant(&value);
    value
}

/// Secrets of a request: one for the whole process, so that a repeated request is the same one.
pub fn of_request() -> BTreeMap<String, String> {
    static VALUE: OnceLock<String> = OnceLock::new();
    [("password".to_owned(), VALUE.get_or_init(|| fresh("request")).clone())].into()
}

/// Writes a file with secrets for each kind of request, as csi-sanity and `bulkhead-contract` read them, into this directory. Its
/// path.
///
/// # Panics
/// It can't be written.
pub fn file(directory: &Path) -> PathBuf {
    let secrets: BTreeMap<_, _> = KINDS.iter().map(|kind| (*kind, of_request())).collect();
    let path = directory.join("request-secrets.yaml");
    // JSON is YAML.
    fs::write(&path, serde_json::to_string(&secrets).expect("JSON")).expect("the file of secrets");
    path
}

/// All forms that a value is looked for in.
pub fn forms(value: &[u8]) -> Vec<Needle> {
    let percent = percent_encode(value, RESERVED).to_string();
    let every: String = value.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut forms = vec![
        (value.to_vec(), "as it is"),
        (hex::encode(value).into_bytes(), "hexadecimal"),
        (hex::encode_upper(value).into_bytes(), "hexadecimal, upper case"),
        (percent.replace("%20", "+").into_bytes(), "percent-encoded, as a form"),
        (lower_escapes(&percent).into_bytes(), "percent-encoded, lower case"),
        (percent.into_bytes(), "percent-encoded"),
        (lower_escapes(&every).into_bytes(), "percent-encoded throughout, lower case"),
        (every.into_bytes(), "percent-encoded throughout"),
    ];
    for (alphabet, name) in [(&alphabet::STANDARD, "base64"), (&alphabet::URL_SAFE, "base64, URL-safe")] {
        let engine = engine::GeneralPurpose::new(alphabet, engine::general_purpose::NO_PAD);
        for shift in 0..3 {
            let encoded = engine.encode([&vec![0; shift][..], value].concat());
            // The characters that depend on the value alone: with or without padding they are there.
            let own = (shift * 8).div_ceil(6)..(shift + value.len()) * 8 / 6;
            forms.push((encoded[own].as_bytes().to_vec(), name));
        }
    }
    forms
}

/// `%2F` as `%2f`.
fn lower_escapes(text: &str) -> String {
    let mut escape = 0;
    let lower = |c: char| {
        escape = if c == '%' { 3 } else { escape - i32::from(escape > 0) };
        if escape > 0 { c.to_ascii_lowercase() } else { c }
    };
    text.chars().map(lower).collect()
}

/// Where a planted secret was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File, or what it is in.
    pub place: String,
    /// From 1.
    pub line: usize,
    /// How it is written there.
    pub form: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: {}", self.place, self.line, self.form)
    }
}

/// Planted secrets in these bytes: the first of each line.
pub fn in_bytes(place: &str, bytes: &[u8]) -> Vec<Finding> {
    let planted = planted();
    // By the first two bytes: few places of a text begin with those of a needle.
    let mut starts: BTreeMap<[u8; 2], Vec<&Needle>> = BTreeMap::new();
    let mut may_start = vec![false; 1 << 16];
    for needle in planted.iter() {
        let start = [needle.0[0], needle.0[1]];
        starts.entry(start).or_default().push(needle);
        may_start[usize::from(u16::from_be_bytes(start))] = true;
    }
    let mut findings: Vec<Finding> = vec![];
    for (at, pair) in bytes.windows(2).enumerate() {
        let start = [pair[0], pair[1]];
        if !may_start[usize::from(u16::from_be_bytes(start))] {
            continue;
        }
        if let Some((_, form)) = starts[&start].iter().find(|(needle, _)| bytes[at..].starts_with(needle)) {
            let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            if findings.last().is_none_or(|last| last.line != line) {
                findings.push(Finding { place: place.to_owned(), line, form });
            }
        }
    }
    findings
}

/// Planted secrets in a file from this byte on; lines are counted from there.
///
/// # Panics
/// It can't be read.
pub fn in_file(path: &Path, from: u64) -> Vec<Finding> {
    let read = || {
        let (mut file, mut bytes) = (fs::File::open(path)?, vec![]);
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = read().unwrap_or_else(|e| panic!("{} can't be searched for secrets: {e}", path.display()));
    in_bytes(&path.display().to_string(), &bytes)
}

/// Planted secrets in names and contents of all files below a directory, if it is there. What goes while it is read has gone.
///
/// # Panics
/// Something can't be read.
pub fn below(directory: &Path) -> Vec<Finding> {
    let (mut findings, mut left) = (vec![], vec![directory.to_owned()]);
    while let Some(path) = left.pop() {
        let Some(meta) = unless_gone(&path, fs::symlink_metadata(&path)) else { continue };
        if let Some(name) = path.file_name().filter(|_| path != directory) {
            let place = format!("the name of a file in {}", path.with_file_name("").display());
            findings.extend(in_bytes(&place, name.as_bytes()));
        }
        if meta.is_dir() {
            let entries = unless_gone(&path, fs::read_dir(&path)).into_iter().flatten();
            left.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
        } else if meta.is_file() {
            let bytes = unless_gone(&path, fs::read(&path)).unwrap_or_default();
            findings.extend(in_bytes(&path.display().to_string(), &bytes));
        }
    }
    findings
}

fn unless_gone<T>(path: &Path, read: io::Result<T>) -> Option<T> {
    match read {
        Ok(it) => Some(it),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => panic!("{} can't be searched for secrets: {e}", path.display()),
    }
}

/// Planted secrets in what is answered at this port of 127.0.0.1: health, and metrics where there are some.
pub fn over_http(port: u16) -> Vec<Finding> {
    let ask = |path: &str| {
        let answer = http::get(port, path);
        let text = format!("{}\n\n{}", answer.head.join("\n"), answer.body);
        in_bytes(&format!("the answer to GET {path} at port {port}"), text.as_bytes())
    };
    ["/metrics", "/livez", "/readyz", "/healthz"].into_iter().flat_map(ask).collect()
}

/// Fails the test if something was found, and says where. While it is failing already, it is told only.
///
/// # Panics
/// Something was found.
pub fn assert_none(findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    let places: Vec<_> = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    let text = format!("planted secrets were found:{}", places.concat());
    if std::thread::panicking() {
        eprintln!("{text}");
    } else {
        panic!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

    /// What others write, with something before and after it.
    #[test]
    fn every_encoding_is_found_and_what_was_found_is_not_told() {
        let value = fresh("unit");
        let bytes = value.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let form = value.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        let mut written = vec![value.clone(), hex.to_uppercase(), hex, form.to_lowercase(), form];
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            for (before, after) in ["", "u", "us", "usr"].iter().flat_map(|b| ["", "x", "xy"].map(|a| (*b, a))) {
                written.push(engine.encode(format!("{before}{value}{after}")));
            }
        }
        for text in written {
            let found = in_bytes("it", format!("one\ntwo {text}\nthree").as_bytes());
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!((found[0].place.as_str(), found[0].line), ("it", 2));
            assert!(!format!("{found:?} {}", found[0]).contains(&text[..text.len() - 4]));
        }
        let (head, tail) = value.split_at(20);
        assert_eq!(in_bytes("it", format!("{head} {tail}").as_bytes()), vec![], "halves are not the value");
    }

    #[test]
    fn files_are_searched_by_name_and_content() {
        let (dir, value) = (tempfile::tempdir().unwrap(), fresh("files"));
        assert_eq!(below(dir.path()), vec![]);
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("record.json"), format!("{{\n\"a\": \"{}\"}}", hex::encode(&value))).unwrap();
        fs::write(inner.join(hex::encode(&value)), "").unwrap();
        let found = below(dir.path());
        assert_eq!(found.len(), 2, "{found:?}");
        let said = format!("{}{}", found[0], found[1]);
        assert!(said.contains("record.json, line 2: hexadecimal") && said.contains("the name of a file in"), "{said}");
        assert!(!said.contains(&hex::encode(&value)));
        assert_eq!(below(&dir.path().join("nothing")), vec![]);
    }
}
