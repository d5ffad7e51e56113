//! NFS, with the kernel's own server. In the test VM only: `make test-vm`.

use crate::Test;
use crate::env::*;
use crate::vm_platform::{EXPORT, stage_export as stage};
use bulkhead_domain::ErrorKind;
use bulkhead_domain::health::VolumeHealth;
use bulkhead_domain::node::Stage;
use bulkhead_vm::{LockDaemon, NfsServer, Squash, Version};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    ("vm_nfs::servers_are_tried_in_order", servers),
    ("vm_nfs::version_3_without_a_lock_daemon", without_locks),
    ("vm_nfs::ceph_csi_6418_a_server_that_hangs_holds_nobody", hung),
    ("vm_nfs::a_stale_mount_is_replaced", stale),
    ("vm_nfs::what_the_server_refuses", refusals),
    ("vm_nfs::kubernetes_120853_a_rebooted_node", rebooted),
];

const TIMEOUT: Duration = Duration::from_secs(20);
const KIND: Kind = EXPORT;

fn shown(path: &Path) -> String {
    tool("findmnt", &["-n", "-o", "FSTYPE,SOURCE,OPTIONS", "-M", path.to_str().unwrap()])
}

fn servers() {
    let mut server = NfsServer::start(&[Version::V4_1]);
    server.export("data", Squash::None);
    let env = Env::new();
    let engine = env.engine();
    // Nobody listens at the first, and the second has no address.
    engine.stage(&stage(&env, &["127.0.0.2", "no-such-host.invalid", "localhost:2049"], None, &[])).unwrap();
    assert!(shown(&env.staging("v")).contains("localhost:/data"), "{}", shown(&env.staging("v")));
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    // A port is asked and no other.
    refused(engine.stage(&stage(&env, &["127.0.0.1:2050"], Some("4.1"), &[])), ErrorKind::Unavailable);
    env.assert_clean();
}

fn without_locks() {
    let mut server = NfsServer::start(&[Version::V3]);
    server.export("data", Squash::None);
    let env = Env::new();
    let engine = env.engine();
    let message = refused(engine.stage(&stage(&env, &["127.0.0.1"], Some("3"), &[])), ErrorKind::FailedPrecondition);
    assert!(message.contains("rpc.statd") && message.contains("nolock"), "{message}");
    env.assert_clean();
    engine.stage(&stage(&env, &["127.0.0.1"], Some("3"), &["nolock"])).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    let _statd = LockDaemon::start();
    engine.stage(&stage(&env, &["127.0.0.1"], Some("3"), &[])).unwrap();
    assert!(shown(&env.staging("v")).contains("local_lock=none"));
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

/// ceph-csi #6418 and PR #4200, kubernetes #102664: threads and locks that hang with a server.
fn hung() {
    let mut server = NfsServer::start(&[Version::V4_1]);
    server.export("data", Squash::None);
    let env = Env::new();
    let engine = env.engine();
    let stage = stage(&env, &["127.0.0.1"], Some("4.1"), &["hard"]);
    engine.stage(&stage).unwrap();
    engine.publish(&env.publish("v", KIND, "a", false)).unwrap();
    write_data(&env.target("a"), KIND);
    // Made before, for a look at a path would hang as whatever else does.
    let (unpublish, unstage) = (env.unpublish("v", "a"), env.unstage("v"));
    let (stats, health) = (env.stats("v", env.target("a")), env.health("v", Some(env.target("a"))));
    server.stop();
    let started = Instant::now();
    refused(engine.stats(&stats, Duration::from_secs(3)), ErrorKind::DeadlineExceeded);
    let ill = engine.health(&health, TIMEOUT).unwrap();
    assert!(ill.iter().any(|p| p.reason == "NotAnswering" && p.status == VolumeHealth::Inaccessible), "{ill:?}");
    refused(engine.stage(&stage), ErrorKind::Unavailable);
    engine.unpublish(&unpublish).unwrap();
    engine.unstage(&unstage).unwrap();
    assert!(started.elapsed() < Duration::from_secs(90), "{:?}", started.elapsed());
    env.assert_clean();
    let another = Stage { timeout: Duration::from_secs(4), ..stage };
    refused(engine.stage(&another), ErrorKind::DeadlineExceeded);
    env.assert_clean();
    server.resume();
    engine.stage(&Stage { timeout: TIMEOUT, ..another }).unwrap();
    assert_data(&env.staging("v"), KIND);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn stale() {
    let mut server = NfsServer::start(&[Version::V4_1]);
    server.export("data", Squash::None);
    let env = Env::new();
    let engine = env.engine();
    let stage = stage(&env, &["127.0.0.1"], Some("4.1"), &[]);
    engine.stage(&stage).unwrap();
    engine.publish(&env.publish("v", KIND, "a", false)).unwrap();
    // Another directory of the same name. The first goes after that one is made: the handle of an export's root has the inode's
    // number and no generation, and would be good for a new directory of that number.
    server.withdraw("data");
    let gone = server.path().join("gone");
    fs::rename(server.path().join("data"), &gone).unwrap();
    server.export("data", Squash::None);
    fs::remove_dir_all(gone).unwrap();
    // Asked of the server: what the client has cached of the directory would still be shown.
    let look = || {
        let flags = rustix::fs::AtFlags::STATX_FORCE_SYNC;
        rustix::fs::statx(rustix::fs::CWD, env.target("a"), flags, rustix::fs::StatxFlags::BASIC_STATS)
    };
    assert_eq!(look().err(), Some(rustix::io::Errno::STALE), "the handle is still good");
    engine.stage(&stage).unwrap();
    engine.publish(&env.publish("v", KIND, "b", false)).unwrap();
    write_data(&env.target("b"), KIND);
    assert_data(&server.path().join("data"), KIND);
    for pod in ["a", "b"] {
        engine.unpublish(&env.unpublish("v", pod)).unwrap();
    }
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn refusals() {
    let server = NfsServer::start(&[Version::V4_1]);
    let env = Env::new();
    let engine = env.engine();
    // Nothing is exported, and versions that it does not speak.
    for version in [None, Some("4.2"), Some("4.1")] {
        let message =
            refused(engine.stage(&stage(&env, &["127.0.0.1"], version, &["nolock"])), ErrorKind::FailedPrecondition);
        assert!(message.contains("127.0.0.1:/data"), "{message}");
        env.assert_clean();
    }
    drop(server);
    refused(engine.stage(&stage(&env, &["127.0.0.1"], Some("4.1"), &[])), ErrorKind::Unavailable);
    env.assert_clean();
}

/// kubernetes #120853: after a reboot nothing is mounted, and the journal is there. A publish comes before the stage.
fn rebooted() {
    let mut server = NfsServer::start(&[Version::V4_2]);
    server.export("data", Squash::None);
    let env = Env::new();
    let stage = stage(&env, &["127.0.0.1"], None, &[]);
    let engine = env.engine();
    engine.stage(&stage).unwrap();
    engine.publish(&env.publish("v", KIND, "a", false)).unwrap();
    write_data(&env.target("a"), KIND);
    drop(engine);
    env.reboot();
    let engine = env.engine();
    assert_eq!(engine.disagreement().unwrap().lost, [volume("v")]);
    refused(engine.publish(&env.publish("v", KIND, "a", false)), ErrorKind::FailedPrecondition);
    engine.stage(&stage).unwrap();
    engine.publish(&env.publish("v", KIND, "a", false)).unwrap();
    assert_data(&env.target("a"), KIND);
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    env.reboot();
    // And the other way: what is gone is taken down.
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
