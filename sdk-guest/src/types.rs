//! Data that several interfaces share, and short ways to make it.

pub use crate::bindings::imports::bulkhead::backend::types::{
    AccessMode, AccessType, CapacityRange, ContentSource, CreateVolumeRequest, Error, ListedVolume, MountAccess,
    PageRequest, Pending, Snapshot, StringMap, Topology, TopologyRequirement, Unavailable, Volume, VolumeCapability,
    VolumeHealthErrorType, VolumeProblem,
};
use crate::identity::{Info, Promises};
use crate::node::NodeInfo;

/// What all functions of a backend return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Info {
    /// An answer of `get-info` with nothing but the version: no manifest, no promises, no topology, nothing loggable.
    /// Overwrite what differs: `Info { topology_keys: …, ..Info::new("1.0.0") }`.
    pub fn new(vendor_version: impl Into<String>) -> Self {
        Self {
            vendor_version: vendor_version.into(),
            manifest: Vec::new(),
            promises: Promises::empty(),
            topology_keys: Vec::new(),
            loggable_parameters: Vec::new(),
        }
    }
}

impl Default for NodeInfo {
    /// No limit known, no topology.
    fn default() -> Self {
        Self { max_volumes: None, topology: None }
    }
}

impl Volume {
    /// A volume of `capacity_bytes` that can be reached from everywhere, made empty, with no context. Set
    /// `request_digest` if it was stored.
    pub fn new(volume_id: impl Into<String>, capacity_bytes: u64) -> Self {
        Self {
            volume_id: volume_id.into(),
            capacity_bytes,
            context: Vec::new(),
            accessible_topology: Vec::new(),
            source: None,
            request_digest: None,
        }
    }
}

impl Snapshot {
    /// A snapshot that is ready, of no group, wherever its source was. Set `request_digest` if it was stored.
    pub fn new(
        snapshot_id: impl Into<String>,
        source_volume_id: impl Into<String>,
        size_bytes: u64,
        created_at_ms: u64,
    ) -> Self {
        Self {
            snapshot_id: snapshot_id.into(),
            source_volume_id: source_volume_id.into(),
            size_bytes,
            created_at_ms,
            ready_to_use: true,
            group_snapshot_id: None,
            accessible_topology: Vec::new(),
            request_digest: None,
        }
    }
}

impl Topology {
    /// Both can be the same place: no key that both name has two values.
    pub fn fits(&self, other: &Self) -> bool {
        let agrees = |(key, value): &(String, String)| lookup(&other.segments, key).is_none_or(|other| other == value);
        self.segments.iter().all(agrees)
    }
}

impl From<Volume> for ListedVolume {
    /// With no node: right for backends without the promise `published-nodes`.
    fn from(volume: Volume) -> Self {
        Self { volume, published_node_ids: Vec::new() }
    }
}

/// The value under `key`, for contexts, segments and parameters.
pub fn lookup<'a>(map: &'a [(String, String)], key: &str) -> Option<&'a str> {
    map.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_fit_unless_a_key_disagrees() {
        let place = |segments: &[(&str, &str)]| Topology {
            segments: segments.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let (zone, rack) = (place(&[("p/zone", "a")]), place(&[("p/zone", "a"), ("p/rack", "1")]));
        assert!(zone.fits(&rack) && rack.fits(&zone) && rack.fits(&rack));
        assert!(!rack.fits(&place(&[("p/zone", "a"), ("p/rack", "2")])));
        assert!(place(&[]).fits(&rack) && place(&[("p/other", "x")]).fits(&rack));
    }
}
