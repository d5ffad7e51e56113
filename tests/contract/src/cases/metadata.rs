//! SnapshotMetadata: the streams, without looking at data.

use super::{SNAPSHOTS, VOLUMES, no_such_id};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::{ok, ok_or, refused, refused_as, same},
    ensure,
};
use bulkhead_proto::v1::{self, BlockMetadata, BlockMetadataType, plugin_capability::service::Type as Service};
use tonic::{Code, Status};

/// Which of the two RPCs: with a base or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) base: Option<String>,
    pub(super) snapshot: String,
    pub(super) offset: i64,
    pub(super) max_results: i32,
}

/// A message of either stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) kind: i32,
    pub(super) capacity: i64,
    pub(super) ranges: Vec<(i64, i64)>,
}

pub(super) fn cases() -> Vec<Case> {
    const NEEDS: &[Need] = &[VOLUMES, SNAPSHOTS, Need::Plugin(Service::SnapshotMetadataService), Need::Block];
    const SHAPE: &[&str] = &["metadata.order", "metadata.constant", "metadata.fixed-size"];
    vec![
        case("metadata/shape", SHAPE, NEEDS, shape).every_use(),
        case("metadata/resume", &["metadata.resume"], NEEDS, resume).every_use(),
        case("metadata/max-results", &["metadata.max-results"], NEEDS, max_results).every_use(),
        case("metadata/bad-numbers", &["metadata.negative", "metadata.beyond"], NEEDS, bad_numbers).every_use(),
        case("metadata/unknown", &["metadata.unknown"], NEEDS, unknown).every_use(),
        case("metadata/other-source", &["metadata.other-source"], NEEDS, other_source).every_use(),
        case("metadata/same", &["metadata.same"], NEEDS, same_twice).every_use(),
        case("metadata/volume-deleted", &["metadata.from-volume-deleted"], NEEDS, volume_deleted).every_use(),
    ]
}

fn ranges(all: &[BlockMetadata]) -> Vec<(i64, i64)> {
    all.iter().map(|range| (range.byte_offset, range.size_bytes)).collect()
}

/// The whole stream.
pub(super) async fn read(cx: &Cx, ask: &Ask) -> Result<Vec<Part>, Status> {
    let Ask { base, snapshot, offset: starting_offset, max_results } = ask.clone();
    if let Some(base_snapshot_id) = base {
        let request = v1::GetMetadataDeltaRequest {
            base_snapshot_id,
            target_snapshot_id: snapshot,
            starting_offset,
            max_results,
            ..Default::default()
        };
        let stream = cx.get_metadata_delta(request).await?;
        let part = |m: v1::GetMetadataDeltaResponse| Part {
            kind: m.block_metadata_type,
            capacity: m.volume_capacity_bytes,
            ranges: ranges(&m.block_metadata),
        };
        return Ok(cx.drain("GetMetadataDelta", stream).await?.into_iter().map(part).collect());
    }
    let request =
        v1::GetMetadataAllocatedRequest { snapshot_id: snapshot, starting_offset, max_results, ..Default::default() };
    let stream = cx.get_metadata_allocated(request).await?;
    let part = |m: v1::GetMetadataAllocatedResponse| Part {
        kind: m.block_metadata_type,
        capacity: m.volume_capacity_bytes,
        ranges: ranges(&m.block_metadata),
    };
    Ok(cx.drain("GetMetadataAllocated", stream).await?.into_iter().map(part).collect())
}

/// All ranges of a stream, held against the rules on its shape.
pub(super) fn checked(parts: &[Part]) -> Outcome<Vec<(i64, i64)>> {
    let mut all: Vec<(i64, i64)> = vec![];
    let Some(first) = parts.first() else { return Ok(all) };
    let (fixed, variable) = (BlockMetadataType::FixedLength as i32, BlockMetadataType::VariableLength as i32);
    ensure!([fixed, variable].contains(&first.kind), "block_metadata_type is {}", first.kind);
    ensure!(first.capacity > 0, "volume_capacity_bytes is {}", first.capacity);
    for part in parts {
        same(&(part.kind, part.capacity), &(first.kind, first.capacity), "type and capacity of a later message")?;
        for &(offset, size) in &part.ranges {
            let end = offset.checked_add(size).unwrap_or(i64::MAX);
            ensure!(
                offset >= 0 && size > 0 && end <= first.capacity,
                "{offset}+{size} is not within {}",
                first.capacity
            );
            let before = all.last().map_or(0, |(offset, size)| offset + size);
            ensure!(offset >= before, "{offset}+{size} comes after a range that ends at {before}");
            let as_first = all.first().is_none_or(|(_, first)| *first == size);
            ensure!(first.kind != fixed || as_first, "FIXED_LENGTH, but {offset}+{size} differs from the first size");
            all.push((offset, size));
        }
    }
    Ok(all)
}

/// Two snapshots of a new volume; one ask for what is allocated, one for what changed.
async fn asks(cx: &Cx) -> Outcome<[Ask; 2]> {
    let volume = cx.create("metadata").await?;
    let base = cx.snapshot(&volume.volume_id, "base").await?.snapshot_id;
    let snapshot = cx.snapshot(&volume.volume_id, "target").await?.snapshot_id;
    let allocated = Ask { base: None, snapshot, offset: 0, max_results: 0 };
    let delta = Ask { base: Some(base), ..allocated.clone() };
    Ok([allocated, delta])
}

