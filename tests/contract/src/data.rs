//! Data that a number stands for: written to a volume, and looked for later, byte for byte.

use crate::{Cx, Outcome, Stop, Usage};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, symlink},
    path::{Path, PathBuf},
};

/// Files that every content has, written over in place: name, bytes.
const FILES: &[(&str, usize)] =
    &[("empty", 0), ("one", 1), ("page-less-one", 4095), ("odd", 65_537), ("dir/deep/large", 300_000)];

/// Bytes of a content, from any offset: the same offset and seed always give the same byte.
pub fn bytes(seed: u64, offset: u64, len: usize) -> Vec<u8> {
    let first = offset / 8;
    let skip = usize::try_from(offset % 8).unwrap_or_default();
    let words = u64::try_from((skip + len).div_ceil(8)).unwrap_or_default();
    let mut all: Vec<u8> = (first..first + words).flat_map(|word| mix(seed, word).to_le_bytes()).collect();
    all.drain(..skip);
    all.truncate(len);
    all
}

/// splitmix64.
fn mix(seed: u64, word: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0xD1B5_4A32_D192_ED03) ^ word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What lies in a directory.
#[derive(PartialEq, Eq)]
enum Entry {
    Directory,
    File(Vec<u8>),
    Link(PathBuf),
    Other,
}

impl Entry {
    fn tell(&self) -> String {
        match self {
            Self::Directory => "a directory".into(),
            Self::File(bytes) => format!("a file of {} bytes", bytes.len()),
            Self::Link(to) => format!("a link to {}", to.display()),
            Self::Other => "something else".into(),
        }
    }
}

type Tree = BTreeMap<PathBuf, Entry>;

fn expected(seed: u64) -> Tree {
    let mut tree = Tree::new();
    for (name, len) in FILES {
        tree.insert(name.into(), Entry::File(bytes(seed, 0, *len)));
    }
    for name in ["dir", "dir/deep"] {
        tree.insert(name.into(), Entry::Directory);
    }
    tree.insert(format!("only-{seed}").into(), Entry::File(bytes(seed, 8, 20_000)));
    tree.insert("link".into(), Entry::Link(format!("only-{seed}").into()));
    tree
}

fn actual(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
            if name == Path::new("lost+found") {
                continue;
            }
            let kind = fs::symlink_metadata(&path)?.file_type();
            let entry = if kind.is_dir() {
                directories.push(path);
                Entry::Directory
            } else if kind.is_symlink() {
                Entry::Link(fs::read_link(&path)?)
            } else if kind.is_file() {
                Entry::File(fs::read(&path)?)
            } else {
                Entry::Other
            };
            tree.insert(name, entry);
        }
    }
    Ok(tree)
}

fn write_tree(root: &Path, seed: u64) -> io::Result<()> {
    let tree = expected(seed);
    for (name, entry) in actual(root)? {
        if !tree.contains_key(&name) && entry != Entry::Directory || matches!(entry, Entry::Link(_)) {
            fs::remove_file(root.join(name))?;
        }
    }
    for (name, entry) in &tree {
        let path = root.join(name);
        match entry {
            Entry::Directory => fs::create_dir_all(path)?,
            Entry::Link(to) => symlink(to, path)?,
            Entry::File(content) => {
                let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
                file.write_all_at(content, 0)?;
                file.sync_all()?;
            }
            Entry::Other => {}
        }
    }
    rustix::fs::syncfs(File::open(root)?)?;
    Ok(())
}

fn check_tree(root: &Path, tree: &Tree) -> Result<(), String> {
    let actual = actual(root).map_err(|e| format!("can't be read: {e}"))?;
    for (name, entry) in tree {
        let name_of = name.display();
        match actual.get(name) {
            None => return Err(format!("{name_of} is not there")),
            Some(found) if found != entry => {
                return Err(format!("{name_of} must be {}, is {} with other content", entry.tell(), found.tell()));
            }
            Some(_) => {}
        }
    }
    match actual.keys().find(|name| !tree.contains_key(*name)) {
        Some(extra) => Err(format!("{} must not be there", extra.display())),
        None => Ok(()),
    }
}

/// Where a raw device of so many bytes is written to: its ends, an odd place, and places between.
fn spots(bytes: u64) -> Vec<(u64, usize)> {
    const LARGE: u64 = 64 << 10;
    let mut spots = vec![(0, 64 << 10), (bytes.saturating_sub(LARGE), 64 << 10)];
    // Below, places would run into one another.
    if bytes >= 4 << 20 {
        spots.push((300_003, 777));
        spots.extend((1..9).map(|i| (bytes / 9 * i / 4096 * 4096, 32 << 10)));
    }
    spots
}

/// Writes the content of a seed to what is at `target`, so that it lasts. `bytes` is the size that a device is taken to have.
///
/// # Errors
/// The kernel's.
pub fn write(usage: &Usage, target: &Path, size: u64, seed: u64) -> io::Result<()> {
    if !usage.is_block() {
        return write_tree(target, seed);
    }
    let device = OpenOptions::new().write(true).open(target)?;
    for (offset, len) in spots(size) {
        device.write_all_at(&bytes(seed, offset, len), offset)?;
    }
    device.sync_all()
}

