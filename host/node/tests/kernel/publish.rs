//! The rules of NodePublishVolume and NodeUnpublishVolume, and of repeats.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::capability::AccessMode;
use bulkhead_node::Engine;
use std::fs;

pub const TESTS: &[Test] = &[
    ("publish::only_what_is_staged", only_what_is_staged),
    ("publish::repeats_and_conflicts", repeats_and_conflicts),
    ("publish::a_second_target", second_target),
    ("publish::what_was_unmounted_is_mounted_again", unmounted_outside),
    ("publish::foreign_things_are_left_alone", foreign),
    ("publish::staging_conflicts", staging_conflicts),
    ("publish::volumes_run_in_parallel", parallel),
];

fn staged(env: &Env, engine: &Engine, kind: Kind) {
    env.create(engine, "v", kind);
    engine.stage(&env.stage("v", kind)).unwrap();
}

fn end(env: &Env, engine: &Engine) {
    for pod in ["a", "b"] {
        engine.unpublish(&env.unpublish("v", pod)).unwrap();
    }
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn only_what_is_staged() {
    for kind in Kind::ALL {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        refused(engine.publish(&env.publish("v", kind, "a", false)), ErrorKind::FailedPrecondition);
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        engine.stage(&env.stage("v", kind)).unwrap();
        let mut elsewhere = env.publish("v", kind, "a", false);
        elsewhere.staging_path = env.staging("elsewhere");
        refused(engine.publish(&elsewhere), ErrorKind::FailedPrecondition);
        let other = if kind == Kind::Block { Kind::Ext4 } else { Kind::Block };
        refused(engine.publish(&env.publish("v", other, "a", false)), ErrorKind::FailedPrecondition);
        assert!(!env.target("a").exists());
        end(&env, &engine);
    }
}

fn repeats_and_conflicts() {
    for kind in Kind::ALL {
        let env = Env::new();
        let engine = env.engine();
        staged(&env, &engine, kind);
        let publish = env.publish("v", kind, "a", false);
        engine.publish(&publish).unwrap();
        let before = fs::read_to_string(&env.records()[0]).unwrap();
        engine.publish(&publish).unwrap();
        assert_eq!(before, fs::read_to_string(&env.records()[0]).unwrap(), "a repeat writes nothing");
        refused(engine.publish(&env.publish("v", kind, "a", true)), ErrorKind::AlreadyExists);
        let mut other = publish.clone();
        other.capability = capability_with(kind, AccessMode::MultiNodeMultiWriter, &[]);
        refused(engine.publish(&other), ErrorKind::AlreadyExists);
        if kind != Kind::Block {
            other.capability = capability_with(kind, AccessMode::SingleNodeMultiWriter, &["noexec"]);
            refused(engine.publish(&other), ErrorKind::AlreadyExists);
        }
        end(&env, &engine);
    }
}

fn second_target() {
    for (mode, offered, allowed) in [
        (AccessMode::SingleNodeSingleWriter, true, false),
        (AccessMode::SingleNodeWriter, true, false),
        (AccessMode::SingleNodeWriter, false, true),
        (AccessMode::SingleNodeMultiWriter, true, true),
        (AccessMode::MultiNodeMultiWriter, true, true),
    ] {
        let env = Env::new();
        let mut config = env.config();
        config.single_node_multi_writer = offered;
        let engine = Engine::open(config).unwrap();
        env.create(&engine, "v", Kind::Directory);
        let capability = capability_with(Kind::Directory, mode, &[]);
        let mut stage = env.stage("v", Kind::Directory);
        stage.capability = capability.clone();
        engine.stage(&stage).unwrap();
        let publish = |pod| {
            let mut publish = env.publish("v", Kind::Directory, pod, false);
            publish.capability = capability.clone();
            engine.publish(&publish)
        };
        publish("a").unwrap();
        if allowed {
            publish("b").unwrap();
        } else {
            let message = refused(publish("b"), ErrorKind::FailedPrecondition);
            assert!(message.contains("only one target"), "{message}");
            // A target that is no mount any more does not count.
            tool("umount", &[env.target("a").to_str().unwrap()]);
            publish("b").unwrap();
        }
        end(&env, &engine);
    }
}

fn unmounted_outside() {
    for kind in Kind::ALL {
        let env = Env::new();
        let engine = env.engine();
        staged(&env, &engine, kind);
        let publish = env.publish("v", kind, "a", false);
        engine.publish(&publish).unwrap();
        write_data(&publish.target_path, kind);
        tool("umount", &[publish.target_path.to_str().unwrap()]);
        engine.publish(&publish).unwrap();
        assert_data(&publish.target_path, kind);
        if kind != Kind::Block {
            // The staging mount goes while a target is in use.
            tool("umount", &[env.staging("v").to_str().unwrap()]);
            refused(engine.publish(&env.publish("v", kind, "b", false)), ErrorKind::FailedPrecondition);
            engine.stage(&env.stage("v", kind)).unwrap();
            assert_data(&env.staging("v"), kind);
            assert!(env.loops().len() < 2);
        }
        engine.publish(&env.publish("v", kind, "b", false)).unwrap();
        // Targets that are no mounts any more don't keep a volume staged.
        for pod in ["a", "b"] {
            tool("umount", &[env.target(pod).to_str().unwrap()]);
        }
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

fn foreign() {
    let env = Env::new();
    let engine = env.engine();
    let tmpfs = |path: &std::path::Path| tool("mount", &["-t", "tmpfs", "none", path.to_str().unwrap()]);
    let umount = |path: &std::path::Path| tool("umount", &[path.to_str().unwrap()]);
    env.create(&engine, "v", Kind::Ext4);
    // On the staging path, before.
    let staging = env.staging("v");
    tmpfs(&staging);
    refused(engine.stage(&env.stage("v", Kind::Ext4)), ErrorKind::FailedPrecondition);
    engine.unstage(&env.unstage("v")).unwrap();
    assert_eq!(env.mounts(), std::slice::from_ref(&staging));
    umount(&staging);
    // Over the staging mount.
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    tmpfs(&staging);
    refused(engine.publish(&env.publish("v", Kind::Ext4, "a", false)), ErrorKind::FailedPrecondition);
    refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
    assert_eq!(env.mounts().len(), 2);
    umount(&staging);
    // At the target: a mount, a file, something in the directory.
    let target = env.target("a");
    fs::create_dir(&target).unwrap();
    tmpfs(&target);
    refused(engine.publish(&env.publish("v", Kind::Ext4, "a", false)), ErrorKind::FailedPrecondition);
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    assert_eq!(env.mounts().len(), 2, "what is not on record is left alone");
    umount(&target);
    fs::write(target.join("x"), "x").unwrap();
    refused(engine.publish(&env.publish("v", Kind::Ext4, "a", false)), ErrorKind::FailedPrecondition);
    fs::remove_file(target.join("x")).unwrap();
    // An empty one is fine.
    engine.publish(&env.publish("v", Kind::Ext4, "a", false)).unwrap();
    // Over our target.
    tmpfs(&target);
    refused(engine.unpublish(&env.unpublish("v", "a")), ErrorKind::FailedPrecondition);
    refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
    umount(&target);
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    fs::write(&target, "").unwrap();
    refused(engine.publish(&env.publish("v", Kind::Ext4, "a", false)), ErrorKind::FailedPrecondition);
    fs::remove_file(&target).unwrap();
    end(&env, &engine);
}

fn staging_conflicts() {
    for kind in Kind::ALL {
        let env = Env::new();
        let engine = env.engine();
        staged(&env, &engine, kind);
        let mut other = env.stage("v", kind);
        other.capability = capability_with(kind, AccessMode::MultiNodeMultiWriter, &[]);
        refused(engine.stage(&other), ErrorKind::AlreadyExists);
        let mut elsewhere = env.stage("v", kind);
        elsewhere.staging_path = env.staging("elsewhere");
        let message = refused(engine.stage(&elsewhere), ErrorKind::FailedPrecondition);
        assert!(message.contains("staged at"), "{message}");
        // Not staged there: nothing to do.
        let mut unstage = env.unstage("v");
        unstage.staging_path = env.staging("elsewhere");
        engine.unstage(&unstage).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        end(&env, &engine);
    }
}

fn parallel() {
    let env = Env::new();
    let engine = env.engine();
    std::thread::scope(|scope| {
        for worker in 0..64 {
            let (env, engine) = (&env, &engine);
            scope.spawn(move || {
                for round in 0..4 {
                    let name = format!("v{worker}-{round}");
                    let kind = [Kind::Ext4, Kind::Block, Kind::Directory][(worker + round) % 3];
                    env.create(engine, &name, kind);
                    engine.stage(&env.stage(&name, kind)).unwrap();
                    engine.publish(&env.publish(&name, kind, &name, false)).unwrap();
                    write_data(&env.target(&name), kind);
                    engine.unpublish(&env.unpublish(&name, &name)).unwrap();
                    engine.unstage(&env.unstage(&name)).unwrap();
                    engine.pools().delete_object(POOL, &name).unwrap();
                }
            });
        }
    });
    env.assert_clean();
}
