//! Sets of copies are all there or none, and nothing stays frozen, whatever happens to who makes them.

use crate::Test;
use crate::child::{Ended, copies_of_all, operation};
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_node::failpoint;
use bulkhead_node::pool::{CopyOrder, ObjectKind, ObjectSpec, Provisioning};
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("copy::killed_at_every_step", killed),
    ("copy::a_failure_at_every_step", failed),
    ("copy::the_living_are_left_alone", living),
    ("copy::a_full_pool_keeps_nothing", full),
    ("copy::thick_copies_have_blocks_of_their_own", thick),
    ("copy::copies_are_staged_like_others", staged),
    ("copy::a_record_that_stays_claims_no_names", undying),
];

const SOURCES: [&str; 3] = ["d", "q", "v"];

fn failpoints() -> impl Iterator<Item = &'static str> {
    failpoint::ALL.iter().copied().filter(|name| name.starts_with("pool-copy."))
}

/// From here on the set is there.
fn decided(name: &str) -> bool {
    ["committed", "placing", "placed", "done"].contains(&name.strip_prefix("pool-copy.").unwrap())
}

/// `v` is published and written to, `q` and the directory `d` hold data and are at rest.
fn prepare() -> Env {
    let env = Env::new();
    let engine = env.engine();
    for (name, kind) in [("v", Kind::Ext4), ("q", Kind::Ext4), ("d", Kind::Directory)] {
        env.create(&engine, name, kind);
        engine.stage(&env.stage(name, kind)).unwrap();
        engine.publish(&env.publish(name, kind, name, false)).unwrap();
        write_data(&env.target(name), kind);
        if name != "v" {
            engine.unpublish(&env.unpublish(name, name)).unwrap();
            engine.unstage(&env.unstage(name)).unwrap();
        }
    }
    env
}

/// Writes to a file system; true once that went through within the time.
pub fn writable(directory: &Path, time: Duration) -> bool {
    let (sender, done) = mpsc::channel();
    let path = directory.join("probe");
    // One that hangs ends when it is thawed.
    std::thread::spawn(move || {
        fs::write(&path, "x").and_then(|()| fs::File::open(&path)?.sync_all()).unwrap();
        let _ = sender.send(());
    });
    done.recv_timeout(time).is_ok()
}

fn copies(env: &Env) -> Vec<String> {
    let objects = fs::read_dir(env.pool().join("objects")).unwrap();
    let mut names: Vec<String> = objects
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("copy-"))
        .collect();
    names.sort();
    names
}

#[track_caller]
fn nothing_in_the_making(env: &Env, context: &str) {
    for left in ["tmp", "trash", "placing", "freezing"] {
        let left: Vec<_> = fs::read_dir(env.pool().join(left)).unwrap().collect();
        assert!(left.is_empty(), "{context}: {left:?}");
    }
}

