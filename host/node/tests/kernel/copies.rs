//! Images that are copies of others: larger than their file system, with its UUID, with a log that was not replayed.

use crate::Test;
use crate::child::{Ended, operation};
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::node::Stage;
use bulkhead_domain::plan::{FormatPolicy, Usage};
use bulkhead_node::Engine;
use std::fs;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("copies::a_larger_one_is_grown_at_stage", grown),
    ("copies::a_larger_one_for_reading_is_left_as_it_is", reading),
    ("copies::a_log_is_replayed_also_for_reading", replayed),
    ("copies::an_image_that_never_changes_needs_a_clean_log", never_changes),
    ("copies::a_log_is_not_replayed_under_a_reader", reader_in_the_way),
    ("copies::killed_while_a_log_is_replayed", killed),
];

const KINDS: [Kind; 2] = [Kind::Ext4, Kind::Xfs];

/// A copy of the image of `v`, as it is now, in an object `c` of twice the size.
fn copy(env: &Env, engine: &Engine, kind: Kind) {
    env.create(engine, "c", kind);
    let (from, to) = (env.image("v"), env.image("c"));
    tool("cp", &["--sparse=always", from.to_str().unwrap(), to.to_str().unwrap()]);
    engine.pools().resize_object(POOL, "c", 2 * kind.size()).unwrap();
}

/// `v` staged with data in it that only its log holds, and `c`, a copy of that.
fn dirty_copy(env: &Env, engine: &Engine, kind: Kind) {
    env.create(engine, "v", kind);
    engine.stage(&env.stage("v", kind)).unwrap();
    // In its place before, so that what comes now is a change and goes to the log alone.
    tool("sync", &["-f", env.staging("v").to_str().unwrap()]);
    write_data(&env.staging("v"), kind);
    copy(env, engine, kind);
    assert!(is_dirty(env, kind), "the copy has nothing to replay");
}

/// The log of `c` holds something.
fn is_dirty(env: &Env, kind: Kind) -> bool {
    let image = env.image("c");
    let image = image.to_str().unwrap();
    if kind == Kind::Ext4 {
        return tool("dumpe2fs", &["-h", image]).contains("needs_recovery");
    }
    let log = tool("xfs_logprint", &["-t", image]);
    assert!(log.contains("<CLEAN>") || log.contains("<DIRTY>"), "{log}");
    log.contains("<DIRTY>")
}

/// As a backend plans a volume that was made from a snapshot.
fn plan_of_copy(env: &Env, kind: Kind) -> Stage {
    let mut stage = env.stage("c", kind);
    let Usage::Filesystem(plan) = &mut stage.plan.usage else { panic!() };
    plan.format = FormatPolicy::Never;
    plan.grow = true;
    if kind == Kind::Xfs {
        // Its original is mounted on this node.
        plan.mount_options = vec!["nouuid".into()];
    }
    stage
}

/// The image of `c` as it is now.
fn keep(env: &Env) -> String {
    let kept = env.root().join("kept");
    tool("cp", &["--sparse=always", env.image("c").to_str().unwrap(), kept.to_str().unwrap()]);
    kept.to_str().unwrap().to_owned()
}

fn total(env: &Env, engine: &Engine, name: &str) -> u64 {
    engine.stats(&env.stats(name, env.staging(name)), Duration::from_secs(5)).unwrap()[0].total
}

fn end(env: &Env, engine: &Engine, kind: Kind) {
    for name in ["c", "v"] {
        engine.unstage(&env.unstage(name)).unwrap();
    }
    env.assert_clean();
    for name in ["c", "v"] {
        let image = env.image(name);
        let image = image.to_str().unwrap();
        match kind {
            Kind::Ext4 => tool("e2fsck", &["-f", "-n", image]),
            _ => tool("xfs_repair", &["-n", "-f", image]),
        };
    }
}

