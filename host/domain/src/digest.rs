//! Telling a repeated request from a different one under the same name.
//!
//! CSI's CreateVolume is idempotent by name: a repeat must get the same volume, an *incompatible* request ALREADY_EXISTS.
//! The host puts a digest over the fields that make a request what it is into each create request; a backend with room
//! for 64 characters beside a volume stores it and gives it back.
//!
//! Not in the digest: the capacity range and the topology, because a wider range that still holds the volume, or another
//! preferred order (a late-binding retry brings one), is compatible; they are compared with the volume itself. Nor the
//! secrets, nor the mount flags (they do not shape the volume, and a digest would let them be guessed), nor parameters
//! that begin with `csi.storage.k8s.io/` (names of the claim, for people).

mod snapshot;

pub use snapshot::{WantedGroup, WantedSnapshot, group_digest, snapshot_digest};

use crate::{
    Error, Result, StringMap,
    capability::{AccessType, VolumeCapability},
    capacity::CapacityRange,
    request::CreateVolume,
    topology::{Topology, TopologyRequirement},
    volume::{ContentSource, Name, Volume},
};
use sha2::{Digest, Sha256};

const INFORMATIONAL_PREFIX: &str = "csi.storage.k8s.io/";

/// Feeds length-prefixed fields, so that no two different requests read the same.
struct Fields(Sha256);

impl Fields {
    fn put(&mut self, field: &[u8]) {
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
    }

    fn put_parameters(&mut self, map: &StringMap) {
        let kept: Vec<_> = map.iter().filter(|(key, _)| !key.starts_with(INFORMATIONAL_PREFIX)).collect();
        self.put(&(kept.len() as u64).to_le_bytes());
        for (key, value) in kept {
            self.put(key.as_bytes());
            self.put(value.as_bytes());
        }
    }

    fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// 64 hexadecimal digits over the fields of `request` that make it what it is.
pub fn request_digest(request: &CreateVolume) -> String {
    let mut fields = Fields(Sha256::new());
    fields.put(b"bulkhead create-volume 1");
    let mut capabilities: Vec<_> = request.capabilities.iter().map(capability_key).collect();
    capabilities.sort();
    capabilities.dedup();
    fields.put(&(capabilities.len() as u64).to_le_bytes());
    capabilities.iter().for_each(|c| fields.put(c.as_bytes()));
    fields.put_parameters(&request.parameters);
    fields.put_parameters(&request.mutable_parameters);
    match &request.source {
        None => fields.put(b"empty"),
        Some(ContentSource::Snapshot(id)) => fields.put(format!("snapshot:{id}").as_bytes()),
        Some(ContentSource::Volume(id)) => fields.put(format!("volume:{id}").as_bytes()),
    }
    fields.finish()
}

/// 32 hexadecimal digits, the same for every retry of one create request of one driver, also after a restart and in later
/// versions: backends name things by them.
pub fn idempotency_key(driver: &str, name: &str) -> String {
    let mut fields = Fields(Sha256::new());
    fields.put(b"bulkhead idempotency-key 1");
    fields.put(driver.as_bytes());
    fields.put(name.as_bytes());
    let mut key = fields.finish();
    key.truncate(32);
    key
}

fn capability_key(capability: &VolumeCapability) -> String {
    match &capability.access_type {
        AccessType::Block => format!("{:?} block", capability.access_mode),
        AccessType::Mount(mount) => {
            format!("{:?} mount {:?} {:?}", capability.access_mode, mount.fs_type, mount.volume_mount_group)
        }
    }
}

/// What of a request its answer is compared with. Made before the request is handed over, which is not copied for it.
#[derive(Debug, Clone)]
pub struct Wanted {
    name: Name,
    capacity: Option<CapacityRange>,
    topology: Option<TopologyRequirement>,
    source: Option<ContentSource>,
    digest: String,
}

impl Wanted {
    /// Of `request`, whose [`request_digest`] is `digest`.
    pub fn of(request: &CreateVolume, digest: &str) -> Self {
        Self {
            name: request.name.clone(),
            capacity: request.capacity,
            topology: request.topology.clone(),
            source: request.source.clone(),
            digest: digest.to_owned(),
        }
    }

