//! Pools, without root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bulkhead_domain::{Error, ErrorKind, StringMap};
use bulkhead_node::pool::{
    Created, LIST_BYTES, LIST_MAX, Object, ObjectKind, ObjectPage, ObjectSpec, PoolConfig, PoolStore, Provisioning,
    Updated,
};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

const POOL: &str = "fast";

fn open(path: &Path) -> PoolStore {
    PoolStore::open(&[(POOL.to_owned(), PoolConfig::new(path))].into(), "node-1").unwrap()
}

fn spec(name: &str, kind: ObjectKind, size_bytes: u64) -> ObjectSpec {
    let metadata = [("k".to_owned(), "v".to_owned())].into();
    ObjectSpec { name: name.into(), kind, size_bytes, provisioning: Provisioning::Thin, metadata }
}

fn image(name: &str) -> ObjectSpec {
    spec(name, ObjectKind::Image, 1 << 20)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
}

#[track_caller]
fn done(result: Result<Updated, Error>) -> Object {
    match result.unwrap() {
        Updated::Done(object) => object,
        Updated::Conflict(version) => panic!("it has version {version}"),
    }
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.spec.name.as_str()).collect()
}

#[test]
fn an_object_is_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.names(), [POOL]);
    for spec in [image("i"), spec("d", ObjectKind::Directory, 5 << 30)] {
        let made = store.create_object(POOL, &spec).unwrap();
        assert_eq!((&made.spec, made.version, made.in_use, made.read_only), (&spec, 1, false, false));
        assert!(made.created_at_ms > 1_700_000_000_000);
        assert_eq!(store.stat_object(POOL, &spec.name).unwrap(), Some(made.clone()));
        assert_eq!(open(dir.path()).stat_object(POOL, &spec.name).unwrap(), Some(made));
        refused(store.create_object(POOL, &spec), ErrorKind::AlreadyExists);
    }
    let found = fs::metadata(dir.path().join("objects/i/image")).unwrap();
    assert_eq!((found.len(), found.blocks()), (1 << 20, 0));
    for name in ["i", "d", "d"] {
        store.delete_object(POOL, name).unwrap();
        assert_eq!(store.stat_object(POOL, name).unwrap(), None);
    }
    for left in ["objects", "tmp", "trash"] {
        assert_eq!(fs::read_dir(dir.path().join(left)).unwrap().count(), 0, "{left}");
    }
}

#[test]
fn bad_input_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["", ".", "..", ".hidden", "a/b", "../x", "a\0", "a b", "ä", &"x".repeat(129)] {
        refused(store.create_object(POOL, &image(name)), ErrorKind::InvalidArgument);
        refused(store.stat_object(POOL, name), ErrorKind::InvalidArgument);
        refused(store.delete_object(POOL, name), ErrorKind::InvalidArgument);
        refused(store.resize_object(POOL, name, 1), ErrorKind::InvalidArgument);
        let update = store.update_object(POOL, name, 1, Provisioning::Thin, &StringMap::new());
        refused(update, ErrorKind::InvalidArgument);
    }
    let mut large = image("x");
    large.metadata = [("k".to_owned(), "v".repeat(4096))].into();
    refused(store.create_object(POOL, &large), ErrorKind::InvalidArgument);
    refused(store.create_object(POOL, &spec("x", ObjectKind::Image, 0)), ErrorKind::InvalidArgument);
    refused(store.create_object(POOL, &spec("x", ObjectKind::Image, u64::MAX)), ErrorKind::OutOfRange);
    for name in ["slow", "", "../fast"] {
        refused(store.create_object(name, &image("x")), ErrorKind::NotFound);
        refused(store.stat_pool(name), ErrorKind::NotFound);
        refused(store.list_objects(name, "", None), ErrorKind::NotFound);
    }
    assert_eq!(store.list_objects(POOL, "", None).unwrap(), ObjectPage::default());
    for left in ["objects", "tmp", "trash"] {
        assert_eq!(fs::read_dir(dir.path().join(left)).unwrap().count(), 0, "{left}");
    }
    let missing = dir.path().join("missing");
    let outcome = PoolStore::open(&[(POOL.to_owned(), PoolConfig::new(missing))].into(), "node-1");
    refused(outcome, ErrorKind::FailedPrecondition);
}

#[test]
fn links_in_a_pool_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create_object(POOL, &image("real")).unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    symlink(dir.path().join("objects/real"), dir.path().join("objects/link")).unwrap();
    refused(store.stat_object(POOL, "link"), ErrorKind::Unavailable);
    refused(store.resize_object(POOL, "link", 2 << 20), ErrorKind::Unavailable);
    fs::remove_file(dir.path().join("objects/link")).unwrap();
    fs::remove_file(dir.path().join("objects/real/image")).unwrap();
    symlink(&secret, dir.path().join("objects/real/image")).unwrap();
    refused(store.resize_object(POOL, "real", 2 << 20), ErrorKind::Unavailable);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    store.delete_object(POOL, "real").unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
}

