//! What the kernel says about paths: the suite's own eyes, beside the driver's answers.

use crate::{Cx, Outcome, Stop, ensure};
use procfs::process::{MountInfo, Process};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// One mount.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Where.
    pub at: PathBuf,
    /// Like `ext4`.
    pub fs_type: String,
    /// What of the file system is mounted: `/` is all of it.
    pub root: String,
    /// Options of the mount and of the file system, like `ro` or `errors=continue`.
    pub options: BTreeSet<String>,
}

impl From<MountInfo> for Mount {
    fn from(info: MountInfo) -> Self {
        let all = info.mount_options.into_iter().chain(info.super_options);
        let option = |(key, value): (String, Option<String>)| match value {
            Some(value) => format!("{key}={value}"),
            None => key,
        };
        Self { at: info.mount_point, fs_type: info.fs_type, root: info.root, options: all.map(option).collect() }
    }
}

fn table() -> Outcome<Vec<Mount>> {
    let unreadable = |e| Stop::fail(format!("the suite can't read its mountinfo: {e}"));
    let table = Process::myself().and_then(|me| me.mountinfo()).map_err(unreadable)?;
    Ok(table.into_iter().map(Mount::from).collect())
}

/// The path without symbolic links, as the kernel lists it; as it is if it is not there.
fn real(path: &str) -> PathBuf {
    let path = Path::new(path);
    let parent = path.parent().and_then(|parent| fs::canonicalize(parent).ok());
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

/// Mounts at this path, the first one first.
///
/// # Errors
/// The table can't be read.
pub fn mounts_at(path: &str) -> Outcome<Vec<Mount>> {
    let path = real(path);
    Ok(table()?.into_iter().filter(|mount| mount.at == path).collect())
}

/// Mounts at this path and below it.
///
/// # Errors
/// As [`mounts_at`].
pub fn mounts_below(path: &str) -> Outcome<usize> {
    let path = real(path);
    Ok(table()?.iter().filter(|mount| mount.at.starts_with(&path)).count())
}

/// Mounts with this in their path.
///
/// # Errors
/// As [`mounts_at`].
pub fn mounts_named(part: &str) -> Outcome<usize> {
    Ok(table()?.iter().filter(|mount| mount.at.to_string_lossy().contains(part)).count())
}

/// Takes a mount away behind the driver's back, or all that lie on one another.
///
/// # Errors
/// The kernel refuses.
pub fn unmount(path: &str) -> Outcome {
    while !mounts_at(path)?.is_empty() {
        rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH)
            .map_err(|e| Stop::fail(format!("the suite can't unmount {path}: {e}")))?;
    }
    Ok(())
}

/// Bytes of a file system: all and free.
///
/// # Errors
/// The kernel doesn't tell.
pub fn statfs(path: &str) -> Outcome<(u64, u64)> {
    let seen = rustix::fs::statvfs(path).map_err(|e| Stop::fail(format!("statvfs of {path}: {e}")))?;
    Ok((seen.f_blocks * seen.f_frsize, seen.f_bfree * seen.f_frsize))
}

/// Bytes of a raw device, or of the file that stands for one.
///
/// # Errors
/// It can't be opened.
pub fn device_size(path: &str) -> Outcome<u64> {
    let end = File::open(path).and_then(|mut file| file.seek(SeekFrom::End(0)));
    end.map_err(|e| Stop::fail(format!("the size of {path}: {e}")))
}

impl Cx {
    /// The volume is there at a target path: mounted, or a device, and nothing twice.
    ///
    /// # Errors
    /// It is not.
    pub fn is_there(&self, target: &str) -> Outcome {
        let kind = fs::metadata(target).map_err(|e| Stop::fail(format!("{target} after NodePublishVolume: {e}")))?;
        let kind = kind.file_type();
        if self.usage.is_block() {
            ensure!(kind.is_block_device(), "{target} must be a block device, is {kind:?}");
        } else {
            ensure!(kind.is_dir(), "{target} must be a directory, is {kind:?}");
            let mounts = mounts_at(target)?.len();
            ensure!(mounts == 1, "{mounts} mounts at {target}, must be one");
        }
        Ok(())
    }

    /// Nothing is at a path that was a target.
    ///
    /// # Errors
    /// It is still there.
    pub fn is_gone(&self, target: &str) -> Outcome {
        ensure!(mounts_below(target)? == 0, "{target} is still mounted");
        let left = fs::symlink_metadata(target);
        ensure!(left.is_err(), "{target} is still there");
        Ok(())
    }

    /// Bytes that a volume offers at its target: of the device, or of the file system.
    ///
    /// # Errors
    /// The kernel doesn't tell.
    pub fn room(&self, target: &str) -> Outcome<u64> {
        if self.usage.is_block() { device_size(target) } else { Ok(statfs(target)?.0) }
    }

    /// Whether the volume is a file system of its own, not a directory of one that others use too.
    ///
    /// # Errors
    /// It isn't mounted.
    pub fn own_file_system(&self, target: &str) -> Outcome<bool> {
        let Some(mount) = mounts_at(target)?.pop() else {
            return Err(Stop::fail(format!("{target} is not mounted")));
        };
        Ok(mount.root == "/")
    }

    /// The size is the one that was asked for: a device has at least as many bytes; a file system too, less what it keeps
    /// for itself, and it has no more if it is the volume's own.
    ///
    /// # Errors
    /// It is not.
    pub fn has_room(&self, target: &str, bytes: i64) -> Outcome {
        let asked = u64::try_from(bytes).unwrap_or_default();
        let room = self.room(target)?;
        if self.usage.is_block() {
            ensure!(room >= asked, "the device has {room} bytes, must be {asked} or more");
            return Ok(());
        }
        // What ext4, XFS and btrfs keep for journals and tables, at sizes of a few MiB.
        let least = asked / 10 * 7;
        ensure!(room >= least, "the file system has {room} bytes, must be near {asked}: was it grown?");
        Ok(())
    }

    /// Whether anything can be written at a target. Leaves no trace of the attempt.
    ///
    /// # Errors
    /// The attempt can't be taken back.
    pub fn writable(&self, target: &str) -> Outcome<bool> {
        if self.usage.is_block() {
            return Ok(write_device(target).is_ok());
        }
        let path = Path::new(target).join("written-by-the-suite");
        let written = fs::write(&path, b"x").and_then(|()| File::open(&path)?.sync_all());
        if path.exists() {
            fs::remove_file(&path).map_err(|e| Stop::fail(format!("{}: {e}", path.display())))?;
        }
        Ok(written.is_ok())
    }
}

/// Writes the first sector of a device over itself.
fn write_device(path: &str) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut sector = [0; 512];
    File::open(path)?.read_exact_at(&mut sector, 0)?;
    let device = OpenOptions::new().write(true).open(path)?;
    device.write_all_at(&sector, 0)?;
    device.sync_all()
}
