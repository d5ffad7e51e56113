//! A writer that stamps volumes with rising numbers, one volume after the other: what a snapshot cut from them tells about order.

use crate::{Outcome, Stop, Usage};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

/// Where the number is on a raw device.
const PLACE: u64 = 4096;

fn place(usage: &Usage, target: &Path) -> (PathBuf, u64) {
    if usage.is_block() { (target.to_owned(), PLACE) } else { (target.join("number"), 0) }
}

/// Writes on a thread of its own, until it is stopped or dropped.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    lasting: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Writer {
    /// Writes 1, 2, 3, ... to the first target, waits until the number lasts (fsync), then to the next, and so on around.
    pub fn start(usage: &Usage, targets: &[&str]) -> Self {
        let places: Vec<_> = targets.iter().map(|target| place(usage, Path::new(target))).collect();
        let (block, stop, lasting) = (usage.is_block(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, told) = (stop.clone(), lasting.clone());
        let work = move || {
            let open = |path: &Path| OpenOptions::new().write(true).create(!block).truncate(false).open(path);
            let files: Vec<_> = places.iter().map(|(path, at)| Ok((open(path)?, *at))).collect::<io::Result<_>>()?;
            for number in 1_u64.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                for ((file, at), (path, _)) in files.iter().zip(&places) {
                    if !block {
                        // File systems have more to do than one page: files that come and go.
                        let other = path.with_file_name(format!("other-{}", number % 16));
                        std::fs::write(other, crate::data::bytes(number, 0, 3000))?;
                    }
                    file.write_all_at(&number.to_le_bytes(), *at)?;
                    file.sync_all()?;
                }
                told.store(number, Ordering::SeqCst);
            }
            Ok(())
        };
        Self { stop, lasting, thread: Some(std::thread::spawn(work)) }
    }

    /// The last number that lasts on all targets.
    pub fn lasting(&self) -> u64 {
        self.lasting.load(Ordering::SeqCst)
    }

    /// Waits until so many more numbers last.
    ///
    /// # Errors
    /// It doesn't go on: nothing in a minute.
    pub async fn goes_on(&self, more: u64) -> Outcome {
        let until = self.lasting() + more;
        for _ in 0..6000 {
            if self.lasting() >= until {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Err(Stop::fail("writes to the volume do not go on"))
    }

    /// Ends it.
    ///
    /// # Errors
    /// A write failed.
    pub async fn end(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let ended = tokio::task::spawn_blocking(move || thread.join()).await.map_err(Stop::fail)?;
        match ended {
            Ok(written) => written.map_err(|e| Stop::fail(format!("writing to the volume: {e}"))),
            Err(_) => Err(Stop::fail("the case itself broke: its writer panicked")),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The volume can't be taken down before the files are closed.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The number on a volume.
///
/// # Errors
/// It can't be read.
pub fn number(usage: &Usage, target: &str) -> Outcome<u64> {
    let (path, at) = place(usage, Path::new(target));
    let mut bytes = [0; 8];
    let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, at));
    read.map_err(|e| Stop::fail(format!("{} has no number: {e}", path.display())))?;
    Ok(u64::from_le_bytes(bytes))
}
