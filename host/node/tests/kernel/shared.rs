//! Two nodes on one pool, and volumes that are attached for reading only.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::capability::AccessMode::{MultiNodeMultiWriter, MultiNodeReaderOnly};
use bulkhead_domain::node::{Publish, Stage, Unpublish, Unstage};
use bulkhead_node::{Engine, EngineConfig};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};

pub const TESTS: &[Test] = &[
    ("shared::a_directory_for_writers_on_two_nodes", writers),
    ("shared::an_image_for_readers_on_two_nodes", readers),
    ("shared::an_image_has_one_writer", one_writer),
    ("shared::attached_for_reading", attached_for_reading),
    ("shared::a_pool_of_a_controller_without_privileges", somebodys_pool),
];

/// The second node: another id, another state directory, other paths; the same pool.
struct Second<'a> {
    env: &'a Env,
    engine: Engine,
}

impl<'a> Second<'a> {
    fn new(env: &'a Env) -> Self {
        let state_dir = env.root().join("state-2");
        Self {
            env,
            engine: Engine::open(EngineConfig { node_id: "node-2".into(), state_dir, ..env.config() }).unwrap(),
        }
    }

    fn stage(&self, stage: &Stage) -> bulkhead_domain::Result<()> {
        self.engine.stage(&Stage { staging_path: self.env.staging("second"), ..stage.clone() })
    }

    fn publish(&self, publish: &Publish) {
        let (staging_path, target_path) = (self.env.staging("second"), self.env.target("second"));
        self.engine.publish(&Publish { staging_path, target_path, ..publish.clone() }).unwrap();
    }

    fn end(self) {
        let target_path = self.env.target("second");
        self.engine.unpublish(&Unpublish { volume_id: volume("v"), target_path }).unwrap();
        let staging_path = self.env.staging("second");
        self.engine.unstage(&Unstage { volume_id: volume("v"), staging_path }).unwrap();
        assert_eq!(self.engine.volumes().unwrap(), []);
    }
}

fn writers() {
    let env = Env::new();
    let (engine, second) = (env.engine(), Second::new(&env));
    env.create(&engine, "v", Kind::Directory);
    let mut stage = env.stage("v", Kind::Directory);
    stage.capability = capability_with(Kind::Directory, MultiNodeMultiWriter, &[]);
    let mut publish = env.publish("v", Kind::Directory, "a", false);
    publish.capability = stage.capability.clone();
    engine.stage(&stage).unwrap();
    second.stage(&stage).unwrap();
    engine.publish(&publish).unwrap();
    second.publish(&publish);
    write_data(&env.target("a"), Kind::Directory);
    assert_data(&env.target("second"), Kind::Directory);
    fs::write(env.target("second").join("back"), "x").unwrap();
    assert!(env.target("a").join("back").exists());
    // One node leaving takes nothing from the other.
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    assert_data(&env.target("second"), Kind::Directory);
    refused(engine.pools().delete_object(POOL, "v"), ErrorKind::FailedPrecondition);
    second.end();
    env.assert_clean();
    engine.pools().delete_object(POOL, "v").unwrap();
}

fn readers() {
    for kind in [Kind::Ext4, Kind::Block] {
        let env = Env::new();
        let (engine, second) = (env.engine(), Second::new(&env));
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        write_data(&env.target("a"), kind);
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        // A writer lets no reader in: what that has cached would be wrong.
        let mut stage = read_only(env.stage("v", kind));
        stage.capability = capability_with(kind, MultiNodeReaderOnly, &[]);
        let message = refused(second.stage(&stage), ErrorKind::FailedPrecondition);
        assert!(message.contains("node-1"), "{message}");
        engine.unstage(&env.unstage("v")).unwrap();
        let mut publish = env.publish("v", kind, "a", false);
        publish.capability = stage.capability.clone();
        engine.stage(&stage).unwrap();
        second.stage(&stage).unwrap();
        engine.publish(&publish).unwrap();
        second.publish(&publish);
        for pod in ["a", "second"] {
            assert_data(&env.target(pod), kind);
            assert_not_writable(&env, pod, kind);
        }
        // Readers let no writer in.
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        let message = refused(engine.stage(&env.stage("v", kind)), ErrorKind::FailedPrecondition);
        assert!(message.contains("node-2"), "{message}");
        assert_data(&env.target("second"), kind);
        second.end();
        env.assert_clean();
    }
}

#[track_caller]
fn assert_not_writable(env: &Env, pod: &str, kind: Kind) {
    let outcome = fs::File::options()
        .write(true)
        .create(kind != Kind::Block)
        .truncate(false)
        .open(data_path(&env.target(pod), kind))
        .and_then(|mut file| {
            file.write_all(&[9; 4096])?;
            file.sync_all()
        });
    assert!(outcome.is_err(), "{kind:?}: what is for reading was written");
}

fn one_writer() {
    for kind in [Kind::Ext4, Kind::Block] {
        let env = Env::new();
        let (engine, second) = (env.engine(), Second::new(&env));
        env.create(&engine, "v", kind);
        let mut stage = env.stage("v", kind);
        stage.capability = capability_with(kind, MultiNodeMultiWriter, &[]);
        engine.stage(&stage).unwrap();
        for _ in 0..2 {
            let message = refused(second.stage(&stage), ErrorKind::FailedPrecondition);
            assert!(message.contains("node-1"), "{message}");
        }
        assert_eq!(second.engine.volumes().unwrap(), [], "a refusal leaves nothing");
        assert_eq!(env.loops().len(), 1);
        engine.unstage(&env.unstage("v")).unwrap();
        second.stage(&stage).unwrap();
        refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
        second.end();
        env.assert_clean();
    }
}

/// A plan for reading only, as a backend makes it after an attach for reading: whatever is asked at publish, nobody writes.
fn attached_for_reading() {
    for kind in Kind::ALL {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        write_data(&env.target("a"), kind);
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        let stage = read_only(env.stage("v", kind));
        for _ in 0..2 {
            engine.stage(&stage).unwrap();
        }
        for (pod, read_only) in [("a", false), ("b", true)] {
            engine.publish(&env.publish("v", kind, pod, read_only)).unwrap();
            assert_data(&env.target(pod), kind);
            assert_not_writable(&env, pod, kind);
        }
        assert_eq!(env.loops().len(), usize::from(kind != Kind::Directory), "one device serves all");
        for pod in ["a", "b"] {
            engine.unpublish(&env.unpublish("v", pod)).unwrap();
        }
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

/// Nodes are root, and may be the first to open the pool.
fn somebodys_pool() {
    const CONTROLLER: u32 = 65532;
    let env = Env::new();
    chown(env.pool(), Some(CONTROLLER), Some(CONTROLLER)).unwrap();
    let engine = env.engine();
    for kind in [Kind::Directory, Kind::Ext4] {
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        let mut seen = 0;
        let mut folders = vec![env.pool()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let about = entry.metadata().unwrap();
                assert_eq!((about.uid(), about.gid()), (CONTROLLER, CONTROLLER), "{}", entry.path().display());
                seen += 1;
                folders.extend(about.is_dir().then(|| entry.path()));
            }
        }
        // At least the five folders, and the object with its record, its lock and its user.
        assert!(seen >= 9, "{seen}");
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        engine.pools().delete_object(POOL, "v").unwrap();
    }
    env.assert_clean();
}
