//! Directory volumes.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::capability::AccessMode;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("directory::a_whole_life", whole_life),
    ("directory::mount_flags", mount_flags),
    ("directory::mounts_propagate", propagation),
    ("directory::without_privileges_in_a_user_namespace", user_namespace),
    ("directory::a_tenants_tree_is_removed_whole", removal),
];

fn whole_life() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    for _ in 0..2 {
        engine.stage(&env.stage("v", Kind::Directory)).unwrap();
        engine.publish(&env.publish("v", Kind::Directory, "a", false)).unwrap();
        engine.publish(&env.publish("v", Kind::Directory, "b", true)).unwrap();
    }
    assert_eq!(env.mounts().len(), 3);
    write_data(&env.target("a"), Kind::Directory);
    assert_data(&env.target("b"), Kind::Directory);
    assert!(fs::write(env.target("b").join("x"), "x").is_err());
    let usage = engine.stats(&env.stats("v", env.target("b")), Duration::from_secs(5)).unwrap();
    assert!(usage[0].total > 0);
    assert_eq!(engine.expand(&env.expand("v", env.target("a"), 1)).unwrap(), Kind::Directory.size());
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unpublish(&env.unpublish("v", "b")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    assert_data(&env.pool().join("objects/v/data"), Kind::Directory);
}

fn mount_flags() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    let mut stage = env.stage("v", Kind::Directory);
    stage.capability = capability_with(Kind::Directory, AccessMode::SingleNodeWriter, &["noexec", "noatime"]);
    engine.stage(&stage).unwrap();
    let options = tool("findmnt", &["-no", "VFS-OPTIONS", stage.staging_path.to_str().unwrap()]);
    assert!(options.contains("noexec") && options.contains("noatime"), "{options}");
    engine.unstage(&env.unstage("v")).unwrap();
    stage.capability = capability_with(Kind::Directory, AccessMode::SingleNodeWriter, &["hunter2=7"]);
    let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    assert!(!message.contains("hunter2"), "{message}");
    env.assert_clean();
}

/// As kubelet has it: its root is shared, and what is mounted below shows in every copy of it.
fn propagation() {
    let env = Env::new();
    let engine = env.engine();
    let copy = env.root().join("copy");
    fs::create_dir(&copy).unwrap();
    let kubelet = env.kubelet();
    let (kubelet, copy) = (kubelet.to_str().unwrap(), copy.to_str().unwrap());
    tool("mount", &["--bind", kubelet, kubelet]);
    tool("mount", &["--make-shared", kubelet]);
    tool("mount", &["--bind", kubelet, copy]);
    tool("mount", &["--make-slave", copy]);
    // Opened before the bind mount, the fence would lead beneath it.
    drop(engine);
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    engine.stage(&env.stage("v", Kind::Directory)).unwrap();
    let publish = env.publish("v", Kind::Directory, "a", false);
    engine.publish(&publish).unwrap();
    write_data(&publish.target_path, Kind::Directory);
    let seen = std::path::Path::new(copy).join("pods/a/mount");
    assert_data(&seen, Kind::Directory);
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    assert!(!seen.exists());
    engine.unstage(&env.unstage("v")).unwrap();
    drop(engine);
    tool("umount", &[copy]);
    tool("umount", &[kubelet]);
    env.assert_clean();
}

fn removal() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    let data = env.pool().join("objects/v/data");
    let outside = env.root().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    symlink(&outside, data.join("link")).unwrap();
    symlink("/etc/passwd", data.join("file-link")).unwrap();
    // Deeper than PATH_MAX, as a tenant can make it.
    let mut deep = rustix::fs::open(&data, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    let name = "d".repeat(200);
    for _ in 0..300 {
        rustix::fs::mkdirat(&deep, &name, rustix::fs::Mode::RWXU).unwrap();
        deep = rustix::fs::openat(&deep, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    drop(deep);
    engine.pools().delete_object(POOL, "v").unwrap();
    for left in ["objects", "trash", "tmp"] {
        assert_eq!(fs::read_dir(env.pool().join(left)).unwrap().count(), 0, "{left}");
    }
    assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    assert!(std::path::Path::new("/etc/passwd").exists());
}

/// A directory volume needs no more than a mount namespace of one's own.
fn user_namespace() {
    let env = Env::new();
    env.engine();
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([crate::child::MARK, env.root().to_str().unwrap(), "life", "directory"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    env.assert_clean();
    assert_data(&env.pool().join("objects/v/data"), Kind::Directory);
}
