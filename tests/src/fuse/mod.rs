//! A file system that can stop answering: FUSE, served by this process from a directory.
//!
//! While it hangs, requests are taken and not answered, like those to a server that is gone: whoever waits for one can't be
//! interrupted, and not even be killed. When it answers again, it answers these too.

mod passthrough;
mod wire;

use passthrough::{Passthrough, WRITE_MAX};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::Errno,
    mount::MountFlags,
};
use std::{
    ffi::CString,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use wire::{Answer, Request};

/// FUSE's version that is spoken, and INIT's number.
const VERSION: (u32, u32) = (7, 31);
const INIT: u32 = 26;
/// Largest request: a write and its headers.
const REQUEST_MAX: usize = WRITE_MAX as usize + 4096;
/// How soon the end is noticed.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

#[derive(Debug, Default)]
struct Switch {
    hangs: bool,
    ends: bool,
    /// Requests that were taken while it hangs.
    taken: usize,
}

/// A mounted file system. Dropped, it ends whoever waits for it with an error, and is unmounted.
#[derive(Debug)]
pub struct Fuse {
    path: PathBuf,
    switch: Arc<(Mutex<Switch>, Condvar)>,
    server: Option<JoinHandle<()>>,
}

impl Fuse {
    /// Shows `behind` at the directory `path`, in this thread's mount namespace. Whatever others see of it was asked of this
    /// process: nothing is cached but what files contain.
    ///
    /// # Panics
    /// Not root, or the kernel has no FUSE.
    pub fn mount(behind: &Path, path: &Path) -> Self {
        let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("/dev/fuse");
        let files = Passthrough::over(behind);
        let data =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", device.as_raw_fd());
        let data = CString::new(data).expect("no zero in it");
        rustix::mount::mount("hangs", path, "fuse", MountFlags::NOSUID | MountFlags::NODEV, &*data).expect("a mount");
        let switch = Arc::<(Mutex<Switch>, Condvar)>::default();
        let shared = switch.clone();
        let serve = move || serve(&device, files, &shared);
        let server = std::thread::Builder::new().name("fuse".into()).spawn(serve).expect("a thread");
        Self { path: path.to_owned(), switch, server: Some(server) }
    }

    /// Answers nothing from now on.
    pub fn hang(&self) {
        self.set(|switch| (switch.hangs, switch.taken) = (true, 0));
    }

    /// Answers again, also what was asked meanwhile.
    pub fn resume(&self) {
        self.set(|switch| switch.hangs = false);
    }

    /// Somebody has asked it since it hangs, and waits.
    pub fn is_waited_for(&self) -> bool {
        self.switch.0.lock().unwrap_or_else(PoisonError::into_inner).taken > 0
    }

    fn set(&self, change: impl FnOnce(&mut Switch)) {
        change(&mut self.switch.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.switch.1.notify_all();
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // With the last descriptor of the device the connection ends, and every request with it.
        self.set(|switch| switch.ends = true);
        let ended = self.server.take().map(JoinHandle::join);
        let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the file system's server has failed");
        }
    }
}

fn serve(device: &OwnedFd, mut files: Passthrough, switch: &(Mutex<Switch>, Condvar)) {
    let mut buffer = vec![0; REQUEST_MAX];
    loop {
        if switch.0.lock().unwrap_or_else(PoisonError::into_inner).ends {
            return;
        }
        let mut ready = [PollFd::new(device, PollFlags::IN)];
        match poll(&mut ready, Some(&TICK)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => panic!("/dev/fuse: {error}"),
        }
        let count = match rustix::io::read(device, &mut buffer) {
            Ok(count) => count,
            // One that was taken back, or nothing to be read after all.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
            // Unmounted.
            Err(Errno::NODEV) => return,
            Err(error) => panic!("/dev/fuse: {error}"),
        };
        let request = Request::parse(&buffer[..count]).expect("a whole request");
        if !wait_while_hanging(switch) {
            return;
        }
        let answer = if request.opcode == INIT { Some(Ok(begin(&request))) } else { files.answer(&request) };
        if let Some(answer) = answer {
            // ENOENT: it was taken back meanwhile.
            match rustix::io::write(device, &Answer::framed(request.unique, answer)) {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(Errno::NODEV) => return,
                Err(error) => panic!("/dev/fuse, answer to {}: {error}", request.opcode),
            }
        }
    }
}

/// False: it is the end.
fn wait_while_hanging((switch, changed): &(Mutex<Switch>, Condvar)) -> bool {
    let mut switch = switch.lock().unwrap_or_else(PoisonError::into_inner);
    if switch.hangs {
        switch.taken += 1;
    }
    while switch.hangs && !switch.ends {
        let woken = changed.wait_timeout(switch, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner);
        switch = woken.0;
    }
    !switch.ends
}

/// `fuse_init_out`.
fn begin(request: &Request<'_>) -> Answer {
    let mut body = request.body;
    let (_, _, read_ahead) = (body.u32(), body.u32(), body.u32());
    /// FUSE_BIG_WRITES: more than a page at once.
    const FLAGS: u32 = 1 << 5;
    let versions = Answer::default().u32(VERSION.0).u32(VERSION.1).u32(read_ahead).u32(FLAGS);
    let limits = versions.u16(64).u16(48).u32(WRITE_MAX).u32(1);
    limits.u16(0).u16(0).zeros(4 + 4 + 2 + 22)
}
