//! Pools: directories that the operator names, in which backends keep objects.
//!
//! ```text
//! POOL/objects/NAME/meta.json    what the object is, with its version
//!                  /lock         flock(2): staging, deleting, growing, copying
//!                  /image        an image's bytes, or
//!                  /data/        a directory's files; nodes may mount it from a server, so where it is stays as it is
//!                  /users/ID     one file for each volume of a node that has it staged
//!     /tmp/UNIQUE/               an object in the making
//!         UNIQUE.lock            its maker is alive
//!     /trash/UNIQUE/             an object being removed
//!     /placing/UNIQUE            a set of copies that is made: what goes from `tmp` to which name
//!     /freezing/UNIQUE           what is frozen for a cut, flock(2)ed by whoever does it
//!     /names.lock                flock(2): putting in place, one object shared, a set exclusive
//! ```
//!
//! An object is made below `tmp` and moved into `objects` by one rename, and deleted by one rename into `trash`, so it
//! appears and vanishes as one, with its metadata, whatever happens in between. A set of copies is there once its record is
//! in `placing`: the renames are then made by whoever comes by. While that goes on, others may see a part of the set.
//! Nothing but rename, fsync, flock and sparse files is asked of the file system: no extended attributes, no reflinks;
//! NFS will do. Where extents can be shared, copies share them.
//!
//! When a pool is opened, what dead processes left frozen is thawed first, then sets of copies are finished, then what
//! crashes left in `tmp` and `trash` is removed. Several processes may share a pool, so only what nobody is at work on
//! goes: before it makes anything, a maker locks a file beside it, and that lock ends with the process. What is in `trash`
//! is dead, and two may remove it at once.

mod copy;
mod extents;
mod fiemap;
mod freeze;
mod live;
mod make;
mod object;
mod placing;
mod promised;
mod resize;
mod stat;
mod store;
mod trash;
mod types;
mod update;
mod users;

pub(crate) use object::LockedObject;
pub use stat::look;
pub use store::PoolStore;
pub use types::{
    CopyOrder, Created, DEFAULT_COPY_LIMIT_BYTES, EXTENTS_MAX, Extent, ExtentPage, LIST_BYTES, LIST_MAX, Object,
    ObjectKind, ObjectPage, ObjectSpec, PoolConfig, PoolInfo, Provisioning, Updated,
};
pub(crate) use users::User;
