//! What is mounted where, from /proc/self/mountinfo.

use crate::error::Context;
use bulkhead_domain::{Error, Result};
use procfs::process::MountInfo;
use std::borrow::Cow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    /// `major:minor`.
    pub(crate) device: String,
    /// What of the file system is mounted.
    pub(crate) root: PathBuf,
    pub(crate) mount_point: PathBuf,
    /// This mount is read-only; its file system need not be.
    pub(crate) read_only: bool,
    /// What the file system says of itself, without values: `ro`, `shutdown`, ...
    pub(crate) filesystem: Vec<String>,
    /// Kind of the file system: `ext4`, `nfs4`, ...
    pub(crate) kind: String,
    /// What is mounted, as the file system calls it: a device's path, `server:/export`, ...
    pub(crate) source: PathBuf,
}

fn table() -> Result<Vec<u8>> {
    std::fs::read("/proc/self/mountinfo").during("cannot read /proc/self/mountinfo")
}

/// Mounts at exactly this path, the topmost one last. The path must be canonical.
pub(crate) fn at(path: &Path) -> Result<Vec<Mount>> {
    let table = table()?;
    let mut mounts = Vec::new();
    for line in table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        // The fifth field is the mount point: look at it before the whole line is taken apart.
        let Some(field) = line.split(|&byte| byte == b' ').nth(4) else { continue };
        if unescape(field) == path.as_os_str().as_bytes() {
            mounts.push(parse(line)?);
        }
    }
    Ok(stacked(mounts))
}

/// Everything that is mounted.
pub(crate) fn all() -> Result<Vec<Mount>> {
    let table = table()?;
    table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect()
}

/// All mounts of a file system, given as `major:minor`.
pub(crate) fn of_device(device: &str) -> Result<Vec<Mount>> {
    let table = table()?;
    let lines = table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.filter(|line| line.split(|&byte| byte == b' ').nth(2) == Some(device.as_bytes())).map(parse).collect()
}

/// The mount with this id, as statx(2) gives it.
pub(crate) fn by_id(id: u64) -> Result<Option<Mount>> {
    let prefix = format!("{id} ");
    let table = table()?;
    table.split(|&byte| byte == b'\n').find(|line| line.starts_with(prefix.as_bytes())).map(parse).transpose()
}

fn parse(line: &[u8]) -> Result<Mount> {
    // The fields that may hold other bytes than UTF-8 are taken from the line itself.
    let mut fields = line.split(|&byte| byte == b' ').skip(3);
    let (root, mount_point) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let info = MountInfo::from_line(&String::from_utf8_lossy(line))
        .map_err(|e| Error::unavailable(format_args!("cannot understand a line of /proc/self/mountinfo: {e}")))?;
    let path = |field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field).into_owned()));
    // After the optional fields, whose end is a dash.
    let mut last = line.split(|&byte| byte == b' ').skip(6).skip_while(|field| *field != b"-").skip(2);
    let source = path(last.next().unwrap_or_default());
    Ok(Mount {
        kind: info.fs_type,
        source,
        id: info.mnt_id,
        parent: info.pid,
        device: info.majmin,
        root: path(root),
        mount_point: path(mount_point),
        read_only: info.mount_options.contains_key("ro"),
        filesystem: info.super_options.into_keys().collect(),
    })
}

/// Puts mounts on one mount point in order: each is the parent of the next.
fn stacked(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let mut ordered: Vec<Mount> = Vec::with_capacity(mounts.len());
    while !mounts.is_empty() {
        let next = match ordered.last() {
            Some(top) => mounts.iter().position(|mount| mount.parent == top.id),
            None => mounts.iter().position(|mount| mounts.iter().all(|other| other.id != mount.parent)),
        };
        ordered.push(mounts.remove(next.unwrap_or(0)));
    }
    ordered
}

/// Takes the kernel's `\040` for a space, and so on (space, tab, newline, backslash, `#`), back.
pub(crate) fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if *first == b'\\'
            && let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = tail
        {
            out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: i32, parent: i32) -> Mount {
        Mount {
            id,
            parent,
            device: "7:1".into(),
            root: "/".into(),
            mount_point: "/m".into(),
            read_only: false,
            filesystem: vec![],
            kind: "ext4".into(),
            source: "/dev/x".into(),
        }
    }

    #[test]
    fn escapes_are_taken_back() {
        assert_eq!(unescape(b"/a\\040b\\011\\012\\134c").as_ref(), b"/a b\t\n\\c");
        assert_eq!(unescape(b"/plain").as_ref(), b"/plain");
        assert_eq!(unescape(b"/cut\\04").as_ref(), b"/cut\\04");
    }

    #[test]
    fn lines_are_understood_also_with_odd_bytes() {
        let line = b"36 35 98:0 /mnt1\\040x /mnt2\xff rw,noatime shared:1 - ext3 /dev/root rw,errors=continue";
        let found = parse(line).unwrap();
        assert_eq!((found.id, found.parent, found.device.as_str()), (36, 35, "98:0"));
        assert_eq!(found.root, Path::new("/mnt1 x"));
        assert_eq!(found.mount_point.as_os_str().as_bytes(), b"/mnt2\xff");
        assert!(!found.read_only && found.filesystem.contains(&"errors".to_owned()));
        assert_eq!((found.kind.as_str(), found.source.as_path()), ("ext3", Path::new("/dev/root")));
        let line = b"36 35 0:51 / /m rw shared:1 master:2 - nfs4 server:/a\\040b rw,vers=4.2";
        let found = parse(line).unwrap();
        assert_eq!((found.kind.as_str(), found.source.as_path()), ("nfs4", Path::new("server:/a b")));
        let line = b"36 35 98:0 / /mnt2 ro,noatime - ext4 /dev/root rw,shutdown";
        let found = parse(line).unwrap();
        assert!(found.read_only && found.filesystem.contains(&"shutdown".to_owned()));
    }

    #[test]
    fn the_topmost_is_last_whatever_the_order() {
        let ids = |mounts: Vec<Mount>| stacked(mounts).iter().map(|m| m.id).collect::<Vec<_>>();
        assert_eq!(ids(vec![mount(30, 20), mount(10, 1), mount(20, 10)]), [10, 20, 30]);
        assert_eq!(ids(vec![]), [0i32; 0]);
    }
}
