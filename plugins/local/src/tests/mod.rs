//! All interfaces against the host's double, as the host would call them.

mod attachment;
mod copies;
mod groups;
mod health;
mod nodes;
mod snapshots;
mod volumes;

use crate::Local;
use crate::fake::map;
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

pub const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub fn mount(fs_type: &str) -> VolumeCapability {
    VolumeCapability::mount(AccessMode::SingleNodeWriter, fs_type)
}

pub fn block() -> VolumeCapability {
    VolumeCapability::block(AccessMode::SingleNodeWriter)
}

/// For ext4, thin, wherever it goes.
pub fn request(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        capacity: None,
        capabilities: vec![mount("")],
        parameters: Vec::new(),
        mutable_parameters: Vec::new(),
        topology: None,
        request_digest: DIGEST.to_owned(),
    }
}

pub fn with(name: &str, parameters: &[(&str, &str)]) -> CreateVolumeRequest {
    CreateVolumeRequest { parameters: map(parameters), ..request(name) }
}

pub fn sized(name: &str, required: Option<u64>, limit: Option<u64>) -> CreateVolumeRequest {
    CreateVolumeRequest { capacity: Some(CapacityRange { required, limit }), ..request(name) }
}

/// Makes a volume and gives its id.
pub fn made(request: CreateVolumeRequest) -> String {
    Local::create_volume(request).expect("a volume").volume_id
}

pub fn shot(name: &str, source: &str) -> CreateSnapshotRequest {
    CreateSnapshotRequest {
        name: name.to_owned(),
        source_volume_id: source.to_owned(),
        parameters: Vec::new(),
        topology: None,
        request_digest: DIGEST.to_owned(),
    }
}

/// Cuts a snapshot and gives its id.
pub fn cut(name: &str, source: &str) -> String {
    Local::create_snapshot(shot(name, source)).expect("a snapshot").snapshot_id
}

pub fn node(id: &str, labels: &[(&str, &str)]) -> NodeFacts {
    NodeFacts {
        node_id: id.to_owned(),
        name: id.to_owned(),
        addresses: Vec::new(),
        iscsi_initiators: Vec::new(),
        nvme_host_nqn: None,
        nvme_host_id: None,
        fc_wwpns: Vec::new(),
        cloud: None,
        transports: vec!["loop".to_owned()],
        labels: map(labels),
    }
}

pub fn publish(volume_id: &str, node_id: &str, capability: VolumeCapability, read_only: bool) -> Result<StringMap> {
    Local::controller_publish_volume(PublishRequest {
        volume_id: volume_id.to_owned(),
        node: node(node_id, &[]),
        capability,
        read_only,
        context: Vec::new(),
    })
}

/// In one of those zones; preferred in that order too if `preferred`.
pub fn zones(zones: &[&str], preferred: bool) -> TopologyRequirement {
    let places: Vec<Topology> = zones.iter().map(|zone| Topology { segments: map(&[("x/zone", zone)]) }).collect();
    TopologyRequirement { preferred: if preferred { places.clone() } else { Vec::new() }, requisite: places }
}

/// Two pools in two zones, and one that is everywhere.
pub const ZONES: [(&str, &str); 3] =
    [("topologyKeys.0", "x/zone"), ("pools.a.accessibleFrom.0.x/zone", "1"), ("pools.b.accessibleFrom.0.x/zone", "2")];

/// Fails with the case of the WIT that is named.
#[macro_export]
macro_rules! refused {
    ($result:expr, $case:ident) => {{
        let result = $result;
        assert!(matches!(result, Err(Error::$case(_))), "expected {}, got {result:?}", stringify!($case));
        match result {
            Err(error) => error.message().to_owned(),
            Ok(_) => String::new(),
        }
    }};
}

pub const fn gib(count: u64) -> u64 {
    count * GIB
}
