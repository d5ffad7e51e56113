//! What becomes of volumes and snapshots, told to whoever has disks behind them: moto keeps records and no data.

use std::{fmt, sync::Arc};

/// A change that moto has made. The client has not been answered yet, and nothing else happens to that volume meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A volume is there.
    Created {
        /// Its id.
        volume: String,
        /// Its size in bytes.
        bytes: u64,
        /// What it holds at first: nothing, or this snapshot.
        snapshot: Option<String>,
    },
    /// A volume is gone.
    Deleted {
        /// Its id.
        volume: String,
    },
    /// A volume is at an instance.
    Attached {
        /// Its id.
        volume: String,
        /// The instance's.
        instance: String,
        /// The device's name, which means nothing on NVMe.
        device: String,
    },
    /// A volume is at no instance any more.
    Detached {
        /// Its id.
        volume: String,
    },
    /// A volume is larger.
    Grown {
        /// Its id.
        volume: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A snapshot is cut.
    Cut {
        /// Its id.
        snapshot: String,
        /// The volume's.
        volume: String,
    },
    /// A snapshot is gone.
    Dropped {
        /// Its id.
        snapshot: String,
    },
}

/// Whoever is told. What panics there is answered as an internal error of EC2.
#[derive(Clone)]
pub(crate) struct Disks(pub Arc<dyn Fn(Change) + Send + Sync>);

impl fmt::Debug for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disks")
    }
}
