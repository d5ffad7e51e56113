//! Looks at what there is.

use super::{Answer, Caller, broken, map, page_fits, problems, range, requirement};
use crate::{
    calls::{At, Call},
    client::Reply,
    ground::Ground,
};
use bulkhead_proto::v1;
use bulkhead_tests::secrets;
use std::collections::BTreeMap;
use tonic::Status;

impl Caller {
    pub(super) async fn controller_looks(&self, call: &Call) -> Answer {
        let mut c = self.client.controller.clone();
        Ok(match call.clone() {
            Call::GetVolume { volume: volume_id } => {
                Reply::Listed(c.controller_get_volume(v1::ControllerGetVolumeRequest { volume_id }).await?.into_inner())
            }
            Call::VolumeHealth { volume: volume_id } => {
                let request = v1::ControllerGetVolumeHealthRequest { volume_id, secrets: secrets::of_request() };
                Reply::Health(problems(c.controller_get_volume_health(request).await?.into_inner().volume_health))
            }
            Call::ListVolumes { max } => Reply::Volumes(self.volumes(max).await?),
            Call::ListHealth { max } => {
                let request = v1::ControllerListVolumeHealthRequest {
                    max_entries: max,
                    secrets: secrets::of_request(),
                    ..Default::default()
                };
                let answer = c.controller_list_volume_health(request).await?.into_inner();
                Reply::Health(answer.entries.into_iter().flat_map(|health| problems(Some(health))).collect())
            }
            Call::BadToken { snapshots: false, token } => {
                let request = v1::ListVolumesRequest { starting_token: token.into(), ..Default::default() };
                c.list_volumes(request).await.map(|_| Reply::Nothing)?
            }
            Call::BadToken { snapshots: true, token } => {
                let request = v1::ListSnapshotsRequest {
                    starting_token: token.into(),
                    secrets: secrets::of_request(),
                    ..Default::default()
                };
                c.list_snapshots(request).await.map(|_| Reply::Nothing)?
            }
            Call::CreateSnapshot { name, volume, parameter, zone } => {
                let request = v1::CreateSnapshotRequest {
                    source_volume_id: volume,
                    name,
                    parameters: map(&[("unknown", if parameter { "x" } else { "" })]),
                    accessibility_requirements: zone.and_then(|zone| requirement(&[zone])),
                    secrets: secrets::of_request(),
                };
                let cut = c.create_snapshot(request).await?.into_inner().snapshot;
                Reply::Snapshot(cut.ok_or_else(|| broken("no snapshot"))?)
            }
            Call::DeleteSnapshot { snapshot: snapshot_id } => {
                c.delete_snapshot(v1::DeleteSnapshotRequest { snapshot_id, secrets: secrets::of_request() }).await?;
                Reply::Nothing
            }
            Call::GetSnapshot { snapshot: snapshot_id } => {
                let request = v1::GetSnapshotRequest { snapshot_id, secrets: secrets::of_request() };
                let found = c.get_snapshot(request).await?.into_inner().snapshot;
                Reply::Snapshot(found.ok_or_else(|| broken("no snapshot"))?)
            }
            Call::ListSnapshots { volume, snapshot, max } => {
                Reply::Snapshots(self.snapshots(&volume, &snapshot, max).await?)
            }
            other => unreachable!("{other:?} is not the controller's"),
        })
    }

    async fn volumes(&self, max: i32) -> Result<Vec<v1::list_volumes_response::Entry>, Status> {
        let (mut all, mut token) = (vec![], String::new());
        loop {
            let request = v1::ListVolumesRequest { max_entries: max, starting_token: token };
            let page = self.client.controller.clone().list_volumes(request).await?.into_inner();
            page_fits(page.entries.len(), max, &page.next_token)?;
            all.extend(page.entries);
            token = page.next_token;
            if token.is_empty() {
                return Ok(all);
            }
        }
    }

    async fn snapshots(&self, volume: &str, snapshot: &str, max: i32) -> Result<Vec<v1::Snapshot>, Status> {
        let (mut all, mut token) = (vec![], String::new());
        loop {
            let request = v1::ListSnapshotsRequest {
                max_entries: max,
                starting_token: token,
                source_volume_id: volume.into(),
                snapshot_id: snapshot.into(),
                secrets: secrets::of_request(),
            };
            let page = self.client.controller.clone().list_snapshots(request).await?.into_inner();
            page_fits(page.entries.len(), max, &page.next_token)?;
            all.extend(page.entries.into_iter().filter_map(|entry| entry.snapshot));
            token = page.next_token;
            if token.is_empty() {
                return Ok(all);
            }
        }
    }

    pub(super) async fn look(&self, ground: &Ground, call: &Call) -> Answer {
        let mut c = self.client.node.clone();
        let path = |volume: &str, at: At| match at {
            At::Staging(which) => ground.staging(volume, which).to_str().unwrap().to_owned(),
            At::Pod(pod) => ground.target(volume, pod).to_str().unwrap().to_owned(),
            At::Nowhere => "some/path".to_owned(),
        };
        Ok(match call.clone() {
            Call::Stats { volume, at } => {
                let volume_path = path(&volume, at);
                let request = v1::NodeGetVolumeStatsRequest { volume_id: volume, volume_path, ..Default::default() };
                let answer = c.node_get_volume_stats(request).await?.into_inner();
                Reply::Usage(answer.usage, answer.volume_condition.map(|condition| condition.abnormal))
            }
            Call::NodeExpand { volume, at, required, limit } => {
                let request = v1::NodeExpandVolumeRequest {
                    volume_path: path(&volume, at),
                    volume_id: volume,
                    capacity_range: range(required, limit),
                    secrets: secrets::of_request(),
                    ..Default::default()
                };
                Reply::Bytes(c.node_expand_volume(request).await?.into_inner().capacity_bytes)
            }
            Call::NodeHealth { volume, at } => {
                let volume_publish_path = at.map(|at| path(&volume, at)).unwrap_or_default();
                let request =
                    v1::NodeGetVolumeHealthRequest { volume_id: volume, volume_publish_path, ..Default::default() };
                Reply::Health(problems(c.node_get_volume_health(request).await?.into_inner().volume_health))
            }
            Call::NodeInfo => {
                let info = c.node_get_info(v1::NodeGetInfoRequest {}).await?.into_inner();
                let place: BTreeMap<_, _> =
                    info.accessible_topology.map(|t| t.segments).into_iter().flatten().collect();
                Reply::Facts(format!("{} {} {place:?}", info.node_id, info.max_volumes_per_node))
            }
            Call::StorageHealth => {
                let answer = c.node_get_storage_health(v1::NodeGetStorageHealthRequest::default()).await?.into_inner();
                Reply::Health(answer.backend_health.into_iter().map(|health| health.reason).collect())
            }
            other => unreachable!("{other:?} is not a look at the node"),
        })
    }
}