/// Whether it has the content of a seed, and no other file.
///
/// # Errors
/// What differs.
pub fn check(usage: &Usage, target: &Path, size: u64, seed: u64) -> Result<(), String> {
    if !usage.is_block() {
        return check_tree(target, &expected(seed));
    }
    let device = File::open(target).map_err(|e| format!("can't be opened: {e}"))?;
    for (offset, len) in spots(size) {
        let mut found = vec![0; len];
        device.read_exact_at(&mut found, offset).map_err(|e| format!("can't be read at {offset}: {e}"))?;
        let must = bytes(seed, offset, len);
        if let Some(at) = found.iter().zip(&must).position(|(is, must)| is != must) {
            let zero = found.iter().all(|byte| *byte == 0);
            let what = if zero { "all zeros" } else { "other bytes" };
            return Err(format!("at {} it has {what}", offset + at as u64));
        }
    }
    Ok(())
}

/// Whether nothing was ever written: no file, or zeros where content would be.
///
/// # Errors
/// What is there.
pub fn empty(usage: &Usage, target: &Path, size: u64) -> Result<(), String> {
    if !usage.is_block() {
        return check_tree(target, &Tree::new());
    }
    let device = File::open(target).map_err(|e| format!("can't be opened: {e}"))?;
    for (offset, len) in spots(size) {
        let mut found = vec![0; len];
        device.read_exact_at(&mut found, offset).map_err(|e| format!("can't be read at {offset}: {e}"))?;
        if let Some(at) = found.iter().position(|byte| *byte != 0) {
            return Err(format!("at {} it is not zero", offset + at as u64));
        }
    }
    Ok(())
}

/// Runs what blocks beside the calls.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Outcome<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Stop::Fail),
        Err(e) => Err(Stop::fail(format!("the case itself broke: {e}"))),
    }
}

impl Cx {
    fn size(&self) -> u64 {
        u64::try_from(self.bytes()).unwrap_or_default()
    }

    /// Writes the content of a seed to a volume at its target.
    ///
    /// # Errors
    /// It can't be written.
    pub async fn fill(&self, target: &str, seed: u64) -> Outcome {
        let (usage, path, size) = (self.usage.clone(), PathBuf::from(target), self.size());
        let tell = |e| format!("writing to the volume: {e}");
        aside(move || write(&usage, &path, size, seed).map_err(tell)).await
    }

    /// The volume at this target has the content of a seed. `what` is the volume.
    ///
    /// # Errors
    /// What differs.
    pub async fn holds(&self, target: &str, seed: u64, what: &str) -> Outcome {
        let (usage, path, size) = (self.usage.clone(), PathBuf::from(target), self.size());
        let what = what.to_owned();
        aside(move || check(&usage, &path, size, seed).map_err(|e| format!("the data of {what}: {e}"))).await
    }

    /// The volume at this target has no data.
    ///
    /// # Errors
    /// What is there.
    pub async fn is_empty(&self, target: &str, what: &str) -> Outcome {
        let (usage, path, size) = (self.usage.clone(), PathBuf::from(target), self.size());
        let what = what.to_owned();
        aside(move || empty(&usage, &path, size).map_err(|e| format!("the data of {what}: {e}"))).await
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, check, empty, spots, write};
    use crate::Usage;
    use std::{fs, path::PathBuf};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("contract-data-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn bytes_belong_to_their_offset() {
        let all = bytes(7, 0, 1000);
        assert_eq!(bytes(7, 13, 100), all[13..113]);
        assert_ne!(bytes(8, 0, 1000), all);
    }

    #[test]
    fn spots_do_not_overlap() {
        for size in [4 << 20, 10 << 20, 16 << 20, 1 << 30] {
            let mut spots = spots(size);
            spots.sort_unstable();
            assert!(spots.windows(2).all(|two| two[0].0 + two[0].1 as u64 <= two[1].0), "{size}: {spots:?}");
        }
    }

    /// The test of the checks: each kind of damage is found.
    #[test]
    fn damage_is_found() {
        let dir = Scratch::new("tree");
        let tree = |seed| check(&Usage::Mount(String::new()), &dir.0, 0, seed);
        let fill = |seed| write(&Usage::Mount(String::new()), &dir.0, 0, seed).unwrap();
        empty(&Usage::Mount(String::new()), &dir.0, 0).unwrap();
        fill(1);
        tree(1).unwrap();
        assert!(empty(&Usage::Mount(String::new()), &dir.0, 0).is_err());
        assert!(tree(2).is_err());
        fill(2);
        tree(2).unwrap();
        fs::write(dir.0.join("extra"), "x").unwrap();
        assert!(tree(2).unwrap_err().contains("extra must not be there"));
        fill(2);
        tree(2).unwrap();
        fs::write(dir.0.join("one"), "xx").unwrap();
        assert!(tree(2).unwrap_err().contains("one must be"));
        fs::remove_file(dir.0.join("one")).unwrap();
        assert!(tree(2).unwrap_err().contains("one is not there"));
    }

    #[test]
    fn damage_of_a_device_is_found() {
        let dir = Scratch::new("device");
        let (path, size) = (dir.0.join("image"), 10 << 20);
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        empty(&Usage::Block, &path, size).unwrap();
        write(&Usage::Block, &path, size, 3).unwrap();
        check(&Usage::Block, &path, size, 3).unwrap();
        assert!(check(&Usage::Block, &path, size, 4).is_err());
        assert!(empty(&Usage::Block, &path, size).is_err());
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0; 1], size - 1).unwrap();
        assert!(check(&Usage::Block, &path, size, 3).unwrap_err().contains(&format!("at {}", size - 1)));
    }
}
