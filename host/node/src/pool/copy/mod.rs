//! Copying a set of objects at one moment.
//!
//! What nobody writes to is copied first. Then the file systems on all other sources are frozen, all are cut, and all
//! are thawed: nothing else happens in between. Growing, allocating, syncing and metadata come after the thaw, then
//! the set is put in place as one.

mod bytes;
mod source;
mod tree;

use self::bytes::How;
use self::source::{Payload, Source};
use super::freeze::Freezer;
use super::live::{Activity, Filesystem, flush, write_out};
use super::object::{DATA, IMAGE, ObjectDir, allocate};
use super::placing::Move;
use super::store::{Pool, PoolStore, check, taken};
use super::trash::Maker;
use super::types::{CopyOrder, Object, Provisioning};
use crate::dir::Dir;
use crate::error::{Context, IoResult};
use crate::failpoint;
use bulkhead_domain::{Error, Result, limits};
use rustix::fs::{OFlags, ftruncate};
use std::collections::BTreeSet;
use std::fs::File;

impl PoolStore {
    /// Copies objects of one pool at one moment: all copies are made or none, also if the process dies. Gives them in
    /// the order in which they were asked for. Nothing to copy is fine.
    ///
    /// A source that is staged with a file system is frozen for as long as the cut takes, all of a set together. One that
    /// is in use as a raw device is cut as a crash would leave it, by itself only. One object can be copied several times.
    ///
    /// # Errors
    /// NotFound: no such pool or source. AlreadyExists: a target's name is taken. InvalidArgument: a name, metadata,
    /// another kind than the source's or less than its size. OutOfRange: the file system can't hold a file of that size.
    /// ResourceExhausted: no space, or more than the whole pool. FailedPrecondition: a source can't be cut as it is used; the text says why. Aborted:
    /// another operation on a source is in progress, or somebody else has frozen it. After each of these nothing is
    /// left. Unavailable: that is not certain.
    pub fn copy_objects(&self, pool: &str, copies: &[CopyOrder]) -> Result<Vec<Object>> {
        let (name, pool) = (pool, self.pool(pool)?);
        check_orders(copies)?;
        if copies.is_empty() {
            return Ok(Vec::new());
        }
        // What is never written to may be as large as its source, however large that was let grow.
        for order in copies.iter().filter(|order| !order.read_only) {
            self.at_most_all(name, order.target.size_bytes)?;
        }
        // One of the targets may be there already, but for a crash.
        pool.settle()?;
        // Only to spare the work: what decides is the commit.
        for order in copies {
            if ObjectDir::open(&pool.objects, &order.target.name)?.is_some() {
                return Err(taken(&order.target.name));
            }
        }
        let sources = source::open_all(pool, copies, &self.node_id)?;
        source::check_together(pool, &sources)?;
        let set = Set::new(pool, copies, &sources)?;
        set.copy_quiet()?;
        failpoint::hit("pool-copy.made")?;
        set.cut(&sources, &self.node_id)?;
        let objects = set.complete()?;
        failpoint::hit("pool-copy.written")?;
        pool.commit(set.moves())?.place()?;
        failpoint::hit("pool-copy.done")?;
        Ok(objects)
    }
}

fn check_orders(copies: &[CopyOrder]) -> Result<()> {
    let mut names = BTreeSet::new();
    for order in copies {
        limits::object_name("name of a source", &order.source).map_err(Error::invalid_argument)?;
        limits::object_name("name of a copy", &order.target.name).map_err(Error::invalid_argument)?;
        check(order.target.size_bytes, &order.target.metadata)?;
        if !names.insert(&order.target.name) {
            return Err(Error::invalid_argument(format_args!("two copies are to be named {}", order.target.name)));
        }
    }
    Ok(())
}

/// A copy in the making.
struct Target<'a> {
    order: &'a CopyOrder,
    source: &'a Source,
    maker: Maker<'a>,
    dir: Dir,
    image: Option<File>,
    /// An earlier copy of the same source, to copy from.
    earlier: Option<usize>,
}

/// All copies in the making. What is not put in place goes when this is dropped.
struct Set<'a> {
    pool: &'a Pool,
    targets: Vec<Target<'a>>,
}

impl Drop for Set<'_> {
    fn drop(&mut self) {
        for target in &self.targets {
            // Those of a set that was decided on belong there, even if they are not there yet.
            if !Pool::is_claimed(&self.pool.placing, &target.maker.name) {
                self.pool.discard(&self.pool.tmp, &target.maker.name);
            }
        }
    }
}

impl<'a> Set<'a> {
    fn new(pool: &'a Pool, copies: &'a [CopyOrder], sources: &'a [Source]) -> Result<Self> {
        let mut set = Self { pool, targets: Vec::with_capacity(copies.len()) };
        for order in copies {
            let what = || format!("cannot make object {}", order.target.name);
            let source = sources.iter().find(|source| source.name() == order.source);
            let source = source.ok_or_else(|| Error::internal("a source was not opened"))?;
            let maker = Maker::new(&pool.tmp).during(what())?;
            pool.tmp.make_dir(&maker.name, 0o700).during(what())?;
            let made = pool.skeleton(&maker.name, source.meta.kind).during(what());
            let made = made.inspect_err(|_| pool.discard(&pool.tmp, &maker.name))?;
            let earlier = set.targets.iter().position(|target| std::ptr::eq(target.source, source));
            set.targets.push(Target { order, source, maker, dir: made.dir, image: made.image, earlier });
        }
        Ok(set)
    }