#[test]
fn listing_is_sorted_and_paged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["b", "a-2", "a-10", "c", "a"] {
        store.create_object(POOL, &spec(name, ObjectKind::Directory, 0)).unwrap();
    }
    assert_eq!(names(&store.list_objects(POOL, "", None).unwrap().objects), ["a", "a-10", "a-2", "b", "c"]);
    assert_eq!(names(&store.list_objects(POOL, "a-", None).unwrap().objects), ["a-10", "a-2"]);
    assert_eq!(names(&store.list_objects(POOL, "", Some("a-2")).unwrap().objects), ["b", "c"]);
    assert_eq!(names(&store.list_objects(POOL, "a", Some("a-10")).unwrap().objects), ["a-2"]);
    assert_eq!(names(&store.list_objects(POOL, "x", None).unwrap().objects), [""; 0]);
    // Pages of the most there is: what others put into the directory is no object.
    let objects = dir.path().join("objects");
    fs::create_dir(objects.join(".hidden")).unwrap();
    let template = fs::read(objects.join("a/meta.json")).unwrap();
    for n in 0..LIST_MAX {
        let object = objects.join(format!("n-{n:05}"));
        fs::create_dir_all(object.join("data")).unwrap();
        fs::create_dir(object.join("users")).unwrap();
        fs::write(object.join("meta.json"), &template).unwrap();
    }
    let first = store.list_objects(POOL, "", None).unwrap();
    assert_eq!(first.objects.len(), LIST_MAX);
    assert_eq!(first.next.as_ref(), Some(&first.objects[LIST_MAX - 1].spec.name));
    let rest = store.list_objects(POOL, "", first.next.as_deref()).unwrap();
    assert_eq!((rest.objects.len(), rest.next), (5, None));
    assert_eq!(store.list_objects(POOL, "n-", None).unwrap().next, None, "exactly as many as fit");
}

#[test]
fn pages_end_where_a_guest_would_have_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let large: StringMap = [("k".to_owned(), "v".repeat(4000))].into();
    for n in 0..150 {
        let spec = ObjectSpec { metadata: large.clone(), ..spec(&format!("n-{n:03}"), ObjectKind::Directory, 0) };
        store.create_object(POOL, &spec).unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_objects(POOL, "", after.as_deref()).unwrap();
        assert!(!page.objects.is_empty() && page.objects.len() * 4000 <= LIST_BYTES);
        seen.extend(page.objects.into_iter().map(|object| object.spec.name));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert!(seen.len() == 150 && seen.is_sorted());
}

#[test]
fn what_has_the_name_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let Created::Made(made) = store.make_object(POOL, &image("i")).unwrap() else { panic!("it was not there") };
    let other = spec("i", ObjectKind::Directory, 7);
    assert_eq!(store.make_object(POOL, &other), Ok(Created::There(made)));
    // Only a name: neither free nor an object.
    fs::create_dir(dir.path().join("objects/half")).unwrap();
    refused(store.make_object(POOL, &image("half")), ErrorKind::Aborted);
    refused(store.make_object("slow", &image("i")), ErrorKind::NotFound);
}

#[test]
fn growing_and_changing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create_object(POOL, &image("i")).unwrap();
    let size = || fs::metadata(dir.path().join("objects/i/image")).unwrap().len();
    let grown = store.resize_object(POOL, "i", 3 << 20).unwrap();
    assert_eq!((grown.spec.size_bytes, grown.version, size()), (3 << 20, 2, 3 << 20));
    // Already that large: as it is.
    let same = store.resize_object(POOL, "i", 2 << 20).unwrap();
    assert_eq!((same.spec.size_bytes, same.version, size()), (3 << 20, 2, 3 << 20));
    refused(store.resize_object(POOL, "missing", 1), ErrorKind::NotFound);
    refused(store.resize_object(POOL, "i", u64::MAX), ErrorKind::OutOfRange);

    let metadata: StringMap = [("new".to_owned(), "\u{1}\"quoted\"".to_owned())].into();
    assert_eq!(store.update_object(POOL, "i", 1, Provisioning::Thin, &metadata), Ok(Updated::Conflict(2)));
    let updated = done(store.update_object(POOL, "i", 2, Provisioning::Thick, &metadata));
    assert_eq!((updated.version, &updated.spec.metadata), (3, &metadata));
    assert!(updated.allocated_bytes >= 3 << 20, "{updated:?}");
    refused(store.update_object(POOL, "missing", 1, Provisioning::Thin, &metadata), ErrorKind::NotFound);
}

