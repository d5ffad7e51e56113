//! The host as unit tests have it: pools in memory that keep what the WIT promises, one set for each test (each has its own
//! thread), and faults on demand.

use bulkhead_sdk::pools::{Extent, Object, ObjectSpec, PoolError, PoolInfo, Provisioning};
use bulkhead_sdk::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Bytes that the double compares and reports at once.
pub const UNIT: u64 = 4096;

/// An object and what is written to it: unit to value.
#[derive(Clone)]
pub struct Stored {
    pub object: Object,
    pub data: BTreeMap<u64, u8>,
}

pub struct Pool {
    pub total: u64,
    pub available: u64,
    pub objects: BTreeMap<String, Stored>,
    /// Set: all functions answer this.
    pub broken: Option<PoolError>,
}

#[derive(Default)]
pub struct World {
    pub pools: BTreeMap<String, Pool>,
    pub config: Vec<(String, String)>,
    pub now: u64,
    /// Writes until the host dies; none: it doesn't.
    pub writes_left: Option<u32>,
    /// Calls of `update_object` that lose their race.
    pub conflicts: u32,
    /// Calls of `list_objects` so far.
    pub lists: u32,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
}

/// Looks at the host, or changes it behind the backend's back.
pub fn world<T>(f: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(f)
}

/// Starts anew with these pools, of 100 GiB each, and this config.
pub fn start(pools: &[&str], config: &[(&str, &str)]) {
    let gib = bulkhead_sdk::size::GIB;
    let pool = || Pool { total: 100 * gib, available: 100 * gib, objects: BTreeMap::new(), broken: None };
    world(|world| {
        *world = World {
            pools: pools.iter().map(|name| ((*name).to_owned(), pool())).collect(),
            config: map(config),
            ..World::default()
        };
    });
}

pub fn map(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Names of all objects of a pool.
pub fn names(pool: &str) -> Vec<String> {
    world(|world| world.pools[pool].objects.keys().cloned().collect())
}

/// Writes `value` to one unit of an image.
pub fn write(pool: &str, name: &str, unit: u64, value: u8) {
    world(|world| {
        let objects = &mut world.pools.get_mut(pool).expect("a pool").objects;
        objects.get_mut(name).expect("an object").data.insert(unit, value);
    });
}

impl World {
    fn pool(&mut self, pool: &str) -> Result<&mut Pool, PoolError> {
        let found = self.pools.get_mut(pool).ok_or(PoolError::NoSuchPool)?;
        found.broken.clone().map_or(Ok(found), Err)
    }

    fn write(&mut self) -> Result<u64, PoolError> {
        if let Some(left) = &mut self.writes_left {
            *left = left.checked_sub(1).ok_or_else(|| PoolError::Unavailable("the host died".to_owned()))?;
        }
        self.now += 1;
        Ok(self.now)
    }
}

fn check(spec: &ObjectSpec) -> Result<(), PoolError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name = &spec.name;
    assert!(!name.is_empty() && name.len() <= 128 && name.chars().all(plain) && !name.starts_with('.'), "{name}");
    let bytes: usize = spec.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > 4096 {
        return Err(PoolError::Invalid("metadata is larger than 4096 bytes".to_owned()));
    }
    Ok(())
}

fn stored(spec: &ObjectSpec, now: u64, read_only: bool, data: BTreeMap<u64, u8>) -> Stored {
    let object = Object {
        spec: spec.clone(),
        version: 1,
        allocated_bytes: data.len() as u64 * UNIT,
        created_at_ms: now,
        in_use: false,
        read_only,
    };
    Stored { object, data }
}

/// Runs of units, clipped to `offset`, a thousand at a time.
fn page(units: impl Iterator<Item = u64>, offset: u64) -> pools::ExtentPage {
    let mut extents: Vec<Extent> = Vec::new();
    for start in units.map(|unit| unit * UNIT).filter(|start| start + UNIT > offset) {
        let byte_offset = start.max(offset);
        let size_bytes = start + UNIT - byte_offset;
        match extents.last_mut() {
            Some(last) if last.byte_offset + last.size_bytes == byte_offset => last.size_bytes += size_bytes,
            _ => extents.push(Extent { byte_offset, size_bytes }),
        }
    }
    let next_offset = extents.get(1000).map(|extent| extent.byte_offset);
    extents.truncate(1000);
    pools::ExtentPage { extents, next_offset }
}

pub mod config {
    pub fn get(key: &str) -> Option<String> {
        super::world(|world| super::lookup(&world.config, key).map(str::to_owned))
    }

    pub fn keys() -> Vec<String> {
        super::world(|world| world.config.iter().map(|(key, _)| key.clone()).collect())
    }
}

pub mod pools {
    use super::{PoolError, PoolInfo, Provisioning, StringMap, check, page, stored, world};
    pub use bulkhead_sdk::pools::{CopyOrder, Created, ExtentPage, Object, ObjectKind, ObjectPage, ObjectSpec};
    use std::collections::BTreeSet;

    type Result<T> = std::result::Result<T, PoolError>;

    fn missing(name: &str) -> PoolError {
        PoolError::NoSuchObject(name.to_owned())
    }

    fn full() -> PoolError {
        PoolError::NoSpace("full".to_owned())
    }

    pub fn pool_names() -> Vec<String> {
        world(|world| world.pools.keys().cloned().collect())
    }

