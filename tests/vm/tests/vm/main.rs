//! The servers, targets and devices of the VM, on its kernel: each appears with its identity, can be used, and goes. Runs in the VM:
//! `make test-vm`.

mod dm;
mod grow;
mod nfs;
mod nvme;
mod scsi;

use bulkhead_vm::Mounted;
use std::{fs, path::Path};

/// Makes a file system, writes a file, mounts it again and reads the file.
fn holds_a_file_system(kind: &str, device: &Path) {
    let text = vec![0x5a; 300_000];
    let mounted = Mounted::fresh(kind, device);
    fs::write(mounted.path().join("file"), &text).expect("written");
    drop(mounted);
    let mounted = Mounted::mount(kind, device, "ro");
    assert!(fs::read(mounted.path().join("file")).expect("read") == text, "other bytes came back from {kind}");
}
