//! Tests in a virtual machine, for what the kernel of a developer's machine may lack: NFS, NVMe over TCP, SCSI, device mapper.
//!
//! [`runner`] is the machine's outside: it boots one and runs test programs in it. All else is for those programs, inside:
//! servers, targets and devices that are gone when they are dropped. They act on the whole machine, so each of their
//! constructors refuses to run elsewhere, and tests with them run one after the other. What fails panics. `README.md` says how
//! to add a test.

pub mod disk;
pub mod dm;
pub mod loopdev;
pub mod machine;
pub mod mounted;
pub mod nfs;
pub mod nvme;
pub mod runner;
pub mod scsi;

pub use disk::{ById, by_id};
pub use dm::{Dm, Segment};
pub use loopdev::Loop;
pub use mounted::Mounted;
pub use nfs::{LockDaemon, NfsServer, Squash, Version};
pub use nvme::{NvmeController, NvmeTarget};
pub use scsi::{LunTarget, ScsiDebug};

/// One mebibyte in bytes.
pub const MIB: u64 = 1 << 20;
