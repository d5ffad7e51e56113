//! The node half of Bulkhead: carries mount plans out and undoes them. The only crate that touches the kernel.
//!
//! Needs Linux >= 5.12 (openat2, the mount API of file descriptors, mount_setattr, LOOP_CONFIGURE), /proc mounted, and root
//! (CAP_SYS_ADMIN in the initial user namespace) for everything but directory volumes. Blocking: call it on
//! threads that may block.
//!
//! | module | holds |
//! |---|---|
//! | `engine` | the operations: what is done, in which order, and how it is undone |
//! | `journal` | what was done and is about to be done, one file for each volume |
//! | [`pool`] | objects in directories that the operator names |
//! | `fence` | paths of clients, opened beneath the kubelet root |
//! | `mounts` | the kernel's mount table |
//! | `loopdev` | loop devices |
//! | `disk` | disks that the platform attaches: which is which |
//! | `fs` | probing, making, checking, growing and mounting file systems |
//! | `nfs` | exports of NFS servers |
//! | `helper` | runs mkfs and its like |
//! | `apart` | what a server could hold up for ever, in a process that can be killed |
//! | `facts` | what this node is to a storage system: names, addresses, transports, slots in use |
//! | [`failpoint`] | where tests make the process die, wait or fail |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod apart;
mod dir;
mod disk;
mod engine;
mod error;
mod facts;
pub mod failpoint;
mod fence;
mod fs;
mod helper;
mod journal;
mod lock;
mod loopdev;
mod mounts;
mod nfs;
pub mod pool;
mod process;
mod sys;

pub use apart::helper_main;
pub use disk::DeviceConfig;
pub use engine::{Disagreement, Engine, EngineConfig, VolumeSummary};
pub use facts::{FactFinder, FoundFacts};
pub use fence::check_kubelet_root;
pub use lock::{LOCK_FILE, LockGuard, lock_dir};
pub use process::forbid_core_dumps;

/// Kinds of access that the engine carries out, by their names in the WIT. Plans of all others it refuses.
pub const CARRIED_OUT: [&str; 4] = ["local-device", "nfs", "pool-directory", "pool-image"];
