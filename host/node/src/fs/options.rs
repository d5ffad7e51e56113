//! Options for mkfs and for mounts.
//!
//! What a plan asks for comes from a backend and passes a list. Mount flags come from the cluster's administrator and go
//! through; they may hold sensitive text, so no error shows one.

use super::format::FsKind;
use bulkhead_domain::{Error, Result};

/// MOUNT_ATTR_*, <linux/mount.h>.
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 0x1;
    pub(crate) const NOSUID: u64 = 0x2;
    pub(crate) const NODEV: u64 = 0x4;
    pub(crate) const NOEXEC: u64 = 0x8;
    pub(crate) const ATIME: u64 = 0x70;
    pub(crate) const NOATIME: u64 = 0x10;
    pub(crate) const STRICTATIME: u64 = 0x20;
    pub(crate) const NODIRATIME: u64 = 0x80;
    pub(crate) const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// What a list of options comes to.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct MountOptions {
    /// Attributes of the mount, MOUNT_ATTR_*.
    pub(crate) set: u64,
    /// Attributes that were asked to be off.
    pub(crate) clear: u64,
    /// Options of the file system: key, and value if it has one.
    pub(crate) filesystem: Vec<(String, Option<String>)>,
}

impl MountOptions {
    /// The mount or the whole file system is to be read-only.
    pub(crate) fn read_only(&self) -> bool {
        self.set & attr::RDONLY != 0
    }

    /// Reads the mount flags of a client.
    ///
    /// # Errors
    /// InvalidArgument: one is empty, holds a NUL or another control character, or a comma outside quotes. It names the
    /// flag by its place only.
    pub(crate) fn from_flags(flags: &[String]) -> Result<Self> {
        let mut options = Self::default();
        for (index, flag) in flags.iter().enumerate() {
            let refuse = |why: &str| Err(Error::invalid_argument(format_args!("mount flag {} {why}", index + 1)));
            if flag.is_empty() {
                return refuse("is empty");
            }
            if flag.chars().any(char::is_control) {
                return refuse("holds a control character");
            }
            let (key, value) = match flag.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (flag.as_str(), None),
            };
            // SELinux labels have commas, and come in quotes.
            let quoted = value.and_then(|value| value.strip_prefix('"')).and_then(|value| value.strip_suffix('"'));
            if key.is_empty() || key.contains(',') || (quoted.is_none() && flag.contains(',')) {
                return refuse("holds a comma or no name; give each flag as an entry of its own");
            }
            options.add(key, quoted.or(value));
        }
        Ok(options)
    }

    /// Reads the mount options of a plan.
    ///
    /// # Errors
    /// FailedPrecondition: one is not on the list. It names the option.
    pub(crate) fn from_plan(fs: Option<FsKind>, options: &[String]) -> Result<Self> {
        let mut parsed = Self::default();
        for option in options {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (option.as_str(), None),
            };
            if !plan_option_allowed(fs, key, value) {
                return Err(not_allowed("mount", option));
            }
            parsed.add(key, value);
        }
        Ok(parsed)
    }

    pub(crate) fn add(&mut self, key: &str, value: Option<&str>) {
        let (set, clear) = match (key, value) {
            ("ro", None) => (attr::RDONLY, 0),
            ("rw", None) => (0, attr::RDONLY),
            ("nosuid", None) => (attr::NOSUID, 0),
            ("suid", None) => (0, attr::NOSUID),
            ("nodev", None) => (attr::NODEV, 0),
            ("dev", None) => (0, attr::NODEV),
            ("noexec", None) => (attr::NOEXEC, 0),
            ("exec", None) => (0, attr::NOEXEC),
            ("noatime", None) => (attr::NOATIME, attr::ATIME),
            ("strictatime", None) => (attr::STRICTATIME, attr::ATIME),
            ("relatime" | "atime" | "nostrictatime", None) => (0, attr::ATIME),
            ("nodiratime", None) => (attr::NODIRATIME, 0),
            ("diratime", None) => (0, attr::NODIRATIME),
            ("nosymfollow", None) => (attr::NOSYMFOLLOW, 0),
            ("symfollow", None) => (0, attr::NOSYMFOLLOW),
            // For fstab, not for the kernel.
            ("defaults" | "_netdev" | "nofail" | "auto" | "noauto", None) => (0, 0),
            (comment, _) if comment.starts_with("x-") => (0, 0),
            _ => {
                self.filesystem.push((key.to_owned(), value.map(str::to_owned)));
                return;
            }
        };
        self.set = (self.set & !clear) | set;
        self.clear = (self.clear & !set) | clear;
    }

    /// These, then those of `later`, which win.
    pub(crate) fn then(mut self, later: Self) -> Self {
        self.set = (self.set & !later.clear) | later.set;
        self.clear = (self.clear & !later.set) | later.clear;
        self.filesystem.extend(later.filesystem);
        self
    }
}

fn not_allowed(what: &str, option: &str) -> Error {
    Error::failed_precondition(format_args!(
        "the backend's plan asks for the {what} option {:?}, which this host does not allow",
        bulkhead_domain::error::clean_text(option, 128)
    ))
}

fn plan_option_allowed(fs: Option<FsKind>, key: &str, value: Option<&str>) -> bool {
    let number = |value: &str| value.parse::<u32>().is_ok();
    match (key, value) {
        ("ro" | "nosuid" | "nodev" | "noexec" | "noatime" | "nodiratime" | "relatime" | "strictatime", None) => true,
        ("sync" | "dirsync" | "lazytime", None) => fs.is_some(),
        ("discard" | "nodiscard", None) => fs.is_some(),
        ("commit", Some(seconds)) => fs == Some(FsKind::Ext4) && number(seconds),
        ("data", Some("ordered" | "journal")) => fs == Some(FsKind::Ext4),
        ("errors", Some("remount-ro" | "continue")) => fs == Some(FsKind::Ext4),
        ("noload", None) => fs == Some(FsKind::Ext4),
        ("nouuid" | "norecovery" | "inode64" | "largeio" | "swalloc", None) => fs == Some(FsKind::Xfs),
        ("logbsize" | "allocsize", Some(size)) => {
            fs == Some(FsKind::Xfs) && number(size.strip_suffix(['k', 'm']).unwrap_or(size))
        }
        _ => false,
    }
}

