//! Pools: directories that the operator names, in which backends keep objects.
//!
//! ```text
//! POOL/objects/NAME/meta.json    what the object is, with its version
//!                  /lock         flock(2): staging, deleting, growing
//!                  /image        an image's bytes, or
//!                  /data/        a directory's files
//!                  /users/ID     one file for each volume of a node that has it staged
//!     /tmp/UNIQUE/               an object in the making
//!         UNIQUE.lock            its maker is alive
//!     /trash/UNIQUE/             an object being removed
//! ```
//!
//! An object is made below `tmp` and moved into `objects` by one rename, and deleted by one rename into `trash`, so it
//! appears and vanishes as one, with its metadata, whatever happens in between. Nothing but rename, fsync, flock and
//! sparse files is asked of the file system: no extended attributes, no reflinks; NFS will do.
//!
//! What a crash leaves in `tmp` and `trash` is removed when the pool is opened. Several processes may share a pool, so
//! only what nobody is at work on goes: before it makes anything, a maker locks a file beside it, and that lock ends with
//! the process. What is in `trash` is dead, and two may remove it at once.

mod copy;
mod object;
mod stat;
mod store;
mod trash;
mod types;
mod users;

pub(crate) use object::LockedObject;
pub use store::PoolStore;
pub use types::{CopyOrder, Extent, ExtentPage, LIST_MAX, Object, ObjectKind, ObjectSpec, PoolInfo, Provisioning};
pub(crate) use users::User;
