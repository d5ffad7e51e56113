//! Lists, page by page. A token is the last id of the page before, so that it stays good whatever comes and goes.

use super::store::{Answer, Store, Volume, given, invalid};
use bulkhead_proto::v1;
use tonic::Status;

/// A page of what comes after the token, and the next token.
fn page<T>(all: Vec<(String, T)>, kind: &str, max_entries: i32, token: &str) -> Answer<(Vec<T>, String)> {
    let max = usize::try_from(max_entries).map_err(|_| invalid("max_entries can't be negative"))?;
    let good = token
        .strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| rest.parse::<u64>().is_ok());
    if !token.is_empty() && !good {
        return Err(Status::aborted("there is no such token"));
    }
    let mut rest: Vec<_> = all.into_iter().filter(|(id, _)| id.as_str() > token).collect();
    let mut next = String::new();
    if max != 0 && rest.len() > max {
        rest.truncate(max);
        next = rest.last().map(|(id, _)| id.clone()).unwrap_or_default();
    }
    Ok((rest.into_iter().map(|(_, entry)| entry).collect(), next))
}

fn nodes(volume: &Volume) -> Vec<String> {
    volume.attached.keys().cloned().collect()
}

impl Store {
    pub(super) fn list(&self, request: &v1::ListVolumesRequest) -> Answer<v1::ListVolumesResponse> {
        let entry = |volume: &Volume| v1::list_volumes_response::Entry {
            volume: Some(volume.volume.clone()),
            status: Some(v1::list_volumes_response::VolumeStatus {
                published_node_ids: nodes(volume),
                volume_condition: None,
            }),
        };
        let all = self.volumes.iter().map(|(id, volume)| (id.clone(), entry(volume))).collect();
        let (entries, next_token) = page(all, "volume", request.max_entries, &request.starting_token)?;
        Ok(v1::ListVolumesResponse { entries, next_token })
    }

    pub(super) fn get(&mut self, request: &v1::ControllerGetVolumeRequest) -> Answer<v1::ControllerGetVolumeResponse> {
        given(&[("volume_id", &request.volume_id)])?;
        let volume = self.volume(&request.volume_id)?;
        let status = v1::controller_get_volume_response::VolumeStatus {
            published_node_ids: nodes(volume),
            volume_condition: None,
        };
        Ok(v1::ControllerGetVolumeResponse { volume: Some(volume.volume.clone()), status: Some(status) })
    }

    pub(super) fn list_snapshots(&self, request: &v1::ListSnapshotsRequest) -> Answer<v1::ListSnapshotsResponse> {
        let wanted = |snapshot: &v1::Snapshot| {
            (request.snapshot_id.is_empty() || request.snapshot_id == snapshot.snapshot_id)
                && (request.source_volume_id.is_empty() || request.source_volume_id == snapshot.source_volume_id)
        };
        let all = self
            .snapshots
            .iter()
            .filter(|(_, s)| wanted(&s.snapshot))
            .map(|(id, s)| (id.clone(), v1::list_snapshots_response::Entry { snapshot: Some(s.snapshot.clone()) }));
        let (entries, next_token) = page(all.collect(), "snapshot", request.max_entries, &request.starting_token)?;
        Ok(v1::ListSnapshotsResponse { entries, next_token })
    }

    pub(super) fn health(
        &mut self,
        request: &v1::ControllerGetVolumeHealthRequest,
    ) -> Answer<v1::ControllerGetVolumeHealthResponse> {
        given(&[("volume_id", &request.volume_id)])?;
        let volume_id = self.volume(&request.volume_id)?.volume.volume_id.clone();
        let volume_health = v1::VolumeHealth { volume_id, health_statuses: vec![] };
        Ok(v1::ControllerGetVolumeHealthResponse { volume_health: Some(volume_health) })
    }

    /// Nothing in memory is ever ill.
    pub(super) fn list_health(
        &self,
        request: &v1::ControllerListVolumeHealthRequest,
    ) -> Answer<v1::ControllerListVolumeHealthResponse> {
        let (entries, next_token) = page(vec![], "volume", request.max_entries, &request.starting_token)?;
        Ok(v1::ControllerListVolumeHealthResponse { entries, next_token })
    }
}
