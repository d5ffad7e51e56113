//! VOLUME_MOUNT_GROUP.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::capability::{AccessMode, AccessType, VolumeCapability};
use bulkhead_domain::plan::{Plan, Scratch};
use bulkhead_node::{Engine, EngineConfig};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

pub const TESTS: &[Test] = &[
    ("group::the_root_belongs_to_the_group", given),
    ("group::what_does_not_fit_is_refused", refusals),
    ("group::what_is_for_reading_only_is_left", reading),
];

fn for_group(mut capability: VolumeCapability, group: &str) -> VolumeCapability {
    let AccessType::Mount(mount) = &mut capability.access_type else { panic!() };
    mount.volume_mount_group = group.into();
    capability
}

fn with_options(mut plan: Plan, options: &[&str]) -> Plan {
    *options_of(&mut plan.usage) = directory(options).mount_options;
    plan
}

/// Group and mode of a directory.
fn owner(path: &Path) -> (u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.gid(), found.permissions().mode() & 0o7777)
}

fn given() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    let mut stage = env.stage("v", Kind::Directory);
    stage.capability = for_group(stage.capability, "4321");
    stage.plan = with_options(stage.plan, &["noexec", "gid=4321"]);
    for _ in 0..2 {
        engine.stage(&stage).unwrap();
    }
    let mut publish = env.publish("v", Kind::Directory, "a", false);
    publish.capability = stage.capability.clone();
    engine.publish(&publish).unwrap();
    assert_eq!(owner(&publish.target_path), (4321, 0o2775));
    let options = tool("findmnt", &["-no", "VFS-OPTIONS", env.staging("v").to_str().unwrap()]);
    assert!(options.contains("noexec"), "{options}");
    // One of the group who is nobody else can write, and what is made belongs to the group.
    let file = publish.target_path.join("made");
    let script = format!("umask 007; echo x > {}", file.display());
    tool("setpriv", &["--reuid=65534", "--regid=65534", "--groups=4321", "sh", "-c", &script]);
    assert_eq!(fs::metadata(&file).unwrap().gid(), 4321);
    // The group is part of what is compared.
    for other in ["4322", ""] {
        let mut again = stage.clone();
        again.capability = capability(Kind::Directory);
        again.plan = with_options(again.plan, &[]);
        if !other.is_empty() {
            again.capability = for_group(again.capability, other);
            again.plan = with_options(again.plan, &["gid=4322"]);
        }
        refused(engine.stage(&again), ErrorKind::AlreadyExists);
        publish.capability = again.capability;
        refused(engine.publish(&publish), ErrorKind::AlreadyExists);
        // At another target: less than the group is fine, another group can't be had.
        let mut elsewhere = env.publish("v", Kind::Directory, "c", false);
        elsewhere.capability = publish.capability.clone();
        if other.is_empty() {
            engine.publish(&elsewhere).unwrap();
            engine.unpublish(&env.unpublish("v", "c")).unwrap();
        } else {
            refused(engine.publish(&elsewhere), ErrorKind::FailedPrecondition);
        }
    }
    // Done once: what the tenant changes afterwards stays.
    chown(&publish.target_path, None, Some(99)).unwrap();
    engine.stage(&stage).unwrap();
    engine.publish(&env.publish("v", Kind::Directory, "b", false)).unwrap();
    assert_eq!(owner(&publish.target_path).0, 99);
    for pod in ["a", "b"] {
        engine.unpublish(&env.unpublish("v", pod)).unwrap();
    }
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    // An ephemeral one; the group has a name, which the backend knows the number of.
    let mut publish = env.ephemeral("w", Kind::Directory, "a");
    publish.capability = for_group(publish.capability, "database");
    publish.plan.scratch = Scratch::Directory(directory(&["gid=77"]));
    engine.publish_ephemeral(&publish).unwrap();
    assert_eq!(owner(&publish.target_path), (77, 0o2775));
    engine.unpublish(&env.unpublish("w", "a")).unwrap();
    env.assert_clean();
}

fn refusals() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "d", Kind::Directory);
    env.create(&engine, "i", Kind::Ext4);
    let refuse = |engine: &Engine, name: &str, kind: Kind, group: &str, options: &[&str]| {
        let mut stage = env.stage(name, kind);
        stage.capability = for_group(stage.capability, group);
        stage.plan = with_options(stage.plan, options);
        let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
        env.assert_clean();
        message
    };
    assert!(refuse(&engine, "d", Kind::Directory, "5", &[]).contains("names no group"));
    assert!(refuse(&engine, "d", Kind::Directory, "5", &["gid=6"]).contains("another group"));
    assert!(refuse(&engine, "d", Kind::Directory, "5", &["gid=5", "gid=5"]).contains("more than one"));
    for bad in ["gid=", "gid=+5", "gid=users", "gid=4294967295", "gid=-1"] {
        assert!(refuse(&engine, "d", Kind::Directory, "users", &[bad]).contains("no number"), "{bad}");
    }
    for options in [&["gid=5"][..], &[]] {
        let message = refuse(&engine, "i", Kind::Ext4, "5", options);
        assert!(message.contains("no mount option that grants a group"), "{message}");
    }
    assert_eq!(fs::metadata(env.image("i")).unwrap().blocks(), 0);
    assert_eq!(owner(&env.pool().join("objects/d/data")), (0, 0o755));
    // A driver that does not promise it.
    let without = Engine::open(EngineConfig { volume_mount_group: false, ..env.config() }).unwrap();
    for (group, options) in [("5", &["gid=5"][..]), ("5", &[]), ("", &["gid=5"])] {
        let message = refuse(&without, "d", Kind::Directory, group, options);
        assert!(message.contains("does not offer VOLUME_MOUNT_GROUP"), "{message}");
    }
}

fn reading() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    let mut stage = env.stage("v", Kind::Directory);
    stage.capability = for_group(stage.capability, "5");
    stage.plan = with_options(stage.plan, &["gid=5"]);
    let mut reader = stage.clone();
    reader.capability.access_mode = AccessMode::MultiNodeReaderOnly;
    for stage in [read_only(stage), reader] {
        engine.stage(&stage).unwrap();
        assert_eq!(owner(&env.staging("v")), (0, 0o755));
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}
