//! Cutting what is in use: all of a set at one moment, or a refusal that says why.

use crate::Test;
use crate::copy::writable;
use crate::env::*;
use bulkhead_domain::{ErrorKind, Result};
use bulkhead_node::Engine;
use bulkhead_node::pool::{CopyOrder, Object, ObjectKind, ObjectSpec, PoolConfig, Provisioning};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    ("cut::a_group_is_of_one_moment", group),
    ("cut::raw_devices", raw),
    ("cut::what_takes_too_long_is_refused", limit),
    ("cut::frozen_by_somebody_else", frozen),
    ("cut::mounted_where_we_cannot_see_it", hidden),
];

const GROUPS: usize = 100;

fn order(source: &str, target: &str, kind: Kind) -> CopyOrder {
    CopyOrder {
        source: source.into(),
        target: ObjectSpec {
            name: target.into(),
            kind: ObjectKind::Image,
            size_bytes: kind.size(),
            provisioning: Provisioning::Thin,
            metadata: Default::default(),
        },
        read_only: true,
    }
}

/// Stages new volumes.
fn stage(env: &Env, engine: &Engine, names: &[&str], kind: Kind) {
    for name in names {
        env.create(engine, name, kind);
        engine.stage(&env.stage(name, kind)).unwrap();
    }
}

fn unstage(env: &Env, engine: Engine, names: &[&str]) {
    for name in names {
        engine.unstage(&env.unstage(name)).unwrap();
    }
    env.assert_clean();
}

fn copy(engine: &Engine, orders: &[CopyOrder]) -> Result<Vec<Object>> {
    engine.pools().copy_objects(POOL, orders)
}

fn stamp_file(directory: &Path) -> File {
    let path = directory.join("stamp");
    File::options().read(true).write(true).create(true).truncate(false).custom_flags(libc::O_DSYNC).open(path).unwrap()
}

/// Writes 1, 2, 3 ... to A and then to B, each durable before the next. Gives the count and the longest a write took.
fn write_stamps(a: &File, b: &File, stop: &AtomicBool) -> (u64, Duration) {
    let (mut stamp, mut longest) = (0u64, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        stamp += 1;
        for file in [a, b] {
            let begun = Instant::now();
            file.write_all_at(&stamp.to_le_bytes(), 0).unwrap();
            longest = longest.max(begun.elapsed());
        }
    }
    (stamp, longest)
}

/// Mounts a copy and reads its stamp.
fn stamp_of(env: &Env, name: &str, kind: Kind) -> u64 {
    let place = env.root().join("check");
    fs::create_dir_all(&place).unwrap();
    let place = place.to_str().unwrap();
    let options = if kind == Kind::Xfs { "loop,nouuid" } else { "loop" };
    tool("mount", &["-o", options, "-t", kind.name(), env.image(name).to_str().unwrap(), place]);
    let stamp = u64::from_le_bytes(fs::read(Path::new(place).join("stamp")).unwrap().try_into().unwrap());
    tool("umount", &[place]);
    stamp
}

