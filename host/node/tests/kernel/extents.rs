//! Ranges that differ, against brute force, on file systems with and without reflinks.

use crate::Test;
use crate::env::*;
use bulkhead_node::pool::{CopyOrder, Extent, ObjectKind, ObjectSpec, PoolStore, Provisioning};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] =
    &[("extents::random_patterns_against_brute_force", random), ("extents::shared_extents_are_not_read", skipped)];

const PATTERNS: usize = 500;
const BLOCK: u64 = 4096;
const SIZE: u64 = 512 << 10;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn spec(name: &str, size_bytes: u64, provisioning: Provisioning) -> ObjectSpec {
    ObjectSpec { name: name.into(), kind: ObjectKind::Image, size_bytes, provisioning, metadata: Default::default() }
}

fn image(env: &Env, name: &str) -> File {
    File::options().read(true).write(true).open(env.image(name)).unwrap()
}

/// Writes data or zeros, or makes holes, or allocates; anywhere, of any length.
fn scribble(image: &File, random: &mut Random, times: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let size = image.metadata().unwrap().len();
    for _ in 0..times {
        let (mut start, mut length) = (random.below(size), 1 + random.below(40_000));
        if random.below(3) > 0 {
            (start, length) = (start / BLOCK * BLOCK, length.next_multiple_of(BLOCK));
        }
        length = length.min(size - start);
        let flags = match random.below(8) {
            0 => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            1 => FallocateFlags::ZERO_RANGE,
            2 => FallocateFlags::empty(),
            byte => {
                // Few values, so that different writes are often equal.
                let bytes = vec![(byte % 3) as u8; length as usize];
                image.write_all_at(&bytes, start).unwrap();
                continue;
            }
        };
        fallocate(image, flags, start, length).unwrap();
    }
    if random.below(4) == 0 {
        image.sync_all().unwrap();
    }
}

/// What differs, block by block, from `offset` on.
fn brute_force(a: &[u8], b: &[u8], offset: u64) -> Vec<Extent> {
    let size = a.len().max(b.len());
    let at = |bytes: &[u8], n: usize| bytes.get(n).copied().unwrap_or(0);
    let mut found: Vec<Extent> = Vec::new();
    for start in (0..size).step_by(BLOCK as usize) {
        let end = (start + BLOCK as usize).min(size);
        let (from, to) = ((start as u64).max(offset), end as u64);
        if to <= from || (start..end).all(|n| at(a, n) == at(b, n)) {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.byte_offset + last.size_bytes == from => last.size_bytes = to - last.byte_offset,
            _ => found.push(Extent { byte_offset: from, size_bytes: to - from }),
        }
    }
    found
}

fn differing(store: &PoolStore, offset: u64) -> Vec<Extent> {
    let (mut found, mut next) = (Vec::new(), Some(offset));
    while let Some(offset) = next {
        let page = store.differing_extents(POOL, "a", "b", offset).unwrap();
        found.extend(page.extents);
        next = page.next_offset;
    }
    found
}

fn random() {
    let seed = std::env::var("BULKHEAD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    for pool in [Kind::Ext4, Kind::Xfs] {
        let env = Env::new();
        env.pool_on(pool, XFS_MIN);
        let store = env.store();
        assert_eq!(store.stat_pool(POOL).unwrap().reflinks, pool == Kind::Xfs);
        let began = Instant::now();
        for pattern in 0..PATTERNS {
            let mut random = Random(seed.wrapping_add(pattern as u64));
            one(&env, &store, &mut random)
                .unwrap_or_else(|what| panic!("{pool:?}, BULKHEAD_TEST_SEED={seed}, pattern {pattern}: {what}"));
        }
        println!("    {PATTERNS} patterns on {}: {:.1?}, seed {seed}", pool.name(), began.elapsed());
        drop(store);
        tool("umount", &[env.pool().to_str().unwrap()]);
    }
}

fn one(env: &Env, store: &PoolStore, random: &mut Random) -> Result<(), String> {
    let provisioning = if random.below(5) == 0 { Provisioning::Thick } else { Provisioning::Thin };
    // Sizes that end within a block, too.
    let mut size = || SIZE - random.below(3) * 1234;
    let (a_size, b_size) = (size(), size() + 2 * 1234 + 4096);
    store.create_object(POOL, &spec("a", a_size, provisioning)).unwrap();
    scribble(&image(env, "a"), random, 6);
    let target = spec("b", b_size, Provisioning::Thin);
    let copy = CopyOrder { source: "a".into(), target, read_only: random.below(4) > 0 };
    store.copy_objects(POOL, &[copy]).unwrap();
    // One that is never to change may have been copied from what goes on, or be what was copied on.
    for name in ["a", "b"] {
        let times = random.below(6);
        scribble(&image(env, name), random, times);
    }
    let (a, b) = (fs::read(env.image("a")).unwrap(), fs::read(env.image("b")).unwrap());
    for offset in [0, random.below(b_size), random.below(b_size) / BLOCK * BLOCK, b_size] {
        let (wanted, found) = (brute_force(&a, &b, offset), differing(store, offset));
        if wanted != found {
            return Err(format!("from {offset}: wanted {wanted:?}, found {found:?}"));
        }
    }
    // What is not said to hold data reads as zeros.
    let mut without = b;
    for extent in store.allocated_extents(POOL, "b", 0).unwrap().extents {
        without[extent.byte_offset as usize..(extent.byte_offset + extent.size_bytes) as usize].fill(0);
    }
    if without.iter().any(|&byte| byte != 0) {
        return Err("data outside the allocated ranges".to_owned());
    }
    for name in ["a", "b"] {
        store.delete_object(POOL, name).unwrap();
    }
    Ok(())
}

/// A small change to a large image is found without reading the image.
fn skipped() {
    let env = Env::new();
    env.pool_on(Kind::Xfs, 8 * XFS_MIN);
    let store = env.store();
    let size = 1536 * MIB;
    store.create_object(POOL, &spec("a", size, Provisioning::Thin)).unwrap();
    let a = image(&env, "a");
    for at in (0..size).step_by(8 << 20) {
        a.write_all_at(&vec![(at >> 23) as u8 | 1; 8 << 20], at).unwrap();
    }
    a.sync_all().unwrap();
    let copy = CopyOrder { source: "a".into(), target: spec("b", size, Provisioning::Thin), read_only: true };
    store.copy_objects(POOL, &[copy]).unwrap();
    a.write_all_at(b"changed", 700 * MIB + 5000).unwrap();
    a.sync_all().unwrap();
    fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    let read_bytes = || {
        let io = fs::read_to_string("/proc/self/io").unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse::<u64>().unwrap()
    };
    let (before, began) = (read_bytes(), Instant::now());
    let page = store.differing_extents(POOL, "a", "b", 0).unwrap();
    let (read, took) = (read_bytes() - before, began.elapsed());
    println!("    one block in {} MiB: {took:.1?}, {} KiB read", size / MIB, read >> 10);
    assert_eq!(page.extents, [Extent { byte_offset: 700 * MIB + 4096, size_bytes: 4096 }]);
    assert_eq!(page.next_offset, None);
    assert!(read < 16 * MIB, "{read} bytes were read");
    assert!(took < Duration::from_secs(10), "{took:?}");
    drop((a, store));
    tool("umount", &[env.pool().to_str().unwrap()]);
}
