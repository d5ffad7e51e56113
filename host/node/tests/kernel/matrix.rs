//! The table of NodePublishVolume in the specification: a second call for a volume on the same node, cell by cell.

use crate::Test;
use crate::env::*;
use bulkhead_domain::capability::AccessMode::{self, *};
use bulkhead_domain::{Error, ErrorKind};
use bulkhead_node::Engine;

pub const TESTS: &[Test] =
    &[("matrix::every_cell", every_cell), ("matrix::two_modes_on_one_volume", two_modes_on_one_volume)];

/// Mode; a second target where the driver knows SINGLE_NODE_MULTI_WRITER; and where it does not. In the latter case
/// SINGLE_NODE_WRITER and SINGLE_NODE_READER_ONLY are more than the table asks for: see `AccessMode::allows_second_target`.
const TABLE: [(AccessMode, bool, bool); 7] = [
    (SingleNodeWriter, false, true),
    (SingleNodeReaderOnly, false, true),
    (SingleNodeSingleWriter, false, false),
    (SingleNodeMultiWriter, true, true),
    (MultiNodeReaderOnly, true, true),
    (MultiNodeSingleWriter, true, true),
    (MultiNodeMultiWriter, true, true),
];

fn kind_of(outcome: Result<(), Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

fn every_cell() {
    for kind in [Kind::Ext4, Kind::Block, Kind::Directory] {
        for (mode, with, without) in TABLE {
            for (offered, allowed) in [(true, with), (false, without)] {
                cell(kind, mode, offered, allowed);
            }
        }
    }
}

fn cell(kind: Kind, mode: AccessMode, offered: bool, allowed: bool) {
    let env = Env::new();
    let context = format!("{kind:?} {mode:?}, SINGLE_NODE_MULTI_WRITER offered: {offered}");
    let engine =
        Engine::open(bulkhead_node::EngineConfig { single_node_multi_writer: offered, ..env.config() }).unwrap();
    env.create(&engine, "v", kind);
    let mut stage = env.stage("v", kind);
    stage.capability = capability_with(kind, mode, &[]);
    engine.stage(&stage).unwrap();
    let publish = |pod: &str, read_only: bool, capability| {
        let mut publish = env.publish("v", kind, pod, read_only);
        publish.capability = capability;
        kind_of(engine.publish(&publish))
    };
    let same = || capability_with(kind, mode, &[]);
    let other_mode = if mode == MultiNodeMultiWriter { SingleNodeMultiWriter } else { MultiNodeMultiWriter };
    assert_eq!(publish("a", false, same()), None, "{context}");
    // The same target.
    assert_eq!(publish("a", false, same()), None, "{context}");
    assert_eq!(publish("a", true, same()), Some(ErrorKind::AlreadyExists), "{context}");
    let other = capability_with(kind, other_mode, &[]);
    assert_eq!(publish("a", false, other), Some(ErrorKind::AlreadyExists), "{context}");
    if kind != Kind::Block {
        let other = capability_with(kind, mode, &["noexec"]);
        assert_eq!(publish("a", false, other), Some(ErrorKind::AlreadyExists), "{context}");
    }
    let other_kind = if kind == Kind::Block { Kind::Ext4 } else { Kind::Block };
    assert_eq!(
        publish("a", false, capability_with(other_kind, mode, &[])),
        Some(ErrorKind::AlreadyExists),
        "{context}"
    );
    let mut elsewhere = env.publish("v", kind, "a", false);
    (elsewhere.capability, elsewhere.staging_path) = (same(), env.staging("elsewhere"));
    assert_eq!(kind_of(engine.publish(&elsewhere)), Some(ErrorKind::AlreadyExists), "{context}");
    // Another target, with the same arguments and with others.
    let expected = (!allowed).then_some(ErrorKind::FailedPrecondition);
    assert_eq!(publish("b", false, same()), expected, "{context}");
    assert_eq!(publish("c", true, same()), expected, "{context}");
    assert_eq!(env.target("b").exists(), allowed, "{context}");
    // A target that was given up does not count.
    for pod in ["a", "b", "c"] {
        engine.unpublish(&env.unpublish("v", pod)).unwrap();
    }
    assert_eq!(publish("d", false, same()), None, "{context}");
    engine.unpublish(&env.unpublish("v", "d")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

/// A target that is to be the only one keeps others away, and does not come to others.
fn two_modes_on_one_volume() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    engine.stage(&env.stage("v", Kind::Directory)).unwrap();
    for (first, second) in
        [(SingleNodeSingleWriter, SingleNodeMultiWriter), (SingleNodeMultiWriter, SingleNodeSingleWriter)]
    {
        let publish = |pod: &str, mode| {
            let mut publish = env.publish("v", Kind::Directory, pod, false);
            publish.capability = capability_with(Kind::Directory, mode, &[]);
            engine.publish(&publish)
        };
        publish("a", first).unwrap();
        refused(publish("b", second), ErrorKind::FailedPrecondition);
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
    }
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
