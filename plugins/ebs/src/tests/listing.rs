use super::{made, request};
use crate::fake::{Fault, asked_again, fail, start};
use crate::{Ebs, refused};
use bulkhead_sdk::prelude::*;

fn page(max_entries: u32, token: Option<String>) -> PageRequest {
    PageRequest { max_entries, token }
}

#[test]
fn each_volume_comes_once() {
    start();
    let mut ids: Vec<String> = (0..7).map(|n| made(&request(&format!("pvc-{n}"))).volume_id).collect();
    for most in [0, 1, 2, 3, 7, 8] {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            fail("DescribeVolumes", Fault::Refused(503, "RequestLimitExceeded"));
            let answer = Ebs::list_volumes(page(most, token)).unwrap();
            all.extend(answer.entries.into_iter().map(|entry| entry.volume.volume_id));
            token = answer.next_token;
            if token.is_none() {
                break;
            }
        }
        all.sort();
        ids.sort();
        assert_eq!(all, ids, "{most}");
    }
    assert_eq!(asked_again(|| Ebs::get_volume(ids[0].clone())).unwrap().volume.volume_id, ids[0]);
}

#[test]
fn a_volume_deleted_between_two_pages_moves_no_other() {
    start();
    let ids: Vec<String> = (0..4).map(|n| made(&request(&format!("pvc-{n}"))).volume_id).collect();
    let first = Ebs::list_volumes(page(2, None)).unwrap();
    Ebs::delete_volume(ids[1].clone()).unwrap();
    let rest = Ebs::list_volumes(page(0, first.next_token)).unwrap();
    let rest: Vec<_> = rest.entries.into_iter().map(|entry| entry.volume.volume_id).collect();
    assert_eq!(rest, ids[2..]);
}

#[test]
fn made_up_tokens_are_refused() {
    start();
    (0..3).for_each(|n| drop(made(&request(&format!("pvc-{n}")))));
    for token in ["x", ""] {
        refused!(Ebs::list_volumes(page(1, Some(token.to_owned()))), InvalidArgument);
    }
}

#[test]
fn snapshots_are_filtered() {
    start();
    let sources = ["a", "b"].map(|name| made(&request(name)).volume_id);
    let cut = |name: &str, source: &str| {
        let (name, source_volume_id) = (name.to_owned(), source.to_owned());
        let request = CreateSnapshotRequest {
            name,
            source_volume_id,
            parameters: Vec::new(),
            topology: None,
            request_digest: String::new(),
        };
        Ebs::create_snapshot(request).unwrap().snapshot_id
    };
    let ids = [cut("s1", &sources[0]), cut("s2", &sources[0]), cut("s3", &sources[1])];
    let list = |source: Option<&str>, id: Option<&str>| {
        let filter = SnapshotFilter { source_volume_id: source.map(str::to_owned), snapshot_id: id.map(str::to_owned) };
        Ebs::list_snapshots(filter, page(0, None)).unwrap().entries.len()
    };
    assert_eq!((list(None, None), list(Some(&sources[0]), None), list(None, Some(&ids[2]))), (3, 2, 1));
    assert_eq!(
        (list(Some(&sources[1]), Some(&ids[0])), list(Some("vol-dead"), None), list(None, Some("*"))),
        (0, 0, 0)
    );
    assert_eq!(Ebs::get_snapshot(ids[0].clone()).unwrap().source_volume_id, sources[0]);
}