    pub fn stat_pool(pool: &str) -> Result<PoolInfo> {
        world(|world| {
            let pool = world.pool(pool)?;
            Ok(PoolInfo {
                total_bytes: pool.total,
                available_bytes: pool.available,
                reflinks: true,
                directory_quotas: false,
            })
        })
    }

    pub fn create_object(pool: &str, spec: &ObjectSpec) -> Result<Created> {
        check(spec)?;
        world(|world| {
            let now = world.write()?;
            let pool = world.pool(pool)?;
            if let Some(there) = pool.objects.get(&spec.name) {
                return Ok(Created::There(there.object.clone()));
            }
            if spec.provisioning == Provisioning::Thick {
                pool.available = pool.available.checked_sub(spec.size_bytes).ok_or_else(full)?;
            }
            let new = stored(spec, now, false, [].into());
            pool.objects.insert(spec.name.clone(), new.clone());
            Ok(Created::Made(new.object))
        })
    }

    pub fn stat_object(pool: &str, name: &str) -> Result<Option<Object>> {
        world(|world| Ok(world.pool(pool)?.objects.get(name).map(|stored| stored.object.clone())))
    }

    pub fn list_objects(pool: &str, prefix: &str, after: Option<&str>) -> Result<ObjectPage> {
        world(|world| {
            world.lists += 1;
            let pool = world.pool(pool)?;
            let wanted = |name: &str| name.starts_with(prefix) && after.is_none_or(|after| name > after);
            let found = pool.objects.values().filter(|stored| wanted(&stored.object.spec.name));
            let mut objects: Vec<Object> = found.take(1001).map(|stored| stored.object.clone()).collect();
            let next = objects.get(1000).map(|_| objects[999].spec.name.clone());
            objects.truncate(1000);
            Ok(ObjectPage { objects, next })
        })
    }

    pub fn delete_object(pool: &str, name: &str) -> Result<()> {
        world(|world| {
            world.write()?;
            let pool = world.pool(pool)?;
            if pool.objects.get(name).is_some_and(|stored| stored.object.in_use) {
                return Err(PoolError::InUse("staged".to_owned()));
            }
            pool.objects.remove(name);
            Ok(())
        })
    }

    pub fn resize_object(pool: &str, name: &str, size_bytes: u64) -> Result<Object> {
        world(|world| {
            world.write()?;
            let pool = world.pool(pool)?;
            let object = &mut pool.objects.get_mut(name).ok_or_else(|| missing(name))?.object;
            object.spec.size_bytes = object.spec.size_bytes.max(size_bytes);
            object.version += 1;
            Ok(object.clone())
        })
    }

    pub fn update_object(
        pool: &str,
        name: &str,
        expected: u64,
        provisioning: Provisioning,
        metadata: &StringMap,
    ) -> Result<Object> {
        world(|world| {
            if world.conflicts > 0 {
                world.conflicts -= 1;
                return Err(PoolError::Conflict(0));
            }
            world.write()?;
            let pool = world.pool(pool)?;
            let object = &mut pool.objects.get_mut(name).ok_or_else(|| missing(name))?.object;
            if object.version != expected {
                return Err(PoolError::Conflict(object.version));
            }
            if provisioning == Provisioning::Thick && object.spec.provisioning == Provisioning::Thin {
                let left = pool.available.checked_sub(object.spec.size_bytes);
                pool.available = left.ok_or_else(full)?;
            }
            let spec = ObjectSpec { provisioning, metadata: metadata.clone(), ..object.spec.clone() };
            check(&spec)?;
            object.spec = spec;
            object.version += 1;
            Ok(object.clone())
        })
    }

    pub fn copy_objects(pool: &str, copies: &[CopyOrder]) -> Result<Vec<Object>> {
        world(|world| {
            let now = world.write()?;
            let pool = world.pool(pool)?;
            let mut made = Vec::new();
            for order in copies {
                check(&order.target)?;
                let source = pool.objects.get(&order.source).ok_or_else(|| missing(&order.source))?;
                let (from, to) = (&source.object.spec, &order.target);
                if from.kind != to.kind || to.size_bytes < from.size_bytes {
                    return Err(PoolError::Invalid("another kind, or smaller than the source".to_owned()));
                }
                if pool.objects.contains_key(&to.name) {
                    return Err(PoolError::Taken(to.name.clone()));
                }
                made.push(stored(to, now, order.read_only, source.data.clone()));
            }
            let objects = made.iter().map(|stored| stored.object.clone()).collect();
            pool.objects.extend(made.into_iter().map(|stored| (stored.object.spec.name.clone(), stored)));
            Ok(objects)
        })
    }

    pub fn allocated_extents(pool: &str, name: &str, offset: u64) -> Result<ExtentPage> {
        world(|world| {
            let stored = world.pool(pool)?.objects.get(name).ok_or_else(|| missing(name))?;
            assert_eq!(stored.object.spec.kind, ObjectKind::Image, "a directory has no extents");
            Ok(page(stored.data.keys().copied(), offset))
        })
    }

    pub fn differing_extents(pool: &str, base: &str, target: &str, offset: u64) -> Result<ExtentPage> {
        world(|world| {
            let objects = &world.pool(pool)?.objects;
            let (base, target) = (&objects[base].data, &objects[target].data);
            let units: BTreeSet<u64> = base.keys().chain(target.keys()).copied().collect();
            Ok(page(units.into_iter().filter(|unit| base.get(unit) != target.get(unit)), offset))
        })
    }
}
