//! Snapshots.

use super::store::{Answer, BLOCKS, Snapshot, Store, given, invalid};
use bulkhead_proto::v1;
use prost_reflect::prost_types::Timestamp;
use std::time::SystemTime;
use tonic::Status;

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

impl Store {
    /// A snapshot of a volume that is there.
    pub(super) fn cut(&mut self, name: &str, source: &str, group: &str) -> Answer<v1::Snapshot> {
        let snapshot_id = self.id("snapshot");
        let volume = self.volume(source)?;
        let blocks = volume.blocks.clone();
        let size_bytes = volume.volume.capacity_bytes;
        // See the module's head: what nobody can write changes by itself.
        let stamp = volume.blocks.iter().max().copied().unwrap_or(0) + 1;
        for n in 0..5 {
            let at = usize::try_from(stamp).unwrap_or(0) * 7 + n * 11;
            volume.blocks[at % BLOCKS] = stamp;
        }
        let snapshot = v1::Snapshot {
            size_bytes,
            snapshot_id: snapshot_id.clone(),
            source_volume_id: source.to_owned(),
            creation_time: Some(now()),
            ready_to_use: true,
            group_snapshot_id: group.to_owned(),
            accessible_topology: vec![],
        };
        self.snapshots.insert(snapshot_id, Snapshot { name: name.to_owned(), snapshot: snapshot.clone(), blocks });
        Ok(snapshot)
    }

    pub(super) fn create_snapshot(
        &mut self,
        request: &v1::CreateSnapshotRequest,
    ) -> Answer<v1::CreateSnapshotResponse> {
        given(&[("name", &request.name), ("source_volume_id", &request.source_volume_id)])?;
        if let Some(there) = self.snapshots.values().find(|there| there.name == request.name) {
            if there.snapshot.source_volume_id != request.source_volume_id {
                return Err(Status::already_exists("there is a snapshot of this name, of another volume"));
            }
            return Ok(v1::CreateSnapshotResponse { snapshot: Some(there.snapshot.clone()) });
        }
        let snapshot = self.cut(&request.name, &request.source_volume_id, "")?;
        Ok(v1::CreateSnapshotResponse { snapshot: Some(snapshot) })
    }

    pub(super) fn delete_snapshot(
        &mut self,
        request: &v1::DeleteSnapshotRequest,
    ) -> Answer<v1::DeleteSnapshotResponse> {
        given(&[("snapshot_id", &request.snapshot_id)])?;
        if self.snapshots.get(&request.snapshot_id).is_some_and(|s| !s.snapshot.group_snapshot_id.is_empty()) {
            return Err(invalid("the snapshot belongs to a group: delete that"));
        }
        self.snapshots.remove(&request.snapshot_id);
        Ok(v1::DeleteSnapshotResponse {})
    }

    pub(super) fn get_snapshot(&self, request: &v1::GetSnapshotRequest) -> Answer<v1::GetSnapshotResponse> {
        given(&[("snapshot_id", &request.snapshot_id)])?;
        let snapshot = self.snapshot(&request.snapshot_id)?.snapshot.clone();
        Ok(v1::GetSnapshotResponse { snapshot: Some(snapshot) })
    }
}
