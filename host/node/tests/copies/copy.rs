//! Copying single objects, and what is refused.

use crate::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn images_are_copied_with_their_holes() {
    let f = Fixture::new();
    let source = f.sample("s");
    let mut snapshot = order("s", image("snapshot", 8 * MIB));
    snapshot.read_only = true;
    snapshot.target.metadata = [("k".to_owned(), "v".to_owned())].into();
    let mut thick = order("s", image("thick", 8 * MIB));
    thick.target.provisioning = Provisioning::Thick;
    let larger = order("s", image("larger", 9 * MIB + 1001));
    let orders = [larger, snapshot, thick];
    let made = f.store.copy_objects(POOL, &orders).unwrap();
    f.nothing_left();
    for (made, order) in made.iter().zip(&orders) {
        assert_eq!((&made.spec, made.version, made.read_only), (&order.target, 1, order.read_only));
        assert!(!made.in_use && made.created_at_ms >= source.created_at_ms);
        assert_eq!(f.store.stat_object(POOL, &made.spec.name).unwrap().as_ref(), Some(made));
        let mut wanted = f.bytes("s");
        wanted.resize(usize::try_from(order.target.size_bytes).unwrap(), 0);
        assert!(f.bytes(&made.spec.name) == wanted, "{made:?}");
        let full = order.target.provisioning == Provisioning::Thick;
        assert_eq!(made.allocated_bytes >= 8 * MIB, full, "{made:?}");
        assert!(full || made.allocated_bytes <= 64 << 10, "{made:?}");
    }
    // Copies are objects like others; one that is never to change doesn't.
    refused(f.store.resize_object(POOL, "snapshot", 16 * MIB), ErrorKind::FailedPrecondition);
    f.store.resize_object(POOL, "larger", 16 * MIB).unwrap();
    f.image("larger").write_all_at(&[9; 4096], 0).unwrap();
    assert_eq!(f.bytes("s")[..3], [1, 0, 0]);
    assert_eq!(f.bytes("snapshot")[..3], [1, 0, 0]);
    f.store.delete_object(POOL, "s").unwrap();
    let again = f.store.copy_objects(POOL, &[order("snapshot", image("again", 8 * MIB))]).unwrap();
    assert!(!again[0].read_only && f.bytes("again") == f.bytes("snapshot"));
    f.store.delete_object(POOL, "snapshot").unwrap();
    assert_eq!(f.names(), ["again", "larger", "thick"]);
    assert_eq!(f.store.copy_objects(POOL, &[]).unwrap(), []);
}

#[test]
fn directories_are_copied_as_they_are() {
    let f = Fixture::new();
    f.store.create_object(POOL, &spec("d", ObjectKind::Directory, MIB)).unwrap();
    let (data, secret) = (f.at("objects/d/data"), f.at("secret"));
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "secret").unwrap();
    fs::create_dir_all(data.join("deep/er")).unwrap();
    fs::write(data.join("deep/er/ file\nwith odd name"), "text").unwrap();
    fs::write(data.join("deep/.hidden"), "").unwrap();
    fs::hard_link(data.join("deep/.hidden"), data.join("second")).unwrap();
    symlink(&secret, data.join("link")).unwrap();
    symlink("nowhere", data.join("-rf")).unwrap();
    fs::set_permissions(data.join("deep"), fs::Permissions::from_mode(0o1750)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o2771)).unwrap();
    File::create(data.join("sparse")).unwrap().write_all_at(b"end", 64 * MIB).unwrap();
    let mut orders =
        [order("d", spec("c", ObjectKind::Directory, 2 * MIB)), order("d", spec("e", ObjectKind::Directory, MIB))];
    orders[0].read_only = true;
    let made = f.store.copy_objects(POOL, &orders).unwrap();
    assert_eq!((made[0].spec.size_bytes, made[0].read_only, made[1].read_only), (2 * MIB, true, false));
    f.nothing_left();
    for name in ["c", "e"] {
        let copy = f.at(&format!("objects/{name}/data"));
        assert_eq!(fs::read(copy.join("deep/er/ file\nwith odd name")).unwrap(), b"text");
        assert_eq!(fs::read_link(copy.join("link")).unwrap(), secret);
        assert_eq!(fs::read_link(copy.join("-rf")).unwrap(), Path::new("nowhere"));
        let inode = |path: &str| fs::metadata(copy.join(path)).unwrap().ino();
        assert_eq!(inode("second"), inode("deep/.hidden"));
        let sparse = fs::metadata(copy.join("sparse")).unwrap();
        assert!(sparse.len() == 64 * MIB + 3 && sparse.blocks() < 64, "{sparse:?}");
        for path in ["", "deep", "deep/.hidden"] {
            let (old, new) = (fs::metadata(data.join(path)).unwrap(), fs::metadata(copy.join(path)).unwrap());
            assert_eq!((old.mode(), old.uid(), old.mtime_nsec()), (new.mode(), new.uid(), new.mtime_nsec()), "{path}");
        }
    }
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
}

