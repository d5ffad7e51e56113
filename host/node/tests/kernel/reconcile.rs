//! The journal against the machine.

use crate::Test;
use crate::child::{Ended, operation, steps};
use crate::env::*;
use std::fs;

pub const TESTS: &[Test] = &[
    ("reconcile::what_was_cut_short_is_taken_back", taken_back),
    ("reconcile::what_is_whole_stays", whole),
    ("reconcile::kubernetes_85476_what_is_lost_or_nobodys_is_told", told),
];

fn taken_back() {
    for kind in [Kind::Ext4, Kind::Directory, Kind::DiskExt4, Kind::DiskBlock] {
        for what in ["stage", "publish", "unstage"] {
            let begin = || {
                let env = Env::new();
                let engine = env.engine();
                env.create(&engine, "v", kind);
                if what != "stage" {
                    engine.stage(&env.stage("v", kind)).unwrap();
                }
                (env, engine)
            };
            for name in steps(&begin().0, what, kind, None) {
                let (env, engine) = begin();
                assert_eq!(operation(&env, what, kind, &format!("{name}=kill")), Ended::Killed);
                let context = format!("{kind:?} killed at {name}");
                for volume in engine.unfinished().unwrap() {
                    engine.reconcile(&volume).unwrap_or_else(|e| panic!("{context}: {e}"));
                }
                assert_eq!(engine.unfinished().unwrap(), [], "{context}");
                if name.ends_with(".done") {
                    continue;
                }
                if what == "publish" {
                    assert!(!env.target("pod").exists(), "{context}");
                    engine.unstage(&env.unstage("v")).unwrap();
                }
                env.assert_clean();
                engine.stage(&env.stage("v", kind)).unwrap();
                engine.unstage(&env.unstage("v")).unwrap();
            }
        }
    }
}

fn whole() {
    for kind in [Kind::Xfs, Kind::DiskBlock] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        let (mounts, record) = (env.mounts(), fs::read(&env.records()[0]).unwrap());
        assert_eq!(engine.unfinished().unwrap(), []);
        engine.reconcile(&volume("v")).unwrap();
        engine.reconcile(&volume("unknown")).unwrap();
        assert_eq!(engine.disagreement().unwrap(), bulkhead_node::Disagreement::default());
        assert_eq!((env.mounts(), fs::read(&env.records()[0]).unwrap()), (mounts, record));
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

/// kubernetes #85476, #104493: mounts that nobody knows of any more. They are named, and stay.
fn told() {
    let env = Env::new();
    let engine = env.engine();
    for (name, kind) in [("v", Kind::Ext4), ("w", Kind::DiskBlock), ("x", Kind::Directory)] {
        env.create(&engine, name, kind);
        engine.stage(&env.stage(name, kind)).unwrap();
    }
    tool("umount", &[env.staging("v").to_str().unwrap()]);
    env.unplug("w");
    let staged = env.kubelet().join("plugins/kubernetes.io/csi/test.csi.bulkhead.dev/0123abcd/globalmount");
    let other = env.kubelet().join("plugins/kubernetes.io/csi/other.csi.example/0123abcd/globalmount");
    for path in [&staged, &other] {
        fs::create_dir_all(path).unwrap();
        tool("mount", &["-t", "tmpfs", "none", path.to_str().unwrap()]);
    }
    let found = engine.disagreement().unwrap();
    assert_eq!(found.lost, [volume("v"), volume("w")]);
    assert_eq!(found.orphans, std::slice::from_ref(&staged));
    // Neither a start nor taking back what was cut short touches what is not on record.
    let (mounts, loops) = (env.mounts(), env.loops());
    env.create(&engine, "y", Kind::Ext4);
    let again = env.engine();
    for known in ["v", "w", "x", "y", "nobody"] {
        again.reconcile(&volume(known)).unwrap();
    }
    assert_eq!((env.mounts(), env.loops()), (mounts, loops));
    assert!(env.mounts().contains(&staged) && env.mounts().contains(&other), "it was touched");
    for path in [&staged, &other] {
        tool("umount", &[path.to_str().unwrap()]);
    }
    for name in ["v", "w", "x"] {
        engine.unstage(&env.unstage(name)).unwrap();
    }
    env.assert_clean();
}
