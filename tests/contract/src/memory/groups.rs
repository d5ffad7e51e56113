//! Group snapshots.

use super::store::{Answer, Group, Store, given, invalid};
use bulkhead_proto::v1;
use std::collections::BTreeSet;
use tonic::Status;

fn set(ids: &[String]) -> BTreeSet<&String> {
    ids.iter().collect()
}

fn members(group: &v1::VolumeGroupSnapshot) -> BTreeSet<&String> {
    group.snapshots.iter().map(|snapshot| &snapshot.snapshot_id).collect()
}

impl Store {
    pub(super) fn create_group(
        &mut self,
        request: v1::CreateVolumeGroupSnapshotRequest,
    ) -> Answer<v1::CreateVolumeGroupSnapshotResponse> {
        given(&[("name", &request.name)])?;
        if request.source_volume_ids.is_empty() {
            return Err(invalid("source_volume_ids is missing"));
        }
        if let Some(there) = self.groups.values().find(|there| there.made_by.name == request.name) {
            let made = &there.made_by;
            let same = set(&made.source_volume_ids) == set(&request.source_volume_ids);
            if !same || made.parameters != request.parameters {
                return Err(Status::already_exists("there is a group of this name, made by another request"));
            }
            return Ok(v1::CreateVolumeGroupSnapshotResponse { group_snapshot: Some(there.group.clone()) });
        }
        // All or nothing: members are only made once all sources are known to be there.
        for source in &request.source_volume_ids {
            self.volume(source)?;
        }
        let group_snapshot_id = self.id("group");
        let mut snapshots = vec![];
        for source in &request.source_volume_ids {
            snapshots.push(self.cut(&format!("{}/{source}", request.name), source, &group_snapshot_id)?);
        }
        let group = v1::VolumeGroupSnapshot {
            group_snapshot_id: group_snapshot_id.clone(),
            snapshots,
            creation_time: Some(super::snapshots::now()),
            ready_to_use: true,
        };
        self.groups.insert(group_snapshot_id, Group { made_by: request, group: group.clone() });
        Ok(v1::CreateVolumeGroupSnapshotResponse { group_snapshot: Some(group) })
    }

    pub(super) fn delete_group(
        &mut self,
        request: &v1::DeleteVolumeGroupSnapshotRequest,
    ) -> Answer<v1::DeleteVolumeGroupSnapshotResponse> {
        given(&[("group_snapshot_id", &request.group_snapshot_id)])?;
        if let Some(there) = self.groups.get(&request.group_snapshot_id) {
            if set(&request.snapshot_ids) != members(&there.group) {
                return Err(invalid("snapshot_ids are not the group's members"));
            }
            self.groups.remove(&request.group_snapshot_id);
            self.snapshots.retain(|_, snapshot| snapshot.snapshot.group_snapshot_id != request.group_snapshot_id);
        }
        Ok(v1::DeleteVolumeGroupSnapshotResponse {})
    }

    pub(super) fn get_group(
        &self,
        request: &v1::GetVolumeGroupSnapshotRequest,
    ) -> Answer<v1::GetVolumeGroupSnapshotResponse> {
        given(&[("group_snapshot_id", &request.group_snapshot_id)])?;
        let there = self.groups.get(&request.group_snapshot_id);
        let there = there.ok_or_else(|| Status::not_found("there is no such group"))?;
        if set(&request.snapshot_ids) != members(&there.group) {
            return Err(invalid("snapshot_ids are not the group's members"));
        }
        Ok(v1::GetVolumeGroupSnapshotResponse { group_snapshot: Some(there.group.clone()) })
    }
}
