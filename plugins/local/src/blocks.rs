//! Which blocks of a snapshot hold data, and which differ between two.

use crate::Local;
use crate::host::pools::{ExtentPage, allocated_extents, differing_extents};
use crate::names::Place;
use crate::records::{find_snapshot, key};
use bulkhead_sdk::pools::{Object, ObjectKind};
use bulkhead_sdk::prelude::*;

impl ChangedBlocks for Local {
    fn get_metadata_allocated(snapshot_id: String, starting_offset: u64, max_results: u32) -> Result<BlockPage> {
        let (place, object) = image(&snapshot_id)?;
        let size = object.spec.size_bytes;
        inside(starting_offset, size)?;
        let extents = allocated_extents(&place.pool, &place.object, starting_offset)?;
        Ok(page(&extents, size, max_results))
    }

    fn get_metadata_delta(
        base_snapshot_id: String,
        target_snapshot_id: String,
        starting_offset: u64,
        max_results: u32,
    ) -> Result<BlockPage> {
        let (base_place, base) = image(&base_snapshot_id)?;
        let (place, target) = image(&target_snapshot_id)?;
        let source = |object: &Object| lookup(&object.spec.metadata, key::CUT_FROM).map(str::to_owned);
        if base_place.pool != place.pool || source(&base) != source(&target) {
            let message = format!("snapshots {base_snapshot_id} and {target_snapshot_id} are of two volumes");
            return Err(Error::invalid(message));
        }
        let size = target.spec.size_bytes;
        inside(starting_offset, size)?;
        let extents = differing_extents(&place.pool, &base_place.object, &place.object, starting_offset)?;
        Ok(page(&extents, size, max_results))
    }
}

fn image(snapshot_id: &str) -> Result<(Place, Object)> {
    let found = find_snapshot(snapshot_id)?;
    match found.1.spec.kind {
        ObjectKind::Image => Ok(found),
        ObjectKind::Directory => {
            Err(Error::precondition(format!("snapshot {snapshot_id} is a directory: it has no blocks to compare")))
        }
    }
}

fn inside(offset: u64, size: u64) -> Result<()> {
    if offset < size {
        return Ok(());
    }
    Err(Error::out_of_range(format!("offset {offset} is past the end of the snapshot, which has {size} bytes")))
}

/// At most `max` of the host's ranges, clipped to the snapshot: the other one may be larger.
fn page(extents: &ExtentPage, size: u64, max: u32) -> BlockPage {
    let max = usize::try_from(max).ok().filter(|max| *max > 0).unwrap_or(usize::MAX);
    let mut ranges = extents.extents.iter().filter(|extent| extent.byte_offset < size).map(|extent| BlockRange {
        byte_offset: extent.byte_offset,
        size_bytes: extent.size_bytes.min(size - extent.byte_offset),
    });
    let taken: Vec<BlockRange> = ranges.by_ref().take(max).collect();
    let next_offset = match ranges.next() {
        Some(next) => Some(next.byte_offset),
        None => extents.next_offset.filter(|next| *next < size),
    };
    BlockPage {
        metadata_type: BlockMetadataType::VariableLength,
        volume_capacity_bytes: size,
        ranges: taken,
        next_offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_sdk::pools::Extent;

    fn extents(ranges: &[(u64, u64)], next_offset: Option<u64>) -> ExtentPage {
        let extents = ranges
            .iter()
            .map(|(byte_offset, size_bytes)| Extent { byte_offset: *byte_offset, size_bytes: *size_bytes });
        ExtentPage { extents: extents.collect(), next_offset }
    }

    fn ranges(page: &BlockPage) -> Vec<(u64, u64)> {
        page.ranges.iter().map(|range| (range.byte_offset, range.size_bytes)).collect()
    }

    #[test]
    fn pages_end_where_they_should() {
        let all = extents(&[(0, 4), (8, 4), (16, 8)], Some(32));
        let whole = page(&all, 64, 0);
        assert_eq!((ranges(&whole), whole.next_offset), (vec![(0, 4), (8, 4), (16, 8)], Some(32)));
        let two = page(&all, 64, 2);
        assert_eq!((ranges(&two), two.next_offset), (vec![(0, 4), (8, 4)], Some(16)));
        assert_eq!(page(&all, 64, 3).next_offset, Some(32));
        assert_eq!(page(&extents(&[(0, 4)], None), 64, 1).next_offset, None);
        assert_eq!((whole.volume_capacity_bytes, whole.metadata_type), (64, BlockMetadataType::VariableLength));
    }

    #[test]
    fn nothing_lies_past_the_end() {
        let beyond = page(&extents(&[(0, 4), (8, 16), (32, 4)], Some(48)), 16, 0);
        assert_eq!((ranges(&beyond), beyond.next_offset), (vec![(0, 4), (8, 8)], None));
        assert!(matches!(inside(16, 16), Err(Error::OutOfRange(_))));
        assert_eq!(inside(15, 16), Ok(()));
    }
}
