//! Device mapper: devices put together from parts of others, parts that can't be read, and devices that stall.

use crate::machine::{load, run, try_run};
use std::path::{Path, PathBuf};

/// A part of a device, in sectors of 512 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// So many sectors of a device from this one on.
    Linear(u64, &'a Path, u64),
    /// So many sectors in which every read and write fails.
    Error(u64),
    /// So many sectors of zeros; what is written there is lost.
    Zero(u64),
}

/// A device of its own name, gone when this is dropped.
#[derive(Debug)]
pub struct Dm {
    name: String,
    node: PathBuf,
}

impl Dm {
    /// Makes `/dev/mapper/NAME` of these parts, one after the other.
    ///
    /// # Panics
    /// Outside the VM; the kernel refuses.
    pub fn create(name: &str, segments: &[Segment<'_>]) -> Self {
        load("dm-mod", &[]);
        run("dmsetup", ["create", name, "--table", &table(segments)]);
        Self { name: name.into(), node: Path::new("/dev/mapper").join(name) }
    }

    /// `/dev/mapper/NAME`.
    pub fn path(&self) -> &Path {
        &self.node
    }

    /// Puts other parts in the place of those it has, while it is in use: of other size, or failing from now on.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn replace(&self, segments: &[Segment<'_>]) {
        run("dmsetup", ["reload", &self.name, "--table", &table(segments)]);
        // What is written and not yet on the disk may have nowhere to go any more.
        run("dmsetup", ["suspend", "--nolockfs", "--noflush", &self.name]);
        self.resume();
    }

    /// Every read and write waits until [`Dm::resume`].
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn stall(&self) {
        run("dmsetup", ["suspend", "--nolockfs", "--noflush", &self.name]);
    }

    /// Ends [`Dm::stall`].
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn resume(&self) {
        run("dmsetup", ["resume", &self.name]);
    }
}

fn table(segments: &[Segment<'_>]) -> String {
    let mut start = 0;
    let mut table = String::new();
    for segment in segments {
        let (sectors, target) = match segment {
            Segment::Linear(sectors, device, from) => (sectors, format!("linear {} {from}", device.display())),
            Segment::Error(sectors) => (sectors, "error".to_owned()),
            Segment::Zero(sectors) => (sectors, "zero".to_owned()),
        };
        table += &format!("{start} {sectors} {target}\n");
        start += sectors;
    }
    table
}

impl Drop for Dm {
    fn drop(&mut self) {
        // A stalled device can't be removed, and whoever waits for it is let go.
        let _ = try_run("dmsetup", ["resume", &self.name]);
        let _ = try_run("dmsetup", ["remove", "--retry", &self.name]);
        // Still open: it fails from now on, and goes with its last user.
        let _ = try_run("dmsetup", ["remove", "--deferred", "--force", &self.name]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_part() {
        let disk = Path::new("/dev/loop0");
        let parts = [Segment::Error(8), Segment::Linear(16, disk, 8), Segment::Zero(2)];
        assert_eq!(table(&parts), "0 8 error\n8 16 linear /dev/loop0 8\n24 2 zero\n");
    }
}
