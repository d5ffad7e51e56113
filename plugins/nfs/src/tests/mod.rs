//! All interfaces against the host's double, as the host would call them.

mod attachment;
mod copies;
mod plans;
mod volumes;

use crate::Share;
use crate::fake::map;
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

pub const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// One share, on two servers.
pub const ONE: [(&str, &str); 3] =
    [("shares.a.servers.0", "one.example"), ("shares.a.servers.1", "two.example"), ("shares.a.export", "/srv/a")];
/// Two shares.
pub const TWO: [(&str, &str); 5] =
    [ONE[0], ONE[1], ONE[2], ("shares.b.servers.0", "b.example"), ("shares.b.export", "/")];

pub fn mount(mode: AccessMode) -> VolumeCapability {
    VolumeCapability::mount(mode, "")
}

pub fn request(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        capacity: None,
        capabilities: vec![mount(AccessMode::MultiNodeMultiWriter)],
        parameters: Vec::new(),
        mutable_parameters: Vec::new(),
        topology: None,
        request_digest: DIGEST.to_owned(),
    }
}

pub fn with(name: &str, parameters: &[(&str, &str)]) -> CreateVolumeRequest {
    CreateVolumeRequest { parameters: map(parameters), ..request(name) }
}

/// Makes a volume and gives its id.
pub fn made(request: CreateVolumeRequest) -> String {
    Share::create_volume(request).expect("a volume").volume_id
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

pub fn node(id: &str) -> NodeFacts {
    NodeFacts {
        node_id: id.to_owned(),
        name: id.to_owned(),
        addresses: Vec::new(),
        iscsi_initiators: Vec::new(),
        nvme_host_nqn: None,
        nvme_host_id: None,
        fc_wwpns: Vec::new(),
        cloud: None,
        transports: vec!["nfs".to_owned()],
        labels: Vec::new(),
    }
}

pub fn publish(volume_id: &str, node_id: &str, mode: AccessMode, read_only: bool) -> Result<StringMap> {
    Share::controller_publish_volume(PublishRequest {
        volume_id: volume_id.to_owned(),
        node: node(node_id),
        capability: mount(mode),
        read_only,
        context: Vec::new(),
    })
}

/// Fails with the case of the WIT that is named; gives the message.
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