#[test]
fn what_is_refused_leaves_nothing() {
    use ErrorKind::*;
    let f = Fixture::new();
    f.sample("s");
    f.sample("taken");
    f.store.create_object(POOL, &spec("d", ObjectKind::Directory, MIB)).unwrap();
    let good = || order("s", image("good", 8 * MIB));
    let mut metadata = good();
    metadata.target.metadata = [("k".to_owned(), "v".repeat(4096))].into();
    for (bad, kind) in [
        (order("s", image("x", 8 * MIB - 1)), InvalidArgument),
        (order("s", image("x", u64::MAX)), OutOfRange),
        (order("s", image("x", i64::MAX as u64)), ResourceExhausted),
        (order("s", spec("x", ObjectKind::Directory, 8 * MIB)), InvalidArgument),
        (order("d", image("x", 8 * MIB)), InvalidArgument),
        (order("d", spec("x", ObjectKind::Directory, 1)), InvalidArgument),
        (order("missing", image("x", 8 * MIB)), NotFound),
        (order("../s", image("x", 8 * MIB)), InvalidArgument),
        (order("s", image("../x", 8 * MIB)), InvalidArgument),
        (order("s", image("taken", 8 * MIB)), AlreadyExists),
        (order("s", image("s", 8 * MIB)), AlreadyExists),
        (good(), InvalidArgument),
        (metadata, InvalidArgument),
    ] {
        refused(f.store.copy_objects(POOL, &[good(), bad.clone()]), kind);
        refused(f.store.copy_objects(POOL, &[bad.clone(), good()]), kind);
        assert_eq!(f.names(), ["d", "s", "taken"], "{bad:?}");
        f.nothing_left();
    }
    refused(f.store.copy_objects("slow", &[good()]), NotFound);
    // A larger image than its metadata says: growing was cut short.
    f.image("s").set_len(9 * MIB).unwrap();
    refused(f.store.copy_objects(POOL, &[good()]), FailedPrecondition);
    f.store.copy_objects(POOL, &[order("s", image("good", 9 * MIB))]).unwrap();
}

#[test]
fn who_has_it_staged_decides() {
    let f = Fixture::new();
    f.sample("s");
    f.store.create_object(POOL, &spec("d", ObjectKind::Directory, MIB)).unwrap();
    let user = |node: &str, read_only: bool| {
        format!(r#"{{"driver":"x","node_id":"{node}","volume_id":"v","read_only":{read_only}}}"#)
    };
    let mut made = 0;
    for (text, image_may, directory_may) in [
        // Staged here before this machine was started again.
        (user("node-1", false), true, false),
        (user("node-1", true), true, true),
        (user("node-2", true), true, true),
        (user("node-2", false), false, false),
        ("nonsense".to_owned(), false, false),
    ] {
        for (source, may) in [("s", image_may), ("d", directory_may)] {
            let marker = f.at(&format!("objects/{source}/users/0123"));
            fs::write(&marker, &text).unwrap();
            made += 1;
            let name = format!("copy-{made}");
            let kind = if source == "s" { ObjectKind::Image } else { ObjectKind::Directory };
            let outcome = f.store.copy_objects(POOL, &[order(source, spec(&name, kind, 8 * MIB))]);
            if may {
                outcome.unwrap();
            } else {
                let why = refused(outcome, ErrorKind::FailedPrecondition);
                assert!(why.contains("staged"), "{why}");
                assert!(source == "d" || !text.contains("node-2") || why.contains("node-2"), "{why}");
                f.nothing_left();
            }
            fs::remove_file(marker).unwrap();
        }
    }
}
