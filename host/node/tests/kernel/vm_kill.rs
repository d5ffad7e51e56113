//! SIGKILL at every step, on the real NFS client and real disks. In the test VM only; `kill` has all that does not need it.

use crate::Test;
use crate::child::{Ended, operation_of, steps};
use crate::env::*;
use crate::vm_platform::{EXPORT, Nvme, Platform, Scsi, engine, stage_export, stage_plugged};
use bulkhead_domain::node::Stage;
use bulkhead_vm::{NfsServer, Squash, Version};
use std::fs;

pub const TESTS: &[Test] = &[("vm_kill::nfs", nfs), ("vm_kill::nvme_and_scsi", disks)];

fn opposite(what: &'static str) -> &'static str {
    match what {
        "stage" => "unstage",
        "unstage" => "stage",
        "publish" => "unpublish",
        "unpublish" => "publish",
        other => other,
    }
}

/// Brings a volume to where the operation begins.
fn prepare(env: &Env, stage: &Stage, what: &str, kind: Kind) {
    let engine = engine(env);
    if what == "stage" {
        return;
    }
    engine.stage(stage).unwrap();
    engine.publish(&env.publish("v", kind, "pod", false)).unwrap();
    write_data(&env.target("pod"), kind);
    if what != "unpublish" {
        engine.unpublish(&env.unpublish("v", "pod")).unwrap();
    }
}

/// After the kill: what is asked for is done, and once more; then all is as it should be, and is taken down.
fn converges(env: &Env, stage: &Stage, (what, name, then): (&str, &str, &str), kind: Kind) {
    let context = format!("{what} killed at {name}, then {then}");
    assert_eq!(operation_of(env, what, kind, &stage.plan, &format!("{name}=kill")), Ended::Killed, "{context}");
    for _ in 0..2 {
        assert_eq!(operation_of(env, then, kind, &stage.plan, ""), Ended::Done, "{context}");
    }
    if then == "unstage" {
        env.assert_clean();
    }
    let engine = engine(env);
    engine.stage(stage).unwrap();
    engine.publish(&env.publish("v", kind, "pod", false)).unwrap();
    assert_eq!(env.mounts().len(), 2, "{context}: {:?}", env.mounts());
    assert!(engine.unfinished().unwrap().is_empty(), "{context}");
    if what == "stage" {
        write_data(&env.target("pod"), kind);
    }
    assert_data(&env.target("pod"), kind);
    engine.unpublish(&env.unpublish("v", "pod")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn nfs() {
    let mut server = NfsServer::start(&[Version::V4_1]);
    server.export("data", Squash::None);
    for what in ["stage", "publish", "unpublish", "unstage"] {
        let begin = || {
            let env = Env::new();
            let stage = stage_export(&env, &["127.0.0.1"], Some("4.1"), &[]);
            prepare(&env, &stage, what, EXPORT);
            (env, stage)
        };
        let (env, stage) = begin();
        let names = steps(&env, what, EXPORT, Some(&stage.plan));
        drop(env);
        assert!(names.len() >= 3, "{names:?}");
        for name in names {
            // What is being undone and is wanted again begins anew, as on every other variant (`kill`).
            let thens = if what.starts_with("un") { vec![what] } else { vec![what, opposite(what)] };
            for then in thens {
                let (env, stage) = begin();
                converges(&env, &stage, (what, name, then), EXPORT);
                let _ = fs::remove_file(server.path().join("data/data"));
            }
        }
    }
}

/// One step after the other on NVMe and SCSI in turn, with the same call after the kill or the opposite one. All of it, on disks that
/// are loop devices, is in `kill`.
fn disks() {
    type Then = fn(&'static str) -> &'static str;
    let mut platforms: [(Box<dyn Platform>, Then); 2] =
        [(Box::new(Nvme::start()), |what| what), (Box::new(Scsi::start()), opposite)];
    let (kind, mut turn) = (Kind::DiskExt4, 0);
    for what in ["stage", "publish", "unpublish", "unstage", "expand"] {
        let mut names: Option<Vec<&str>> = None;
        // First to see which steps there are.
        while names.as_ref().is_none_or(|names| !names.is_empty()) {
            turn += 1;
            let (platform, then) = &mut platforms[turn % 2];
            let identity = platform.plug(kind.size());
            let env = Env::new();
            let stage = stage_plugged(&env, identity, kind);
            prepare(&env, &stage, what, kind);
            if what == "expand" {
                platform.enlarge(2 * kind.size());
            }
            match &mut names {
                None => names = Some(steps(&env, what, kind, Some(&stage.plan))),
                Some(names) => converges(&env, &stage, (what, names.remove(0), then(what)), kind),
            }
            drop(env);
            platform.unplug();
        }
    }
}
