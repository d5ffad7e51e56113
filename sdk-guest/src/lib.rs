//! Write a storage backend for Bulkhead in Rust.
//!
//! A backend is a Wasm component that answers questions of control: which volumes there are, what to make, how a volume
//! reaches a node. The host does everything that needs a privilege. An author implements one small trait for each ability and
//! names them in [`backend!`]; the component then exports exactly those, and the host advertises exactly those.
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//!
//! struct Mine;
//!
//! impl Identity for Mine {
//!     fn get_info() -> Result<Info> {
//!         Ok(Info::new(env!("CARGO_PKG_VERSION")))
//!     }
//!     fn probe() -> Result<bool> {
//!         Ok(true)
//!     }
//! }
//!
//! impl Volumes for Mine {
//!     fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
//!         Parameters::new(&request.parameters).finish()?;
//!         let size = choose_size(request.capacity.as_ref(), &SizeRules::ANY)?;
//!         info!("creating {} with {}", request.name, bulkhead_sdk::size::show(size));
//!         Ok(Volume::new("volumes/1", size))
//!     }
//!     fn delete_volume(_volume_id: String) -> Result<()> {
//!         Ok(())
//!     }
//!     fn validate_volume_capabilities(_request: ValidateRequest) -> Result<Option<String>> {
//!         Ok(None)
//!     }
//! }
//!
//! bulkhead_sdk::backend!(Mine: identity, volumes);
//! # fn main() {}
//! ```
//!
//! | to | use |
//! |---|---|
//! | fail | [`types::Error`]: a constructor for each outcome, [`error::OrError`] for `?` |
//! | read parameters | [`parameters::Parameters`] |
//! | choose a size | [`size::choose_size`] |
//! | read the backend's config | [`config`] |
//! | keep volumes in the host's pools | [`pools`] |
//! | talk to a storage system over HTTP | [`http`] |
//! | remember something | [`state`], better the storage system itself |
//! | log | [`info!`] and its like |
//! | say how a volume reaches a node | [`plan`] |
//!
//! Imports call the host, so on other targets than Wasm they panic; only log lines go to the standard error stream there, and
//! HTTP requests to [`http::testing`].
//! Keep what is worth a unit test in functions that don't call them, or behind a double of what they do.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[doc(hidden)]
pub mod bindings;

pub mod allocator;
mod backend;
pub mod capability;
pub mod error;
pub mod http;
mod imports;
mod interfaces;
mod log;
#[doc(hidden)]
pub mod panic;
pub mod parameters;
pub mod plan;
pub mod size;
pub mod types;

pub use imports::{call, config, logging, pools, secrets, secrets_reveal, secrets_sign, state};
pub use interfaces::{
    attachment, capacity, changed_blocks, cloning, ephemeral, expansion, group_snapshots, health, health_listing,
    identity, inspection, listing, modification, node, snapshot_listing, snapshots, storage_health, volumes,
};

/// All traits, the types in their signatures, and the helpers.
pub mod prelude {
    pub use crate::attachment::{Attachment, PublishRequest};
    pub use crate::capacity::{Available, Capacity, CapacityRequest};
    pub use crate::changed_blocks::{BlockMetadataType, BlockPage, BlockRange, ChangedBlocks};
    pub use crate::cloning::Cloning;
    pub use crate::ephemeral::{Ephemeral, EphemeralPlan, Scratch};
    pub use crate::error::OrError;
    pub use crate::expansion::{ExpandRequest, Expanded, Expansion};
    pub use crate::group_snapshots::{GroupRequest, GroupSnapshot, GroupSnapshots};
    pub use crate::health::Health;
    pub use crate::health_listing::{HealthListing, HealthPage, UnhealthyVolume};
    pub use crate::identity::{Identity, Info, Promises};
    pub use crate::inspection::Inspection;
    pub use crate::listing::{Listing, VolumePage};
    pub use crate::modification::Modification;
    pub use crate::node::{CloudFacts, Node, NodeFacts, NodeInfo, PlanRequest};
    pub use crate::parameters::Parameters;
    pub use crate::plan::{
        Access, BlockUsage, Chap, ClusterKind, DeviceIdentity, DeviceMatch, Directory, Encryption, FibreChannel,
        Filesystem, FormatPolicy, FsckPolicy, FuseCluster, HostPort, Iscsi, IscsiPortal, LocalDevice, Lvm,
        MultipathPolicy, Nfs, NvmeOf, NvmeTransport, Plan, PoolObject, Rbd, SecretRef, Smb, Usage,
    };
    pub use crate::size::{SizeRules, choose_size};
    pub use crate::snapshot_listing::{SnapshotFilter, SnapshotListing, SnapshotPage};
    pub use crate::snapshots::{CreateSnapshotRequest, Snapshots};
    pub use crate::storage_health::{StorageHealth, StorageHealthErrorType, StorageProblem};
    pub use crate::types::{
        AccessMode, AccessType, CapacityRange, ContentSource, CreateVolumeRequest, Error, ListedVolume, MountAccess,
        PageRequest, Pending, Result, Snapshot, StringMap, Topology, TopologyRequirement, Unavailable, Volume,
        VolumeCapability, VolumeHealthErrorType, VolumeProblem, lookup,
    };
    pub use crate::volumes::{ValidateRequest, Volumes};
    pub use crate::{config, debug, error, info, trace, warn};
}
