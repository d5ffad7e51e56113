//! Changed blocks against the data itself: volumes from the snapshots are read whole and compared.

use super::{
    SNAPSHOTS,
    data_copy::{copy_of, snapshot_of_used},
    metadata::{Ask, checked, read},
    node::{USE, size},
    source::of_snapshot,
};
use crate::{
    Case, Cx, Need, Outcome, Stop, case,
    check::ok,
    data::{aside, bytes},
    ensure,
    life::InUse,
};
use bulkhead_proto::v1::{self, plugin_capability::service::Type as Service};
use std::{
    fs::{File, OpenOptions},
    io::Read,
    os::unix::fs::FileExt,
    path::PathBuf,
};

pub(super) fn cases() -> Vec<Case> {
    let needs = &[USE[0], USE[1], USE[2], SNAPSHOTS, Need::Plugin(Service::SnapshotMetadataService), Need::Block];
    let delta = ["metadata.delta-holds-changes", "metadata.delta-tight"];
    vec![
        case("blocks/allocated", &["metadata.allocated-holds-data"], needs, allocated).every_use(),
        case("blocks/delta", &delta, needs, deltas).every_use(),
        case("blocks/resume", &["metadata.resume"], needs, resume).every_use(),
        case("blocks/rebuilt", &["metadata.delta-holds-changes"], needs, rebuilt).every_use(),
    ]
}

/// Finest unit of the comparison.
const SECTOR: usize = 512;

/// Where bytes are that tell: the sectors of an image that are not zero, or that differ from another's.
fn sectors(image: &[u8], base: Option<&[u8]>) -> Vec<i64> {
    let zero = [0; SECTOR];
    let differs = |(i, sector): (usize, &[u8])| {
        let other = base.map_or(&zero[..sector.len()], |base| &base[i * SECTOR..i * SECTOR + sector.len()]);
        sector != other
    };
    let hits = image.chunks(SECTOR).enumerate().filter(|hit| differs(*hit));
    hits.map(|(i, _)| i64::try_from(i * SECTOR).unwrap_or_default()).collect()
}

fn holds(ranges: &[(i64, i64)], sectors: &[i64], what: &str) -> Outcome {
    let sector = i64::try_from(SECTOR).unwrap_or_default();
    for at in sectors {
        let held = ranges.iter().any(|(offset, len)| offset <= at && at + sector <= offset + len);
        ensure!(held, "{what} at {at} are in no range of {ranges:?}");
    }
    Ok(())
}

/// The whole volume from a snapshot.
async fn image(cx: &Cx, source: &v1::Volume, snapshot: &str) -> Outcome<Vec<u8>> {
    let bytes = size(cx, source);
    if bytes > 1 << 30 {
        return Err(Stop::skip("--size is over 1 GiB: too much to compare byte for byte"));
    }
    let copied = copy_of(cx, of_snapshot(snapshot), bytes).await?;
    let used = cx.put_to_use(&copied).await?;
    let path = PathBuf::from(&used.target);
    let most = u64::try_from(bytes).unwrap_or_default();
    let image = aside(move || {
        let mut image = vec![];
        let read = File::open(&path).and_then(|file| file.take(most).read_to_end(&mut image));
        read.map(|_| image).map_err(|e| format!("{}: {e}", path.display()))
    })
    .await?;
    cx.put_away(&used).await?;
    cx.delete(&copied.volume_id).await?;
    Ok(image)
}

async fn write(used: &InUse, seed: u64, places: Vec<(u64, usize)>) -> Outcome {
    let path = PathBuf::from(&used.target);
    aside(move || {
        let tell = |e| format!("{}: {e}", path.display());
        let device = OpenOptions::new().write(true).open(&path).map_err(tell)?;
        for (offset, len) in places {
            device.write_all_at(&bytes(seed, offset, len), offset).map_err(tell)?;
        }
        device.sync_all().map_err(tell)
    })
    .await
}

/// A volume that was written to between snapshots: it, and the snapshots.
struct History {
    source: v1::Volume,
    snapshots: Vec<String>,
}

async fn history(cx: &Cx) -> Outcome<History> {
    let source = cx.create("blocks").await?;
    let end = u64::try_from(size(cx, &source)).unwrap_or_default();
    let mut used = cx.put_to_use(&source).await?;
    let mut snapshots = vec![];
    let steps: [Vec<(u64, usize)>; 4] = [
        vec![(0, 10_000), (end / 2, 300_000), (end - 4096, 4096)],
        // Parts of what is there, what was empty, one byte, the very end.
        vec![(4096, 100), (end / 4, 65_536), (end / 2 + 100_000, 1), (end - 1, 1)],
        // Nothing at all.
        vec![],
        (0..20).map(|i| (end / 20 * i / 512 * 512, 512)).collect(),
    ];
    for (seed, places) in (1..).zip(steps) {
        write(&used, seed, places).await?;
        snapshots.push(snapshot_of_used(cx, &mut used).await?.snapshot_id);
    }
    cx.put_away(&used).await?;
    Ok(History { source, snapshots })
}

