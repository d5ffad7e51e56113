//! Data through the life of a volume.

use super::node::{USE, create_for, hold, hold_as, size};
use crate::{
    Case, Cx, Need, Outcome, Side, Stop, case,
    data::{aside, bytes},
    ensure,
};
use bulkhead_proto::v1::volume_capability::access_mode::Mode;
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
};

pub(super) fn cases() -> Vec<Case> {
    let two = &[USE[0], USE[1], USE[2], Need::SecondNode];
    let block = &[USE[0], USE[1], USE[2], Need::Block];
    vec![
        case("data/persists", &["data.persists", "stage.data-kept"], USE, persists).every_use(),
        case("data/new-volume-is-empty", &["data.new-volume-empty"], USE, new_is_empty).every_use(),
        case("data/never-formatted-twice", &["stage.data-kept"], USE, never_formatted).every_use(),
        case("data/block-exact", &["data.block-exact"], block, block_exact).every_use(),
        case("data/block-foreign-content", &["data.block-exact"], block, block_foreign).every_use(),
        case("data/two-nodes", &["data.two-nodes"], two, two_nodes).every_use(),
        case("data/full", &["data.full"], &[USE[0], USE[1], USE[2], Need::Mount], full).every_use(),
    ]
}

async fn persists(cx: Cx) -> Outcome {
    let volume = cx.create("data").await?;
    for seed in 0..4 {
        let used = cx.put_to_use(&volume).await?;
        if seed > 0 {
            cx.holds(&used.target, seed - 1, "a volume that was put away").await?;
        }
        cx.fill(&used.target, seed).await?;
        cx.put_away(&used).await?;
    }
    Ok(())
}

async fn new_is_empty(cx: Cx) -> Outcome {
    for seed in 0..3 {
        let volume = cx.create("data").await?;
        let used = cx.put_to_use(&volume).await?;
        cx.is_empty(&used.target, "a new volume").await?;
        cx.fill(&used.target, seed).await?;
        cx.put_away(&used).await?;
        cx.delete(&volume.volume_id).await?;
    }
    Ok(())
}

/// Repeats, other capabilities and wrong requests at a volume with data: whatever they answer, the data stays.
async fn never_formatted(cx: Cx) -> Outcome {
    let modes = [cx.capability(), cx.capability_of(Mode::SingleNodeReaderOnly)];
    let volume = create_for(&cx, &modes).await?;
    let held = hold_as(&cx, &volume, cx.capability()).await?;
    let target = held.published(&cx).await?;
    cx.fill(&target, 5).await?;
    cx.unpublish(held.id(), &target).await?;
    cx.unstage(held.id(), &held.staging).await?;
    for usage in ["ext4", "xfs", "btrfs", ""] {
        let mut request = cx.stage_request(&volume, &held.context)?;
        let usage = if cx.usage.is_block() { crate::Usage::Block } else { crate::Usage::Mount(usage.into()) };
        request.volume_capability = Some(crate::cx::capability(&usage, Mode::SingleNodeWriter));
        if held.staging.is_empty() {
            break;
        }
        if cx.node_stage_volume(request.clone()).await.is_ok() {
            cx.unstage(held.id(), &request.staging_target_path).await?;
        }
    }
    cx.detach(held.id()).await?;
    for capability in modes.into_iter().rev() {
        let held = hold_as(&cx, &volume, capability).await?;
        let target = held.published(&cx).await?;
        cx.holds(&target, 5, "a volume with data, staged again").await?;
        cx.unpublish(held.id(), &target).await?;
        cx.unstage(held.id(), &held.staging).await?;
        cx.detach(held.id()).await?;
    }
    Ok(())
}

