//! SIGKILL and errors at every step of an inline ephemeral volume's life.

use crate::Test;
use crate::child::{Ended, operation};
use crate::env::*;
use crate::ephemeral::{TWO, gone};
use bulkhead_node::failpoint;
use std::collections::BTreeSet;
use std::fs;

pub const TESTS: &[Test] = &[
    ("ephemeral::killed_at_every_failpoint", killed),
    ("ephemeral::an_injected_error_leaves_nothing", injected_errors),
];

/// What kills where: publishing a new volume, publishing one again after a reboot, unpublishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Nothing,
    Rebooted,
    Published,
}

fn prepare(start: Start, kind: Kind) -> Env {
    let env = Env::new();
    let engine = env.engine();
    if start != Start::Nothing {
        let publish = env.ephemeral("v", kind, "pod");
        engine.publish_ephemeral(&publish).unwrap();
        write_data(&publish.target_path, kind);
    }
    if start == Start::Rebooted {
        env.reboot();
    }
    env
}

/// Those that an operation can come by.
fn failpoints(operations: &[&str]) -> impl Iterator<Item = &'static str> {
    failpoint::ALL.iter().copied().filter(|name| operations.contains(&name.split('.').next().unwrap()))
}

fn killed() {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    for kind in TWO {
        for (start, what, operations) in [
            (Start::Nothing, "publish-ephemeral", &["pool-create", "stage", "ephemeral"][..]),
            (Start::Rebooted, "publish-ephemeral", &["stage", "ephemeral"]),
            (Start::Published, "unpublish", &["unpublish", "ephemeral", "pool-delete"]),
            (Start::Rebooted, "unpublish", &["unpublish", "ephemeral", "pool-delete"]),
        ] {
            for name in failpoints(operations) {
                for then in ["publish-ephemeral", "unpublish"] {
                    let env = prepare(start, kind);
                    match operation(&env, what, kind, &format!("{name}=kill")) {
                        Ended::Killed => {}
                        Ended::Done => break,
                        Ended::Failed(why) => panic!("{kind:?} {start:?} {what} {name}: {why}"),
                    }
                    reached.insert(name);
                    let context = format!("{kind:?} {start:?}, {what} killed at {name}, then {then}");
                    for _ in 0..2 {
                        assert_eq!(operation(&env, then, kind, ""), Ended::Done, "{context}");
                    }
                    if then == "publish-ephemeral" {
                        assert_eq!((env.mounts().len(), env.objects().len()), (1, 1), "{context}");
                        assert_eq!(env.loops().len(), usize::from(kind != Kind::Directory), "{context}");
                        let engine = env.engine();
                        assert!(engine.volumes().unwrap().iter().all(|volume| !volume.unfinished), "{context}");
                        // Only unpublishing costs data.
                        if what == "publish-ephemeral" && start == Start::Rebooted {
                            assert_data(&env.target("pod"), kind);
                        }
                        engine.unpublish(&env.unpublish("v", "pod")).unwrap();
                    }
                    gone(&env);
                    let left = |place: &str| fs::read_dir(env.pool().join(place)).unwrap().count();
                    env.engine();
                    assert_eq!((left("tmp"), left("trash")), (0, 0), "{context}");
                }
            }
        }
    }
    let missed: Vec<_> =
        failpoint::ALL.iter().filter(|name| name.starts_with("ephemeral.") && !reached.contains(**name)).collect();
    assert!(missed.is_empty(), "failpoints that no case reaches: {missed:?}");
    assert!(reached.contains("pool-create.written") && reached.contains("pool-delete.moved"), "{reached:?}");
}

fn injected_errors() {
    for kind in TWO {
        for name in failpoints(&["pool-create", "stage", "ephemeral"]) {
            let env = prepare(Start::Nothing, kind);
            match operation(&env, "publish-ephemeral", kind, &format!("{name}=error")) {
                Ended::Done => {}
                Ended::Failed(why) => {
                    assert!(why.contains("Unavailable") && why.contains("injected"), "{why}");
                    if name != "ephemeral.done" {
                        gone(&env);
                    }
                }
                Ended::Killed => panic!("{kind:?} {name}"),
            }
            operation(&env, "unpublish", kind, "");
            gone(&env);
        }
    }
}