/// The copies hold what the sources held, and can be staged to be read.
fn check_and_take_down(env: &Env, context: &str) {
    let engine = env.engine();
    assert_eq!(copies(env), SOURCES.map(|name| format!("copy-{name}")), "{context}");
    assert_eq!(fs::read_dir(env.pool().join("objects")).unwrap().count(), 6, "{context}");
    for source in SOURCES {
        let name = format!("copy-{source}");
        let kind = if source == "d" { Kind::Directory } else { Kind::Ext4 };
        assert!(engine.pools().stat_object(POOL, &name).unwrap().unwrap().read_only);
        refused(engine.stage(&env.stage(&name, kind)), ErrorKind::FailedPrecondition);
        let mut stage = env.stage(&name, kind);
        only_read(&mut stage.plan.usage);
        engine.stage(&stage).unwrap();
        assert_data(&env.staging(&name), kind);
        engine.unstage(&env.unstage(&name)).unwrap();
        engine.pools().delete_object(POOL, &name).unwrap();
    }
    engine.unpublish(&env.unpublish("v", "v")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    tool("e2fsck", &["-f", "-n", env.image("v").to_str().unwrap()]);
}

fn killed() {
    for name in failpoints() {
        let env = prepare();
        assert_eq!(operation(&env, "pool-copy", Kind::Ext4, &format!("{name}=kill")), Ended::Killed, "{name}");
        let frozen = ["pool-copy.frozen", "pool-copy.cut"].contains(&name);
        assert_eq!(writable(&env.target("v"), Duration::from_millis(300)), !frozen, "{name}");
        if frozen {
            // Another node that has this pool can do nothing about it, and must not forget it.
            let path = env.pool().join("freezing");
            let record = fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
            let text = fs::read_to_string(&record).unwrap();
            let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
            fs::write(&record, text.replace(boot_id.trim(), "another")).unwrap();
            env.store_of(bulkhead_node::pool::PoolConfig::new(env.pool()), "node-2");
            assert!(!writable(&env.target("v"), Duration::from_millis(300)), "{name}");
            fs::write(&record, text).unwrap();
        }
        let engine = env.engine();
        assert!(writable(&env.target("v"), Duration::from_secs(1)), "{name}: still frozen");
        nothing_in_the_making(&env, name);
        assert_eq!(copies(&env).len(), if decided(name) { 3 } else { 0 }, "{name}");
        if decided(name) {
            let sources = copies_of_all(engine.pools()).into_iter().filter(|order| !order.source.starts_with("copy-"));
            refused(engine.pools().copy_objects(POOL, &sources.collect::<Vec<_>>()), ErrorKind::AlreadyExists);
        } else {
            assert_eq!(operation(&env, "pool-copy", Kind::Ext4, ""), Ended::Done, "{name}");
        }
        nothing_in_the_making(&env, name);
        check_and_take_down(&env, name);
    }
}

fn failed() {
    for name in failpoints() {
        let env = prepare();
        // A set that was decided on and fails while it is put in place is tried once more.
        let twice = ["pool-copy.committed", "pool-copy.placing"].contains(&name);
        match operation(&env, "pool-copy", Kind::Ext4, &format!("{name}=error")) {
            Ended::Done if twice => {}
            Ended::Failed(why) => assert!(why.contains("Unavailable") && why.contains("injected"), "{why}"),
            other => panic!("{name}: {other:?}"),
        }
        // Before anything is opened again.
        assert!(writable(&env.target("v"), Duration::from_secs(1)), "{name}: still frozen");
        if !decided(name) {
            nothing_in_the_making(&env, name);
            assert_eq!(copies(&env), [""; 0], "{name}");
            assert_eq!(operation(&env, "pool-copy", Kind::Ext4, ""), Ended::Done, "{name}");
        } else {
            drop(env.engine());
        }
        nothing_in_the_making(&env, name);
        check_and_take_down(&env, name);
    }
}

/// The record of a set can't be removed, which keeps nobody from using names that it has given away.
fn undying() {
    let env = prepare();
    assert_eq!(operation(&env, "pool-copy-anew", Kind::Ext4, "pool-copy.placed=error"), Ended::Done);
    drop(env.engine());
    nothing_in_the_making(&env, "opened again");
    check_and_take_down(&env, "opened again");
}

/// What an operation in another process waits for.
struct Hold<'a>(&'a Path);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

/// Whoever opens the pool thaws nothing of a process that is alive; and what somebody else thaws is no cut.
fn living() {
    for thawed_by_others in [false, true] {
        let env = prepare();
        let hold = env.root().join("hold");
        let failpoints = format!("pool-copy.frozen=hold:{}", hold.display());
        std::thread::scope(|scope| {
            let child = scope.spawn(|| operation(&env, "pool-copy", Kind::Ext4, &failpoints));
            while !env.root().join("hold.reached").exists() && !child.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            // The child goes on also if this one fails.
            let hold = Hold(&hold);
            let engine = env.engine();
            assert!(!writable(&env.staging("v"), Duration::from_millis(300)), "thawed");
            refused(engine.pools().delete_object(POOL, "q"), ErrorKind::Aborted);
            // Unmounting a path of it is nobody's business but the CO's.
            engine.unpublish(&env.unpublish("v", "v")).unwrap();
            if thawed_by_others {
                tool("fsfreeze", &["--unfreeze", env.staging("v").to_str().unwrap()]);
            }
            drop(hold);
            match child.join().unwrap() {
                Ended::Done => assert!(!thawed_by_others),
                Ended::Failed(why) => assert!(thawed_by_others && why.contains("Aborted"), "{why}"),
                Ended::Killed => panic!("killed"),
            }
        });
        assert!(writable(&env.staging("v"), Duration::from_secs(1)), "still frozen");
        nothing_in_the_making(&env, "living");
        let engine = env.engine();
        engine.publish(&env.publish("v", Kind::Ext4, "v", false)).unwrap();
        if thawed_by_others {
            assert_eq!(copies(&env), [""; 0]);
            assert_eq!(operation(&env, "pool-copy", Kind::Ext4, ""), Ended::Done);
        }
        check_and_take_down(&env, "living");
    }
}

fn spec(name: &str, kind: ObjectKind, size_bytes: u64, provisioning: Provisioning) -> ObjectSpec {
    ObjectSpec { name: name.into(), kind, size_bytes, provisioning, metadata: Default::default() }
}

