//! Which operations are killed, on what, and which failpoints each of them must come by.

use bulkhead_node::failpoint;
use bulkhead_tests::client::Use;

/// A kind of volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Ext4,
    Xfs,
    Block,
    Directory,
}

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Create,
    Delete,
    /// ControllerExpandVolume of a published volume.
    Expand,
    Stage,
    Publish,
    PublishReadOnly,
    Unpublish,
    Unstage,
    NodeExpand,
}

/// What the volume has been through before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Empty,
    /// It holds data.
    Data,
    /// It holds data, and was expanded while it was not staged.
    Grown,
}

/// One operation on one kind of volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub variant: Variant,
    pub op: Op,
    pub start: Start,
}

impl Variant {
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Block, Self::Directory];

    pub fn usage(self) -> Use {
        match self {
            Self::Ext4 => Use::Mount("ext4"),
            Self::Xfs => Use::Mount("xfs"),
            Self::Block => Use::Block,
            Self::Directory => Use::Mount(""),
        }
    }

    pub fn parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Directory => &[("type", "directory")],
            _ => &[],
        }
    }

    /// Bytes of a new volume.
    pub fn size(self) -> i64 {
        match self {
            Self::Xfs => 300 << 20,
            _ => 16 << 20,
        }
    }

    pub fn has_device(self) -> bool {
        self != Self::Directory
    }

    pub fn is_formatted(self) -> bool {
        matches!(self, Self::Ext4 | Self::Xfs)
    }

    /// All operations on it.
    pub fn cases(self) -> Vec<Case> {
        use {Op::*, Start::*};
        let mut cases = vec![(Create, Empty), (Delete, Data), (Stage, Data), (Publish, Data), (PublishReadOnly, Data)];
        cases.extend([(Unpublish, Data), (Unstage, Data), (Expand, Data), (NodeExpand, Data)]);
        if self.is_formatted() {
            cases.extend([(Stage, Empty), (Stage, Grown), (NodeExpand, Grown)]);
        }
        cases.into_iter().map(|(op, start)| Case { variant: self, op, start }).collect()
    }
}

/// Of disks and exports, which no backend here has: `host/node/tests/kernel`.
pub const ELSEWHERE: [&str; 4] = ["stage.claimed", "stage.opened", "unstage.wiped", "unstage.flushed"];

impl Case {
    /// Every failpoint that the operation comes by, in order.
    pub fn failpoints(self) -> Vec<&'static str> {
        failpoint::ALL.iter().copied().filter(|name| self.comes_by(name)).collect()
    }

    fn comes_by(self, name: &str) -> bool {
        let (variant, writable) = (self.variant, self.op != Op::PublishReadOnly);
        let (operation, step) = name.split_once('.').expect("OPERATION.STEP");
        let of_this = match self.op {
            Op::Create => "pool-create",
            Op::Delete => "pool-delete",
            Op::Expand => "pool-resize",
            Op::Stage => "stage",
            Op::Publish | Op::PublishReadOnly => "publish",
            Op::Unpublish => "unpublish",
            Op::Unstage => "unstage",
            Op::NodeExpand => "expand",
        };
        operation == of_this
            && match (operation, step) {
                ("pool-resize", "grown") | ("stage", "attached") | ("expand", "capacity") => variant.has_device(),
                // Where the node grows objects: see `pernode`.
                ("expand", "object") => false,
                ("stage", "mounted") => variant != Variant::Block,
                ("stage", "format-intent" | "formatted" | "format-done") => {
                    variant.is_formatted() && self.start == Start::Empty
                }
                ("stage", "grown-offline") => variant == Variant::Ext4 && self.start == Start::Grown,
                ("stage", "grown-online") => variant == Variant::Xfs,
                // A read-only view of a raw device is a device of its own.
                // Only where a log is to be replayed for a reader: see `more`.
                ("stage", "replay-attached" | "replayed") => false,
                _ if ELSEWHERE.contains(&name) => false,
                ("publish", "attached") => variant == Variant::Block && !writable,
                ("expand", "grown") => variant.has_device() && !self.kernel_refuses_to_grow(),
                _ => true,
            }
    }

    /// ext4 grows while mounted only with CAP_SYS_RESOURCE.
    pub fn kernel_refuses_to_grow(self) -> bool {
        const SYS_RESOURCE: u32 = 24;
        let status = std::fs::read_to_string("/proc/self/status").expect("the own status");
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("CapEff");
        let effective = u64::from_str_radix(effective.trim(), 16).expect("a mask");
        let ext4 = self.variant == Variant::Ext4 && self.op == Op::NodeExpand && self.start == Start::Data;
        ext4 && effective & (1 << SYS_RESOURCE) == 0
    }

    /// Whether the object is in use on a node once the operation was killed at that failpoint. None: it is not there.
    pub fn in_use_after(self, name: &str) -> Option<bool> {
        match (self.op, name.split_once('.').expect("OPERATION.STEP").1) {
            (Op::Create, "done") => Some(false),
            (Op::Create | Op::Delete, _) => None,
            (Op::Stage, "intent") | (Op::Unstage, "unmarked" | "done") => Some(false),
            _ => Some(true),
        }
    }

    /// The volume is to be twice as large in the end.
    pub fn expands(self) -> bool {
        self.start == Start::Grown || matches!(self.op, Op::Expand | Op::NodeExpand)
    }
}

#[test]
fn every_failpoint_of_the_host_is_in_some_case() {
    let cases = Variant::ALL.iter().flat_map(|v| v.cases()).flat_map(Case::failpoints);
    let cases = cases.chain(super::more::FAILPOINTS.iter().flat_map(|names| names.iter().copied()));
    let covered: Vec<_> = cases.chain(super::pernode::FAILPOINTS).collect();
    let covered: Vec<_> = covered.into_iter().chain(ELSEWHERE).collect();
    let missing: Vec<_> = failpoint::ALL.iter().filter(|name| !covered.contains(name)).collect();
    assert!(missing.is_empty(), "nothing is killed at {missing:?}: add a case");
}
