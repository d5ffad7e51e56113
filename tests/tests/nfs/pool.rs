//! A pool on a share, as the host itself uses it: no extended attributes, no shared extents, root that may be nobody.

use crate::rig::{MIB, Share};
use bulkhead_node::pool::{CopyOrder, ObjectKind, ObjectSpec, PoolConfig, PoolStore, Provisioning, Updated};
use bulkhead_tests::Sandbox;
use bulkhead_vm::{LockDaemon, Mounted, Squash};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

fn open(dir: &Path) -> PoolStore {
    let config = PoolConfig { directory_mode: Some(0o2770), ..PoolConfig::new(dir) };
    PoolStore::open(&[("fast".to_owned(), config)].into(), "node-1").unwrap()
}

fn spec(name: &str, kind: ObjectKind) -> ObjectSpec {
    let metadata = [("key".to_owned(), name.to_owned())].into();
    ObjectSpec { name: name.to_owned(), kind, size_bytes: MIB, provisioning: Provisioning::Thin, metadata }
}

fn names(store: &PoolStore) -> Vec<String> {
    store.list_objects("fast", "", None).unwrap().objects.into_iter().map(|object| object.spec.name).collect()
}

/// Directories and an image are made, changed, copied and removed.
fn life(share: &Share, store: &PoolStore) {
    let made = store.create_object("fast", &spec("v", ObjectKind::Directory)).unwrap();
    assert!(store.create_object("fast", &spec("v", ObjectKind::Directory)).is_err());
    let data = |name: &str| share.pool().join("objects").join(name).join("data");
    assert_eq!(fs::metadata(data("v")).unwrap().mode() & 0o7777, 0o2770);
    for above in ["objects", "objects/v"] {
        assert_eq!(fs::metadata(share.pool().join(above)).unwrap().mode() & 0o7777, 0o711, "{above}");
    }
    fs::create_dir_all(data("v").join("deep/er")).unwrap();
    fs::write(data("v").join("deep/er/file"), "text").unwrap();
    fs::set_permissions(data("v").join("deep/er/file"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("deep/er", data("v").join("link")).unwrap();
    let metadata = [("key".to_owned(), "new".to_owned())].into();
    let update = |provisioning| store.update_object("fast", "v", made.version, provisioning, &metadata).unwrap();
    let Updated::Done(changed) = update(Provisioning::Thick) else { panic!("nobody else is here") };
    assert_eq!(update(Provisioning::Thin), Updated::Conflict(changed.version));
    assert_eq!(store.resize_object("fast", "v", 3 * MIB).unwrap().spec.size_bytes, 3 * MIB);
    assert!(changed.version > made.version);
    let target = ObjectSpec { size_bytes: 3 * MIB, ..spec("copy", ObjectKind::Directory) };
    let copy = CopyOrder { source: "v".to_owned(), target, read_only: true };
    assert!(store.copy_objects("fast", &[copy]).unwrap()[0].read_only);
    let copied = data("copy");
    assert_eq!(fs::read_to_string(copied.join("link/file")).unwrap(), "text");
    assert_eq!(fs::metadata(copied.join("deep/er/file")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(&copied).unwrap().mode() & 0o7777, 0o2770);
    store.create_object("fast", &spec("image", ObjectKind::Image)).unwrap();
    let copy =
        CopyOrder { source: "image".to_owned(), target: spec("image-copy", ObjectKind::Image), read_only: false };
    store.copy_objects("fast", &[copy]).unwrap();
    assert_eq!(names(store), ["copy", "image", "image-copy", "v"]);
    let info = store.stat_pool("fast").unwrap();
    assert!(info.available_bytes > 0 && info.available_bytes < info.total_bytes);
    for name in ["v", "copy", "image", "image-copy", "image"] {
        store.delete_object("fast", name).unwrap();
    }
    share.assert_empty();
}

/// Several threads make, look at, list and remove what is theirs and what they fight for.
fn crowd(share: &Share, store: &PoolStore) {
    let won = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let won = &won;
            scope.spawn(move || {
                for round in 0..3 {
                    let name = format!("own-{thread}");
                    store.create_object("fast", &spec(&name, ObjectKind::Directory)).unwrap();
                    let common = store.create_object("fast", &spec(&format!("common-{round}"), ObjectKind::Directory));
                    won.fetch_add(u32::from(common.is_ok()), std::sync::atomic::Ordering::Relaxed);
                    assert!(names(store).contains(&name));
                    store.stat_object("fast", &name).unwrap().unwrap();
                    store.delete_object("fast", &name).unwrap();
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 3, "each common name is made once");
    for round in 0..3 {
        store.delete_object("fast", &format!("common-{round}")).unwrap();
    }
    share.assert_empty();
}

fn works(squash: Squash, mounting: &str) {
    let _sandbox = Sandbox::enter();
    let share = Share::new(squash, mounting);
    let store = open(share.pool());
    let owner = fs::metadata(share.served().join("objects")).unwrap().uid();
    assert_eq!(owner == 0, squash == Squash::None, "objects belong to {owner}");
    life(&share, &store);
    crowd(&share, &store);
    // What a crash left is swept, also where root is nobody.
    fs::create_dir_all(share.pool().join("tmp/left/data/deep")).unwrap();
    drop(store);
    drop(open(share.pool()));
    share.assert_empty();
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_pool_on_version_4() {
    works(Squash::None, "vers=4.2");
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_pool_where_root_is_nobody() {
    works(Squash::Root, "vers=4.1");
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_pool_on_version_3_without_locks() {
    works(Squash::Root, "vers=3,nolock");
}

/// What another machine does to the same pool is respected: there, too, it is the server that has the locks.
#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn locks_hold_on_several_machines() {
    let _sandbox = Sandbox::enter();
    let share = Share::new(Squash::Root, "vers=4.2");
    let _statd = LockDaemon::start();
    for mounting in ["vers=4.2,nosharecache", "vers=3,nosharecache"] {
        let store = open(share.pool());
        store.create_object("fast", &spec("v", ObjectKind::Directory)).unwrap();
        let elsewhere = Mounted::mount("nfs", "127.0.0.1:/share", mounting);
        let path = elsewhere.path().join("objects/v/lock");
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        let refused = store.delete_object("fast", "v").unwrap_err();
        assert!(refused.message().contains("another operation on it is in progress"), "{mounting}: {refused}");
        drop(file);
        store.delete_object("fast", "v").unwrap();
        share.assert_empty();
    }
}
