//! Growing.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::node::NodeExpand;
use bulkhead_node::pool::{ObjectKind, ObjectSpec, Provisioning};
use bulkhead_node::{Engine, EngineConfig};
use std::path::PathBuf;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("expand::xfs_grows_while_published", xfs),
    ("expand::ext4_grows_at_the_next_stage", ext4),
    ("expand::a_device_grows_in_all_its_views", block),
    ("expand::sizes_are_checked", sizes),
    ("expand::xfs_grows_at_stage", xfs_at_stage),
    ("expand::the_node_grows_objects", on_the_node),
    ("expand::nothing_changes_beyond_the_pool", beyond_the_pool),
    ("expand::what_the_node_does_not_grow", not_on_the_node),
    ("expand::ext4_grown_by_the_node_grows_at_the_next_stage", ext4_on_the_node),
];

impl Env {
    pub fn expand(&self, name: &str, path: PathBuf, required: u64) -> NodeExpand {
        NodeExpand { volume_id: volume(name), volume_path: path, required_bytes: Some(required), limit_bytes: None }
    }

    /// An engine that grows objects too.
    pub fn growing(&self) -> Engine {
        Engine::open(EngineConfig { grows_objects: true, ..self.config() }).unwrap()
    }

    /// Size of an object by its metadata, and of its image.
    fn sizes(&self, name: &str) -> (u64, Option<u64>) {
        let object = self.store().stat_object(POOL, name).unwrap().unwrap();
        (object.spec.size_bytes, std::fs::metadata(self.image(name)).ok().map(|file| file.len()))
    }
}