async fn ranges(cx: &Cx, base: Option<&String>, snapshot: &str, offset: i64, max: i32) -> Outcome<Vec<(i64, i64)>> {
    let ask = Ask { base: base.cloned(), snapshot: snapshot.into(), offset, max_results: max };
    let what = if base.is_some() { "GetMetadataDelta" } else { "GetMetadataAllocated" };
    checked(&ok(read(cx, &ask).await, what)?)
}

async fn allocated(cx: Cx) -> Outcome {
    let history = history(&cx).await?;
    for snapshot in &history.snapshots {
        let image = image(&cx, &history.source, snapshot).await?;
        let told = ranges(&cx, None, snapshot, 0, 0).await?;
        holds(&told, &sectors(&image, None), "bytes that are not zero")?;
    }
    Ok(())
}

/// Every pair, forwards: all changes are told, and not simply everything.
async fn deltas(cx: Cx) -> Outcome {
    let history = history(&cx).await?;
    let mut images = vec![];
    for snapshot in &history.snapshots {
        images.push(image(&cx, &history.source, snapshot).await?);
    }
    for base in 0..images.len() {
        for target in base + 1..images.len() {
            let told = ranges(&cx, Some(&history.snapshots[base]), &history.snapshots[target], 0, 0).await?;
            let changed = sectors(&images[target], Some(&images[base]));
            holds(&told, &changed, &format!("changes from snapshot {base} to {target}"))?;
            let sum: i64 = told.iter().map(|(_, len)| len).sum();
            let whole = size(&cx, &history.source);
            // Blocks of up to 1 MiB, or an eighth of the volume: who reports more than that around each change, reports it all.
            let block = (1 << 20).min(whole / 8);
            let most = block * i64::try_from(changed.len()).unwrap_or(i64::MAX / block);
            ensure!(
                sum <= most,
                "from {base} to {target}: {} sectors changed, {sum} of {whole} bytes are told",
                changed.len()
            );
        }
    }
    Ok(())
}

/// From every boundary, and from offsets in between, with answers of any length.
async fn resume(cx: Cx) -> Outcome {
    let history = history(&cx).await?;
    let (first, last) = (&history.snapshots[0], &history.snapshots[3]);
    for base in [None, Some(first)] {
        let whole = ranges(&cx, base, last, 0, 0).await?;
        let size = size(&cx, &history.source);
        let bounds = whole.iter().take(24).flat_map(|(offset, len)| [*offset, offset + len]);
        let odd = (0..24).map(|i| size / 24 * i + (i * 7919) % 4096 + 1);
        for (i, offset) in (0..).zip(bounds.chain(odd).filter(|offset| *offset < size).collect::<Vec<_>>()) {
            let must: Vec<_> = whole.iter().filter(|(start, len)| start + len > offset).copied().collect();
            let told = ranges(&cx, base, last, offset, [0, 1, 3][i % 3]).await?;
            covers(&told, &must, offset)?;
        }
    }
    Ok(())
}

/// What is told from an offset on is what the whole stream has there; its first range may begin anywhere up to the offset.
fn covers(told: &[(i64, i64)], must: &[(i64, i64)], offset: i64) -> Outcome {
    let ends = |ranges: &[(i64, i64)]| merged(ranges, offset);
    ensure!(ends(told) == ends(must), "from offset {offset}: must be {must:?}, was {told:?}");
    let first = told.first().is_none_or(|(start, len)| start + len > offset);
    ensure!(first, "from offset {offset}: the first range {:?} ends before it", told.first());
    Ok(())
}

/// The bytes from an offset on, as ranges that don't touch: how they are cut is up to the driver.
fn merged(ranges: &[(i64, i64)], offset: i64) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = vec![];
    for (start, len) in ranges {
        let (start, end) = ((*start).max(offset), start + len);
        match all.last_mut() {
            _ if start >= end => {}
            Some(last) if last.1 == start => last.1 = end,
            _ => all.push((start, end)),
        }
    }
    all
}

/// A backup tool's way: the first snapshot whole, then each delta laid over it, is the last snapshot.
async fn rebuilt(cx: Cx) -> Outcome {
    let history = history(&cx).await?;
    let mut images = vec![];
    for snapshot in &history.snapshots {
        images.push(image(&cx, &history.source, snapshot).await?);
    }
    let mut copy = vec![0; images[0].len()];
    let mut base = None;
    for (snapshot, image) in history.snapshots.iter().zip(&images) {
        for (offset, len) in ranges(&cx, base, snapshot, 0, 2).await? {
            let start = usize::try_from(offset).unwrap_or_default();
            let end = start.saturating_add(usize::try_from(len).unwrap_or_default()).min(copy.len());
            copy[start..end].copy_from_slice(&image[start..end]);
        }
        let differs = copy.iter().zip(image).position(|(is, must)| is != must);
        ensure!(differs.is_none(), "rebuilt from its ranges the snapshot differs at {differs:?}");
        base = Some(snapshot);
    }
    Ok(())
}
