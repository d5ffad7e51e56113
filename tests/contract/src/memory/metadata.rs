//! Snapshot metadata: ranges of blocks that hold something, or differ.

use super::store::{Answer, BLOCKS, Store, given, invalid};
use bulkhead_proto::v1::{self, BlockMetadata};
use tonic::Status;

/// The messages of a stream: capacity and ranges.
pub(super) type Parts = Vec<(i64, Vec<BlockMetadata>)>;

/// How many ranges a message has if nobody asks for less.
const RANGES: usize = 16;

impl Store {
    pub(super) fn allocated(&self, request: &v1::GetMetadataAllocatedRequest) -> Answer<Parts> {
        given(&[("snapshot_id", &request.snapshot_id)])?;
        let snapshot = self.snapshot(&request.snapshot_id)?;
        let wanted: Vec<_> = snapshot.blocks.iter().map(|stamp| *stamp != 0).collect();
        parts(&wanted, snapshot.snapshot.size_bytes, request.starting_offset, request.max_results)
    }

    pub(super) fn delta(&self, request: &v1::GetMetadataDeltaRequest) -> Answer<Parts> {
        let (base, target) = (&request.base_snapshot_id, &request.target_snapshot_id);
        given(&[("base_snapshot_id", base), ("target_snapshot_id", target)])?;
        let (base, target) = (self.snapshot(base)?, self.snapshot(target)?);
        if base.snapshot.source_volume_id != target.snapshot.source_volume_id {
            return Err(invalid("the snapshots are of different volumes"));
        }
        let wanted: Vec<_> = base.blocks.iter().zip(&target.blocks).map(|(base, target)| base != target).collect();
        parts(&wanted, target.snapshot.size_bytes, request.starting_offset, request.max_results)
    }
}

fn parts(wanted: &[bool], capacity: i64, offset: i64, max_results: i32) -> Answer<Parts> {
    let max = usize::try_from(max_results).map_err(|_| invalid("max_results can't be negative"))?;
    if !(0..capacity).contains(&offset) {
        return Err(Status::out_of_range(format!("starting_offset {offset} is not within 0 to {capacity}")));
    }
    let block = capacity / i64::try_from(BLOCKS).unwrap_or(1);
    let mut ranges: Vec<BlockMetadata> = vec![];
    let mut at = 0;
    for wanted in wanted {
        let range = BlockMetadata { byte_offset: at, size_bytes: block };
        at += block;
        if !wanted || at <= offset {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if last.byte_offset + last.size_bytes == range.byte_offset => last.size_bytes += block,
            _ => ranges.push(range),
        }
    }
    let each = if max == 0 { RANGES } else { max.min(RANGES) };
    Ok(ranges.chunks(each).map(|ranges| (capacity, ranges.to_vec())).collect())
}
