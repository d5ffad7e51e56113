//! Bulkhead in a real Kubernetes cluster. A *flow* is what a user does, from first object to last, in a namespace of its own;
//! after each of them nothing may be left on any node. See `run.sh` for how cluster and driver get there.

pub mod audit;
pub mod cluster;
pub mod flows;
pub mod leftovers;
pub mod objects;
pub mod space;

/// Where the pool `fast` of every node is.
pub const POOL: &str = "/srv/bulkhead/fast";
/// The host's state directory on every node.
pub const STATE: &str = "/var/lib/bulkhead";
/// Where the chart is installed.
pub const NAMESPACE: &str = "bulkhead-system";
/// The driver of most flows.
pub const DRIVER: &str = "local.csi.bulkhead.dev";
/// Its StorageClass for xfs, and its classes of snapshots.
pub const CLASS: &str = "bulkhead-local";
/// Its StorageClass for ext4.
pub const CLASS_EXT4: &str = "bulkhead-local-ext4";
