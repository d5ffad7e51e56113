//! Who may use a volume how.

use super::{ONE, made, publish, request};
use crate::Share;
use crate::fake::{start, world};
use crate::refused;
use AccessMode::{MultiNodeMultiWriter, MultiNodeReaderOnly, SingleNodeWriter};
use bulkhead_sdk::prelude::*;

fn published(id: &str) -> Vec<String> {
    Share::get_volume(id.to_owned()).expect("the volume").published_node_ids
}

#[test]
fn several_nodes_share_a_volume_that_is_for_several() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    for node in ["n1", "n2"] {
        for _ in 0..2 {
            let answer = publish(&id, node, MultiNodeMultiWriter, false).expect("attached");
            assert_eq!(lookup(&answer, "readOnly"), Some("false"));
        }
    }
    assert_eq!(published(&id), ["n1", "n2"]);
    assert_eq!(lookup(&publish(&id, "n3", MultiNodeReaderOnly, true).unwrap(), "readOnly"), Some("true"));
    refused!(publish(&id, "n1", MultiNodeMultiWriter, true), AlreadyExists);
    assert!(refused!(publish(&id, "n4", SingleNodeWriter, false), FailedPrecondition).contains("n1"));
    Share::controller_unpublish_volume(id.clone(), Some("n1".to_owned())).expect("detached");
    Share::controller_unpublish_volume(id.clone(), Some("n1".to_owned())).expect("detached");
    assert_eq!(published(&id), ["n2", "n3"]);
    Share::controller_unpublish_volume(id.clone(), None).expect("detached");
    publish(&id, "n4", SingleNodeWriter, false).expect("attached");
    assert!(refused!(publish(&id, "n5", SingleNodeWriter, false), FailedPrecondition).contains("n4"));
}

#[test]
fn unknown_volumes_are_unknown_and_races_are_lost_in_peace() {
    start(&["a"], &ONE);
    refused!(publish("a/none", "n1", SingleNodeWriter, false), NotFound);
    refused!(publish("none", "n1", SingleNodeWriter, false), NotFound);
    assert_eq!(Share::controller_unpublish_volume("a/none".to_owned(), None), Ok(()));
    assert_eq!(Share::controller_unpublish_volume("none".to_owned(), None), Ok(()));
    refused!(Share::controller_unpublish_volume("elsewhere/v".to_owned(), None), FailedPrecondition);
    let id = made(request("v"));
    world(|world| world.conflicts = 3);
    publish(&id, "n1", MultiNodeMultiWriter, false).expect("attached");
    world(|world| world.conflicts = 1000);
    refused!(publish(&id, "n2", MultiNodeMultiWriter, false), Pending);
}

#[test]
fn metadata_ends_somewhere() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    let attached = (0..1000).take_while(|n| {
        let done = publish(&id, &format!("node-with-a-long-name-{n:03}"), MultiNodeMultiWriter, false);
        assert!(done.is_ok() || matches!(done, Err(Error::ResourceExhausted(_))), "{done:?}");
        done.is_ok()
    });
    assert!(attached.count() > 50);
}
