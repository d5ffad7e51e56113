//! What comes before a message is understood: bytes that are none, too many of them, methods that are not there.

use super::ground::{Ground, is_proper, methods, path};
use crate::sandboxed;
use bulkhead_tests::{Driver, HostBuilder, raw};
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, Value, prost::Message};
use std::collections::BTreeSet;
use tonic::{Code, Status};

/// The largest message that gRPC servers take by default, in bytes.
const LIMIT: usize = 4 << 20;

/// RPCs of the driver that take a request without fields.
const WITHOUT_FIELDS: [&str; 7] = [
    "GetPluginInfo",
    "GetPluginCapabilities",
    "Probe",
    "ControllerGetCapabilities",
    "GroupControllerGetCapabilities",
    "NodeGetCapabilities",
    "NodeGetInfo",
];

#[test]
fn bytes_that_are_no_message_are_refused_by_every_rpc() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        // A wire type that does not exist; a length that leads past the end; a varint without an end; text that is not
        // UTF-8 in field 1, a string in all requests that have one.
        let garbage: [&[u8]; 3] =
            [b"\x0f\x0f\x0f", b"\x0a\xff\xff\xff\x7fx", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"];
        for method in methods() {
            for bytes in garbage {
                let what = format!("{bytes:?}");
                ground.is_refused(&what, &path(&method), bytes.to_vec(), Code::InvalidArgument).await;
            }
        }
        for good in ground.good().iter().filter(|good| good.method.input().get_field(1).is_some_and(is_string)) {
            ground
                .is_refused("no UTF-8", &path(&good.method), b"\x0a\x02\xc3\x28".to_vec(), Code::InvalidArgument)
                .await;
        }
        ground.is_well().await;
    });
}

fn is_string(field: prost_reflect::FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::String)
}

#[test]
fn a_frame_that_is_none_is_refused() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        for (what, body, code) in [
            ("no frame", "", Code::InvalidArgument),
            ("half a header", "\0\0", Code::InvalidArgument),
            ("a frame that promises more", "\0\0\0\0\x09half", Code::InvalidArgument),
            // As gRPC's own specification of compression demands.
            ("a compressed frame without an encoding", "\x01\0\0\0\0", Code::Internal),
        ] {
            let before = ground.world();
            let status = raw::post(&ground.client.channel, "/csi.v1.Controller/CreateVolume", body).await;
            assert_eq!(status.code(), code, "{what}: {status}");
            is_proper(&status, what);
            ground.world().assert_same(&before, what);
        }
        ground.is_well().await;
    });
}

#[test]
fn a_message_above_the_limit_is_resource_exhausted() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        for method in methods() {
            let large = vec![0; LIMIT + 1];
            ground.is_refused("a large message", &path(&method), large, Code::ResourceExhausted).await;
        }
        // One that just fits is looked at: it is a name of 4 MiB.
        let mut name = b"\x0a\xf8\xff\xff\x01".to_vec();
        name.resize(LIMIT - 3, b'n');
        ground.is_refused("a name of 4 MiB", "/csi.v1.Controller/CreateVolume", name, Code::InvalidArgument).await;
        assert!(ground.host.log().len() < 100_000, "the log must not grow with what a client sends");
        ground.is_well().await;
    });
}

/// What the example backend, of the older generation, offers besides.
const OF_THE_EXAMPLE: [&str; 8] = [
    "CreateVolume",
    "DeleteVolume",
    "ValidateVolumeCapabilities",
    "NodeStageVolume",
    "NodeUnstageVolume",
    "NodePublishVolume",
    "NodeUnpublishVolume",
    "NodeGetVolumeStats",
];

#[test]
fn what_is_not_offered_is_unimplemented_with_a_message_whatever_is_in_the_request() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [Driver::plain("example")]).start();
        let client = host.client().await;
        let mut refused = 0;
        for method in methods() {
            if WITHOUT_FIELDS.contains(&method.name()) {
                continue;
            }
            for message in [vec![], full(&method)] {
                let answer = raw::call(&client.channel, &path(&method), message).await;
                let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
                let offered = OF_THE_EXAMPLE.contains(&method.name());
                assert_eq!(code == Code::Unimplemented, !offered, "{}: {answer:?}", method.name());
                if let Err(status) = answer {
                    is_proper(&status, method.name());
                }
                refused += usize::from(!offered);
            }
        }
        assert_eq!(refused, 2 * (36 - WITHOUT_FIELDS.len() - OF_THE_EXAMPLE.len()));
    });
}

/// A request with something in every text field.
fn full(method: &MethodDescriptor) -> Vec<u8> {
    let mut message = DynamicMessage::new(method.input());
    for field in method.input().fields() {
        if matches!(field.kind(), Kind::String) && !field.is_list() && !field.is_map() {
            message.set_field(&field, Value::String("/x".into()));
        }
    }
    message.encode_to_vec()
}

#[test]
fn what_there_is_not_is_unimplemented() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        let offered: BTreeSet<_> = ground.good().into_iter().map(|good| good.method.name().to_owned()).collect();
        assert_eq!(offered.len() + WITHOUT_FIELDS.len(), 36, "the local backend offers everything");
        for name in WITHOUT_FIELDS {
            let method = methods().into_iter().find(|method| method.name() == name).unwrap();
            let answer = raw::call(&ground.client.channel, &path(&method), vec![]).await;
            assert!(answer.is_ok(), "{name}: {answer:?}");
        }
        for path in ["/csi.v1.Controller/Teleport", "/csi.v9.Controller/CreateVolume", "/nonsense", "/"] {
            ground.is_refused("any request", path, vec![], Code::Unimplemented).await;
        }
        ground.is_well().await;
    });
}
