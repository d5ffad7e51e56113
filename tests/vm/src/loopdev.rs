//! Loop devices on sparse files: what targets serve.

use crate::machine::{require, run, try_run};
use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
};
use tempfile::TempPath;

/// A loop device on a sparse file. It is gone when this is dropped, as soon as nobody uses it, and so is a file of its own.
#[derive(Debug)]
pub struct Loop {
    file: File,
    device: PathBuf,
    own: Option<TempPath>,
}

impl Loop {
    /// A device of `size` bytes, all of them zero, on a file of its own.
    ///
    /// # Panics
    /// Outside the VM; the kernel refuses.
    pub fn new(size: u64) -> Self {
        require();
        let file = tempfile::Builder::new().prefix("vm-loop-").tempfile_in("/tmp").expect("a file");
        file.as_file().set_len(size).expect("a sparse file");
        let own = file.into_temp_path();
        let mut device = Self::over(&own);
        device.own = Some(own);
        device
    }

    /// A device on this file, which stays.
    ///
    /// # Panics
    /// Outside the VM; the kernel refuses.
    pub fn over(file: &Path) -> Self {
        require();
        let device = run("losetup", ["--find".as_ref(), "--show".as_ref(), file]);
        let file = OpenOptions::new().write(true).open(file).expect("the file");
        Self { device: device.trim().into(), file, own: None }
    }

    /// The device's node.
    pub fn path(&self) -> &Path {
        &self.device
    }

    /// Makes it larger, or smaller, while it is in use: `size` bytes.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn resize(&self, size: u64) {
        self.file.set_len(size).expect("a sparse file");
        run("losetup", ["--set-capacity".as_ref(), self.device.as_os_str()]);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(error) = try_run("losetup", ["--detach".as_ref(), self.device.as_os_str()]) {
            eprintln!("{error}");
        }
        drop(self.own.take());
    }
}
