//! Growing.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("expand::xfs_grows_while_published", xfs),
    ("expand::ext4_grows_at_the_next_stage", ext4),
    ("expand::a_device_grows_in_all_its_views", block),
    ("expand::sizes_are_checked", sizes),
    ("expand::xfs_grows_at_stage", xfs_at_stage),
];

fn total(env: &Env, engine: &bulkhead_node::Engine) -> u64 {
    engine.stats(&env.stats("v", env.staging("v")), Duration::from_secs(5)).unwrap()[0].total
}

fn xfs() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Xfs);
    engine.stage(&env.stage("v", Kind::Xfs)).unwrap();
    engine.publish(&env.publish("v", Kind::Xfs, "a", true)).unwrap();
    let before = total(&env, &engine);
    refused(engine.expand(&env.expand("v", env.target("a"), 2 * XFS_MIN)), ErrorKind::FailedPrecondition);
    engine.pools().resize_object(POOL, "v", 2 * XFS_MIN).unwrap();
    for _ in 0..2 {
        // Through a read-only target.
        assert_eq!(engine.expand(&env.expand("v", env.target("a"), 2 * XFS_MIN)).unwrap(), 2 * XFS_MIN);
        assert!(total(&env, &engine) > before + XFS_MIN * 9 / 10);
    }
    // Too little for an allocation group of its own: the device grows.
    engine.pools().resize_object(POOL, "v", 2 * XFS_MIN + 8192).unwrap();
    assert_eq!(engine.expand(&env.expand("v", env.target("a"), 1)).unwrap(), 2 * XFS_MIN + 8192);
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn can_grow_ext4_online() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & (1 << 24) != 0
}

fn ext4() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    write_data(&env.staging("v"), Kind::Ext4);
    let before = total(&env, &engine);
    engine.pools().resize_object(POOL, "v", 256 * MIB).unwrap();
    let outcome = engine.expand(&env.expand("v", env.staging("v"), 256 * MIB));
    if can_grow_ext4_online() {
        assert_eq!(outcome.unwrap(), 256 * MIB);
    } else {
        let message = refused(outcome, ErrorKind::FailedPrecondition);
        assert!(message.contains("CAP_SYS_RESOURCE"), "{message}");
        assert_eq!(total(&env, &engine), before);
        engine.unstage(&env.unstage("v")).unwrap();
        engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    }
    assert!(total(&env, &engine) > before * 3);
    assert_data(&env.staging("v"), Kind::Ext4);
    // Large enough already: nothing to do, and no capability needed.
    assert_eq!(engine.expand(&env.expand("v", env.staging("v"), 256 * MIB)).unwrap(), 256 * MIB);
    engine.unstage(&env.unstage("v")).unwrap();
    tool("e2fsck", &["-f", "-n", env.image("v").to_str().unwrap()]);
    env.assert_clean();
}

fn block() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Block);
    engine.stage(&env.stage("v", Kind::Block)).unwrap();
    engine.publish(&env.publish("v", Kind::Block, "a", false)).unwrap();
    engine.publish(&env.publish("v", Kind::Block, "b", true)).unwrap();
    let size =
        |pod| tool("blockdev", &["--getsize64", env.target(pod).to_str().unwrap()]).trim().parse::<u64>().unwrap();
    // Growing the object grows the devices on it.
    engine.pools().resize_object(POOL, "v", 96 * MIB).unwrap();
    assert_eq!((size("a"), size("b")), (96 * MIB, 96 * MIB));
    // As does the node's own call, where the object was grown by another host.
    std::fs::File::options().write(true).open(env.image("v")).unwrap().set_len(128 * MIB).unwrap();
    assert_eq!(engine.expand(&env.expand("v", env.target("b"), 128 * MIB)).unwrap(), 128 * MIB);
    assert_eq!((size("a"), size("b")), (128 * MIB, 128 * MIB));
    for pod in ["a", "b"] {
        engine.unpublish(&env.unpublish("v", pod)).unwrap();
    }
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn sizes() {
    let env = Env::new();
    let engine = env.engine();
    refused(engine.expand(&env.expand("v", env.staging("v"), 1)), ErrorKind::NotFound);
    env.create(&engine, "v", Kind::Block);
    engine.stage(&env.stage("v", Kind::Block)).unwrap();
    let mut expand = env.expand("v", env.staging("v"), 64 * MIB);
    assert_eq!(engine.expand(&expand).unwrap(), 64 * MIB);
    expand.required_bytes = None;
    assert_eq!(engine.expand(&expand).unwrap(), 64 * MIB);
    expand.limit_bytes = Some(32 * MIB);
    refused(engine.expand(&expand), ErrorKind::OutOfRange);
    // A size that is no whole number of sectors.
    engine.pools().resize_object(POOL, "v", 64 * MIB + 1001).unwrap();
    assert_eq!(engine.expand(&env.expand("v", env.staging("v"), 64 * MIB + 1001)).unwrap(), 64 * MIB + 1001);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn xfs_at_stage() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Xfs);
    engine.stage(&env.stage("v", Kind::Xfs)).unwrap();
    let before = total(&env, &engine);
    engine.unstage(&env.unstage("v")).unwrap();
    engine.pools().resize_object(POOL, "v", 2 * XFS_MIN).unwrap();
    engine.stage(&env.stage("v", Kind::Xfs)).unwrap();
    assert!(total(&env, &engine) > before + XFS_MIN * 9 / 10);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