    fn moves(&self) -> Vec<Move> {
        let one = |target: &Target| Move { from: target.maker.name.clone(), object: target.order.target.name.clone() };
        self.targets.iter().map(one).collect()
    }

    /// How images are copied in this pool while time does not matter.
    fn how(&self) -> How {
        if self.pool.reflinks { How::Shared } else { How::Copied }
    }

    /// Copies what nobody writes to.
    fn copy_quiet(&self) -> Result<()> {
        for target in self.targets.iter().filter(|target| target.source.is_quiet()) {
            match &target.source.payload {
                Payload::Directory(data) => tree::copy(data, &target.data()?)?,
                Payload::Image(image) => copy_image(image, target, self.how())?,
            }
        }
        Ok(())
    }

    /// Copies what is in use, everything at once.
    fn cut(&self, sources: &[Source], node_id: &str) -> Result<()> {
        let live: Vec<&Target> =
            self.targets.iter().filter(|target| !target.source.is_quiet() && target.earlier.is_none()).collect();
        let mut filesystems: Vec<&Filesystem> = Vec::new();
        for target in &live {
            let Payload::Image(image) = &target.source.payload else { continue };
            match &target.source.activity {
                Activity::Quiet => {}
                Activity::Raw(devices) => flush(devices)?,
                Activity::Mounted(mounted) => {
                    write_out(mounted, image)?;
                    filesystems.extend(mounted);
                }
            }
        }
        let mut freezer = None;
        if !filesystems.is_empty() {
            let noted = freezer.insert(Freezer::note(self.pool, node_id, &filesystems)?);
            failpoint::hit("pool-copy.freezing")?;
            for filesystem in filesystems {
                noted.freeze(filesystem)?;
            }
            failpoint::hit("pool-copy.frozen")?;
            // A fast writer may have added much since this was first asked.
            source::check_together(self.pool, sources)?;
        }
        for target in live {
            let Payload::Image(image) = &target.source.payload else { continue };
            target.fill(|to| bytes::copy(image, to, self.how()))?;
        }
        if let Some(freezer) = freezer {
            failpoint::hit("pool-copy.cut")?;
            freezer.thaw()?;
            failpoint::hit("pool-copy.thawed")?;
        }
        for target in self.targets.iter().filter(|target| !target.source.is_quiet()) {
            if let Some(Some(first)) = target.earlier.map(|earlier| &self.targets[earlier].image) {
                copy_image(first, target, self.how())?;
            }
        }
        Ok(())
    }

    /// Gives all copies their size and metadata, durably.
    fn complete(&self) -> Result<Vec<Object>> {
        let mut objects = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            match &target.image {
                Some(image) => target.set_size(image, self.pool.reflinks)?,
                // Thousands of small files: all of the file system at once.
                None => rustix::fs::syncfs(&self.pool.tmp)
                    .during(format_args!("cannot sync pool {}", self.pool.path.display()))?,
            }
            let dir = self.pool.tmp.dir(&target.maker.name).during("cannot open a copy")?;
            objects.push(Pool::complete(dir, &target.order.target, target.order.read_only)?);
        }
        Ok(objects)
    }
}

impl Target<'_> {
    fn what(&self) -> String {
        format!("cannot copy object {} to {}", self.order.source, self.order.target.name)
    }

    fn data(&self) -> Result<Dir> {
        self.dir.dir(DATA).during(self.what())
    }

    fn fill(&self, copy: impl FnOnce(&File) -> IoResult<()>) -> Result<()> {
        self.image.as_ref().map_or(Ok(()), copy).during(self.what())
    }

    fn set_size(&self, image: &File, shared: bool) -> Result<()> {
        let size = self.order.target.size_bytes;
        ftruncate(image, size).during(self.what())?;
        if self.order.target.provisioning == Provisioning::Thin {
            return image.sync_all().during(self.what());
        }
        if !shared || bytes::unshare(image, size).during(self.what())? {
            allocate(image, size).during(self.what())?;
            return image.sync_all().during(self.what());
        }
        // Not even the file system can take extents apart: byte by byte.
        let apart = format!("{IMAGE}.apart");
        let own = self.dir.file(&apart, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, 0o600).during(self.what())?;
        bytes::copy_apart(image, &own)
            .and_then(|()| allocate(&own, size))
            .and_then(|()| rustix::fs::fsync(&own))
            .and_then(|()| rustix::fs::renameat(&self.dir, &apart, &self.dir, IMAGE))
            .during(self.what())
    }
}

/// Sharing can be refused for a single file; nobody writes to it, so its bytes can be copied instead.
fn copy_image(from: &File, target: &Target, how: How) -> Result<()> {
    target.fill(|to| match bytes::copy(from, to, how) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL | rustix::io::Errno::XDEV)
            if how == How::Shared =>
        {
            bytes::copy(from, to, How::Copied)
        }
        other => other,
    })
}
