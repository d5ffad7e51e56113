//! Bytes written by hand from the specification's field numbers decode to the expected values, and back.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bulkhead_proto::v1::volume_capability::access_mode::Mode;
use bulkhead_proto::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use bulkhead_proto::v1::volume_content_source::{SnapshotSource, Type as SourceType};
use bulkhead_proto::v1::{
    CapacityRange, CreateVolumeRequest, NodeGetVolumeStatsResponse, NodeStageVolumeRequest, ProbeResponse, Topology,
    TopologyRequirement, VolumeCapability, VolumeCondition, VolumeContentSource, VolumeUsage, volume_usage,
};
use prost::Message;

/// `bytes` and `message` are one, read and written. Fields go by number, map entries by key.
#[track_caller]
fn same<M: Message + Default + PartialEq + Debug>(bytes: &[u8], message: M) {
    // `assert!` and not `assert_eq!`: Debug hides secrets, so a difference in them would look like none.
    let read = M::decode(bytes).expect("valid bytes");
    assert!(read == message, "read {read:?}\nwant {message:?}");
    assert_eq!(message.encode_to_vec(), bytes);
}

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn ext4() -> VolumeCapability {
    VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume {
            fs_type: "ext4".into(),
            mount_flags: vec!["noatime".into(), "ro".into()],
            volume_mount_group: "1000".into(),
        })),
        access_mode: Some(AccessMode { mode: Mode::SingleNodeMultiWriter.into() }),
    }
}

/// `ext4()`: 31 bytes.
const EXT4: &[u8; 31] = b"\x12\x19\x0a\x04ext4\x12\x07noatime\x12\x02ro\x1a\x041000\x1a\x02\x08\x07";

#[test]
fn volume_capability_mount() {
    same(EXT4, ext4());
}

#[test]
fn volume_capability_block() {
    same(
        b"\x0a\x00\x1a\x02\x08\x01",
        VolumeCapability {
            access_type: Some(AccessType::Block(BlockVolume {})),
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
        },
    );
}

#[test]
fn access_mode_of_a_newer_peer_is_kept_as_a_number() {
    let capability = VolumeCapability::decode(&b"\x1a\x02\x08\x63"[..]).expect("an unknown number is valid");
    assert_eq!(capability.access_mode, Some(AccessMode { mode: 99 }));
    assert!(Mode::try_from(99).is_err());
}

#[test]
fn create_volume_request() {
    let bytes = [
        b"\x0a\x05pvc-1".as_slice(),
        // One MiB to two MiB.
        b"\x12\x09\x08\x80\x80\x40\x10\x80\x80\x80\x01",
        b"\x1a\x1f",
        EXT4,
        b"\x22\x0c\x0a\x04type\x12\x04fast",
        b"\x2a\x0c\x0a\x05token\x12\x03abc",
        b"\x32\x06\x0a\x04\x0a\x02s1",
        b"\x3a\x0d\x0a\x0b\x0a\x09\x0a\x04zone\x12\x01a",
        b"\x42\x09\x0a\x04iops\x12\x019",
    ]
    .concat();
    same(
        &bytes,
        CreateVolumeRequest {
            name: "pvc-1".into(),
            capacity_range: Some(CapacityRange { required_bytes: 1 << 20, limit_bytes: 2 << 20 }),
            volume_capabilities: vec![ext4()],
            parameters: map("type", "fast"),
            secrets: map("token", "abc"),
            volume_content_source: Some(VolumeContentSource {
                r#type: Some(SourceType::Snapshot(SnapshotSource { snapshot_id: "s1".into() })),
            }),
            accessibility_requirements: Some(TopologyRequirement {
                requisite: vec![Topology { segments: map("zone", "a") }],
                preferred: vec![],
            }),
            mutable_parameters: map("iops", "9"),
        },
    );
}

#[test]
fn node_stage_volume_request() {
    let bytes = [
        b"\x0a\x02v1".as_slice(),
        b"\x12\x08\x0a\x03lun\x12\x017",
        b"\x1a\x06/stage",
        b"\x22\x1f",
        EXT4,
        b"\x2a\x0c\x0a\x05token\x12\x03abc",
        b"\x32\x0c\x0a\x04pool\x12\x04fast",
    ]
    .concat();
    same(
        &bytes,
        NodeStageVolumeRequest {
            volume_id: "v1".into(),
            publish_context: map("lun", "7"),
            staging_target_path: "/stage".into(),
            volume_capability: Some(ext4()),
            secrets: map("token", "abc"),
            volume_context: map("pool", "fast"),
        },
    );
}

#[test]
fn negative_size_is_ten_bytes() {
    same(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", CapacityRange { required_bytes: -1, limit_bytes: 0 });
}

#[test]
fn not_ready_differs_from_not_said() {
    same(b"\x0a\x00", ProbeResponse { ready: Some(false) });
    same(b"\x0a\x02\x08\x01", ProbeResponse { ready: Some(true) });
    same(b"", ProbeResponse { ready: None });
}

#[test]
fn volume_condition_of_1_12_is_still_served() {
    same(
        b"\x0a\x08\x08\x01\x10\x03\x18\x02\x20\x01\x12\x08\x08\x01\x12\x04hurt",
        NodeGetVolumeStatsResponse {
            usage: vec![VolumeUsage { available: 1, total: 3, used: 2, unit: volume_usage::Unit::Bytes.into() }],
            volume_condition: Some(VolumeCondition { abnormal: true, message: "hurt".into() }),
        },
    );
}

#[test]
fn fields_of_a_newer_peer_are_skipped() {
    // Field 1000, a string, after the volume id.
    let bytes = b"\x0a\x02v1\xc2\x3e\x03new";
    let request = NodeStageVolumeRequest::decode(&bytes[..]).expect("an unknown field is valid");
    assert_eq!(request.volume_id, "v1");
    assert_eq!(request.encode_to_vec(), b"\x0a\x02v1");
}
