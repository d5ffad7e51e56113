//! The same for snapshots and groups of them.

use super::Fields;
use crate::{
    Error, Result,
    request::{CreateGroupSnapshot, CreateSnapshot},
    snapshot::{GroupSnapshot, Snapshot},
    volume::{Name, VolumeId},
};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// 64 hexadecimal digits over what makes a CreateSnapshot what it is: source and parameters.
pub fn snapshot_digest(request: &CreateSnapshot) -> String {
    let mut fields = Fields(Sha256::new());
    fields.put(b"bulkhead create-snapshot 1");
    fields.put(request.source_volume_id.as_str().as_bytes());
    fields.put_parameters(&request.parameters);
    fields.finish()
}

/// 64 hexadecimal digits over what makes a CreateVolumeGroupSnapshot what it is: sources, in any order, and parameters.
pub fn group_digest(request: &CreateGroupSnapshot) -> String {
    let mut fields = Fields(Sha256::new());
    fields.put(b"bulkhead create-volume-group-snapshot 1");
    fields.put(&(request.source_volume_ids.len() as u64).to_le_bytes());
    request.source_volume_ids.iter().for_each(|id| fields.put(id.as_str().as_bytes()));
    fields.put_parameters(&request.parameters);
    fields.finish()
}

/// What of a CreateSnapshot its answer is compared with.
#[derive(Debug, Clone)]
pub struct WantedSnapshot {
    name: Name,
    source: VolumeId,
    digest: String,
}

impl WantedSnapshot {
    /// Of `request`, whose [`snapshot_digest`] is `digest`.
    pub fn of(request: &CreateSnapshot, digest: &str) -> Self {
        Self { name: request.name.clone(), source: request.source_volume_id.clone(), digest: digest.to_owned() }
    }

    /// Checks that `snapshot`, which a backend has returned for the request, is what was asked for.
    ///
    /// # Errors
    /// ALREADY_EXISTS with the reason.
    pub fn check(&self, snapshot: &Snapshot) -> Result<()> {
        let taken = |why: &str| {
            Err(Error::already_exists(format_args!("a snapshot named {:?} exists and {why}", self.name.as_str())))
        };
        if snapshot.source_volume_id != self.source {
            return taken("was cut from another volume");
        }
        if snapshot.request_digest.as_ref().is_some_and(|stored| *stored != self.digest) {
            return taken("was cut with other parameters");
        }
        Ok(())
    }
}

/// What of a CreateVolumeGroupSnapshot its answer is compared with. The digest is the backend's to compare: a group has
/// no field to bring it back in, but its members do.
#[derive(Debug, Clone)]
pub struct WantedGroup {
    name: Name,
    sources: BTreeSet<VolumeId>,
    digest: String,
}

impl WantedGroup {
    /// Of `request`, whose [`group_digest`] is `digest`.
    pub fn of(request: &CreateGroupSnapshot, digest: &str) -> Self {
        Self { name: request.name.clone(), sources: request.source_volume_ids.clone(), digest: digest.to_owned() }
    }

    /// Checks that `group`, which a backend has returned for the request, is what was asked for.
    ///
    /// # Errors
    /// ALREADY_EXISTS with the reason.
    pub fn check(&self, group: &GroupSnapshot) -> Result<()> {
        let taken = |why: &str| {
            Err(Error::already_exists(format_args!("a group snapshot named {:?} exists and {why}", self.name.as_str())))
        };
        let sources: BTreeSet<_> = group.snapshots.iter().map(|member| member.source_volume_id.clone()).collect();
        if sources != self.sources || group.snapshots.len() != self.sources.len() {
            return taken("was cut from other volumes");
        }
        let other = |member: &Snapshot| member.request_digest.as_ref().is_some_and(|stored| *stored != self.digest);
        if group.snapshots.iter().any(other) {
            return taken("was cut with other parameters");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, StringMap, request::Secrets, snapshot::GroupSnapshotId, volume::SnapshotId};

    fn id(text: &str) -> VolumeId {
        VolumeId::parse(text).unwrap()
    }

    fn request(source: &str, parameters: &[(&str, &str)]) -> CreateSnapshot {
        CreateSnapshot {
            name: Name::parse("s").unwrap(),
            source_volume_id: id(source),
            parameters: parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            topology: None,
            secrets: Secrets::default(),
        }
    }

    fn snapshot(source: &str, digest: Option<String>) -> Snapshot {
        Snapshot {
            id: SnapshotId::parse("s").unwrap(),
            source_volume_id: id(source),
            size_bytes: 1,
            created_at_ms: 1,
            ready_to_use: true,
            group_snapshot_id: None,
            accessible_topology: vec![],
            request_digest: digest,
        }
    }

    #[test]
    fn a_snapshot_is_of_one_volume_and_one_class() {
        let wanted = request("v", &[]);
        let digest = snapshot_digest(&wanted);
        let check = |s: &Snapshot| WantedSnapshot::of(&wanted, &digest).check(s).map_err(|e| e.kind());
        assert_eq!(check(&snapshot("v", Some(digest.clone()))), Ok(()));
        assert_eq!(check(&snapshot("v", None)), Ok(()), "a backend without room for a digest");
        assert_eq!(check(&snapshot("w", None)), Err(ErrorKind::AlreadyExists));
        let other = snapshot_digest(&request("v", &[("class", "gold")]));
        assert_eq!(check(&snapshot("v", Some(other))), Err(ErrorKind::AlreadyExists));
        assert_eq!(snapshot_digest(&request("v", &[("csi.storage.k8s.io/volumesnapshot/name", "x")])), digest);
    }

    #[test]
    fn a_group_is_of_a_set_of_volumes() {
        let wanted = CreateGroupSnapshot {
            name: Name::parse("g").unwrap(),
            source_volume_ids: [id("v"), id("w")].into(),
            parameters: StringMap::new(),
            secrets: Secrets::default(),
        };
        let digest = group_digest(&wanted);
        let group = |sources: &[&str]| GroupSnapshot {
            id: GroupSnapshotId::parse("g").unwrap(),
            snapshots: sources.iter().map(|source| snapshot(source, Some(digest.clone()))).collect(),
            created_at_ms: 1,
            ready_to_use: true,
        };
        let check = |g: &GroupSnapshot| WantedGroup::of(&wanted, &digest).check(g).map_err(|e| e.kind());
        assert_eq!(check(&group(&["w", "v"])), Ok(()));
        for other in [&["v"][..], &["v", "w", "x"], &["v", "x"], &["v", "w", "w"]] {
            assert_eq!(check(&group(other)), Err(ErrorKind::AlreadyExists), "{other:?}");
        }
    }
}
