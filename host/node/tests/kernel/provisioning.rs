//! From thin to thick and back, while somebody writes.

use crate::Test;
use crate::child::{Ended, operation};
use crate::copy::writable;
use crate::env::*;
use bulkhead_domain::{ErrorKind, Result};
use bulkhead_node::Engine;
use bulkhead_node::pool::{Object, ObjectKind, ObjectSpec, Provisioning, Updated};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    ("provisioning::back_and_forth_under_a_writer", under_a_writer),
    ("provisioning::not_a_block_is_lost", no_block_lost),
    ("provisioning::killed_and_failed", killed_and_failed),
    ("provisioning::raw_devices_and_frozen_ones_stay_thick", refused_ones),
    ("provisioning::no_space_takes_none", no_space),
];

fn found(engine: &Engine, name: &str) -> Object {
    engine.pools().stat_object(POOL, name).unwrap().unwrap()
}

fn change(engine: &Engine, name: &str, provisioning: Provisioning) -> Result<Object> {
    let version = found(engine, name).version;
    match engine.pools().update_object(POOL, name, version, provisioning, &Default::default())? {
        Updated::Done(object) => Ok(object),
        Updated::Conflict(now) => panic!("version {now}, not {version}"),
    }
}

fn under_a_writer() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let env = Env::new();
        // Files of a file system on the same kind of file system.
        env.pool_on(kind, 3 * XFS_MIN);
        let engine = env.engine();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        let (place, stop) = (env.staging("v"), AtomicBool::new(false));
        let content =
            |n: u64| -> Vec<u8> { (0..100_000u64).flat_map(|at| (n * 1_000_003 + at).to_le_bytes()).collect() };
        let written = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Twenty files in turn: blocks are freed and taken all the time.
                    fs::write(place.join(format!("file-{}", n % 20)), content(n)).unwrap();
                    n += 1;
                }
                n
            });
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..15 {
                    let thick = change(&engine, "v", Provisioning::Thick).unwrap();
                    assert!(thick.allocated_bytes >= kind.size(), "{thick:?}");
                    let thin = change(&engine, "v", Provisioning::Thin).unwrap();
                    assert!(thin.allocated_bytes < kind.size() * 9 / 10, "{thin:?}");
                }
            }));
            stop.store(true, Ordering::Relaxed);
            let written = writer.join().unwrap();
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written
        });
        println!("    {}: {written} files written meanwhile", kind.name());
        assert!(written > 20);
        // From the disk, not from memory.
        engine.unstage(&env.unstage("v")).unwrap();
        engine.stage(&env.stage("v", kind)).unwrap();
        for n in written - 20..written {
            assert!(fs::read(place.join(format!("file-{}", n % 20))).unwrap() == content(n), "{kind:?} file {n}");
        }
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
        match kind {
            Kind::Ext4 => tool("e2fsck", &["-f", "-n", env.image("v").to_str().unwrap()]),
            _ => tool("xfs_repair", &["-n", "-f", env.image("v").to_str().unwrap()]),
        };
        drop(engine);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}

/// Single blocks are written all over an image, so that it takes long to find and free what was never written.
fn no_block_lost() {
    const BLOCK: u64 = 4096;
    const BLOCKS: u64 = 50_000;
    for pool in [Kind::Ext4, Kind::Xfs] {
        let env = Env::new();
        env.pool_on(pool, 2 * XFS_MIN);
        let engine = env.engine();
        let spec = ObjectSpec {
            name: "v".into(),
            kind: ObjectKind::Image,
            size_bytes: 400 * MIB,
            provisioning: Provisioning::Thin,
            metadata: Default::default(),
        };
        engine.pools().create_object(POOL, &spec).unwrap();
        engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
        let path = env.staging("v").join("file");
        let open =
            |flags| File::options().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(&path);
        rustix::fs::fallocate(open(0).unwrap(), rustix::fs::FallocateFlags::empty(), 0, BLOCKS * BLOCK).unwrap();
        let (file, stop) = (open(libc::O_DIRECT).unwrap(), AtomicBool::new(false));
        // A prime that is no factor of the count: each block once, in a wild order.
        let place = |n: u64| n * 32_749 % BLOCKS * BLOCK;
        let (written, changes) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut memory = vec![0u8; 2 * BLOCK as usize];
                let start = memory.as_ptr().align_offset(BLOCK as usize);
                for n in 0..BLOCKS {
                    let block = &mut memory[start..start + BLOCK as usize];
                    block.fill((n % 255) as u8 + 1);
                    file.write_all_at(block, place(n)).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        return n + 1;
                    }
                }
                BLOCKS
            });
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let (mut changes, began) = (0, Instant::now());
                while !writer.is_finished() && began.elapsed() < Duration::from_secs(6) {
                    change(&engine, "v", Provisioning::Thick).unwrap();
                    change(&engine, "v", Provisioning::Thin).unwrap();
                    changes += 1;
                }
                changes
            }));
            stop.store(true, Ordering::Relaxed);
            let written = writer.join().unwrap();
            (written, outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        println!("    on {}: {written} blocks written, {changes} times to thick and back", pool.name());
        assert!(changes > 1 && written > 1000);
        drop(file);
        engine.unstage(&env.unstage("v")).unwrap();
        engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
        let (file, mut block) = (open(0).unwrap(), vec![0; BLOCK as usize]);
        for n in 0..written {
            file.read_exact_at(&mut block, place(n)).unwrap();
            let wanted = (n % 255) as u8 + 1;
            assert!(block.iter().all(|&byte| byte == wanted), "{pool:?}: block {} is lost", place(n) / BLOCK);
        }
        drop(file);
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
        drop(engine);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}

