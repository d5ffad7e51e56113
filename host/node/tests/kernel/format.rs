//! Formatting: only what is proven empty, and after a crash only what mkfs alone has written.

use crate::Test;
use crate::child::{Ended, operation};
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::plan::{FormatPolicy, Usage};
use bulkhead_node::pool::{ObjectKind, ObjectSpec, Provisioning};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

pub const TESTS: &[Test] = &[
    ("format::data_is_never_formatted", data_is_never_formatted),
    ("format::the_policy_never_holds", policy_never),
    ("format::an_emptied_image_is_not_formatted_again", emptied),
    ("format::thick_images_stay_thick", thick),
    ("format::a_killed_mkfs_is_done_again", killed_mkfs),
    ("format::another_user_keeps_the_image", other_user),
];

fn image(env: &Env) -> File {
    File::options().read(true).write(true).open(env.image("v")).unwrap()
}

fn data_is_never_formatted() {
    for (offset, bytes, name) in [
        (0u64, &b"x"[..], "no known file system"),
        (63 * MIB + 4000, b"x", "no known file system"),
        (64 * MIB - 1, b"x", "no known file system"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (0, b"XFSB", "xfs"),
        (510, b"\x55\xaa", "MBR"),
        (64 * MIB - 512, b"EFI PART", "GPT"),
    ] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", Kind::Ext4);
        image(&env).write_all_at(bytes, offset).unwrap();
        let before = fs::read(env.image("v")).unwrap();
        let message = refused(engine.stage(&env.stage("v", Kind::Ext4)), ErrorKind::FailedPrecondition);
        assert!(message.contains(name), "{message}");
        assert!(before == fs::read(env.image("v")).unwrap(), "the image changed");
        env.assert_clean();
    }
}

fn policy_never() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    let mut stage = env.stage("v", Kind::Ext4);
    let Usage::Filesystem(plan) = &mut stage.plan.usage else { panic!() };
    plan.format = FormatPolicy::Never;
    let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    assert!(message.contains("forbids"), "{message}");
    assert_eq!(image(&env).metadata().unwrap().blocks(), 0);
    env.assert_clean();
}

/// The journal says that the image was formatted, and now it reads as zeros: that is lost data, not a new volume.
fn emptied() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    // As a reboot leaves it: nothing mounted or attached, the record there.
    tool("umount", &[env.staging("v").to_str().unwrap()]);
    tool("losetup", &["-d", &env.loops()[0]]);
    let size = image(&env).metadata().unwrap().len();
    image(&env).set_len(0).unwrap();
    image(&env).set_len(size).unwrap();
    let message = refused(engine.stage(&env.stage("v", Kind::Ext4)), ErrorKind::FailedPrecondition);
    assert!(message.contains("lost"), "{message}");
    assert_eq!(image(&env).metadata().unwrap().blocks(), 0);
    assert_eq!(env.loops(), Vec::<String>::new());
}

fn thick() {
    let env = Env::new();
    let engine = env.engine();
    let spec = ObjectSpec {
        name: "v".into(),
        kind: ObjectKind::Image,
        size_bytes: 64 * MIB,
        provisioning: Provisioning::Thick,
        metadata: Default::default(),
    };
    let made = engine.pools().create_object(POOL, &spec).unwrap();
    assert!(made.allocated_bytes >= 64 * MIB, "{made:?}");
    // Also after a format that was cut short and blanked.
    assert_eq!(operation(&env, "stage", Kind::Ext4, "stage.formatted=kill"), Ended::Killed);
    engine.unstage(&env.unstage("v")).unwrap();
    let now = engine.pools().stat_object(POOL, "v").unwrap().unwrap();
    assert!(now.allocated_bytes >= 64 * MIB, "{now:?}");
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    let now = engine.pools().stat_object(POOL, "v").unwrap().unwrap();
    assert!(now.allocated_bytes >= 64 * MIB, "{now:?}");
    env.assert_clean();
}

fn killed_mkfs() {
    for opposite in [false, true] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", Kind::Ext4);
        assert_eq!(operation(&env, "stage", Kind::Ext4, "stage.format-intent=kill"), Ended::Killed);
        // A mkfs that got half way: part of its data, no superblock.
        let device = File::options().write(true).open(&env.loops()[0]).unwrap();
        device.write_all_at(&[7; 4096], 32 * MIB).unwrap();
        drop(device);
        if opposite {
            engine.unstage(&env.unstage("v")).unwrap();
            env.assert_clean();
            assert!(fs::read(env.image("v")).unwrap().iter().all(|&byte| byte == 0), "blanked");
        }
        engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
        write_data(&env.staging("v"), Kind::Ext4);
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

fn other_user() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    // Another node on the same pool, and another volume of this node on the same object.
    let mut config = env.config();
    config.node_id = "node-2".into();
    config.state_dir = env.root().join("state-2");
    let other = bulkhead_node::Engine::open(config).unwrap();
    let mut stage = env.stage("v", Kind::Ext4);
    stage.staging_path = env.staging("elsewhere");
    let message = refused(other.stage(&stage), ErrorKind::FailedPrecondition);
    assert!(message.contains("node-1"), "{message}");
    let mut stage = env.stage("v", Kind::Ext4);
    stage.volume_id = volume("w");
    stage.staging_path = env.staging("elsewhere");
    refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    assert_eq!((env.mounts().len(), env.loops().len(), env.records().len()), (1, 1, 1));
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
