//! Answers that break a rule: ids, sizes, contexts, places, pages.

use super::ground::{Call, bad, is_proper, new_log, world};
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    HostBuilder, Listing,
    client::{Use, create_request},
};
use tonic::Code;

/// What CreateVolume answers, its code, and what the client is told. Garbage has no certain outcome. What would be right for
/// another request is taken as a volume that was there before.
const VOLUMES: [(&str, Code, &str); 18] = [
    ("id-traversal", Code::Unavailable, "'..' segment"),
    ("id-absolute", Code::Unavailable, "empty"),
    ("id-long", Code::Unavailable, "129 bytes long"),
    ("id-nul", Code::Unavailable, "control character"),
    ("id-control", Code::Unavailable, "control character"),
    ("id-empty", Code::Unavailable, "missing"),
    ("size-max", Code::Unavailable, "2^63 - 1"),
    ("size-below", Code::AlreadyExists, "outside the range"),
    ("size-above", Code::AlreadyExists, "outside the range"),
    ("context-large", Code::Unavailable, "larger than 4096 bytes"),
    ("context-control", Code::Unavailable, "control character"),
    ("context-twice", Code::Unavailable, "key twice"),
    ("topology-many", Code::Unavailable, "2000 entries"),
    ("topology-key", Code::Unavailable, "topology key"),
    ("topology-value", Code::Unavailable, "topology"),
    ("digest-short", Code::Unavailable, "64 lower-case hexadecimal digits"),
    ("digest-other", Code::AlreadyExists, "other parameters"),
    ("source", Code::AlreadyExists, "another source"),
];

#[test]
fn a_volume_that_cannot_be_is_not_passed_on() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        let (mut at, before) = (0, world(&s));
        for (lie, code, told) in VOLUMES {
            let mut request = create_request(&Call::Create.subject(lie), 1 << 30, Use::Mount(""), &[]);
            request.capacity_range.as_mut().unwrap().limit_bytes = 2 << 30;
            let status = client.create(request).await.expect_err(lie);
            assert_eq!(status.code(), code, "{lie}: {status}");
            is_proper(&status, lie);
            assert!(status.message().contains(told), "{lie}: {status}");
            if code == Code::Unavailable {
                let parts = ["bad.csi.bulkhead.dev", "volumes.create-volume", "not acceptable", told];
                new_log(&host, &mut at, &parts).await;
            }
        }
        world(&s).assert_same(&before, "a lie");
        client.create(create_request("pvc-honest", 1 << 30, Use::Mount(""), &[])).await.unwrap();
    });
}

#[test]
fn an_expansion_that_cannot_be_is_not_passed_on() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        for lie in ["shrink", "zero", "max"] {
            let status = Call::Expand.run(&client, lie).await.expect_err(lie);
            assert_eq!(status.code(), Code::Unavailable, "{lie}: {status}");
            is_proper(&status, lie);
        }
    });
}

#[test]
fn a_page_that_cannot_be_is_not_passed_on() {
    sandboxed(async |s| {
        let lies = ["many", "token-long", "token-control", "endless"];
        let name = |lie: &str| format!("list-{lie}.csi.bulkhead.dev");
        let drivers = lies.map(|lie| bad(&s, &format!("list-{lie}"), &format!("list: {lie}")));
        let host = HostBuilder::new(&s, drivers).start();
        let list = async |lie: &str, max_entries: i32, starting_token: String| {
            let request = v1::ListVolumesRequest { max_entries, starting_token };
            let answer = host.client_of(&name(lie)).await.controller.clone().list_volumes(request).await;
            answer.map(tonic::Response::into_inner)
        };
        for lie in &lies[..3] {
            for max_entries in [0, 5] {
                let Err(status) = list(lie, max_entries, String::new()).await else {
                    // One entry and a token is what was asked for; the token is what is wrong.
                    panic!("{lie} passed")
                };
                assert_eq!(status.code(), Code::Internal, "{lie}: {status}");
                is_proper(&status, lie);
            }
        }
        // A list without an end is the client's to leave, until the token is longer than any may be.
        let (mut token, mut pages) = (String::new(), 0);
        let end = loop {
            match list("endless", 1, token).await {
                Ok(page) => token = page.next_token,
                Err(end) => break end,
            }
            pages += 1;
            assert!(pages < 300, "an endless list goes on for ever");
        };
        assert_eq!(end.code(), Code::Internal, "{end}");
        assert!(pages >= 200, "{pages} pages, {end}");
    });
}

#[test]
fn facts_about_a_node_are_checked() {
    sandboxed(async |s| {
        let cases = ["limit-max", "topology-undeclared", "topology-long"];
        let drivers = cases.map(|case| bad(&s, &format!("node-{case}"), &format!("node: {case}")));
        let host = HostBuilder::new(&s, drivers).start();
        for case in cases {
            let client = host.client_of(&format!("node-{case}.csi.bulkhead.dev")).await;
            let answer = client.node.clone().node_get_info(v1::NodeGetInfoRequest {}).await;
            match case {
                "limit-max" => assert_eq!(answer.unwrap().into_inner().max_volumes_per_node, i64::from(u32::MAX)),
                _ => assert_eq!(answer.expect_err(case).code(), Code::Internal),
            }
        }
    });
}

/// Another driver's objects, names that lead out of the pool, sizes that no disk has.
#[test]
fn a_backend_reaches_nothing_beyond_its_pool() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        let objects = || Listing::of(&[s.dir("pool-bad/objects"), s.dir("kubelet")]);
        let before = objects();
        let refused = Call::Create.run(&client, "pools-evil").await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "every one was refused"));
        objects().assert_same(&before, "a backend that reached out");
        for dir in ["pool-bad/tmp", "pool-bad/trash"] {
            assert_eq!(std::fs::read_dir(s.dir(dir)).unwrap().count(), 0, "half an object is left in {dir}");
        }
        Call::Create.run(&client, "pools").await.unwrap();
    });
}
