//! All interfaces against the fake EC2, as the host would call them.

mod attachment;
mod changes;
mod listing;
mod node;
mod parameters;
mod snapshots;
mod volumes;

use crate::Ebs;
use crate::fake::{asked_again, map};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

pub const DIGEST: &str = "00000000000000000000000000000000000000000000000000000000000000dd";

pub fn mount(fs_type: &str) -> VolumeCapability {
    VolumeCapability::mount(AccessMode::SingleNodeWriter, fs_type)
}

pub fn request(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        capacity: Some(CapacityRange { required: Some(4 * GIB), limit: None }),
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

/// Makes a volume, as the host does.
pub fn made(request: &CreateVolumeRequest) -> Volume {
    asked_again(|| Ebs::create_volume(request.clone())).unwrap()
}

pub fn node(id: &str) -> NodeFacts {
    let cloud = CloudFacts {
        provider: "aws".to_owned(),
        instance_id: id.to_owned(),
        instance_type: "m6i.large".to_owned(),
        region: "eu-central-1".to_owned(),
        zone: "eu-central-1b".to_owned(),
        used_attachment_slots: Some(3),
    };
    NodeFacts {
        node_id: id.to_owned(),
        name: id.to_owned(),
        addresses: Vec::new(),
        iscsi_initiators: Vec::new(),
        nvme_host_nqn: None,
        nvme_host_id: None,
        fc_wwpns: Vec::new(),
        cloud: Some(cloud),
        transports: Vec::new(),
        labels: Vec::new(),
    }
}

/// Fails with the case of the WIT that is named; gives the message.
#[macro_export]
macro_rules! refused {
    ($result:expr, $case:ident) => {{
        match $result {
            Err(error @ Error::$case(_)) => error.message().to_owned(),
            other => panic!("expected {}, got {other:?}", stringify!($case)),
        }
    }};
}
