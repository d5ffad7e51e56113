//! SIGKILL after every step of every operation; then the same call, or the opposite one.

use crate::Test;
use crate::child::{Ended, operation, steps};
use crate::env::*;
use bulkhead_node::{Engine, failpoint};
use std::collections::BTreeSet;
use std::sync::Mutex;

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
    for kind in Kind::ALL.into_iter().chain(Kind::DISKS) {
        let starts: &[Start] = match kind {
            Kind::Block | Kind::DiskBlock | Kind::Directory => &[Start::Data],
            _ => &[Start::Empty, Start::Data, Start::Grown],
        };
        cases.extend(starts.iter().map(|&start| Case { operation: "stage", kind, start }));
        for operation in ["publish", "unpublish", "unstage", "expand"] {
            cases.push(Case { operation, kind, start: Start::Data });
        }
    }
    for kind in [Kind::Block, Kind::DiskBlock] {
        cases.push(Case { operation: "publish-read-only", kind, start: Start::Data });
    }
    // ext4 can't always grow while mounted.
    for kind in [Kind::Xfs, Kind::Block, Kind::Directory] {
        cases.push(Case { operation: "expand-node", kind, start: Start::Data });
    }
    cases
}

impl Case {
    /// Where it is killed: all that it comes by. A file system that has grown goes the way of others but for the last steps.
    fn steps(self) -> Vec<&'static str> {
        let env = Env::new();
        prepare(&env, self);
        let mut steps = steps(&env, self.operation, self.kind, None);
        if self.start == Start::Grown {
            let grown = steps.iter().position(|name| name.starts_with("stage.grown-")).expect("it grows");
            steps.drain(..grown);
        }
        steps
    }

    /// What is asked for after the kill: the same again, and of one file system of each variant also the opposite.
    fn continuations(self) -> Vec<&'static str> {
        let both = !self.kind.is_xfs() && opposite(self.operation) != self.operation;
        let all = [self.operation, opposite(self.operation)];
        if both { all.to_vec() } else { all[..1].to_vec() }
    }
}

/// Has cases of its own: the pool's in `tests/pool.rs`, that of NFS in the VM, the others in `ephemeral`
/// and `copies`.
fn elsewhere(name: &str) -> bool {
    let starts = ["pool-", "ephemeral.", "stage.replay", "stage.opened"];
    starts.iter().any(|start| name.starts_with(start)) && !name.starts_with("pool-resize.")
}

/// Where it is kept, it becomes twice as large.
fn enlarge(env: &Env, engine: &Engine, kind: Kind) {
    if kind.on_disk() {
        env.enlarge("v", 2 * kind.size());
    } else {
        engine.pools().resize_object(POOL, "v", 2 * kind.size()).unwrap();
    }
}

/// Brings a volume to where the operation begins. ext4 can't always grow while mounted: there it is made large before.
fn prepare(env: &Env, case: Case) {
    let engine = env.engine();
    let kind = case.kind;
    env.create(&engine, "v", kind);
    if case.operation == "expand" && kind.is_ext4() {
        enlarge(env, &engine, kind);
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
        "expand" => enlarge(env, &engine, kind),
        _ => {}
    }
    if case.start == Start::Grown {
        enlarge(env, &engine, kind);
    }
}

/// The volume is staged and published; all is as it should be; then it is taken down.
fn finish(env: &Env, case: Case) {
    let (engine, kind) = (env.engine(), case.kind);
    let (read_only, data) = (case.operation == "publish-read-only", case.start != Start::Empty);
    engine.stage(&env.stage("v", kind)).unwrap();
    engine.publish(&env.publish("v", kind, "pod", read_only)).unwrap();
    let staging_mounts = usize::from(!kind.is_block());
    assert_eq!(env.mounts().len(), staging_mounts + 1, "{:?}", env.mounts());
    let own = usize::from(kind != Kind::Directory && !kind.on_disk());
    let devices = own + usize::from(read_only);
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
    let content = if kind.on_disk() { env.content("v") } else { env.image("v") };
    if kind.is_ext4() {
        tool("e2fsck", &["-f", "-n", content.to_str().unwrap()]);
    }
    if !kind.on_disk() {
        engine.pools().delete_object(POOL, "v").unwrap();
    }
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
    let reached = Mutex::new(BTreeSet::new());
    at_once(cases(), |case| {
        for name in case.steps() {
            for then in case.continuations() {
                let outcome = std::panic::catch_unwind(|| one(case, name, then));
                assert!(outcome.is_ok(), "{case:?}, killed at {name}, then {then}");
            }
            reached.lock().unwrap().insert(name);
        }
    });
    let reached = reached.into_inner().unwrap();
    let missed: Vec<_> = failpoint::ALL.iter().filter(|name| !elsewhere(name) && !reached.contains(*name)).collect();
    assert!(missed.is_empty(), "failpoints that no case reaches: {missed:?}");
}

/// Does all of it, some at once: most of the time goes into waiting for disks. Every thread looks at a machine of its own.
fn at_once<T: Send>(work: Vec<T>, act: impl Fn(T) + Sync) {
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let rest = Mutex::new(work.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(next) = rest.lock().unwrap().next() else { break };
                    act(next);
                }
            });
        }
    });
}

fn one(case: Case, name: &str, then: &str) {
    let env = Env::new();
    prepare(&env, case);
    assert_eq!(operation(&env, case.operation, case.kind, &format!("{name}=kill")), Ended::Killed);
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
}

/// Where a step fails, stage and publish leave things as they were, or say that they don't know.
fn injected_errors() {
    let begins = |case: &Case| case.operation == "stage" || case.operation.starts_with("publish");
    at_once(cases().into_iter().filter(begins).collect(), |case| {
        for name in case.steps() {
            let env = Env::new();
            prepare(&env, case);
            let (mounts, devices, records) = (env.mounts(), env.loops(), env.records());
            match operation(&env, case.operation, case.kind, &format!("{name}=error")) {
                Ended::Failed(why) => assert!(why.contains("Unavailable") && why.contains("injected"), "{why}"),
                other => panic!("{case:?} {name}: {other:?}"),
            }
            // After the last step everything is done; only the answer is lost.
            if !name.ends_with(".done") {
                assert_eq!((env.mounts(), env.loops(), env.records()), (mounts, devices, records), "{case:?} {name}");
                assert!(!env.target("pod").exists());
            }
            finish(&env, case);
        }
    });
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
