use bulkhead_vm::{Loop, MIB, Mounted, machine::run};
use std::{os::unix::ffi::OsStrExt as _, path::Path};

fn total(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path.as_os_str().as_bytes()).expect("statvfs");
    stat.f_blocks * stat.f_frsize
}

/// Kernels of small virtual machines may refuse it: it takes CAP_SYS_RESOURCE.
#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn ext4_grows_while_it_is_mounted() {
    let device = Loop::new(64 * MIB);
    let mounted = Mounted::fresh("ext4", device.path());
    let before = total(mounted.path());
    device.resize(256 * MIB);
    run("resize2fs", [device.path()]);
    assert!(total(mounted.path()) > before * 3, "{before}, then {}", total(mounted.path()));
}
