//! SIGKILL after every step of every operation; then the same call, or the opposite one.

use crate::Test;
use crate::child::{Ended, operation};
use crate::env::*;
use bulkhead_node::failpoint;
use std::collections::BTreeSet;

pub const TESTS: &[Test] = &[
    ("kill::every_failpoint", matrix),
    ("kill::an_injected_error_leaves_nothing", injected_errors),
    ("kill::a_held_operation_goes_on", held),
];

/// Where an operation begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The object is new.
    Empty,
    /// It holds data.
    Data,
    /// It holds data, and has grown since.
    Grown,
}

/// One way to run an operation.
#[derive(Debug, Clone, Copy)]
struct Case {
    operation: &'static str,
    kind: Kind,
    start: Start,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        for start in [Start::Empty, Start::Data, Start::Grown] {
            cases.push(Case { operation: "stage", kind, start });
        }
        for operation in ["publish", "unpublish", "unstage", "expand"] {
            cases.push(Case { operation, kind, start: Start::Data });
        }
    }
    cases.push(Case { operation: "publish-read-only", kind: Kind::Block, start: Start::Data });
    // ext4 can't always grow while mounted.
    for kind in [Kind::Xfs, Kind::Block, Kind::Directory] {
        cases.push(Case { operation: "expand-node", kind, start: Start::Data });
    }
    cases
}

/// The failpoints of an operation. Undoing a cut-short stage or publish runs through those of the opposite.
fn failpoints(operation: &str) -> Vec<&'static str> {
    if operation == "expand-node" {
        let own = |name: &&str| name.starts_with("pool-resize.") || name.starts_with("expand.");
        return failpoint::ALL.iter().copied().filter(own).collect();
    }
    let own = operation.strip_suffix("-read-only").unwrap_or(operation);
    failpoint::ALL.iter().copied().filter(|name| name.split('.').next() == Some(own) && !elsewhere(name)).collect()
}

/// Has cases of its own: the pool's in `tests/pool.rs`, the others in `ephemeral` and `copies`.
fn elsewhere(name: &str) -> bool {
    ["pool-", "ephemeral.", "stage.replay"].iter().any(|start| name.starts_with(start))
}

/// Brings a volume to where the operation begins. ext4 can't always grow while mounted: there it is made large before.
fn prepare(env: &Env, case: Case) {
    let engine = env.engine();
    let kind = case.kind;
    env.create(&engine, "v", kind);
    if case.operation == "expand" && kind == Kind::Ext4 {
        engine.pools().resize_object(POOL, "v", 2 * kind.size()).unwrap();
    }
    if case.start == Start::Empty {
        return;
    }
    engine.stage(&env.stage("v", kind)).unwrap();
    engine.publish(&env.publish("v", kind, "seed", false)).unwrap();
    write_data(&env.target("seed"), kind);
    engine.unpublish(&env.unpublish("v", "seed")).unwrap();
    match case.operation {
        "stage" => engine.unstage(&env.unstage("v")).unwrap(),
        "unpublish" => engine.publish(&env.publish("v", kind, "pod", false)).unwrap(),
        "expand" => {
            engine.pools().resize_object(POOL, "v", 2 * kind.size()).unwrap();
        }
        _ => {}
    }
    if case.start == Start::Grown {
        engine.pools().resize_object(POOL, "v", 2 * kind.size()).unwrap();
    }
}