async fn whole(cx: &Cx, ask: &Ask) -> Outcome<(Vec<Part>, Vec<(i64, i64)>)> {
    let parts = ok(read(cx, ask).await, &format!("{ask:?}"))?;
    let all = checked(&parts)?;
    Ok((parts, all))
}

async fn shape(cx: Cx) -> Outcome {
    for ask in asks(&cx).await? {
        let first = whole(&cx, &ask).await?.1;
        same(&whole(&cx, &ask).await?.1, &first, "the same stream again")?;
    }
    Ok(())
}

async fn resume(cx: Cx) -> Outcome {
    for ask in asks(&cx).await? {
        let (parts, all) = whole(&cx, &ask).await?;
        let capacity = parts.first().map_or(0, |part| part.capacity);
        let mut offsets = vec![1, capacity / 2, capacity.saturating_sub(1)];
        for (offset, size) in all.iter().take(3).chain(all.last()) {
            offsets.extend([*offset, offset + 1, offset + size - 1, offset + size]);
        }
        for offset in offsets.into_iter().filter(|offset| (0..capacity).contains(offset)) {
            let rest = whole(&cx, &Ask { offset, ..ask.clone() }).await?.1;
            let must: Vec<_> = all.iter().copied().filter(|(at, size)| at + size > offset).collect();
            // The first range may be cut off at the offset, or come whole.
            let cut = |ranges: &[(i64, i64)]| -> Vec<_> {
                ranges.iter().map(|(at, size)| ((*at).max(offset), at + size)).collect()
            };
            same(&cut(&rest), &cut(&must), &format!("from offset {offset} (begin, end) of {ask:?}"))?;
        }
    }
    Ok(())
}

async fn max_results(cx: Cx) -> Outcome {
    for ask in asks(&cx).await? {
        let all = whole(&cx, &ask).await?.1;
        for max_results in [1, 2, 7, 1000, i32::MAX] {
            let (parts, limited) = whole(&cx, &Ask { max_results, ..ask.clone() }).await?;
            same(&limited, &all, &format!("all ranges with max_results {max_results}"))?;
            let most = parts.iter().map(|part| part.ranges.len()).max().unwrap_or(0);
            let fits = i32::try_from(most).is_ok_and(|most| most <= max_results);
            ensure!(fits, "a message has {most} ranges with max_results {max_results}");
        }
    }
    Ok(())
}

async fn bad_numbers(cx: Cx) -> Outcome {
    let codes = [Code::InvalidArgument, Code::OutOfRange];
    for ask in asks(&cx).await? {
        for (offset, max_results) in [(-1, 0), (i64::MIN, 0), (0, -1), (0, i32::MIN)] {
            let ask = Ask { offset, max_results, ..ask.clone() };
            refused_as(read(&cx, &ask).await, &codes, &format!("{ask:?}"))?;
        }
        let capacity = whole(&cx, &ask).await?.0.first().map_or(cx.bytes(), |part| part.capacity);
        for offset in [capacity + 1, i64::MAX] {
            let ask = Ask { offset, ..ask.clone() };
            refused(read(&cx, &ask).await, Code::OutOfRange, &format!("{ask:?} of a volume of {capacity}"))?;
        }
    }
    super::alive(&cx, "bad numbers").await
}

async fn unknown(cx: Cx) -> Outcome {
    let [allocated, delta] = asks(&cx).await?;
    let none = no_such_id(&cx);
    for ask in [
        Ask { snapshot: none.clone(), ..allocated },
        Ask { snapshot: none.clone(), ..delta.clone() },
        Ask { base: Some(none), ..delta },
    ] {
        refused(read(&cx, &ask).await, Code::NotFound, &format!("a snapshot that isn't there, {ask:?}"))?;
    }
    Ok(())
}

async fn other_source(cx: Cx) -> Outcome {
    let [_, one] = asks(&cx).await?;
    let [_, two] = asks(&cx).await?;
    let codes = [Code::InvalidArgument, Code::FailedPrecondition];
    let answer = read(&cx, &Ask { base: two.base, ..one }).await;
    if let Some(parts) = ok_or(answer, &codes, "snapshots of two volumes")? {
        checked(&parts)?;
    }
    Ok(())
}

async fn same_twice(cx: Cx) -> Outcome {
    let [allocated, _] = asks(&cx).await?;
    let ask = Ask { base: Some(allocated.snapshot.clone()), ..allocated };
    let codes = [Code::InvalidArgument];
    let Some(parts) = ok_or(read(&cx, &ask).await, &codes, "a snapshot with itself")? else { return Ok(()) };
    let all = checked(&parts)?;
    ensure!(all.is_empty(), "a snapshot differs from itself in {} ranges", all.len());
    Ok(())
}

async fn volume_deleted(cx: Cx) -> Outcome {
    let volume = cx.create("metadata").await?;
    let snapshot = cx.snapshot(&volume.volume_id, "outlives").await?.snapshot_id;
    let ask = Ask { base: None, snapshot, offset: 0, max_results: 0 };
    let before = whole(&cx, &ask).await?.1;
    let delete = v1::DeleteVolumeRequest { volume_id: volume.volume_id, ..Default::default() };
    let answer = cx.delete_volume(delete).await;
    if ok_or(answer, &[Code::FailedPrecondition], "DeleteVolume of a volume with a snapshot")?.is_none() {
        return Err(Stop::skip("volumes with snapshots can't be deleted"));
    }
    same(&whole(&cx, &ask).await?.1, &before, "the allocated ranges, without the volume")
}