/// Arguments for mkfs of the options of a plan: `-m 1`, `-m1` and `-i size=512` are understood, each as one entry or two.
///
/// # Errors
/// FailedPrecondition: one is not on the list. It names the option.
pub(crate) fn mkfs_arguments(fs: FsKind, options: &[String]) -> Result<Vec<String>> {
    let mut words = options.iter().flat_map(|option| option.split_ascii_whitespace());
    let mut arguments = Vec::new();
    while let Some(word) = words.next() {
        let (flag, attached) = word.split_at_checked(2).unwrap_or((word, ""));
        let value = if attached.is_empty() { words.next().unwrap_or_default() } else { attached };
        if !mkfs_option_allowed(fs, flag, value) {
            return Err(not_allowed("mkfs", format!("{flag} {value}").trim()));
        }
        arguments.extend([flag.to_owned(), value.to_owned()]);
    }
    Ok(arguments)
}

fn mkfs_option_allowed(fs: FsKind, flag: &str, value: &str) -> bool {
    let number = |value: &str| !value.is_empty() && value.len() <= 12 && value.bytes().all(|b| b.is_ascii_digit());
    match (fs, flag) {
        (FsKind::Ext4, "-m") => value.parse::<f32>().is_ok_and(|percent| (0.0..=50.0).contains(&percent)),
        (FsKind::Ext4, "-i" | "-I" | "-b" | "-N") => number(value),
        (FsKind::Xfs, "-b" | "-i") => value.strip_prefix("size=").is_some_and(number),
        (FsKind::Xfs, "-m") => value.split(',').all(|setting| {
            setting.split_once('=').is_some_and(|(key, on)| {
                matches!(key, "reflink" | "crc" | "bigtime" | "finobt" | "rmapbt" | "inobtcount")
                    && matches!(on, "0" | "1")
            })
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|&s| s.to_owned()).collect()
    }

    #[test]
    fn flags_become_attributes_and_options() {
        let flags =
            owned(&["ro", "noatime", "nosuid", "suid", "commit=5", "context=\"a:b:c1,c2\"", "_netdev", "x-a=b"]);
        let options = MountOptions::from_flags(&flags).unwrap();
        assert_eq!(options.set, attr::RDONLY | attr::NOATIME);
        assert!(options.read_only());
        let expected =
            [("commit".to_owned(), Some("5".to_owned())), ("context".to_owned(), Some("a:b:c1,c2".to_owned()))];
        assert_eq!(options.filesystem, expected);
    }

    #[test]
    fn bad_flags_are_refused_and_not_shown() {
        for bad in ["", "a,hunter2", "hunter2\0", "hunter2\n", "=hunter2", "a=\"b\",hunter2"] {
            let refused = MountOptions::from_flags(&owned(&["ro", bad])).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{bad:?}");
            assert!(refused.message().contains("mount flag 2") && !refused.message().contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn later_ones_win() {
        let first = MountOptions::from_flags(&owned(&["ro", "noatime"])).unwrap();
        let both = first.then(MountOptions::from_flags(&owned(&["rw", "relatime"])).unwrap());
        assert_eq!(both.set, 0);
    }

    #[test]
    fn plan_options_pass_a_list() {
        assert!(MountOptions::from_plan(Some(FsKind::Ext4), &owned(&["noatime", "commit=30", "data=ordered"])).is_ok());
        assert!(MountOptions::from_plan(Some(FsKind::Xfs), &owned(&["nouuid", "logbsize=256k"])).is_ok());
        for (fs, bad) in [
            (Some(FsKind::Ext4), "journal_path=/dev/sda"),
            (Some(FsKind::Ext4), "suid"),
            (Some(FsKind::Xfs), "logdev=/dev/sda"),
            (None, "sync"),
            (Some(FsKind::Ext4), ""),
        ] {
            let refused = MountOptions::from_plan(fs, &owned(&[bad])).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::FailedPrecondition, "{bad}");
        }
    }

    #[test]
    fn mkfs_options_pass_a_list() {
        let arguments = mkfs_arguments(FsKind::Ext4, &owned(&["-m 1", "-i", "8192", "-I256"])).unwrap();
        assert_eq!(arguments, ["-m", "1", "-i", "8192", "-I", "256"]);
        let arguments = mkfs_arguments(FsKind::Xfs, &owned(&["-m reflink=1,crc=1", "-b", "size=4096"])).unwrap();
        assert_eq!(arguments, ["-m", "reflink=1,crc=1", "-b", "size=4096"]);
        for (fs, bad) in [
            (FsKind::Ext4, "-E discard"),
            (FsKind::Ext4, "-d /etc"),
            (FsKind::Ext4, "/dev/sda"),
            (FsKind::Ext4, "-F"),
            (FsKind::Ext4, "-m"),
            (FsKind::Ext4, "-b 4096 /dev/sda"),
            (FsKind::Xfs, "-l logdev=/dev/sda"),
            (FsKind::Xfs, "-f"),
            (FsKind::Xfs, "-i size=512,sparse=0"),
            (FsKind::Xfs, "-ä size=512"),
        ] {
            let refused = mkfs_arguments(fs, &owned(&[bad])).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::FailedPrecondition, "{bad}");
        }
    }
}