fn group() {
    for (pool, kind) in [(Kind::Ext4, Kind::Ext4), (Kind::Xfs, Kind::Xfs)] {
        let env = Env::new();
        env.pool_on(pool, 4 * XFS_MIN);
        let engine = env.engine();
        stage(&env, &engine, &["a", "b"], kind);
        let files = ["a", "b"].map(|name| stamp_file(&env.staging(name)));
        for file in &files {
            file.write_all_at(&0u64.to_le_bytes(), 0).unwrap();
        }
        let stop = AtomicBool::new(false);
        let mut torn = 0;
        let mut cuts = Vec::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_stamps(&files[0], &files[1], &stop));
            // The writer ends also if this one fails.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let orders = [order("b", "copy-b", kind), order("a", "copy-a", kind)];
                for round in 0..GROUPS {
                    let begun = Instant::now();
                    copy(&engine, &orders).unwrap();
                    cuts.push(begun.elapsed());
                    let (a, b) = take(&env, &engine, kind);
                    assert!(a == b || a == b + 1, "{pool:?}, cut {round} is torn: {a} and {b}");
                }
                // The test of the test: two cuts are two moments.
                for _ in 0..GROUPS {
                    for order in orders.iter().rev() {
                        copy(&engine, std::slice::from_ref(order)).unwrap();
                    }
                    let (a, b) = take(&env, &engine, kind);
                    torn += usize::from(a != b && a != b + 1);
                    if torn > 0 {
                        break;
                    }
                }
            }));
            stop.store(true, Ordering::Relaxed);
            let (stamps, longest) = writer.join().unwrap();
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            cuts.sort();
            println!(
                "    {} on {}: {GROUPS} groups of two, {} median, {} longest call; {stamps} stamps, longest write {}",
                kind.name(),
                pool.name(),
                ms(cuts[cuts.len() / 2]),
                ms(cuts[cuts.len() - 1]),
                ms(longest)
            );
            assert!(stamps > GROUPS as u64, "the writer hardly wrote: {stamps}");
        });
        assert!(torn > 0, "{pool:?}: two cuts one after the other look like one: this test finds nothing");
        drop(files);
        unstage(&env, engine, &["a", "b"]);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Reads the stamps of both copies and removes them.
fn take(env: &Env, engine: &Engine, kind: Kind) -> (u64, u64) {
    let stamps = ["copy-a", "copy-b"].map(|name| {
        let stamp = stamp_of(env, name, kind);
        engine.pools().delete_object(POOL, name).unwrap();
        stamp
    });
    (stamps[0], stamps[1])
}