/// The volume is staged and published; all is as it should be; then it is taken down.
fn finish(env: &Env, case: Case) {
    let (engine, kind) = (env.engine(), case.kind);
    let (read_only, data) = (case.operation == "publish-read-only", case.start != Start::Empty);
    engine.stage(&env.stage("v", kind)).unwrap();
    engine.publish(&env.publish("v", kind, "pod", read_only)).unwrap();
    let staging_mounts = usize::from(kind != Kind::Block);
    assert_eq!(env.mounts().len(), staging_mounts + 1, "{:?}", env.mounts());
    let devices = if kind == Kind::Directory { 0 } else { 1 + usize::from(read_only) };
    assert_eq!(env.loops().len(), devices, "{:?}", env.loops());
    assert_eq!(env.records().len(), 1);
    assert!(engine.volumes().unwrap().iter().all(|volume| !volume.unfinished));
    if data {
        assert_data(&env.target("pod"), kind);
    } else {
        write_data(&env.target("pod"), kind);
    }
    engine.unpublish(&env.unpublish("v", "pod")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    if matches!(kind, Kind::Ext4) {
        tool("e2fsck", &["-f", "-n", env.image("v").to_str().unwrap()]);
    }
    engine.pools().delete_object(POOL, "v").unwrap();
}

fn opposite(operation: &str) -> &'static str {
    match operation {
        "stage" => "unstage",
        "unstage" => "stage",
        "publish" | "publish-read-only" => "unpublish",
        "unpublish" => "publish",
        "expand-node" => "expand-node",
        _ => "expand",
    }
}

fn matrix() {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    for case in cases() {
        for name in failpoints(case.operation) {
            for then in [case.operation, opposite(case.operation)] {
                let context = format!("{case:?}, killed at {name}, then {then}");
                let outcome = std::panic::catch_unwind(|| one(case, name, then));
                match outcome {
                    Ok(true) => {
                        reached.insert(name);
                    }
                    Ok(false) => break,
                    Err(_) => panic!("{context}"),
                }
            }
        }
    }
    let missed: Vec<_> = failpoint::ALL.iter().filter(|name| !elsewhere(name) && !reached.contains(**name)).collect();
    assert!(missed.is_empty(), "failpoints that no case reaches: {missed:?}");
}

/// False: this case does not come by that failpoint.
fn one(case: Case, name: &str, then: &str) -> bool {
    let env = Env::new();
    prepare(&env, case);
    match operation(&env, case.operation, case.kind, &format!("{name}=kill")) {
        Ended::Killed => {}
        Ended::Done => return false,
        Ended::Failed(why) => panic!("{why}"),
    }
    // Twice: what is done stays done.
    for _ in 0..2 {
        assert_eq!(operation(&env, then, case.kind, ""), Ended::Done);
    }
    if then == "unstage" {
        env.assert_clean();
    }
    if then == "expand-node" {
        let object = env.store().stat_object(POOL, "v").unwrap().unwrap();
        assert_eq!(object.spec.size_bytes, 2 * case.kind.size());
    }
    finish(&env, case);
    true
}

/// Where a step fails, stage and publish leave things as they were, or say that they don't know.
fn injected_errors() {
    for case in cases().into_iter().filter(|case| case.operation == "stage" || case.operation.starts_with("publish")) {
        for name in failpoints(case.operation) {
            let env = Env::new();
            prepare(&env, case);
            let (mounts, devices, records) = (env.mounts(), env.loops(), env.records());
            match operation(&env, case.operation, case.kind, &format!("{name}=error")) {
                Ended::Done => continue,
                Ended::Failed(why) => assert!(why.contains("Unavailable") && why.contains("injected"), "{why}"),
                Ended::Killed => panic!("{case:?} {name}"),
            }
            // After the last step everything is done; only the answer is lost.
            if !name.ends_with(".done") {
                assert_eq!((env.mounts(), env.loops(), env.records()), (mounts, devices, records), "{case:?} {name}");
                assert!(!env.target("pod").exists());
            }
            finish(&env, case);
        }
    }
}

fn held() {
    let env = Env::new();
    env.create(&env.engine(), "v", Kind::Ext4);
    let hold = env.root().join("hold");
    let failpoints = format!("stage.attached=hold:{}", hold.display());
    std::thread::scope(|scope| {
        let child = scope.spawn(|| operation(&env, "stage", Kind::Ext4, &failpoints));
        let reached = env.root().join("hold.reached");
        while !reached.exists() && !child.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(env.loops().len(), 1);
        std::fs::remove_file(&hold).unwrap();
        assert_eq!(child.join().unwrap(), Ended::Done);
    });
    finish(&env, Case { operation: "stage", kind: Kind::Ext4, start: Start::Empty });
}