fn grown() {
    for kind in KINDS {
        for dirty in [false, true] {
            let env = Env::new();
            let engine = env.engine();
            if dirty {
                dirty_copy(&env, &engine, kind);
            } else {
                env.create(&engine, "v", kind);
                engine.stage(&env.stage("v", kind)).unwrap();
                write_data(&env.staging("v"), kind);
                engine.unstage(&env.unstage("v")).unwrap();
                copy(&env, &engine, kind);
                assert!(!is_dirty(&env, kind));
                engine.stage(&env.stage("v", kind)).unwrap();
            }
            let stage = plan_of_copy(&env, kind);
            if kind == Kind::Xfs {
                let mut same_uuid = stage.clone();
                let Usage::Filesystem(plan) = &mut same_uuid.plan.usage else { panic!() };
                plan.mount_options.clear();
                refused(engine.stage(&same_uuid), ErrorKind::FailedPrecondition);
                assert_eq!(env.mounts().len(), 1);
            }
            for _ in 0..2 {
                engine.stage(&stage).unwrap();
            }
            assert_data(&env.staging("c"), kind);
            assert!(total(&env, &engine, "c") > total(&env, &engine, "v") + kind.size() * 8 / 10, "{kind:?} {dirty}");
            // Two file systems, not one seen twice.
            fs::write(env.staging("c").join("copy"), "x").unwrap();
            assert!(!env.staging("v").join("copy").exists());
            engine.publish(&env.publish("c", kind, "a", false)).unwrap();
            assert_data(&env.target("a"), kind);
            engine.unpublish(&env.unpublish("c", "a")).unwrap();
            // Without `grow` it stays as it is.
            engine.unstage(&env.unstage("c")).unwrap();
            let before = fs::metadata(env.image("c")).unwrap().len();
            engine.pools().resize_object(POOL, "c", 3 * kind.size()).unwrap();
            let mut small = stage.clone();
            let Usage::Filesystem(plan) = &mut small.plan.usage else { panic!() };
            plan.grow = false;
            engine.stage(&small).unwrap();
            assert!(total(&env, &engine, "c") < before);
            end(&env, &engine, kind);
        }
    }
}

/// Neither formatted nor grown, and not a byte of the image changes.
fn reading() {
    for kind in KINDS {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        write_data(&env.staging("v"), kind);
        engine.unstage(&env.unstage("v")).unwrap();
        copy(&env, &engine, kind);
        let before = keep(&env);
        engine.stage(&env.stage("v", kind)).unwrap();
        let stage = read_only(plan_of_copy(&env, kind));
        for _ in 0..2 {
            engine.stage(&stage).unwrap();
        }
        assert_data(&env.staging("c"), kind);
        assert_eq!(total(&env, &engine, "c"), total(&env, &engine, "v"));
        assert!(fs::write(env.staging("c").join("x"), "x").is_err());
        engine.unstage(&env.unstage("c")).unwrap();
        tool("cmp", &[env.image("c").to_str().unwrap(), &before]);
        end(&env, &engine, kind);
    }
}

/// What was synced before the copy was made is there, though only the log held it.
fn replayed() {
    for kind in KINDS {
        let env = Env::new();
        let engine = env.engine();
        dirty_copy(&env, &engine, kind);
        // Skipped only where the plan says so, and then the data is not there.
        let mut skipping = read_only(plan_of_copy(&env, kind));
        let Usage::Filesystem(plan) = &mut skipping.plan.usage else { panic!() };
        plan.mount_options.push(if kind == Kind::Ext4 { "noload" } else { "norecovery" }.into());
        engine.stage(&skipping).unwrap();
        assert!(!env.staging("c").join("data").exists());
        engine.unstage(&env.unstage("c")).unwrap();
        assert!(is_dirty(&env, kind), "the log was touched");

        let stage = read_only(plan_of_copy(&env, kind));
        for _ in 0..2 {
            engine.stage(&stage).unwrap();
        }
        assert_data(&env.staging("c"), kind);
        assert_eq!(total(&env, &engine, "c"), total(&env, &engine, "v"), "not grown");
        assert!(fs::write(env.staging("c").join("x"), "x").is_err());
        assert_eq!(env.loops().len(), 2);
        assert_eq!(engine.health(&env.health("c", None), Duration::from_secs(5)).unwrap(), []);
        // Its marker says reader again: another one may come.
        let users = fs::read_dir(env.pool().join("objects/c/users")).unwrap();
        let markers: Vec<_> = users.map(|user| fs::read_to_string(user.unwrap().path()).unwrap()).collect();
        assert!(markers.len() == 1 && markers[0].contains("\"read_only\":true"), "{markers:?}");
        end(&env, &engine, kind);
    }
}

