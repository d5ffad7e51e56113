//! Disks that the platform attaches.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::node::{Stage, UsageUnit};
use bulkhead_domain::plan::{FormatPolicy, Usage};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("disk::a_whole_life", whole_life),
    ("disk::raw_and_for_reading_only", raw),
    ("disk::kubernetes_94929_larger_while_staged_and_while_not", larger),
    ("disk::azuredisk_954_longhorn_8796_a_clone_beside_its_source", clone),
    ("disk::in_use_by_somebody_else", in_use),
    ("disk::two_volumes_on_one_disk", two_volumes),
    ("disk::paths_are_the_operators", paths),
];

const TIMEOUT: Duration = Duration::from_secs(10);

fn whole_life() {
    for kind in [Kind::DiskExt4, Kind::DiskXfs] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        for _ in 0..2 {
            engine.stage(&env.stage("v", kind)).unwrap();
        }
        assert_eq!((env.mounts().len(), env.loops().len()), (1, 0));
        let source = tool("findmnt", &["-n", "-o", "SOURCE", env.staging("v").to_str().unwrap()]);
        assert_eq!(Path::new(source.trim()), env.device("v"), "shown under the device's own name");
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        engine.publish(&env.publish("v", kind, "b", true)).unwrap();
        write_data(&env.target("a"), kind);
        assert_data(&env.target("b"), kind);
        assert!(fs::write(env.target("b").join("x"), "x").is_err());
        let usage = engine.stats(&env.stats("v", env.target("a")), TIMEOUT).unwrap();
        assert!(usage.len() == 2 && usage[0].total > kind.size() / 2, "{usage:?}");
        assert_eq!(engine.health(&env.health("v", None), TIMEOUT).unwrap(), []);
        refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
        for pod in ["a", "b"] {
            engine.unpublish(&env.unpublish("v", pod)).unwrap();
        }
        for _ in 0..2 {
            engine.unstage(&env.unstage("v")).unwrap();
        }
        env.assert_clean();
        assert!(env.is_plugged(env.device("v").to_str().unwrap()), "the disk stays");
        // What was written is on the disk, for whoever has it next.
        let mut stage = env.stage("v", kind);
        let Usage::Filesystem(plan) = &mut stage.plan.usage else { panic!() };
        plan.format = FormatPolicy::Never;
        engine.stage(&stage).unwrap();
        assert_data(&env.staging("v"), kind);
        engine.unstage(&env.unstage("v")).unwrap();
    }
}

