//! Values that are well formed and can't be.

use super::ground::{Good, Ground, path};
use crate::sandboxed;
use prost_reflect::{DynamicMessage, MapKey, Value, prost::Message};
use std::collections::HashMap;
use tonic::Code;

impl Ground {
    /// Sends the good request of an RPC, changed.
    async fn changed(&self, rpc: &str, what: &str, code: Code, change: impl FnOnce(&mut DynamicMessage)) {
        let Good { method, mut message } = self.good().into_iter().find(|good| good.method.name() == rpc).unwrap();
        change(&mut message);
        self.is_refused(what, &path(&method), message.encode_to_vec(), code).await;
    }
}

fn field<'a>(message: &'a mut DynamicMessage, name: &str) -> &'a mut DynamicMessage {
    message.get_field_by_name_mut(name).unwrap().as_message_mut().unwrap()
}

fn map(key: &str, value: &str) -> Value {
    Value::Map(HashMap::from([(MapKey::String(key.into()), Value::String(value.into()))]))
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        for rpc in ["CreateVolume", "ControllerExpandVolume", "NodeExpandVolume"] {
            let limit = |bytes: i64| {
                move |message: &mut DynamicMessage| {
                    field(message, "capacity_range").set_field_by_name("limit_bytes", Value::I64(bytes));
                }
            };
            ground.changed(rpc, "a limit below what is required", Code::OutOfRange, limit(4096)).await;
        }
        let required = |bytes: i64| {
            move |message: &mut DynamicMessage| {
                field(message, "capacity_range").set_field_by_name("required_bytes", Value::I64(bytes));
            }
        };
        for rpc in ["CreateVolume", "ControllerExpandVolume"] {
            ground.changed(rpc, "more than can be rounded up", Code::OutOfRange, required(i64::MAX)).await;
        }
        let both = |message: &mut DynamicMessage| {
            field(message, "capacity_range").set_field_by_name("required_bytes", Value::I64(4097));
            field(message, "capacity_range").set_field_by_name("limit_bytes", Value::I64(4098));
        };
        ground.changed("CreateVolume", "a range without a whole block", Code::OutOfRange, both).await;
        let nothing =
            |message: &mut DynamicMessage| field(message, "capacity_range").clear_field_by_name("required_bytes");
        ground.changed("ControllerExpandVolume", "an empty range", Code::InvalidArgument, nothing).await;
        ground.is_well().await;
    });
}

#[test]
fn parameters_and_sources_that_are_not_known_are_refused() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        for (field, value) in [
            ("parameters", map("colour", "red")),
            ("parameters", map("type", "tape")),
            ("parameters", map("pool", "../../etc")),
            ("mutable_parameters", map("iops", "1000")),
        ] {
            let what = format!("{field} = {value:?}");
            let change = |message: &mut DynamicMessage| message.set_field_by_name(field, value);
            ground.changed("CreateVolume", &what, Code::InvalidArgument, change).await;
        }
        let source = |kind: &'static str, id: &'static str| {
            move |message: &mut DynamicMessage| {
                let source = field(message, "volume_content_source");
                let inner = source.get_field_by_name_mut(kind).unwrap().as_message_mut().unwrap();
                inner.set_field_by_name(&format!("{kind}_id"), Value::String(id.into()));
            }
        };
        for (kind, id, code) in [
            ("snapshot", "some", Code::NotFound),
            ("snapshot", "", Code::InvalidArgument),
            // Its files lie on the pool's own file system, which can't be held still while they are copied there.
            ("volume", "fast/pvc-directory", Code::FailedPrecondition),
            ("volume", "fast/nothing", Code::NotFound),
            ("volume", "", Code::InvalidArgument),
        ] {
            let what = format!("{kind} {id:?} as a source");
            ground.changed("CreateVolume", &what, code, source(kind, id)).await;
        }
        let empty = |message: &mut DynamicMessage| {
            field(message, "volume_content_source").clear_field_by_name("volume");
        };
        ground.changed("CreateVolume", "an empty source", Code::InvalidArgument, empty).await;
        for (key, value) in [("no slash at the end/", "a"), ("example.com/zone", "a b"), ("-x/zone", "a")] {
            let change = |message: &mut DynamicMessage| {
                field(message, "accessible_topology").set_field_by_name("segments", map(key, value));
            };
            ground.changed("GetCapacity", &format!("topology {key}={value}"), Code::InvalidArgument, change).await;
        }
        ground.is_well().await;
    });
}

#[test]
fn tokens_that_were_not_given_out_are_aborted() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        for token in ["x", ".", "00000000.fast/pvc-directory", "fast/pvc-directory", "../../etc"] {
            let change = |message: &mut DynamicMessage| {
                message.set_field_by_name("starting_token", Value::String(token.into()));
            };
            ground.changed("ListVolumes", token, Code::Aborted, change).await;
        }
        ground.is_well().await;
    });
}

/// An id that no backend ever made is not malformed: there is no such volume. Deleting, unpublishing and unstaging it is
/// done already.
#[test]
fn ids_that_name_nothing_reach_nothing() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        for id in [
            "../../etc",
            "/etc/passwd",
            "fast/../fast/pvc-directory",
            "fast/",
            "fast//pvc-directory",
            "no",
            "fast/%2e%2e",
        ] {
            for rpc in [
                "ValidateVolumeCapabilities",
                "ControllerGetVolume",
                "ControllerExpandVolume",
                "NodeGetVolumeStats",
                "NodeExpandVolume",
            ] {
                let change =
                    |message: &mut DynamicMessage| message.set_field_by_name("volume_id", Value::String(id.into()));
                ground.changed(rpc, id, Code::NotFound, change).await;
            }
            let before = ground.world();
            for rpc in ["DeleteVolume", "NodeUnpublishVolume", "NodeUnstageVolume"] {
                let Good { method, mut message } =
                    ground.good().into_iter().find(|good| good.method.name() == rpc).unwrap();
                message.set_field_by_name("volume_id", Value::String(id.into()));
                let answer =
                    bulkhead_tests::raw::call(&ground.client.channel, &path(&method), message.encode_to_vec()).await;
                assert!(answer.is_ok(), "{rpc} of {id}: {answer:?}");
            }
            ground.world().assert_same(&before, id);
        }
        ground.is_well().await;
    });
}
