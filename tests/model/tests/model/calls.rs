//! What can be asked: every call of CSI, with the few values that make a difference, and what befalls the host.

pub use bulkhead_proto::v1::volume_capability::access_mode::Mode;
pub use bulkhead_tests::client::Use;
use std::fmt;

/// How a volume is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    pub usage: Use,
    pub mode: Mode,
}

impl fmt::Debug for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.usage {
            Use::Block => write!(f, "block {:?}", self.mode),
            Use::Mount(fs) => write!(f, "mount {fs:?} {:?}", self.mode),
        }
    }
}

impl Cap {
    pub fn is_block(self) -> bool {
        self.usage == Use::Block
    }

    /// The file system that it names.
    pub fn fs(self) -> Option<&'static str> {
        match self.usage {
            Use::Mount(fs) if !fs.is_empty() => Some(fs),
            _ => None,
        }
    }

    pub fn is_multi_node(self) -> bool {
        matches!(self.mode, Mode::MultiNodeReaderOnly | Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter)
    }

    pub fn is_reader_only(self) -> bool {
        matches!(self.mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly)
    }

    /// A second target on the same node is allowed, by a driver that offers SINGLE_NODE_MULTI_WRITER.
    pub fn shares(self) -> bool {
        self.mode == Mode::SingleNodeMultiWriter || self.is_multi_node()
    }
}

/// What a volume is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Volume(String),
    Snapshot(String),
}

/// CreateVolume. An empty text is a parameter that is not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    pub name: String,
    pub caps: Vec<Cap>,
    pub pool: &'static str,
    pub kind: &'static str,
    pub provisioning: &'static str,
    pub mutable: &'static str,
    pub required: i64,
    pub limit: i64,
    pub source: Option<Source>,
    pub zones: Vec<&'static str>,
}

/// A path of a volume on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// One of two staging paths.
    Staging(u8),
    /// The target of a pod.
    Pod(u8),
    /// Somewhere else.
    Nowhere,
}

/// An inline ephemeral volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inline {
    pub volume: String,
    pub pod: u8,
    pub cap: Cap,
    pub read_only: bool,
    pub pool: &'static str,
    pub size: &'static str,
    pub kind: &'static str,
    pub fs: &'static str,
}

/// One call. Lists are walked to their end, so many entries a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Identity,
    CreateVolume(Create),
    DeleteVolume {
        volume: String,
    },
    Attach {
        volume: String,
        node: &'static str,
        cap: Cap,
        read_only: bool,
    },
    Detach {
        volume: String,
        node: &'static str,
    },
    Validate {
        volume: String,
        caps: Vec<Cap>,
        pool: &'static str,
        kind: &'static str,
        mutable: &'static str,
    },
    ListVolumes {
        max: i32,
    },
    BadToken {
        snapshots: bool,
        token: &'static str,
    },
    Capacity {
        cap: Cap,
        pool: &'static str,
        provisioning: &'static str,
    },
    CreateSnapshot {
        name: String,
        volume: String,
        parameter: bool,
        zone: Option<&'static str>,
    },
    DeleteSnapshot {
        snapshot: String,
    },
    ListSnapshots {
        volume: String,
        snapshot: String,
        max: i32,
    },
    GetSnapshot {
        snapshot: String,
    },
    Expand {
        volume: String,
        required: i64,
        limit: i64,
        cap: Option<Cap>,
    },
    GetVolume {
        volume: String,
    },
    Modify {
        volume: String,
        key: &'static str,
        value: &'static str,
    },
    VolumeHealth {
        volume: String,
    },
    ListHealth {
        max: i32,
    },
    CreateGroup {
        name: String,
        volumes: Vec<String>,
        parameter: bool,
    },
    DeleteGroup {
        group: String,
        members: Vec<String>,
    },
    GetGroup {
        group: String,
        members: Vec<String>,
    },
    Allocated {
        snapshot: String,
        offset: i64,
        max: i32,
    },
    Delta {
        base: String,
        target: String,
        offset: i64,
        max: i32,
    },
    Stage {
        volume: String,
        path: u8,
        cap: Cap,
        read_only: bool,
    },
    Unstage {
        volume: String,
        path: u8,
    },
    Publish {
        volume: String,
        path: u8,
        pod: u8,
        cap: Cap,
        read_only: bool,
    },
    Unpublish {
        volume: String,
        pod: u8,
    },
    Inline(Inline),
    Stats {
        volume: String,
        at: At,
    },
    NodeExpand {
        volume: String,
        at: At,
        required: i64,
        limit: i64,
    },
    NodeHealth {
        volume: String,
        at: Option<At>,
    },
    NodeInfo,
    StorageHealth,
    /// A pod writes.
    Write {
        volume: String,
        pod: u8,
        tag: u64,
    },
}

impl Call {
    /// Nothing can have changed, whatever happens.
    pub fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Identity
                | Self::Validate { .. }
                | Self::ListVolumes { .. }
                | Self::BadToken { .. }
                | Self::Capacity { .. }
                | Self::ListSnapshots { .. }
                | Self::GetSnapshot { .. }
                | Self::GetVolume { .. }
                | Self::VolumeHealth { .. }
                | Self::ListHealth { .. }
                | Self::GetGroup { .. }
                | Self::Allocated { .. }
                | Self::Delta { .. }
                | Self::Stats { .. }
                | Self::NodeExpand { .. }
                | Self::NodeHealth { .. }
                | Self::NodeInfo
                | Self::StorageHealth
        )
    }

    /// Its kind, for counting.
    pub fn kind(&self) -> String {
        let text = format!("{self:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    }
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Call(Call),
    /// The host is killed so many microseconds after the call was begun.
    Kill(Call, u64),
    /// The host is killed between two calls, or stopped as an operator does, and started again; from then on a failpoint
    /// is set, if one is named.
    Restart {
        stop: bool,
        failpoint: Option<(&'static str, &'static str)>,
    },
    /// All that can be seen is compared.
    Look {
        page: i32,
    },
}
