//! Sets are put in place as one, also after a crash.

use crate::*;

/// Parts of a set in `tmp`, and the record that says so: what a crash in the right moment leaves.
fn crashed(f: &Fixture, names: [&str; 2]) {
    for (at, name) in names.into_iter().enumerate() {
        f.sample(name);
        fs::rename(f.at(&format!("objects/{name}")), f.at(&format!("tmp/part{at}"))).unwrap();
        fs::write(f.at(&format!("tmp/part{at}.lock")), "").unwrap();
    }
    let moves = format!(
        r#"{{"format":1,"moves":[{{"from":"part0","object":"{}"}},{{"from":"part1","object":"{}"}}]}}"#,
        names[0], names[1]
    );
    fs::write(f.at("placing/record"), moves).unwrap();
}

#[test]
fn a_set_that_was_decided_on_is_finished() {
    let f = Fixture::new();
    crashed(&f, ["a", "b"]);
    assert!(!f.at("objects/a").exists());
    open(f.dir.path());
    assert!(f.at("objects/a").exists() && f.at("objects/b").exists());
    f.nothing_left();
    // Whoever looks meets the whole of it, and what is deleted stays so.
    crashed(&f, ["k", "l"]);
    f.store.delete_object(POOL, "k").unwrap();
    assert_eq!(f.names(), ["a", "b", "l"]);
    f.store.delete_object(POOL, "l").unwrap();
    crashed(&f, ["k", "l"]);
    assert_eq!(f.names(), ["a", "b", "k", "l"]);
    ["k", "l"].iter().for_each(|name| f.store.delete_object(POOL, name).unwrap());
    open(f.dir.path());
    f.nothing_left();
    // By a running process too, before anybody else gets one of its names.
    crashed(&f, ["c", "e"]);
    refused(f.store.create_object(POOL, &image("e", MIB)), ErrorKind::AlreadyExists);
    assert_eq!(f.names(), ["a", "b", "c", "e"]);
    crashed(&f, ["f", "g"]);
    refused(f.store.copy_objects(POOL, &[order("a", image("g", 8 * MIB))]), ErrorKind::AlreadyExists);
    assert_eq!(f.names().len(), 6);
    // One of two was there already.
    crashed(&f, ["h", "i"]);
    fs::rename(f.at("tmp/part0"), f.at("objects/h")).unwrap();
    fs::write(f.at("placing/.half.tmp"), "{").unwrap();
    open(f.dir.path());
    assert_eq!(f.names().len(), 8);
    f.nothing_left();
}

#[test]
fn a_set_that_cannot_be_finished_is_kept() {
    let f = Fixture::new();
    crashed(&f, ["a", "b"]);
    // What no process of ours does: the operator put something there.
    fs::create_dir(f.at("objects/b")).unwrap();
    fs::write(f.at("objects/b/file"), "").unwrap();
    let store = open(f.dir.path());
    assert!(f.at("tmp/part1/image").exists(), "swept");
    refused(store.create_object(POOL, &image("b", MIB)), ErrorKind::AlreadyExists);
    store.create_object(POOL, &image("c", MIB)).unwrap();
    fs::remove_dir_all(f.at("objects/b")).unwrap();
    open(f.dir.path());
    assert_eq!(f.names(), ["a", "b", "c"]);
    f.nothing_left();
}

#[test]
fn sets_at_once_share_no_name() {
    let f = Fixture::new();
    f.sample("s");
    f.sample("t");
    let stores = [open(f.dir.path()), open(f.dir.path())];
    let won = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..4usize {
            let (stores, won, path) = (&stores, &won, f.dir.path());
            scope.spawn(move || {
                for round in 0..20 {
                    let names = [format!("r{round}-a"), format!("r{round}-b")];
                    let mut orders = [order("s", image(&names[0], 8 * MIB)), order("t", image(&names[1], 8 * MIB))];
                    if worker % 2 == 1 {
                        orders.reverse();
                    }
                    match stores[worker % 2].copy_objects(POOL, &orders) {
                        Ok(_) => _ = won.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                        Err(e) => assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{e}"),
                    }
                    if worker == 0 {
                        open(path);
                    }
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 20);
    assert_eq!(f.names().len(), 42);
    f.nothing_left();
}