fn total(env: &Env, engine: &Engine) -> u64 {
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

/// Published or only staged, by either path; the pool's metadata says it.
fn on_the_node() {
    for kind in [Kind::Xfs, Kind::Block, Kind::Directory] {
        let env = Env::new();
        let engine = env.growing();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        let (half, twice) = (kind.size() * 3 / 2, kind.size() * 2);
        assert_eq!(engine.expand(&env.expand("v", env.staging("v"), half - 1)).unwrap(), half);
        engine.publish(&env.publish("v", kind, "a", true)).unwrap();
        let image = |size| (kind != Kind::Directory).then_some(size);
        assert_eq!(env.sizes("v"), (half, image(half)));
        for _ in 0..2 {
            assert_eq!(engine.expand(&env.expand("v", env.target("a"), twice)).unwrap(), twice);
            assert_eq!(env.sizes("v"), (twice, image(twice)));
        }
        if kind != Kind::Directory {
            assert!(total(&env, &engine) > half);
        }
        // It never shrinks.
        assert_eq!(engine.expand(&env.expand("v", env.target("a"), half)).unwrap(), twice);
        let mut exact = env.expand("v", env.target("a"), twice + 1);
        exact.limit_bytes = Some(twice + 2);
        refused(engine.expand(&exact), ErrorKind::OutOfRange);
        assert_eq!(env.sizes("v"), (twice, image(twice)));
        // Growing it was cut short before it was written down.
        if kind != Kind::Directory {
            std::fs::File::options().write(true).open(env.image("v")).unwrap().set_len(2 * twice).unwrap();
            assert_eq!(engine.expand(&env.expand("v", env.target("a"), 1)).unwrap(), 2 * twice);
            assert_eq!(env.sizes("v"), (2 * twice, image(2 * twice)));
        }
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

fn beyond_the_pool() {
    for (kind, provisioning, asked) in [
        (Kind::Block, Provisioning::Thin, 4096 * MIB),
        (Kind::Block, Provisioning::Thick, 900 * MIB),
        (Kind::Block, Provisioning::Thick, 4096 * MIB),
        (Kind::Directory, Provisioning::Thin, 4096 * MIB),
        (Kind::Directory, Provisioning::Thick, 900 * MIB),
    ] {
        let env = Env::new();
        env.pool_on(Kind::Ext4, 1024 * MIB);
        let engine = env.growing();
        let object = |name: &str, kind, provisioning, size_bytes| ObjectSpec {
            name: name.into(),
            kind,
            size_bytes,
            provisioning,
            metadata: Default::default(),
        };
        let of_volume = if kind == Kind::Directory { ObjectKind::Directory } else { ObjectKind::Image };
        engine.pools().create_object(POOL, &object("v", of_volume, provisioning, 64 * MIB)).unwrap();
        engine.pools().create_object(POOL, &object("w", ObjectKind::Image, Provisioning::Thick, 500 * MIB)).unwrap();
        engine.stage(&env.stage("v", kind)).unwrap();
        let before = (env.sizes("v"), engine.pools().stat_pool(POOL).unwrap().available_bytes);
        let message = refused(engine.expand(&env.expand("v", env.staging("v"), asked)), ErrorKind::OutOfRange);
        assert!(message.contains("pool fast has") && message.contains("free"), "{message}");
        assert_eq!((env.sizes("v"), engine.pools().stat_pool(POOL).unwrap().available_bytes), before, "{message}");
        // What fits still fits.
        assert_eq!(engine.expand(&env.expand("v", env.staging("v"), 96 * MIB)).unwrap(), 96 * MIB);
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
        // The controller's call has the same bounds.
        let refused_by = if asked > 1024 * MIB { ErrorKind::OutOfRange } else { ErrorKind::ResourceExhausted };
        refused(engine.pools().resize_object(POOL, "v", asked), refused_by);
        refused(
            engine.pools().create_object(POOL, &object("x", of_volume, Provisioning::Thin, 4096 * MIB)),
            ErrorKind::ResourceExhausted,
        );
    }
}

fn not_on_the_node() {
    let env = Env::new();
    let engine = env.growing();
    env.create(&engine, "v", Kind::Block);
    // For reading only.
    engine.stage(&read_only(env.stage("v", Kind::Block))).unwrap();
    refused(engine.expand(&env.expand("v", env.staging("v"), 96 * MIB)), ErrorKind::FailedPrecondition);
    assert_eq!(engine.expand(&env.expand("v", env.staging("v"), 64 * MIB)).unwrap(), 64 * MIB);
    engine.unstage(&env.unstage("v")).unwrap();
    // Its pool isn't granted any more.
    engine.stage(&env.stage("v", Kind::Block)).unwrap();
    drop(engine);
    let without =
        Engine::open(EngineConfig { grows_objects: true, pools: Default::default(), ..env.config() }).unwrap();
    let message = refused(without.expand(&env.expand("v", env.staging("v"), 96 * MIB)), ErrorKind::FailedPrecondition);
    assert!(message.contains("grant"), "{message}");
    assert_eq!(env.sizes("v").0, 64 * MIB);
    drop(without);
    // Where the controller does it.
    let engine = env.engine();
    refused(engine.expand(&env.expand("v", env.staging("v"), 96 * MIB)), ErrorKind::FailedPrecondition);
    assert_eq!(env.sizes("v").0, 64 * MIB);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn ext4_on_the_node() {
    let env = Env::new();
    let engine = env.growing();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    write_data(&env.staging("v"), Kind::Ext4);
    let before = total(&env, &engine);
    let outcome = engine.expand(&env.expand("v", env.staging("v"), 256 * MIB));
    if !can_grow_ext4_online() {
        let message = refused(outcome, ErrorKind::FailedPrecondition);
        assert!(message.contains("CAP_SYS_RESOURCE") && message.contains("staged the next time"), "{message}");
        assert_eq!((total(&env, &engine), env.sizes("v").0), (before, 256 * MIB));
        engine.unstage(&env.unstage("v")).unwrap();
        engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    }
    assert_eq!(engine.expand(&env.expand("v", env.staging("v"), 256 * MIB)).unwrap(), 256 * MIB);
    assert!(total(&env, &engine) > before * 3);
    assert_data(&env.staging("v"), Kind::Ext4);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
