//! A host of two drivers, one of which has a pool that can stop answering.

use bulkhead_proto::v1::{self, controller_client::ControllerClient, node_client::NodeClient};
use bulkhead_tests::{
    Client, Driver, Host, HostBuilder, Sandbox,
    client::{Use, capability, create_request},
    fuse::Fuse,
    patient::{ORIGIN, Patient},
};
use std::path::{Path, PathBuf};
use tonic::{Code, Status};

/// The driver with the pools `fast` and `slow`.
pub const BOTH: &str = "local.csi.bulkhead.dev";
/// The driver with one pool of its own.
pub const OTHER: &str = "other.csi.bulkhead.dev";

pub struct Rig {
    // Dropped first: whoever waits for it can be killed only then.
    pub slow: Fuse,
    pub host: Host,
    pub builder: HostBuilder,
}

pub fn mount_slow(sandbox: &Sandbox) -> Fuse {
    Fuse::mount(&sandbox.dir("behind"), &sandbox.dir("slow"))
}

pub fn builder(sandbox: &Sandbox) -> HostBuilder {
    builder_over(sandbox, &sandbox.path().join("slow"))
}

/// With the pool `slow` in this directory.
pub fn builder_over(sandbox: &Sandbox, slow: &Path) -> HostBuilder {
    let pools = vec![("fast".into(), sandbox.dir("fast")), ("slow".into(), slow.to_owned())];
    let both = Driver { pools, ..Driver::local(sandbox) };
    let other =
        Driver { name: OTHER.into(), pools: vec![("own".into(), sandbox.dir("own"))], ..Driver::local(sandbox) };
    HostBuilder::new(sandbox, [both, other]).env("BULKHEAD_LOG", "warn")
}

impl Rig {
    pub fn new(sandbox: &Sandbox) -> Self {
        let slow = mount_slow(sandbox);
        let builder = builder(sandbox);
        let host = builder.start();
        Self { slow, host, builder }
    }

    pub fn wires(&self) -> Wires {
        Wires::to(&self.builder, BOTH)
    }
}

/// Where a driver is reached.
#[derive(Debug, Clone)]
pub struct Wires {
    socket: PathBuf,
    kubelet: PathBuf,
}

/// Its services, by a connection that leaves deadlines to the host.
#[derive(Clone)]
pub struct Services {
    pub controller: ControllerClient<Patient>,
    pub node: NodeClient<Patient>,
    /// For paths.
    pub client: Client,
}

impl Wires {
    pub fn to(builder: &HostBuilder, driver: &str) -> Self {
        Self { socket: builder.socket(driver), kubelet: builder.kubelet() }
    }

    pub async fn connect(&self) -> Services {
        let (patient, origin) = (Patient::connect(&self.socket).await, http::Uri::from_static(ORIGIN));
        Services {
            controller: ControllerClient::with_origin(patient.clone(), origin.clone()),
            node: NodeClient::with_origin(patient, origin),
            client: Client::connect(&self.socket, &self.kubelet).await,
        }
    }
}

/// A directory in a pool.
pub fn directory(name: &str, pool: &str) -> v1::CreateVolumeRequest {
    create_request(name, 1 << 20, Use::Mount(""), &[("type", "directory"), ("pool", pool)])
}

pub fn mounted() -> v1::VolumeCapability {
    capability(Use::Mount(""))
}

/// What a client gets whose volume can't be reached: nothing that would make it forget the volume.
pub fn is_asked_again(status: &Status) -> bool {
    // CANCELLED: tonic's own timer in the host, where that machine is so slow that ours comes later.
    matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable | Code::Aborted | Code::Cancelled)
}

/// Names in a directory of a pool.
pub fn names(pool: &Path, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(pool.join(directory)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