#[test]
fn thick_directories_are_taken_off_what_is_available() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let before = store.stat_pool(POOL).unwrap();
    assert!(before.total_bytes >= before.available_bytes && !before.directory_quotas);
    let mut thick = spec("d", ObjectKind::Directory, before.available_bytes / 2);
    thick.provisioning = Provisioning::Thick;
    // Others use this file system too, but not for that much.
    let promised = |store: &PoolStore| store.stat_pool(POOL).unwrap().available_bytes < before.available_bytes * 6 / 10;
    assert!(!promised(&store));
    let made = store.create_object(POOL, &thick).unwrap();
    assert!(promised(&store));
    let none = StringMap::new();
    let thin = done(store.update_object(POOL, "d", made.version, Provisioning::Thin, &none));
    assert!(!promised(&store));
    done(store.update_object(POOL, "d", thin.version, Provisioning::Thick, &none));
    assert!(promised(&store));
    store.delete_object(POOL, "d").unwrap();
    assert!(!promised(&store));
    store.create_object(POOL, &ObjectSpec { size_bytes: 4096, ..thick.clone() }).unwrap();
    assert!(!promised(&store));
    store.resize_object(POOL, "d", thick.size_bytes).unwrap();
    assert!(promised(&store));
    store.delete_object(POOL, "d").unwrap();
    assert!(!promised(&store));
    // What another process makes counts soon.
    open(dir.path()).create_object(POOL, &thick).unwrap();
    let start = std::time::Instant::now();
    while !promised(&store) {
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "it never counts");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn more_than_there_is_is_promised_to_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let available = store.stat_pool(POOL).unwrap().available_bytes;
    let thick =
        |size_bytes| ObjectSpec { provisioning: Provisioning::Thick, ..spec("d", ObjectKind::Directory, size_bytes) };
    let refused = |answer: bulkhead_domain::Result<Object>| {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    };
    refused(store.create_object(POOL, &thick(available * 2)));
    assert_eq!(store.stat_object(POOL, "d"), Ok(None));
    store.create_object(POOL, &thick(available / 2)).unwrap();
    refused(store.resize_object(POOL, "d", available * 2));
    store.delete_object(POOL, "d").unwrap();
    let thin = ObjectSpec { provisioning: Provisioning::Thin, ..thick(available * 2) };
    let thin = store.create_object(POOL, &thin).unwrap();
    refused(store.update_object(POOL, "d", thin.version, Provisioning::Thick, &StringMap::new()).map(|_| thin));
    assert_eq!(store.stat_object(POOL, "d").unwrap().unwrap().spec.provisioning, Provisioning::Thin);
}

#[test]
fn a_damaged_object_is_named_and_not_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create_object(POOL, &image("i")).unwrap();
    let meta = dir.path().join("objects/i/meta.json");
    for content in ["", "{}", "not json", "{\"format\":2}"] {
        fs::write(&meta, content).unwrap();
        let error = store.stat_object(POOL, "i").unwrap_err();
        assert!(error.message().contains("meta.json"), "{error}");
        refused(store.resize_object(POOL, "i", 5 << 20), ErrorKind::Unavailable);
        refused(store.list_objects(POOL, "", None), ErrorKind::Unavailable);
        assert_eq!(fs::read_to_string(&meta).unwrap(), content);
    }
}

#[test]
fn sweeping_spares_what_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path());
    let (tmp, trash) = (dir.path().join("tmp"), dir.path().join("trash"));
    // Left by a crash: a directory without a lock, one with a lock that nobody holds, a lock alone, a stray file.
    fs::create_dir_all(tmp.join("dead/data/deep")).unwrap();
    fs::create_dir_all(tmp.join("locked")).unwrap();
    fs::write(tmp.join("locked.lock"), "").unwrap();
    fs::write(tmp.join("alone.lock"), "").unwrap();
    fs::write(tmp.join("stray"), "").unwrap();
    fs::create_dir_all(trash.join("dead/data")).unwrap();
    fs::write(trash.join("dead/data/file"), "x").unwrap();
    // Somebody is at work.
    fs::create_dir_all(tmp.join("alive")).unwrap();
    let lock = fs::File::create(tmp.join("alive.lock")).unwrap();
    lock.lock().unwrap();
    open(dir.path());
    let mut left: Vec<_> = fs::read_dir(&tmp).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["alive", "alive.lock"]);
    assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
    drop(lock);
    open(dir.path());
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn one_name_is_made_once_by_many() {
    let dir = tempfile::tempdir().unwrap();
    // Two stores, as two processes have them, one of them opened again and again.
    let stores = [open(dir.path()), open(dir.path())];
    let made = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (stores, made, path) = (&stores, &made, dir.path());
            scope.spawn(move || {
                for round in 0..20 {
                    let name = format!("r{round}");
                    match stores[worker % 2].create_object(POOL, &image(&name)) {
                        Ok(_) => _ = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                        Err(e) => assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{e}"),
                    }
                    if worker == 0 {
                        open(path);
                    }
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 20);
    assert_eq!(stores[0].list_objects(POOL, "", None).unwrap().objects.len(), 20);
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn changes_at_once_are_all_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create_object(POOL, &image("i")).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..10u64 {
                    let metadata: StringMap = [(format!("w{worker}"), round.to_string())].into();
                    loop {
                        let version = store.stat_object(POOL, "i").unwrap().unwrap().version;
                        match store.update_object(POOL, "i", version, Provisioning::Thin, &metadata) {
                            Ok(Updated::Done(_)) => break,
                            Ok(Updated::Conflict(now)) => assert!(now > version),
                            Err(e) => assert_eq!(e.kind(), ErrorKind::Aborted, "{e}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(store.stat_object(POOL, "i").unwrap().unwrap().version, 41);
}