    /// Checks that `volume`, which a backend has returned for the request, is what was asked for: either it was just
    /// made, or it was there and the request is compatible with it.
    ///
    /// # Errors
    /// ALREADY_EXISTS with the reason.
    pub fn check(&self, volume: &Volume) -> Result<()> {
        let taken = |why: String| {
            Err(Error::already_exists(format_args!("a volume named {:?} exists and {why}", self.name.as_str())))
        };
        if volume.request_digest.as_ref().is_some_and(|stored| *stored != self.digest) {
            return taken("was made with other parameters, capabilities or another source".into());
        }
        if volume.source != self.source && (volume.source.is_some() || volume.request_digest.is_none()) {
            return taken("was made from another source".into());
        }
        if let Some(range) = self.capacity
            && volume.capacity_bytes > 0
            && !range.holds(volume.capacity_bytes)
        {
            return taken(format!("its size of {} bytes is outside the range asked for", volume.capacity_bytes));
        }
        if let Some(wanted) = &self.topology
            && !reachable(wanted, &volume.accessible_topology)
        {
            return taken("can't be reached from where it is asked for".into());
        }
        Ok(())
    }
}

/// At least one of the places asked for can reach a volume that is reachable from `accessible`.
fn reachable(wanted: &TopologyRequirement, accessible: &[Topology]) -> bool {
    let within = |place: &Topology| {
        accessible.iter().any(|a| a.segments.iter().all(|(key, value)| place.segments.get(key) == Some(value)))
    };
    accessible.is_empty() || wanted.requisite.is_empty() || wanted.requisite.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorKind,
        capability::{AccessMode, MountAccess, MountFlags},
        request::Secrets,
        volume::VolumeId,
    };

    fn map(pairs: &[(&str, &str)]) -> StringMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn request() -> CreateVolume {
        CreateVolume {
            name: Name::parse("pvc-1").unwrap(),
            capacity: CapacityRange::parse(10, 20).unwrap(),
            capabilities: vec![VolumeCapability {
                access_type: AccessType::Mount(MountAccess { fs_type: "ext4".into(), ..Default::default() }),
                access_mode: AccessMode::SingleNodeWriter,
            }],
            parameters: map(&[("a", "bc")]),
            mutable_parameters: StringMap::new(),
            topology: None,
            source: None,
            secrets: Secrets::default(),
        }
    }

    fn volume(request: &CreateVolume) -> Volume {
        Volume {
            id: VolumeId::parse("v").unwrap(),
            capacity_bytes: 10,
            context: StringMap::new(),
            accessible_topology: vec![],
            source: request.source.clone(),
            request_digest: Some(request_digest(request)),
        }
    }

    #[test]
    fn what_is_and_what_is_not_in_the_digest() {
        let base = request_digest(&request());
        let same = |change: fn(&mut CreateVolume)| {
            let mut r = request();
            change(&mut r);
            request_digest(&r) == base
        };
        assert!(same(|r| r.capacity = None));
        assert!(same(|r| r.secrets = Secrets::new(map(&[("k", "v")]))));
        assert!(same(|r| r.capabilities.push(r.capabilities[0].clone())));
        assert!(same(|r| {
            r.parameters.insert("csi.storage.k8s.io/pvc/name".into(), "x".into());
        }));
        assert!(same(|r| {
            if let AccessType::Mount(mount) = &mut r.capabilities[0].access_type {
                mount.mount_flags = MountFlags::new(vec!["noatime".into()]);
            }
        }));
        assert!(!same(|r| r.parameters = map(&[("ab", "c")])));
        assert!(!same(|r| r.mutable_parameters = map(&[("a", "b")])));
        assert!(!same(|r| r.source = Some(ContentSource::Volume(VolumeId::parse("v").unwrap()))));
        assert!(!same(|r| r.capabilities[0].access_mode = AccessMode::SingleNodeMultiWriter));
        assert!(!same(|r| r.capabilities[0].access_type = AccessType::Block));
    }

    #[test]
    fn compatible_and_not() {
        let r = request();
        let digest = request_digest(&r);
        let check = |r: &CreateVolume, v: &Volume| Wanted::of(r, &digest).check(v).map_err(|e| e.kind());
        assert_eq!(check(&r, &volume(&r)), Ok(()));
        let mut large = volume(&r);
        large.capacity_bytes = 21;
        assert_eq!(check(&r, &large), Err(ErrorKind::AlreadyExists));
        let mut wider = r.clone();
        wider.capacity = CapacityRange::parse(5, 0).unwrap();
        assert_eq!(check(&wider, &volume(&r)), Ok(()));
        let mut other = volume(&r);
        other.request_digest = Some("0".repeat(64));
        assert_eq!(check(&r, &other), Err(ErrorKind::AlreadyExists));
        let place = |z: &str| Topology { segments: map(&[("z", z)]) };
        let mut placed = r.clone();
        placed.topology = Some(TopologyRequirement { requisite: vec![place("1"), place("2")], preferred: vec![] });
        let mut there = volume(&r);
        there.accessible_topology = vec![place("2")];
        assert_eq!(check(&placed, &there), Ok(()));
        there.accessible_topology = vec![place("3")];
        assert_eq!(check(&placed, &there), Err(ErrorKind::AlreadyExists));
    }

    #[test]
    fn keys_differ_by_driver_and_name() {
        let key = idempotency_key("a", "bc");
        // Backends name volumes by it, so it is the same for ever.
        assert_eq!(key, "d4dbf2ead919ce35bb5e142878038912");
        assert_ne!(key, idempotency_key("ab", "c"));
    }
}
