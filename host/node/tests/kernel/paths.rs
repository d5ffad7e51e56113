//! Hostile paths.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

pub const TESTS: &[Test] = &[
    ("paths::bad_shapes", bad_shapes),
    ("paths::links_lead_nowhere", links),
    ("paths::a_root_behind_a_link", linked_root),
    ("paths::names_with_odd_characters", odd_names),
    ("paths::missing_parents", missing),
    ("paths::within_the_staging_path", within),
];

fn bad_shapes() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    engine.stage(&env.stage("v", Kind::Directory)).unwrap();
    let root = env.kubelet();
    let below = |rest: &str| PathBuf::from(format!("{}/{rest}", root.display()));
    let bad = [
        PathBuf::new(),
        "relative".into(),
        "/".into(),
        "/etc".into(),
        root.clone(),
        below(""),
        below("pods/../../etc"),
        below("pods/.."),
        below("pods/./x"),
        below("pods//x"),
        below("pods/x//"),
        below("pods/x\0y"),
        below(&"x/".repeat(2100)),
        below(&"x".repeat(256)),
        root.parent().unwrap().join("kubelet-2/x"),
    ];
    for path in bad {
        let mut stage = env.stage("v", Kind::Directory);
        stage.staging_path = path.clone();
        refused(engine.stage(&stage), ErrorKind::InvalidArgument);
        let mut publish = env.publish("v", Kind::Directory, "a", false);
        publish.target_path = path.clone();
        refused(engine.publish(&publish), ErrorKind::InvalidArgument);
        let mut unpublish = env.unpublish("v", "a");
        unpublish.target_path = path.clone();
        refused(engine.unpublish(&unpublish), ErrorKind::InvalidArgument);
        let mut unstage = env.unstage("v");
        unstage.staging_path = path;
        refused(engine.unstage(&unstage), ErrorKind::InvalidArgument);
    }
    assert_eq!(env.mounts(), [env.staging("v")]);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn links() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    let outside = env.root().join("outside");
    fs::create_dir(&outside).unwrap();
    let (pods, plugins) = (env.kubelet().join("pods"), env.kubelet().join("plugins"));
    symlink(&outside, pods.join("link")).unwrap();
    symlink("../../outside", pods.join("relative")).unwrap();
    symlink(&outside, plugins.join("v")).unwrap();
    let mut stage = env.stage("v", Kind::Directory);
    refused(engine.stage(&stage), ErrorKind::InvalidArgument);
    stage.staging_path = plugins.join("v/inner");
    refused(engine.stage(&stage), ErrorKind::InvalidArgument);
    fs::remove_file(plugins.join("v")).unwrap();
    engine.stage(&env.stage("v", Kind::Directory)).unwrap();
    for target in ["link", "link/x", "relative", "relative/x"] {
        let mut publish = env.publish("v", Kind::Directory, "a", false);
        publish.target_path = pods.join(target);
        refused(engine.publish(&publish), ErrorKind::InvalidArgument);
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // A parent that is replaced by a link after the publish: nothing outside is touched, and our mount isn't lost.
    engine.publish(&env.publish("v", Kind::Directory, "a", false)).unwrap();
    fs::create_dir(outside.join("mount")).unwrap();
    fs::rename(pods.join("a"), pods.join("moved")).unwrap();
    symlink(&outside, pods.join("a")).unwrap();
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    assert!(outside.join("mount").exists());
    fs::remove_file(pods.join("a")).unwrap();
    for link in ["link", "relative"] {
        fs::remove_file(pods.join(link)).unwrap();
    }
    tool("umount", &[pods.join("moved/mount").to_str().unwrap()]);
    fs::remove_dir(pods.join("moved/mount")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn linked_root() {
    let env = Env::new();
    let link = env.root().join("by-link");
    symlink(env.kubelet(), &link).unwrap();
    let mut config = env.config();
    config.kubelet_root = link.clone();
    let engine = bulkhead_node::Engine::open(config).unwrap();
    env.create(&engine, "v", Kind::Directory);
    let mut stage = env.stage("v", Kind::Directory);
    stage.staging_path = link.join("plugins/v");
    engine.stage(&stage).unwrap();
    // Both names of one path are one path.
    engine.stage(&env.stage("v", Kind::Directory)).unwrap();
    assert_eq!(env.mounts(), [env.staging("v")]);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn odd_names() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    let name = "a b\tc\\d #ä";
    let mut stage = env.stage("v", Kind::Ext4);
    stage.staging_path = env.staging(name);
    for _ in 0..2 {
        engine.stage(&stage).unwrap();
    }
    let mut publish = env.publish("v", Kind::Ext4, name, false);
    publish.staging_path = stage.staging_path.clone();
    for _ in 0..2 {
        engine.publish(&publish).unwrap();
    }
    write_data(&publish.target_path, Kind::Ext4);
    engine.unpublish(&env.unpublish("v", name)).unwrap();
    let mut unstage = env.unstage("v");
    unstage.staging_path = stage.staging_path;
    engine.unstage(&unstage).unwrap();
    env.assert_clean();
}

fn missing() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    let mut stage = env.stage("v", Kind::Directory);
    stage.staging_path = env.kubelet().join("plugins/nothing");
    refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    fs::write(&stage.staging_path, "").unwrap();
    refused(engine.stage(&stage), ErrorKind::InvalidArgument);
    engine.stage(&env.stage("v", Kind::Directory)).unwrap();
    let mut publish = env.publish("v", Kind::Directory, "a", false);
    publish.target_path = env.kubelet().join("pods/nothing/mount");
    refused(engine.publish(&publish), ErrorKind::FailedPrecondition);
    // The parent goes after the publish, with the mount.
    engine.publish(&env.publish("v", Kind::Directory, "a", false)).unwrap();
    tool("umount", &[env.target("a").to_str().unwrap()]);
    fs::remove_dir_all(env.kubelet().join("pods/a")).unwrap();
    let unpublish =
        bulkhead_domain::node::Unpublish { volume_id: volume("v"), target_path: env.kubelet().join("pods/a/mount") };
    engine.unpublish(&unpublish).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn within() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    engine.stage(&env.stage("v", Kind::Directory)).unwrap();
    for target in [env.staging("v"), env.staging("v").join("x"), env.kubelet().join("plugins")] {
        let mut publish = env.publish("v", Kind::Directory, "a", false);
        publish.target_path = target;
        refused(engine.publish(&publish), ErrorKind::InvalidArgument);
    }
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