/// Every byte up to the end, at odd offsets and lengths, and none beyond.
async fn block_exact(cx: Cx) -> Outcome {
    let volume = cx.create("data").await?;
    let used = cx.put_to_use(&volume).await?;
    let (path, told) = (PathBuf::from(&used.target), u64::try_from(size(&cx, &volume)).unwrap_or_default());
    aside(move || {
        let tell = |e| format!("{}: {e}", path.display());
        let end = crate::kernel::device_size(&path.to_string_lossy()).map_err(|e| format!("{e:?}"))?;
        if volume.capacity_bytes > 0 && end != told {
            return Err(format!("the device has {end} bytes, capacity_bytes is {told}"));
        }
        let device = OpenOptions::new().read(true).write(true).open(&path).map_err(tell)?;
        let places = [(0, 1), (511, 2), (4095, 4097), (end / 2 - 1, 3), (end - 513, 513), (end - 1, 1)];
        for (seed, (offset, len)) in (0..).zip(places) {
            device.write_all_at(&bytes(seed, offset, len), offset).map_err(tell)?;
        }
        device.sync_all().map_err(tell)?;
        if device.write_all_at(b"x", end).is_ok() {
            return Err(format!("{} takes a byte beyond its end", path.display()));
        }
        let device = File::open(&path).map_err(tell)?;
        for (seed, (offset, len)) in (0..).zip(places).collect::<Vec<_>>() {
            let mut found = vec![0; len];
            device.read_exact_at(&mut found, offset).map_err(tell)?;
            // The last byte was written twice.
            let same = if offset + len as u64 == end { len - 1 } else { len };
            if found[..same] != bytes(seed, offset, len)[..same] {
                return Err(format!("{} bytes at {offset} were not read as written", len));
            }
        }
        Ok(())
    })
    .await
}

/// What looks like a file system on a raw device is the user's: it comes back as it was.
async fn block_foreign(cx: Cx) -> Outcome {
    let volume = cx.create("data").await?;
    let used = cx.put_to_use(&volume).await?;
    let path = PathBuf::from(&used.target);
    // The magic numbers of ext4 and XFS, and an end of an MBR.
    let marks: [(u64, &[u8]); 3] = [(1080, b"\x53\xef"), (0, b"XFSB"), (510, b"\x55\xaa")];
    aside(move || {
        let tell = |e| format!("{}: {e}", path.display());
        let device = OpenOptions::new().write(true).open(&path).map_err(tell)?;
        for (offset, mark) in marks {
            device.write_all_at(mark, offset).map_err(tell)?;
        }
        device.sync_all().map_err(tell)
    })
    .await?;
    cx.put_away(&used).await?;
    let used = cx.put_to_use(&volume).await?;
    let path = PathBuf::from(&used.target);
    aside(move || {
        let tell = |e| format!("{}: {e}", path.display());
        let device = File::open(&path).map_err(tell)?;
        for (offset, mark) in marks {
            let mut found = vec![0; mark.len()];
            device.read_exact_at(&mut found, offset).map_err(tell)?;
            if found != mark {
                return Err(format!("what was written at {offset} is not there any more"));
            }
        }
        Ok(())
    })
    .await
}

async fn two_nodes(cx: Cx) -> Outcome {
    let volume = cx.create("data").await?;
    for seed in 0..4 {
        let side = if seed % 2 == 0 { Side::Node } else { Side::SecondNode };
        let node = cx.on(side);
        let used = node.put_to_use(&volume).await?;
        if seed > 0 {
            node.holds(&used.target, seed - 1, "a volume that came from the other node").await?;
        }
        node.fill(&used.target, seed).await?;
        node.put_away(&used).await?;
    }
    Ok(())
}

/// A volume that is full: the writer is told, and nobody else suffers.
async fn full(cx: Cx) -> Outcome {
    let held = hold(&cx, Mode::SingleNodeWriter).await?;
    let target = held.published(&cx).await?;
    if !cx.own_file_system(&target)? {
        return Err(Stop::skip("the volume is a directory of a file system that others use too"));
    }
    cx.fill(&target, 1).await?;
    let path = PathBuf::from(&target).join("too-large");
    let most = usize::try_from(2 * cx.bytes()).unwrap_or(usize::MAX) >> 20;
    let full = aside(move || {
        let tell = |e| format!("{}: {e}", path.display());
        let mut full = false;
        let file = File::create(&path).map_err(tell)?;
        for i in 0..most as u64 {
            let at = i << 20;
            if file.write_all_at(&vec![7; 1 << 20], at).and_then(|()| file.sync_data()).is_err() {
                full = true;
                break;
            }
        }
        drop(file);
        std::fs::remove_file(&path).map_err(tell)?;
        Ok(full)
    })
    .await?;
    ensure!(full, "twice its size was written to the volume");
    cx.holds(&target, 1, "a volume that was full").await?;
    cx.unpublish(held.id(), &target).await?;
    let target = held.published(&cx).await?;
    cx.holds(&target, 1, "a volume that was full, published again").await
}