fn raw() {
    let env = Env::new();
    let engine = env.engine();
    let kind = Kind::DiskBlock;
    env.create(&engine, "v", kind);
    engine.stage(&env.stage("v", kind)).unwrap();
    for _ in 0..2 {
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        engine.publish(&env.publish("v", kind, "b", true)).unwrap();
    }
    assert_eq!(env.loops().len(), 1, "one on top of the disk, that takes no writes");
    write_data(&env.target("a"), kind);
    let refusal = File::options().write(true).open(env.target("b")).and_then(|file| {
        file.write_all_at(&[9; 4096], 0)?;
        file.sync_all()
    });
    assert!(refusal.is_err(), "a read-only device was written");
    let usage = engine.stats(&env.stats("v", env.target("a")), TIMEOUT).unwrap();
    assert_eq!((usage.len(), usage[0].unit, usage[0].total), (1, UsageUnit::Bytes, kind.size()));
    env.enlarge("v", 2 * kind.size());
    let required = env.expand("v", env.target("a"), 2 * kind.size());
    assert_eq!(engine.expand(&required).unwrap(), 2 * kind.size());
    for pod in ["a", "b"] {
        let usage = engine.stats(&env.stats("v", env.target(pod)), TIMEOUT).unwrap();
        assert_eq!(usage[0].total, 2 * kind.size());
        engine.unpublish(&env.unpublish("v", pod)).unwrap();
    }
    assert_eq!(engine.health(&env.health("v", None), TIMEOUT).unwrap(), []);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    let mut found = [0; 4];
    File::open(env.content("v")).unwrap().read_exact_at(&mut found, 0).unwrap();
    assert_eq!(&found, b"what");
    // A plan for reading only.
    engine.stage(&read_only(env.stage("v", kind))).unwrap();
    engine.publish(&env.publish("v", kind, "a", false)).unwrap();
    let open = File::options().write(true).open(env.target("a"));
    assert!(open.and_then(|file| file.write_all_at(&[9; 4096], 0).and_then(|()| file.sync_all())).is_err());
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

/// kubernetes #94929: a file system that stays as small as it was before the disk was made larger.
fn larger() {
    for kind in [Kind::DiskExt4, Kind::DiskXfs] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        let total = || engine.stats(&env.stats("v", env.staging("v")), TIMEOUT).unwrap()[0].total;
        let before = total();
        refused(engine.expand(&env.expand("v", env.staging("v"), 2 * kind.size())), ErrorKind::FailedPrecondition);
        env.enlarge("v", 2 * kind.size());
        // ext4 grows while mounted only where this machine has CAP_SYS_RESOURCE.
        let grown = engine.expand(&env.expand("v", env.staging("v"), 2 * kind.size()));
        if kind == Kind::DiskXfs || grown.is_ok() {
            assert_eq!(grown.unwrap(), 2 * kind.size());
            assert!(total() > before * 3 / 2);
        }
        engine.unstage(&env.unstage("v")).unwrap();
        env.enlarge("v", 3 * kind.size());
        engine.stage(&env.stage("v", kind)).unwrap();
        assert!(total() > before * 5 / 2, "grown at stage");
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

/// azuredisk-csi-driver #954, longhorn #8796: a clone has its source's UUID, and XFS mounts only one of them.
fn clone() {
    let (env, kind) = (Env::new(), Kind::DiskXfs);
    let engine = env.engine();
    env.create(&engine, "v", kind);
    engine.stage(&env.stage("v", kind)).unwrap();
    write_data(&env.staging("v"), kind);
    engine.unstage(&env.unstage("v")).unwrap();
    fs::copy(env.content("v"), env.content("w")).unwrap();
    env.plug("w", kind.size());
    for name in ["v", "w"] {
        engine.stage(&env.stage(name, kind)).unwrap();
        assert_data(&env.staging(name), kind);
    }
    for name in ["v", "w"] {
        engine.unstage(&env.unstage(name)).unwrap();
    }
    env.assert_clean();
}

fn in_use() {
    for kind in Kind::DISKS {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        let device = env.device("v");
        tool("mkfs.ext4", &["-q", device.to_str().unwrap()]);
        let elsewhere = env.root().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        tool("mount", &[device.to_str().unwrap(), elsewhere.to_str().unwrap()]);
        let message = refused(engine.stage(&env.stage("v", kind)), ErrorKind::FailedPrecondition);
        assert!(message.contains(elsewhere.to_str().unwrap()), "{message}");
        assert_eq!((env.mounts(), env.records().len()), (vec![elsewhere.clone()], 0));
        tool("umount", &[elsewhere.to_str().unwrap()]);
        env.assert_clean();
    }
}

fn two_volumes() {
    let (env, kind) = (Env::new(), Kind::DiskBlock);
    let engine = env.engine();
    env.create(&engine, "v", kind);
    engine.stage(&env.stage("v", kind)).unwrap();
    let second = Stage { plan: env.plan_of_disk("v", kind), ..env.stage("w", kind) };
    let message = refused(engine.stage(&second), ErrorKind::FailedPrecondition);
    assert!(message.contains("volume v at"), "{message}");
    assert_eq!(env.records().len(), 1);
    engine.unstage(&env.unstage("v")).unwrap();
    engine.stage(&second).unwrap();
    engine.unstage(&env.unstage("w")).unwrap();
    env.assert_clean();
}

fn paths() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::DiskBlock);
    let device = env.device("v");
    for path in [device.to_str().unwrap(), "/dev/../dev/null", ""] {
        let mut stage = env.stage("v", Kind::DiskBlock);
        let bulkhead_domain::plan::Access::LocalDevice(disk) = &mut stage.plan.access else { panic!() };
        disk.find = bulkhead_domain::plan::DeviceMatch::Path(path.to_owned());
        let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
        assert!(message.contains("grants.devices"), "{message}");
    }
    env.assert_clean();
}
