//! Volumes, their ids and pages of them.

use crate::{StringMap, health::VolumeProblem, limits, topology::Topology};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes what a client sent: not empty, within the length limit, no control characters. It need not be an
            /// id that any backend would make: an unknown one is simply not found.
            ///
            /// # Errors
            /// Says which limit is broken.
            pub fn parse(value: impl Into<String>) -> Result<Self, $crate::limits::Violation> {
                let value = value.into();
                $crate::limits::required_text($what, &value, $max)?;
                Ok(Self(value))
            }

            /// Takes what a backend answered: see [`limits::id`].
            ///
            /// # Errors
            /// Says which rule is broken.
            pub fn from_backend(value: String) -> Result<Self, $crate::limits::Violation> {
                $crate::limits::id($what, &value)?;
                Ok(Self(value))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use text_id;

text_id! {
    /// CSI `volume_id`, at most 128 bytes.
    VolumeId, limits::STRING_BYTES, "volume_id"
}
text_id! {
    /// CSI `snapshot_id`, at most 128 bytes.
    SnapshotId, limits::STRING_BYTES, "snapshot_id"
}
text_id! {
    /// CSI `node_id`, at most 256 bytes.
    NodeId, limits::NODE_ID_BYTES, "node_id"
}
text_id! {
    /// CSI `name` of a volume or snapshot to be made: the idempotency key. At most 128 bytes.
    Name, limits::STRING_BYTES, "name"
}

/// What a volume was made from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ContentSource {
    /// Restored from a snapshot.
    Snapshot(SnapshotId),
    /// Cloned from a volume.
    Volume(VolumeId),
}

/// A volume as the storage system has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The same volume always has the same id.
    pub id: VolumeId,
    /// Bytes; 0 = not known.
    pub capacity_bytes: u64,
    /// CSI `volume_context`, at most 4 KiB. Never a secret.
    pub context: StringMap,
    /// Empty = everywhere.
    pub accessible_topology: Vec<Topology>,
    /// None: made empty.
    pub source: Option<ContentSource>,
    /// The request digest that was stored with the volume, see [`crate::digest`].
    pub request_digest: Option<String>,
}

/// A volume and where it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVolume {
    /// The volume.
    pub volume: Volume,
    /// Nodes; empty without the promise `published-nodes`.
    pub published_node_ids: Vec<NodeId>,
    /// What is wrong with it; none: not looked at.
    pub problems: Option<Vec<VolumeProblem>>,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In the backend's order.
    pub entries: Vec<T>,
    /// The backend's token for the next page, at most 1 KiB; none = the end.
    pub next_token: Option<String>,
}

/// Which page of a listing is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageRequest {
    /// 0 = as many as the backend likes.
    pub max_entries: u32,
    /// The backend's own token; none = from the start.
    pub token: Option<String>,
}

/// CSI GetCapacityResponse, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// What can be provisioned now.
    pub available_bytes: u64,
    /// Largest single volume.
    pub maximum_volume_bytes: Option<u64>,
    /// Smallest single volume.
    pub minimum_volume_bytes: Option<u64>,
}

/// What an expansion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expanded {
    /// Bytes after the call.
    pub capacity_bytes: u64,
    /// Something on the node has to grow too.
    pub node_expansion_required: bool,
}
