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
//! | `fs` | probing, making, checking, growing and mounting file systems |
//! | `helper` | runs mkfs and its like |
//! | [`failpoint`] | where tests make the process die, wait or fail |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod dir;
mod engine;
mod error;
pub mod failpoint;
mod fence;
mod fs;
mod helper;
mod journal;
mod lock;
mod loopdev;
mod mounts;
pub mod pool;
mod process;
mod sys;

pub use engine::{Engine, EngineConfig, VolumeSummary, transports};
pub use fence::check_kubelet_root;
pub use lock::{LOCK_FILE, LockGuard, lock_dir};
pub use process::forbid_core_dumps;
