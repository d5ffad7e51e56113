//! Reading pools.

use super::object::ObjectDir;
use super::types::{LIST_BYTES, LIST_MAX, Object, ObjectKind, ObjectPage, PoolInfo, Provisioning};
use super::{PoolStore, store::Pool};
use crate::error::{Context, IoResult};
use bulkhead_domain::{Error, Result};
use rustix::fs::{OFlags, StatVfs, fstatvfs, ioctl_ficlone};
use std::io::Write;

impl PoolStore {
    /// Size and abilities of a pool, as of now; thick directories that other processes made or removed count a second later
    /// at most.
    ///
    /// # Errors
    /// NotFound: no such pool.
    pub fn stat_pool(&self, pool: &str) -> Result<PoolInfo> {
        let pool = self.pool(pool)?;
        let stat = pool.stat()?;
        let reserved = pool.promised.bytes(|| thick_directories(pool))?;
        Ok(PoolInfo {
            total_bytes: total(&stat),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize).saturating_sub(reserved),
            reflinks: pool.reflinks,
            directory_quotas: false,
        })
    }

    /// There is room for `more` bytes that are promised to a thick object. Nothing is allocated for a directory, so nothing else
    /// would refuse what isn't there.
    ///
    /// # Errors
    /// ResourceExhausted.
    pub(super) fn room_to_promise(&self, pool: &str, more: u64) -> Result<()> {
        // The other half of this host may have promised something a moment ago.
        self.pool(pool)?.promised.changed();
        let available = self.stat_pool(pool)?.available_bytes;
        if more <= available {
            return Ok(());
        }
        Err(Error::resource_exhausted(format_args!(
            "pool {pool} has {available} bytes free that are neither used nor promised, {more} are asked for"
        )))
    }

    /// A new object of so many bytes isn't larger than the pool: also thin ones, which may promise more than is free, but
    /// not what can never be kept. ResourceExhausted, for there may be a pool elsewhere that is large enough.
    ///
    /// # Errors
    /// ResourceExhausted.
    pub(super) fn at_most_all(&self, pool: &str, size_bytes: u64) -> Result<()> {
        match self.larger_than_all(pool, size_bytes)? {
            None => Ok(()),
            Some(why) => Err(Error::resource_exhausted(why)),
        }
    }

    /// Why an object of that pool can't have so many bytes: the pool doesn't. None: it may. Cheap where it may.
    pub(super) fn larger_than_all(&self, pool: &str, size_bytes: u64) -> Result<Option<String>> {
        if size_bytes <= total(&self.pool(pool)?.stat()?) {
            return Ok(None);
        }
        let room = self.stat_pool(pool)?;
        let (all, free) = (room.total_bytes, room.available_bytes);
        Ok(Some(format!("{size_bytes} bytes are more than pool {pool} has: {all} in all, {free} of them free")))
    }

    /// The object of that name. None: no such object.
    ///
    /// # Errors
    /// NotFound: no such pool. InvalidArgument: not a name. Unavailable: it can't be read.
    pub fn stat_object(&self, pool: &str, name: &str) -> Result<Option<Object>> {
        let pool = self.pool_and_name(pool, name)?;
        match ObjectDir::open(&pool.objects, name)? {
            Some(object) => object.describe(),
            None => Ok(None),
        }
    }

    /// Objects whose names begin with `prefix`, those after `after`; at most [`LIST_MAX`] of them, and [`LIST_BYTES`]. One
    /// that can't be read fails the call, so that a listing is never silently short.
    ///
    /// # Errors
    /// NotFound: no such pool. Unavailable: one of the objects can't be read.
    pub fn list_objects(&self, pool: &str, prefix: &str, after: Option<&str>) -> Result<ObjectPage> {
        let pool = self.pool(pool)?;
        // A set of copies is listed whole.
        pool.settle()?;
        let mut names = object_names(pool, |name| name.starts_with(prefix) && after.is_none_or(|after| name > after))?;
        let mut objects = Vec::with_capacity(names.len().min(LIST_MAX));
        let mut bytes = 0;
        while !names.is_empty() {
            // One more than a page holds tells that there is a next one.
            let rest = first_sorted(&mut names, LIST_MAX + 1 - objects.len());
            for name in &names {
                let Some(object) =
                    ObjectDir::open(&pool.objects, name)?.map(|dir| dir.describe()).transpose()?.flatten()
                else {
                    continue;
                };
                bytes += bytes_in_a_guest(&object);
                if objects.len() == LIST_MAX || (bytes > LIST_BYTES && !objects.is_empty()) {
                    let next = objects.last().map(|last: &Object| last.spec.name.clone());
                    return Ok(ObjectPage { objects, next });
                }
                objects.push(object);
            }
            names = rest;
        }
        Ok(ObjectPage { objects, next: None })
    }
}

/// The record, two words for each text, and the texts.
fn bytes_in_a_guest(object: &Object) -> usize {
    let pairs = object.spec.metadata.iter().map(|(key, value)| 16 + key.len() + value.len());
    80 + object.spec.name.len() + pairs.sum::<usize>()
}

/// Leaves the first `count` in place, sorted, and gives the others, which come after those, in no order: of a pool with many
/// objects only those are sorted that one answer holds.
fn first_sorted(names: &mut Vec<String>, count: usize) -> Vec<String> {
    if names.len() > count {
        names.select_nth_unstable(count);
    }
    let rest = names.split_off(count.min(names.len()));
    names.sort_unstable();
    rest
}

/// What is in `objects` under a valid name, as far as it is wanted.
fn object_names(pool: &Pool, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let names = pool.objects.names().during(format_args!("cannot list pool {}", pool.path.display()))?;
    Ok(names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| wanted(name))
        .filter(|name| bulkhead_domain::limits::object_name("name", name).is_ok())
        .collect())
}

impl Pool {
    fn stat(&self) -> Result<StatVfs> {
        fstatvfs(&self.objects).during(format_args!("cannot read the size of pool {}", self.path.display()))
    }
}

fn total(stat: &StatVfs) -> u64 {
    stat.f_blocks.saturating_mul(stat.f_frsize)
}

/// Bytes that are promised to directories.
fn thick_directories(pool: &Pool) -> Result<u64> {
    let mut sum = 0u64;
    for name in object_names(pool, |_| true)? {
        let Some(object) = ObjectDir::open(&pool.objects, &name)? else { continue };
        match object.meta()? {
            Some(meta) if meta.kind == ObjectKind::Directory && meta.provisioning == Provisioning::Thick => {
                sum = sum.saturating_add(meta.size_bytes);
            }
            _ => {}
        }
    }
    Ok(sum)
}

/// Has the file system of a pool's directory answer: what the kernel has cached won't do. May take for ever.
///
/// # Errors
/// What the kernel says; it has answered then, too.
pub fn look(path: &std::path::Path) -> std::io::Result<()> {
    let directory = crate::dir::Dir::open(path)?;
    fstatvfs(&directory)?;
    Ok(())
}

/// Tries FICLONE on two files in `tmp`.
pub(super) fn probe_reflinks(tmp: &crate::dir::Dir) -> IoResult<bool> {
    let name = super::trash::unique_name()?;
    let (from, to) = (format!("{name}.from"), format!("{name}.to"));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let outcome = (|| {
        let mut source = tmp.file(&from, flags, 0o600)?;
        let target = tmp.file(&to, flags, 0o600)?;
        if source.write_all(&[1; 4096]).is_err() {
            return Ok(false);
        }
        Ok(ioctl_ficlone(&target, &source).is_ok())
    })();
    tmp.remove_file(&from)?;
    tmp.remove_file(&to)?;
    outcome
}
