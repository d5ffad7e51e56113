//! What of the pools needs root: a full file system, and killed makers.

use crate::Test;
use crate::child::{Ended, operation};
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_node::pool::{ObjectKind, ObjectSpec, Provisioning};
use std::fs;

pub const TESTS: &[Test] = &[
    ("pool::a_full_file_system_keeps_nothing", full),
    ("pool::reflinks_are_found", reflinks),
    ("pool::killed_operations_leave_all_or_nothing", killed),
];

fn full() {
    let env = Env::new();
    let pool = env.pool();
    tool("mount", &["-t", "tmpfs", "-o", "size=32m", "none", pool.to_str().unwrap()]);
    let store = env.store();
    let spec = |name: &str, size_bytes| ObjectSpec {
        name: name.into(),
        kind: ObjectKind::Image,
        size_bytes,
        provisioning: Provisioning::Thick,
        metadata: Default::default(),
    };
    let before = store.stat_pool(POOL).unwrap();
    refused(store.create_object(POOL, &spec("large", 64 * MIB)), ErrorKind::ResourceExhausted);
    assert_eq!(store.stat_pool(POOL).unwrap(), before);
    for left in ["objects", "tmp", "trash"] {
        assert_eq!(fs::read_dir(pool.join(left)).unwrap().count(), 0, "{left}");
    }
    store.create_object(POOL, &spec("fits", 16 * MIB)).unwrap();
    let held = store.stat_pool(POOL).unwrap();
    assert!(held.available_bytes <= before.available_bytes - 16 * MIB, "{held:?}");
    refused(store.resize_object(POOL, "fits", 32 * MIB), ErrorKind::ResourceExhausted);
    let found = store.stat_object(POOL, "fits").unwrap().unwrap();
    assert_eq!((found.spec.size_bytes, found.version), (16 * MIB, 1));
    assert_eq!(fs::metadata(pool.join("objects/fits/image")).unwrap().len(), 16 * MIB);
    assert_eq!(store.stat_pool(POOL).unwrap().available_bytes, held.available_bytes);
    // More than the whole pool, also of what takes no space yet.
    let mut spec = spec("huge", i64::MAX as u64);
    spec.provisioning = Provisioning::Thin;
    refused(store.create_object(POOL, &spec), ErrorKind::ResourceExhausted);
    refused(store.resize_object(POOL, "fits", i64::MAX as u64), ErrorKind::OutOfRange);
    drop(store);
    tool("umount", &[pool.to_str().unwrap()]);
}

fn reflinks() {
    let env = Env::new();
    let image = env.root().join("xfs");
    fs::File::create(&image).unwrap().set_len(XFS_MIN).unwrap();
    tool("mkfs.xfs", &["-q", image.to_str().unwrap()]);
    tool("mount", &["-o", "loop", image.to_str().unwrap(), env.pool().to_str().unwrap()]);
    let store = env.store();
    assert!(store.stat_pool(POOL).unwrap().reflinks);
    drop(store);
    // A whole life on a pool that is a file system of its own.
    let engine = env.engine();
    for (name, kind) in [("v", Kind::Ext4), ("d", Kind::Directory)] {
        env.create(&engine, name, kind);
        engine.stage(&env.stage(name, kind)).unwrap();
        engine.publish(&env.publish(name, kind, name, false)).unwrap();
        write_data(&env.target(name), kind);
        engine.unpublish(&env.unpublish(name, name)).unwrap();
        engine.unstage(&env.unstage(name)).unwrap();
        engine.pools().delete_object(POOL, name).unwrap();
    }
    drop(engine);
    tool("umount", &[env.pool().to_str().unwrap()]);
    assert_eq!(env.loops(), Vec::<String>::new());
    let root = env.root().join("ext4");
    fs::File::create(&root).unwrap().set_len(64 * MIB).unwrap();
    tool("mkfs.ext4", &["-q", root.to_str().unwrap()]);
    tool("mount", &["-o", "loop", root.to_str().unwrap(), env.pool().to_str().unwrap()]);
    let store = env.store();
    assert!(!store.stat_pool(POOL).unwrap().reflinks);
    drop(store);
    tool("umount", &[env.pool().to_str().unwrap()]);
}

fn killed() {
    let alone = ["pool-create", "pool-resize", "pool-delete"];
    for name in bulkhead_node::failpoint::ALL {
        let operation_name = name.split('.').next().unwrap();
        if !alone.contains(&operation_name) {
            continue;
        }
        let env = Env::new();
        if operation_name != "pool-create" {
            env.create(&env.engine(), "v", Kind::Ext4);
        }
        assert_eq!(operation(&env, operation_name, Kind::Ext4, &format!("{name}=kill")), Ended::Killed, "{name}");
        // Opening sweeps; then the object is there whole or not at all.
        let engine = env.engine();
        for left in ["tmp", "trash", "placing", "freezing"] {
            let left: Vec<_> = fs::read_dir(env.pool().join(left)).unwrap().collect();
            assert!(left.is_empty(), "{name}: {left:?}");
        }
        let found = engine.pools().stat_object(POOL, "v").unwrap();
        match *name {
            "pool-create.done" | "pool-resize.grown" => assert_eq!(found.unwrap().version, 1),
            "pool-resize.done" => assert_eq!(found.unwrap().spec.size_bytes, 2 * Kind::Ext4.size()),
            _ => assert_eq!(found, None, "{name}"),
        }
        if operation_name == "pool-resize" {
            engine.pools().resize_object(POOL, "v", 2 * Kind::Ext4.size()).unwrap();
            assert_eq!(fs::metadata(env.image("v")).unwrap().len(), 2 * Kind::Ext4.size());
        }
        engine.pools().delete_object(POOL, "v").unwrap();
        env.create(&engine, "v", Kind::Ext4);
        engine.pools().delete_object(POOL, "v").unwrap();
    }
}