/// A thick image, staged and written to.
fn prepare() -> (Env, Engine) {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    write_data(&env.staging("v"), Kind::Ext4);
    change(&engine, "v", Provisioning::Thick).unwrap();
    (env, engine)
}

/// Thick is only said of what is allocated; nothing stays frozen.
fn killed_and_failed() {
    for name in ["pool-thin.noted", "pool-thin.punched", "pool-resize.done"] {
        for action in ["kill", "error"] {
            let (env, engine) = prepare();
            let before = found(&engine, "v");
            drop(engine);
            match operation(&env, "pool-thin", Kind::Ext4, &format!("{name}={action}")) {
                Ended::Killed => assert_eq!(action, "kill"),
                Ended::Failed(why) => assert!(action == "error" && why.contains("injected"), "{why}"),
                Ended::Done => panic!("{name} is not reached"),
            }
            let frozen = action == "kill" && name != "pool-resize.done";
            assert_eq!(writable(&env.staging("v"), Duration::from_millis(300)), !frozen, "{name} {action}");
            let engine = env.engine();
            assert!(writable(&env.staging("v"), Duration::from_secs(1)), "{name} {action}");
            assert_eq!(fs::read_dir(env.pool().join("freezing")).unwrap().count(), 0);
            let after = found(&engine, "v");
            assert!(after.version > before.version, "{after:?}");
            let taken_back = action == "error" && name != "pool-resize.done";
            assert_eq!(after.spec.provisioning == Provisioning::Thick, taken_back, "{name} {action}");
            assert!(!taken_back || after.allocated_bytes >= Kind::Ext4.size(), "{name} {action}");
            // Asked again it goes through.
            if after.spec.provisioning == Provisioning::Thin {
                change(&engine, "v", Provisioning::Thick).unwrap();
            }
            let thin = change(&engine, "v", Provisioning::Thin).unwrap();
            assert!(thin.allocated_bytes < Kind::Ext4.size() / 2, "{thin:?}");
            assert_data(&env.staging("v"), Kind::Ext4);
            engine.unstage(&env.unstage("v")).unwrap();
            env.assert_clean();
        }
    }
}

fn refused_ones() {
    let (env, engine) = prepare();
    let before = found(&engine, "v");
    let place = env.staging("v");
    tool("fsfreeze", &["--freeze", place.to_str().unwrap()]);
    let outcome = change(&engine, "v", Provisioning::Thin);
    tool("fsfreeze", &["--unfreeze", place.to_str().unwrap()]);
    refused(outcome, ErrorKind::Aborted);
    assert_eq!(found(&engine, "v"), before);
    engine.unstage(&env.unstage("v")).unwrap();

    env.create(&engine, "b", Kind::Block);
    change(&engine, "b", Provisioning::Thick).unwrap();
    engine.stage(&env.stage("b", Kind::Block)).unwrap();
    let before = found(&engine, "b");
    refused(change(&engine, "b", Provisioning::Thin), ErrorKind::FailedPrecondition);
    assert_eq!(found(&engine, "b"), before);
    engine.unstage(&env.unstage("b")).unwrap();
    assert!(change(&engine, "b", Provisioning::Thin).unwrap().allocated_bytes < MIB);
    env.assert_clean();
}

/// What was allocated before space ran out is given back.
fn no_space() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let env = Env::new();
        env.pool_on(kind, XFS_MIN);
        let engine = env.engine();
        env.create(&engine, "v", Kind::Ext4);
        for (name, provisioning, mib) in [("filler", Provisioning::Thick, 100), ("large", Provisioning::Thin, 220)] {
            let spec = ObjectSpec {
                name: name.into(),
                kind: ObjectKind::Image,
                size_bytes: mib * MIB,
                provisioning,
                metadata: Default::default(),
            };
            engine.pools().create_object(POOL, &spec).unwrap();
        }
        let before = (found(&engine, "large"), engine.pools().stat_pool(POOL).unwrap().available_bytes);
        refused(change(&engine, "large", Provisioning::Thick), ErrorKind::ResourceExhausted);
        assert_eq!(found(&engine, "large").spec, before.0.spec);
        let freed = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            engine.pools().stat_pool(POOL).unwrap().available_bytes + MIB > before.1
        });
        assert!(freed, "{kind:?}: {before:?} {:?}", engine.pools().stat_pool(POOL));
        drop(engine);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}
