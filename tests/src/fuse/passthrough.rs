//! What the file system answers: what a directory beneath it says.

use super::wire::{Answer, Request};
use rustix::{
    fs::{
        self, AtFlags, CWD, FallocateFlags, Gid, Mode, OFlags, RenameFlags, SeekFrom, Stat, Timespec, Timestamps, Uid,
    },
    io::Errno,
};
use std::{
    collections::HashMap,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Most bytes of one write.
pub(super) const WRITE_MAX: u32 = 128 << 10;
const ROOT: u64 = 1;

type Outcome = Result<Answer, Errno>;

/// A file or directory that the kernel knows.
struct Node {
    file: OwnedFd,
    /// Device and inode number.
    identity: (u64, u64),
    /// How often the kernel has looked it up and not forgotten it.
    known: u64,
}

/// Names of a directory that is being read: inode, kind, name.
type Listing = Vec<(u64, u32, Vec<u8>)>;

/// All that the kernel has looked up and opened.
pub(super) struct Passthrough {
    nodes: HashMap<u64, Node>,
    numbers: HashMap<(u64, u64), u64>,
    files: HashMap<u64, OwnedFd>,
    listings: HashMap<u64, Listing>,
    next: u64,
}

impl Passthrough {
    /// Over a directory.
    pub(super) fn over(directory: &Path) -> Self {
        let file = fs::open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the directory beneath");
        let stat = fs::fstat(&file).expect("the directory beneath");
        let identity = (stat.st_dev, stat.st_ino);
        let root = Node { file, identity, known: 1 };
        Self {
            nodes: HashMap::from([(ROOT, root)]),
            numbers: HashMap::from([(identity, ROOT)]),
            files: HashMap::new(),
            listings: HashMap::new(),
            next: ROOT + 1,
        }
    }

    /// None: no answer is expected.
    pub(super) fn answer(&mut self, request: &Request<'_>) -> Option<Outcome> {
        let mut body = request.body;
        match request.opcode {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 => self.forget(request.node, body.u64()),
            36 => {}
            42 => {
                let (count, _) = (body.u32(), body.u32());
                (0..count).for_each(|_| {
                    let (node, times) = (body.u64(), body.u64());
                    self.forget(node, times);
                });
            }
            1..=13 | 45 => return Some(self.about_names(request)),
            _ => return Some(self.about_files(request)),
        }
        None
    }

    /// What changes and reads directories and attributes.
    fn about_names(&mut self, request: &Request<'_>) -> Outcome {
        let (node, mut body) = (request.node, request.body);
        match request.opcode {
            1 => self.look_up(node, body.name()),
            3 => self.stat(node).map(|stat| Answer::of_attributes(&stat)),
            4 => self.set_attributes(node, request),
            9 => {
                let (mode, _umask, name) = (body.u32(), body.u32(), body.name());
                fs::mkdirat(self.node(node)?, name, Mode::from_raw_mode(mode))?;
                self.look_up(node, name)
            }
            10 => fs::unlinkat(self.node(node)?, body.name(), AtFlags::empty()).map(done),
            11 => fs::unlinkat(self.node(node)?, body.name(), AtFlags::REMOVEDIR).map(done),
            12 => {
                let to = body.u64();
                self.rename((node, body.name()), (to, body.name()), RenameFlags::empty())
            }
            45 => {
                let (to, flags, _) = (body.u64(), body.u32(), body.u32());
                self.rename((node, body.name()), (to, body.name()), RenameFlags::from_bits_retain(flags))
            }
            _ => Err(Errno::NOSYS),
        }
    }

    /// What works with what is open, or opens it.
    fn about_files(&mut self, request: &Request<'_>) -> Outcome {
        let (node, mut body) = (request.node, request.body);
        match request.opcode {
            14 => self.open(node, body.u32()).map(|handle| Answer::default().opened(handle)),
            15 => {
                let (handle, offset, size) = (body.u64(), body.u64(), body.u32());
                let mut bytes = vec![0; size as usize];
                let count = rustix::io::pread(self.file(handle)?, &mut bytes, offset)?;
                Ok(Answer::default().bytes(&bytes[..count]))
            }
            16 => {
                let (handle, offset, size) = (body.u64(), body.u64(), body.u32());
                body.take(20);
                let count = rustix::io::pwrite(self.file(handle)?, body.take(size as usize), offset)?;
                Ok(Answer::default().u32(u32::try_from(count).unwrap_or(u32::MAX)).u32(0))
            }
            17 => Ok(Answer::of_statfs(&fs::statvfs(self.path(ROOT)?)?)),
            18 | 29 => {
                let handle = body.u64();
                self.files.remove(&handle);
                self.listings.remove(&handle);
                Ok(Answer::default())
            }
            20 | 30 => fs::fsync(self.file(body.u64())?).map(done),
            25 | 38 => Ok(Answer::default()),
            27 => self.open(node, OFlags::DIRECTORY.bits()).map(|handle| Answer::default().opened(handle)),
            28 => self.list(body.u64(), body.u64(), body.u32()),
            35 => {
                let (flags, mode, _umask, _) = (body.u32(), body.u32(), body.u32(), body.u32());
                self.create(node, body.name(), flags, mode)
            }
            43 => {
                let (handle, offset, length, mode) = (body.u64(), body.u64(), body.u64(), body.u32());
                let mode = FallocateFlags::from_bits_retain(mode);
                fs::fallocate(self.file(handle)?, mode, offset, length).map(done)
            }
            46 => {
                let (handle, offset, whence) = (body.u64(), body.u64(), body.u32());
                let from = if whence == 3 { SeekFrom::Data(offset) } else { SeekFrom::Hole(offset) };
                fs::seek(self.file(handle)?, from).map(|at| Answer::default().u64(at))
            }
            _ => Err(Errno::NOSYS),
        }
    }

    fn node(&self, node: u64) -> Result<&OwnedFd, Errno> {
        self.nodes.get(&node).map(|node| &node.file).ok_or(Errno::STALE)
    }

    /// By which it can be opened and changed, unlike by its descriptor, which is good for paths only.
    fn path(&self, node: u64) -> Result<PathBuf, Errno> {
        Ok(format!("/proc/self/fd/{}", self.node(node)?.as_raw_fd()).into())
    }

    fn stat(&self, node: u64) -> Result<Stat, Errno> {
        fs::fstat(self.node(node)?)
    }

    fn file(&self, handle: u64) -> Result<&OwnedFd, Errno> {
        self.files.get(&handle).ok_or(Errno::BADF)
    }

    fn look_up(&mut self, parent: u64, name: &std::ffi::OsStr) -> Outcome {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(self.node(parent)?, name, flags, Mode::empty())?;
        let stat = fs::fstat(&file)?;
        let identity = (stat.st_dev, stat.st_ino);
        let number = *self.numbers.entry(identity).or_insert(self.next);
        self.next = self.next.max(number + 1);
        self.nodes.entry(number).or_insert(Node { file, identity, known: 0 }).known += 1;
        Ok(Answer::of_entry(number, &stat))
    }

    fn forget(&mut self, node: u64, times: u64) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        found.known = found.known.saturating_sub(times);
        if found.known == 0 && node != ROOT {
            self.numbers.remove(&found.identity);
            self.nodes.remove(&node);
        }
    }

    /// `fuse_setattr_in`; bits as `FATTR_*`.
    fn set_attributes(&self, node: u64, request: &Request<'_>) -> Outcome {
        let mut body = request.body;
        let (valid, _, _handle, size, _owner) = (body.u32(), body.u32(), body.u64(), body.u64(), body.u64());
        let (atime, mtime, _ctime) = (body.u64(), body.u64(), body.u64());
        let (atime_nsec, mtime_nsec, _) = (body.u32(), body.u32(), body.u32());
        let (mode, _, uid, gid) = (body.u32(), body.u32(), body.u32(), body.u32());
        let (path, has) = (self.path(node)?, |bit: u32| valid & (1 << bit) != 0);
        if has(0) {
            fs::chmodat(CWD, &path, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
        }
        if has(1) || has(2) {
            let (uid, gid) = (has(1).then(|| Uid::from_raw(uid)), has(2).then(|| Gid::from_raw(gid)));
            fs::chownat(CWD, &path, uid, gid, AtFlags::empty())?;
        }
        if has(3) {
            fs::ftruncate(fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?, size)?;
        }
        if has(4) || has(5) {
            let time = |given: bool, now: bool, seconds: u64, nanoseconds: u32| Timespec {
                tv_sec: i64::try_from(seconds).unwrap_or(0),
                tv_nsec: match (given, now) {
                    (_, true) => fs::UTIME_NOW,
                    (true, false) => nanoseconds.into(),
                    (false, false) => fs::UTIME_OMIT,
                },
            };
            let times = Timestamps {
                last_access: time(has(4), has(7), atime, atime_nsec),
                last_modification: time(has(5), has(8), mtime, mtime_nsec),
            };
            fs::utimensat(CWD, &path, &times, AtFlags::empty())?;
        }
        self.stat(node).map(|stat| Answer::of_attributes(&stat))
    }

    fn rename(
        &self,
        (from, name): (u64, &std::ffi::OsStr),
        (to, new_name): (u64, &std::ffi::OsStr),
        flags: RenameFlags,
    ) -> Outcome {
        fs::renameat_with(self.node(from)?, name, self.node(to)?, new_name, flags).map(done)
    }

    fn keep(&mut self, file: OwnedFd) -> u64 {
        let handle = self.next;
        self.next += 1;
        self.files.insert(handle, file);
        handle
    }

    fn open(&mut self, node: u64, flags: u32) -> Result<u64, Errno> {
        let kept = OFlags::from_bits_retain(flags) & (OFlags::RWMODE | OFlags::DIRECTORY | OFlags::TRUNC);
        let file = fs::open(self.path(node)?, kept | OFlags::CLOEXEC, Mode::empty())?;
        Ok(self.keep(file))
    }

    fn create(&mut self, parent: u64, name: &std::ffi::OsStr, flags: u32, mode: u32) -> Outcome {
        let kept = OFlags::from_bits_retain(flags) & (OFlags::RWMODE | OFlags::EXCL | OFlags::TRUNC);
        let made = kept | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(self.node(parent)?, name, made, Mode::from_raw_mode(mode))?;
        let entry = self.look_up(parent, name)?;
        let handle = self.keep(file);
        Ok(entry.opened(handle))
    }

    /// Entries from `offset` on, as many as fit. What is there is read once, when a reader begins.
    fn list(&mut self, handle: u64, offset: u64, size: u32) -> Outcome {
        if offset == 0 || !self.listings.contains_key(&handle) {
            let mut found = vec![];
            for entry in fs::Dir::read_from(self.file(handle)?)? {
                let entry = entry?;
                let kind = entry.file_type().as_raw_mode() >> 12;
                found.push((entry.ino(), kind, entry.file_name().to_bytes().to_vec()));
            }
            self.listings.insert(handle, found);
        }
        let mut answer = Answer::default();
        let listing = self.listings.get(&handle).map_or(&[][..], Vec::as_slice);
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (inode, kind, name)) in (offset + 1..).zip(listing.iter().skip(first)) {
            if answer.len() + 24 + name.len().next_multiple_of(8) > size as usize {
                break;
            }
            answer = answer.entry(*inode, at, *kind, name);
        }
        Ok(answer)
    }
}

fn done(_: ()) -> Answer {
    Answer::default()
}