/// Makes the object one that must never change, as a snapshot is.
fn protect(env: &Env) {
    let path = env.pool().join("objects/c/meta.json");
    let meta = fs::read_to_string(&path).unwrap();
    assert!(meta.contains("\"read_only\":false"));
    fs::write(&path, meta.replace("\"read_only\":false", "\"read_only\":true")).unwrap();
}

fn never_changes() {
    for kind in KINDS {
        let env = Env::new();
        let engine = env.engine();
        dirty_copy(&env, &engine, kind);
        protect(&env);
        let before = keep(&env);
        refused(engine.stage(&plan_of_copy(&env, kind)), ErrorKind::FailedPrecondition);
        let stage = read_only(plan_of_copy(&env, kind));
        let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
        assert!(message.contains("never to change") && message.contains("mount option no"), "{message}");
        assert_eq!((env.loops().len(), env.mounts().len(), env.records().len()), (1, 1, 1));
        tool("cmp", &[env.image("c").to_str().unwrap(), &before]);
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

/// A reader that skipped the log sees the image as it is; it must not change under its feet.
fn reader_in_the_way() {
    let env = Env::new();
    let engine = env.engine();
    dirty_copy(&env, &engine, Kind::Ext4);
    let other = Engine::open(bulkhead_node::EngineConfig {
        node_id: "node-2".into(),
        state_dir: env.root().join("state-2"),
        ..env.config()
    })
    .unwrap();
    let mut skipping = read_only(plan_of_copy(&env, Kind::Ext4));
    skipping.staging_path = env.staging("other");
    let Usage::Filesystem(plan) = &mut skipping.plan.usage else { panic!() };
    plan.mount_options.push("noload".into());
    other.stage(&skipping).unwrap();
    let stage = read_only(plan_of_copy(&env, Kind::Ext4));
    let message = refused(engine.stage(&stage), ErrorKind::Aborted);
    assert!(message.contains("replayed first") && message.contains("node-2"), "{message}");
    assert!(is_dirty(&env, Kind::Ext4));
    let mut unstage = env.unstage("c");
    unstage.staging_path = skipping.staging_path.clone();
    other.unstage(&unstage).unwrap();
    engine.stage(&stage).unwrap();
    assert_data(&env.staging("c"), Kind::Ext4);
    end(&env, &engine, Kind::Ext4);
}

fn killed() {
    for name in ["stage.replay-attached", "stage.replayed"] {
        for then in ["stage-read-only", "unstage"] {
            let env = Env::new();
            let engine = env.engine();
            // The other process knows one volume only.
            env.create(&engine, "original", Kind::Ext4);
            let mut original = env.stage("original", Kind::Ext4);
            original.plan = plan("original", Kind::Ext4);
            engine.stage(&original).unwrap();
            write_data(&env.staging("original"), Kind::Ext4);
            env.create(&engine, "v", Kind::Ext4);
            tool("cp", &[env.image("original").to_str().unwrap(), env.image("v").to_str().unwrap()]);
            engine.unstage(&env.unstage("original")).unwrap();
            let ended = operation(&env, "stage-read-only", Kind::Ext4, &format!("{name}=kill"));
            assert_eq!(ended, Ended::Killed, "{name}");
            for _ in 0..2 {
                assert_eq!(operation(&env, then, Kind::Ext4, ""), Ended::Done, "{name} {then}");
            }
            if then == "unstage" {
                env.assert_clean();
                assert_eq!(operation(&env, "stage-read-only", Kind::Ext4, ""), Ended::Done);
            }
            assert_eq!((env.mounts().len(), env.loops().len()), (1, 1));
            assert_data(&env.staging("v"), Kind::Ext4);
            engine.unstage(&env.unstage("v")).unwrap();
            env.assert_clean();
            tool("e2fsck", &["-f", "-n", env.image("v").to_str().unwrap()]);
        }
    }
}
