//! csi-sanity and our own suite against the backend.

use crate::rig::{DRIVER, MIB, Share, sandbox};
use bulkhead_tests::{HostBuilder, sanity, skips::Mode, suite::Suite};
use bulkhead_vm::Squash;
use std::{ffi::OsStr, time::Duration};

/// Longest that our own suite may take.
const SUITE: Duration = Duration::from_secs(900);
/// Cases that this driver can't pass, and why.
const BEYOND: &[(&str, &str)] = &[
    ("data/full*", "a directory has no end: the file system is the share's"),
    ("node-publish/size*", "as above: its room is the share's"),
    ("node-expand/online*", "as above: it does not grow with the volume"),
    ("node-expand/bad-range*", "a node keeps no size of a share's directory that a limit could be below"),
];

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn csi_sanity() {
    let program = sanity::program().expect("CI=true");
    let sandbox = sandbox();
    let share = Share::new(Squash::Root, "vers=4.2");
    let builder = HostBuilder::new(&sandbox, [share.controller()]).env("BULKHEAD_LOG", "info");
    sanity::Run::new(Mode::Mount, 10 * MIB, 80, "sanity/skipped-nfs.txt").pass(&program, &sandbox, &builder);
}

/// One process is controller and node, another is a node that knows the share only by its server.
#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn our_own_suite() {
    let sandbox = sandbox();
    let share = Share::new(Squash::Root, "vers=4.2");
    let mut second = HostBuilder::new(&sandbox, [Share::node()]).apart("node-2").mode("node");
    second.node_id = "node-2".into();
    let mut builders = [HostBuilder::new(&sandbox, [share.controller()]).env("BULKHEAD_LOG", "warn"), second];
    for builder in &mut builders {
        builder.node = format!("directory: {}", sandbox.path().join("nodes").display());
    }
    let hosts = builders.each_ref().map(HostBuilder::start);
    let work_dir = |n: usize| builders[n].kubelet().join("suite");
    Suite::new(sandbox.path(), &builders[0].socket(DRIVER), &work_dir(0))
        .args(["--second-node-endpoint", &format!("unix://{}", builders[1].socket(DRIVER).display())])
        .args([OsStr::new("--second-work-dir"), work_dir(1).as_os_str()])
        .args(["--access", "mount"])
        .except(BEYOND)
        .yaml("--parameters", "provisioning: thin")
        .yaml("--other-parameters", "provisioning: thick")
        .yaml("--bad-parameters", "provisioning: never")
        .run(SUITE)
        .assert_skips("contract/skipped-nfs.txt");
    for host in hosts {
        assert!(host.stop().success());
    }
    share.assert_empty();
    sandbox.assert_clean();
}
