//! One module for each interface that a backend can offer: its trait and the types that only it uses.
//! Types that several interfaces use are in [`crate::types`], [`crate::plan`] and [`crate::node`].

/// Declares a public module with an interface's trait under its own name and its types. Names are listed one by one,
/// so that nothing generated becomes public by accident.
macro_rules! interface {
    ($(#[$doc:meta])* $module:ident :: $trait:ident $(, $type:ident)*) => {
        $(#[$doc])*
        pub mod $module {
            pub use crate::bindings::$module::exports::bulkhead::backend::$module::{Guest as $trait $(, $type)*};
        }
    };
}

interface! {
    /// What the backend is. Every backend offers it.
    identity::Identity, Info, Promises
}
interface! {
    /// CREATE_DELETE_VOLUME.
    volumes::Volumes, ValidateRequest
}
interface! {
    /// CLONE_VOLUME.
    cloning::Cloning
}
interface! {
    /// LIST_VOLUMES.
    listing::Listing, VolumePage
}
interface! {
    /// GET_VOLUME.
    inspection::Inspection
}
interface! {
    /// GET_CAPACITY.
    capacity::Capacity, Available, CapacityRequest
}
interface! {
    /// EXPAND_VOLUME.
    expansion::Expansion, ExpandRequest, Expanded
}
interface! {
    /// MODIFY_VOLUME.
    modification::Modification
}
interface! {
    /// PUBLISH_UNPUBLISH_VOLUME.
    attachment::Attachment, PublishRequest
}
interface! {
    /// CREATE_DELETE_SNAPSHOT, and restoring.
    snapshots::Snapshots, CreateSnapshotRequest
}
interface! {
    /// LIST_SNAPSHOTS and GET_SNAPSHOT.
    snapshot_listing::SnapshotListing, SnapshotFilter, SnapshotPage
}
interface! {
    /// GROUP_CONTROLLER_SERVICE.
    group_snapshots::GroupSnapshots, GroupRequest, GroupSnapshot
}
interface! {
    /// SNAPSHOT_METADATA_SERVICE.
    changed_blocks::ChangedBlocks, BlockMetadataType, BlockPage, BlockRange
}
interface! {
    /// GET_VOLUME_HEALTH.
    health::Health
}
interface! {
    /// LIST_VOLUME_HEALTH.
    health_listing::HealthListing, HealthPage, UnhealthyVolume
}
interface! {
    /// GET_STORAGE_HEALTH.
    storage_health::StorageHealth, StorageHealthErrorType, StorageProblem
}
interface! {
    /// Inline ephemeral volumes.
    ephemeral::Ephemeral, EphemeralPlan, Scratch
}

/// NodeGetInfo and the plan by which a volume is staged, with the facts that a node tells about itself.
pub mod node {
    pub use crate::bindings::imports::bulkhead::backend::node_types::{CloudFacts, NodeFacts};
    pub use crate::bindings::node::exports::bulkhead::backend::node::{Guest as Node, NodeInfo, PlanRequest};
}
