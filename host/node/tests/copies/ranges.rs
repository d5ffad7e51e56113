//! What images hold, in which parts they differ, and space that is given back.

use crate::*;
use bulkhead_node::pool::{Extent, ExtentPage};

fn change(f: &Fixture, provisioning: Provisioning) -> Object {
    let version = f.store.stat_object(POOL, "s").unwrap().unwrap().version;
    match f.store.update_object(POOL, "s", version, provisioning, &StringMap::new()).unwrap() {
        Updated::Done(object) => object,
        Updated::Conflict(now) => panic!("version {now}, not {version}"),
    }
}

#[test]
fn thin_gives_back_what_thick_took() {
    let f = Fixture::new();
    f.sample("s");
    let before = f.bytes("s");
    for _ in 0..2 {
        let thick = change(&f, Provisioning::Thick);
        assert!(thick.allocated_bytes >= 8 * MIB && thick.spec.provisioning == Provisioning::Thick, "{thick:?}");
        let thin = change(&f, Provisioning::Thin);
        assert!(thin.allocated_bytes <= 64 << 10 && thin.spec.provisioning == Provisioning::Thin, "{thin:?}");
        assert!(f.bytes("s") == before);
    }
    // A remote writer can't be held still.
    change(&f, Provisioning::Thick);
    let writer = r#"{"driver":"x","node_id":"node-2","volume_id":"v","read_only":false}"#;
    fs::write(f.at("objects/s/users/0123"), writer).unwrap();
    let found = f.store.stat_object(POOL, "s").unwrap().unwrap();
    let outcome = f.store.update_object(POOL, "s", found.version, Provisioning::Thin, &StringMap::new());
    refused(outcome, ErrorKind::FailedPrecondition);
    assert_eq!(f.store.stat_object(POOL, "s").unwrap().unwrap(), found);
}

fn all(mut page: impl FnMut(u64) -> ExtentPage) -> Vec<Extent> {
    let (mut found, mut offset) = (Vec::new(), 0);
    loop {
        let next = page(offset);
        assert!(next.extents.len() <= 1000);
        found.extend(next.extents);
        match next.next_offset {
            None => return found,
            Some(next) => assert!(next > std::mem::replace(&mut offset, next)),
        }
    }
}

fn extent(byte_offset: u64, size_bytes: u64) -> Extent {
    Extent { byte_offset, size_bytes }
}

#[test]
fn ranges_with_data() {
    let f = Fixture::new();
    f.sample("s");
    let page = |offset| f.store.allocated_extents(POOL, "s", offset).unwrap();
    let whole = [extent(0, 4096), extent(3 * MIB, 4096), extent(8 * MIB - 4096, 4096)];
    assert_eq!(page(0), ExtentPage { extents: whole.to_vec(), next_offset: None });
    assert_eq!(page(3 * MIB + 7).extents, [extent(3 * MIB + 7, 4089), whole[2]]);
    assert_eq!(page(8 * MIB).extents, []);
    refused(f.store.allocated_extents(POOL, "s", 8 * MIB + 1), ErrorKind::OutOfRange);
    refused(f.store.allocated_extents(POOL, "missing", 0), ErrorKind::NotFound);
    f.store.create_object(POOL, &spec("d", ObjectKind::Directory, 0)).unwrap();
    refused(f.store.allocated_extents(POOL, "d", 0), ErrorKind::FailedPrecondition);
    refused(f.store.differing_extents(POOL, "s", "d", 0), ErrorKind::FailedPrecondition);
    // Many pages.
    f.store.create_object(POOL, &image("many", 32 * MIB)).unwrap();
    let wanted: Vec<Extent> = (0..2500).map(|n| extent(n * 8192, 4096)).collect();
    for range in &wanted {
        f.image("many").write_all_at(&[1; 4096], range.byte_offset).unwrap();
    }
    f.image("many").sync_all().unwrap();
    assert_eq!(f.store.allocated_extents(POOL, "many", 0).unwrap().next_offset, Some(8_192_000));
    assert_eq!(all(|offset| f.store.allocated_extents(POOL, "many", offset).unwrap()), wanted);
    f.store.create_object(POOL, &image("none", 32 * MIB)).unwrap();
    assert_eq!(all(|offset| f.store.differing_extents(POOL, "none", "many", offset).unwrap()), wanted);
}

#[test]
fn ranges_that_differ() {
    let f = Fixture::new();
    f.sample("s");
    f.store
        .copy_objects(POOL, &[order("s", image("t", 8 * MIB)), order("s", image("larger", 10 * MIB + 100))])
        .unwrap();
    let differ = |a: &str, b: &str, offset| f.store.differing_extents(POOL, a, b, offset).unwrap().extents;
    assert_eq!(differ("s", "t", 0), []);
    assert_eq!(differ("s", "s", 0), []);
    // Larger, but by nothing but zeros, some of which were written.
    f.image("larger").write_all_at(&[0; 8192], 9 * MIB).unwrap();
    assert_eq!((differ("s", "larger", 0), differ("larger", "s", 10 * MIB)), (vec![], vec![]));
    f.image("larger").write_all_at(&[1], 10 * MIB + 99).unwrap();
    assert_eq!(differ("s", "larger", 0), [extent(10 * MIB, 100)]);
    // Neighbours are one; an offset within a block cuts it.
    f.image("t").write_all_at(&[7; 2], 4 * MIB - 1).unwrap();
    assert_eq!(differ("s", "t", 0), [extent(4 * MIB - 4096, 8192)]);
    assert_eq!(differ("t", "s", 4 * MIB - 1), [extent(4 * MIB - 1, 4097)]);
    assert_eq!(differ("t", "s", 4 * MIB + 4096), []);
    assert_eq!(differ("s", "larger", 10 * MIB + 100), []);
    refused(f.store.differing_extents(POOL, "s", "larger", 10 * MIB + 101), ErrorKind::OutOfRange);
    refused(f.store.differing_extents(POOL, "s", "missing", 0), ErrorKind::NotFound);
    // Two gibibytes of nothing are no work; of data they are two pages.
    for name in ["huge-a", "huge-b"] {
        f.store.create_object(POOL, &image(name, 2 << 30)).unwrap();
        f.image(name).write_all_at(&[1], (2 << 30) - 1).unwrap();
    }
    let page = f.store.differing_extents(POOL, "huge-a", "huge-b", 0).unwrap();
    assert_eq!(page, ExtentPage { extents: vec![], next_offset: None });
}