fn raw() {
    for pool in [Kind::Ext4, Kind::Xfs] {
        let env = Env::new();
        env.pool_on(pool, XFS_MIN);
        let engine = env.engine();
        stage(&env, &engine, &["a", "b"], Kind::Block);
        let publish = env.publish("a", Kind::Block, "a", false);
        engine.publish(&publish).unwrap();
        // Not synced: it is in the device's memory only.
        File::options().write(true).open(&publish.target_path).unwrap().write_all_at(&[5; 8192], 4096).unwrap();
        let orders = [order("a", "copy-a", Kind::Block), order("b", "copy-b", Kind::Block)];
        let why = refused(copy(&engine, &orders), ErrorKind::FailedPrecondition);
        assert!(why.contains("raw device"), "{why}");
        if pool == Kind::Xfs {
            copy(&engine, &[order("a", "copy-a", Kind::Block), order("a", "second", Kind::Block)]).unwrap();
            for name in ["copy-a", "second"] {
                let bytes = fs::read(env.image(name)).unwrap();
                assert!(bytes[4096..12288] == [5; 8192] && bytes[12288..16384] == [0; 4096], "{name}");
            }
        } else {
            let why = refused(copy(&engine, &orders[..1]), ErrorKind::FailedPrecondition);
            assert!(why.contains("raw device"), "{why}");
        }
        engine.unpublish(&env.unpublish("a", "a")).unwrap();
        unstage(&env, engine, &["a", "b"]);
        let engine = env.engine();
        let left = if pool == Kind::Xfs { &orders[1..] } else { &orders[..] };
        copy(&engine, left).unwrap();
        drop(engine);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}

fn limit() {
    let env = Env::new();
    env.pool_on(Kind::Ext4, XFS_MIN);
    let mut config = env.config();
    config.pools = [(POOL.to_owned(), PoolConfig { copy_limit_bytes: 20 * MIB, ..PoolConfig::new(env.pool()) })].into();
    let engine = Engine::open(config).unwrap();
    stage(&env, &engine, &["a", "b"], Kind::Ext4);
    for name in ["a", "b"] {
        fs::write(env.staging(name).join("file"), vec![1; 10 << 20]).unwrap();
        tool("sync", &["--file-system", env.staging(name).to_str().unwrap()]);
    }
    let orders = [order("a", "copy-a", Kind::Ext4), order("b", "copy-b", Kind::Ext4)];
    let allocated: u64 =
        ["a", "b"].iter().map(|name| engine.pools().stat_object(POOL, name).unwrap().unwrap().allocated_bytes).sum();
    let why = refused(copy(&engine, &orders), ErrorKind::FailedPrecondition);
    assert!(why.contains(&(20 * MIB).to_string()) && why.contains(&allocated.to_string()), "{allocated}: {why}");
    // One of them is below it, and what is at rest does not count.
    copy(&engine, &orders[..1]).unwrap();
    engine.pools().delete_object(POOL, "copy-a").unwrap();
    engine.unstage(&env.unstage("b")).unwrap();
    copy(&engine, &orders).unwrap();
    assert_eq!(fs::read_dir(env.pool().join("freezing")).unwrap().count(), 0);
    unstage(&env, engine, &["a"]);
    tool("umount", &[env.pool().to_str().unwrap()]);
}

fn frozen() {
    let env = Env::new();
    let engine = env.engine();
    stage(&env, &engine, &["a", "b"], Kind::Ext4);
    let b = env.staging("b");
    tool("fsfreeze", &["--freeze", b.to_str().unwrap()]);
    let orders = [order("a", "copy-a", Kind::Ext4), order("b", "copy-b", Kind::Ext4)];
    let outcome = copy(&engine, &orders);
    let still = !writable(&b, Duration::from_millis(300));
    tool("fsfreeze", &["--unfreeze", b.to_str().unwrap()]);
    let why = refused(outcome, ErrorKind::Aborted);
    assert!(why.contains("frozen") && why.contains(b.to_str().unwrap()), "{why}");
    assert!(still, "thawed what somebody else had frozen");
    assert!(writable(&env.staging("a"), Duration::from_secs(1)), "left frozen");
    copy(&engine, &orders).unwrap();
    assert!(writable(&env.staging("a"), Duration::from_secs(1)) && writable(&b, Duration::from_secs(1)));
    unstage(&env, engine, &["a", "b"]);
}

/// A file system that is mounted only in another namespace can't be frozen from here: it counts as a raw device.
fn hidden() {
    for pool in [Kind::Ext4, Kind::Xfs] {
        let env = Env::new();
        env.pool_on(pool, XFS_MIN);
        let engine = env.engine();
        stage(&env, &engine, &["a", "b"], Kind::Block);
        let device = env.loops().into_iter().find(|device| {
            let number = device.strip_prefix("/dev/").unwrap();
            fs::read_to_string(format!("/sys/block/{number}/loop/backing_file")).unwrap().contains("/a/image")
        });
        let device = device.unwrap();
        tool("mkfs.ext4", &["-q", &device]);
        let (ready, place) = (env.root().join("ready"), env.root().join("place"));
        fs::create_dir(&place).unwrap();
        let script = format!(
            "mount {device} {0} && echo text > {0}/file && touch {1} && exec sleep 60",
            place.display(),
            ready.display()
        );
        let mut other = std::process::Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !ready.exists() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let single = copy(&engine, &[order("a", "copy-a", Kind::Block)]);
        let set = copy(&engine, &[order("a", "x", Kind::Block), order("b", "y", Kind::Block)]);
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(ready.exists());
        refused(set, ErrorKind::FailedPrecondition);
        if pool == Kind::Xfs {
            single.unwrap();
            // As a crash would have left it: the journal is replayed, then all is well.
            let place = place.to_str().unwrap();
            tool("mount", &["-o", "loop", env.image("copy-a").to_str().unwrap(), place]);
            tool("umount", &[place]);
            tool("e2fsck", &["-f", "-n", env.image("copy-a").to_str().unwrap()]);
        } else {
            refused(single, ErrorKind::FailedPrecondition);
        }
        unstage(&env, engine, &["a", "b"]);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}
