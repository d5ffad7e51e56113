//! Groups of snapshots, and blocks.

use super::{Answer, Caller, broken, map, page_fits};
use crate::{calls::Call, client::Reply};
use bulkhead_proto::v1;
use bulkhead_tests::secrets;

impl Caller {
    pub(super) async fn groups(&self, call: &Call) -> Answer {
        let mut c = self.group.clone();
        let none = || broken("no group");
        Ok(match call.clone() {
            Call::CreateGroup { name, volumes: source_volume_ids, parameter } => {
                let parameters = map(&[("unknown", if parameter { "x" } else { "" })]);
                let request = v1::CreateVolumeGroupSnapshotRequest {
                    name,
                    source_volume_ids,
                    parameters,
                    secrets: secrets::of_request(),
                };
                let made = c.create_volume_group_snapshot(request).await?.into_inner();
                Reply::Group(made.group_snapshot.ok_or_else(none)?)
            }
            Call::DeleteGroup { group: group_snapshot_id, members: snapshot_ids } => {
                let request = v1::DeleteVolumeGroupSnapshotRequest {
                    group_snapshot_id,
                    snapshot_ids,
                    secrets: secrets::of_request(),
                };
                c.delete_volume_group_snapshot(request).await?;
                Reply::Nothing
            }
            Call::GetGroup { group: group_snapshot_id, members: snapshot_ids } => {
                let request = v1::GetVolumeGroupSnapshotRequest {
                    group_snapshot_id,
                    snapshot_ids,
                    secrets: secrets::of_request(),
                };
                Reply::Group(c.get_volume_group_snapshot(request).await?.into_inner().group_snapshot.ok_or_else(none)?)
            }
            other => unreachable!("{other:?} is not about groups"),
        })
    }

    pub(super) async fn blocks(&self, call: &Call) -> Answer {
        let mut c = self.blocks.clone();
        let mut pages: Vec<(i64, Vec<v1::BlockMetadata>)> = vec![];
        let max = match call.clone() {
            Call::Allocated { snapshot: snapshot_id, offset: starting_offset, max: max_results } => {
                let request = v1::GetMetadataAllocatedRequest {
                    snapshot_id,
                    starting_offset,
                    max_results,
                    secrets: secrets::of_request(),
                };
                let mut stream = c.get_metadata_allocated(request).await?.into_inner();
                while let Some(page) = stream.message().await? {
                    pages.push((page.volume_capacity_bytes, page.block_metadata));
                }
                max_results
            }
            Call::Delta {
                base: base_snapshot_id,
                target: target_snapshot_id,
                offset: starting_offset,
                max: max_results,
            } => {
                let request = v1::GetMetadataDeltaRequest {
                    base_snapshot_id,
                    target_snapshot_id,
                    starting_offset,
                    max_results,
                    secrets: secrets::of_request(),
                };
                let mut stream = c.get_metadata_delta(request).await?.into_inner();
                while let Some(page) = stream.message().await? {
                    pages.push((page.volume_capacity_bytes, page.block_metadata));
                }
                max_results
            }
            other => unreachable!("{other:?} is not about blocks"),
        };
        let size = pages.first().ok_or_else(|| broken("an empty stream"))?.0;
        if pages.iter().any(|(other, ranges)| *other != size || page_fits(ranges.len(), max, "").is_err()) {
            return Err(broken("pages differ in capacity, or are too long"));
        }
        let ranges = pages.into_iter().flat_map(|(_, ranges)| ranges);
        Ok(Reply::Blocks(size, ranges.map(|range| (range.byte_offset, range.size_bytes)).collect()))
    }
}
