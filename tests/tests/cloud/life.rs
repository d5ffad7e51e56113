//! The whole life of volumes, every call twice.

use crate::{
    rig::{Rig, capacity},
    steps::{GIB, twice},
};
use bulkhead_tests::client::Use;
use bulkhead_vm::{disk::size, machine::run};
use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
};

const EARLY: &[u8] = b"before the snapshot ";
const LATE: &[u8] = b"after the snapshot ";

/// So much that it is more than one block, and no two blocks are the same.
fn text(word: &[u8]) -> Vec<u8> {
    (0..20_000u32).flat_map(|number| [word, &number.to_le_bytes()].concat()).collect()
}

/// Writes to the file system or device that a pod has, as far as the disk.
fn write(target: &Path, usage: Use, name: &str, word: &[u8]) {
    let mut file = match usage {
        Use::Mount(_) => fs::File::create(target.join(name)).unwrap(),
        Use::Block => fs::OpenOptions::new().write(true).open(target).unwrap(),
    };
    file.write_all(&text(word)).unwrap();
    file.sync_all().unwrap();
}

fn holds(target: &Path, usage: Use, name: &str, word: &[u8]) -> bool {
    let file = match usage {
        Use::Mount(_) => fs::File::open(target.join(name)),
        Use::Block => fs::File::open(target),
    };
    let (wanted, mut found) = (text(word), vec![]);
    file.is_ok_and(|file| file.take(wanted.len() as u64).read_to_end(&mut found).is_ok()) && found == wanted
}

/// What there is room for: of a file system a little less than its disk has.
fn has(target: &Path, usage: Use, bytes: u64) -> bool {
    match usage {
        Use::Mount(_) => (bytes / 10 * 9..=bytes).contains(&capacity(target)),
        Use::Block => size(target) == bytes,
    }
}

pub async fn whole(rig: &Rig, name: &str, usage: Use) {
    let used = rig.attached(name, usage, None).await;
    assert_eq!(rig.instance_of(used.id()).as_ref(), Some(&rig.moto.facts.instances[0].id));
    let device = rig.disks.device(used.id()).unwrap();
    let target = rig.mount(&used).await;
    let target = Path::new(&target);
    if let Use::Mount(kind) = usage {
        let is = run("blkid", ["-o".as_ref(), "value".as_ref(), "-s".as_ref(), "TYPE".as_ref(), device.as_os_str()]);
        assert_eq!(is.trim(), kind, "{} of volume {}", device.display(), used.id());
    }
    assert!(has(target, usage, GIB));
    write(target, usage, "early", EARLY);

    let client = rig.controller().await;
    let snapshot_name = format!("{name}-snapshot");
    let snapshot = twice("snapshot", || client.create_snapshot(&snapshot_name, used.id())).await;
    assert!(snapshot.ready_to_use && snapshot.size_bytes == GIB as i64, "{snapshot:?}");
    write(target, usage, "late", LATE);

    // Both on one node at the same time.
    let restored = rig.attached(&format!("{name}-restored"), usage, Some(&snapshot.snapshot_id)).await;
    let other = rig.mount(&restored).await;
    let other = Path::new(&other);
    assert!(holds(other, usage, "early", EARLY), "what was written before the snapshot is in the restored volume");
    assert!(!holds(other, usage, "late", LATE), "and nothing that was written later");
    twice("delete the snapshot", || client.delete_snapshot(&snapshot.snapshot_id)).await;

    rig.grow(&used, target.to_str().unwrap(), 2 * GIB).await;
    assert!(has(target, usage, 2 * GIB), "{} is no larger", target.display());
    assert!(holds(target, usage, "late", LATE) && (usage == Use::Block || holds(target, usage, "early", EARLY)));
    rig.unmount(&used).await;
    assert_eq!(rig.mount(&used).await, target.to_str().unwrap());
    assert!(has(target, usage, 2 * GIB) && holds(target, usage, "late", LATE), "staged again it is another");

    for used in [restored, used] {
        rig.unmount(&used).await;
        let node = rig.disks.device(used.id()).unwrap();
        rig.detach(&used).await;
        assert!(!node.exists(), "{} is still there", node.display());
        rig.delete(&used).await;
    }
}