fn full() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let env = Env::new();
        env.pool_on(kind, XFS_MIN);
        let store = env.store();
        let thin = |name: &str| spec(name, ObjectKind::Image, 250 * MIB, Provisioning::Thin);
        store.create_object(POOL, &thin("s")).unwrap();
        fs::File::options().write(true).open(env.image("s")).unwrap().set_len(250 * MIB).unwrap();
        std::os::unix::fs::FileExt::write_all_at(
            &fs::File::options().write(true).open(env.image("s")).unwrap(),
            &vec![7; 100 << 20],
            0,
        )
        .unwrap();
        store.create_object(POOL, &spec("d", ObjectKind::Directory, MIB, Provisioning::Thin)).unwrap();
        fs::write(env.pool().join("objects/d/data/file"), vec![1; 60 << 20]).unwrap();
        tool("sync", &["--file-system", env.pool().to_str().unwrap()]);
        let before = store.stat_pool(POOL).unwrap().available_bytes;
        let order = |source: &str, target| CopyOrder { source: source.into(), target, read_only: false };
        let small = || order("s", thin("small"));
        let thick = order("s", spec("thick", ObjectKind::Image, 250 * MIB, Provisioning::Thick));
        refused(store.copy_objects(POOL, &[small(), thick]), ErrorKind::ResourceExhausted);
        nothing_in_the_making(&env, kind.name());
        if kind == Kind::Ext4 {
            let tree = |name: &str| order("d", spec(name, ObjectKind::Directory, MIB, Provisioning::Thin));
            refused(
                store.copy_objects(POOL, &[tree("a"), tree("b"), tree("c"), tree("e")]),
                ErrorKind::ResourceExhausted,
            );
            refused(store.copy_objects(POOL, &[small(), order("s", thin("second"))]), ErrorKind::ResourceExhausted);
            nothing_in_the_making(&env, kind.name());
        }
        assert_eq!(store.list_objects(POOL, "", None).unwrap().objects.len(), 2);
        // Freed blocks are counted as free a little later.
        let freed = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            store.stat_pool(POOL).unwrap().available_bytes + MIB >= before
        });
        assert!(freed, "{kind:?}: {before} {:?}", store.stat_pool(POOL));
        store.copy_objects(POOL, &[small()]).unwrap();
        drop(store);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}

fn thick() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let env = Env::new();
        env.pool_on(kind, XFS_MIN);
        let store = env.store();
        store.create_object(POOL, &spec("s", ObjectKind::Image, 16 * MIB, Provisioning::Thin)).unwrap();
        let image = |name: &str| fs::File::options().read(true).write(true).open(env.image(name)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&image("s"), &vec![7; 3 << 20], 5 << 20).unwrap();
        let order = |name: &str, provisioning| CopyOrder {
            source: "s".into(),
            target: spec(name, ObjectKind::Image, 17 * MIB, provisioning),
            read_only: false,
        };
        let made = store
            .copy_objects(POOL, &[order("thin", Provisioning::Thin), order("thick", Provisioning::Thick)])
            .unwrap();
        assert!(made[0].allocated_bytes < 4 * MIB && made[1].allocated_bytes >= 17 * MIB, "{made:?}");
        let mut wanted = fs::read(env.image("s")).unwrap();
        wanted.resize(17 << 20, 0);
        for name in ["thin", "thick"] {
            assert!(fs::read(env.image(name)).unwrap() == wanted, "{kind:?} {name}");
        }
        let shares = |name: &str| tool("filefrag", &["-v", env.image(name).to_str().unwrap()]).contains("shared");
        assert_eq!((shares("thin"), shares("thick")), (kind == Kind::Xfs, false), "{kind:?}");
        drop(store);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}

/// A copy that may change is a volume like any other, beside its source and after growing.
fn staged() {
    let env = prepare();
    let engine = env.engine();
    let order = CopyOrder {
        source: "v".into(),
        target: spec("w", ObjectKind::Image, 2 * Kind::Ext4.size(), Provisioning::Thin),
        read_only: false,
    };
    engine.pools().copy_objects(POOL, &[order]).unwrap();
    engine.stage(&env.stage("w", Kind::Ext4)).unwrap();
    assert_data(&env.staging("w"), Kind::Ext4);
    let size = rustix::fs::statvfs(env.staging("w")).unwrap();
    assert!(size.f_blocks * size.f_frsize > Kind::Ext4.size(), "it did not grow");
    fs::write(env.staging("w").join("own"), "x").unwrap();
    assert!(!env.target("v").join("own").exists());
    engine.unstage(&env.unstage("w")).unwrap();
    engine.pools().delete_object(POOL, "w").unwrap();
    engine.unpublish(&env.unpublish("v", "v")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
