//! Inline ephemeral volumes.

use super::{Branch, Record, World, access::Access};
use crate::calls::{Cap, Inline};
use std::collections::BTreeMap;
use tonic::Code::{AlreadyExists, FailedPrecondition, InvalidArgument};

impl World {
    pub(super) fn inline(&self, wanted: &Inline) -> Vec<Branch> {
        if wanted.cap.is_block() {
            return self.refuse(FailedPrecondition);
        }
        if wanted.kind == "tape" || wanted.size == "1GB" {
            return self.refuse(InvalidArgument);
        }
        if wanted.cap.is_multi_node() || wanted.cap.is_reader_only() {
            return self.refuse(FailedPrecondition);
        }
        let named = match wanted.fs {
            "ext4" => "ext4",
            "xfs" => "xfs",
            "" => "",
            _ => return self.refuse(InvalidArgument),
        };
        let said = Cap { usage: crate::calls::Use::Mount(named), ..wanted.cap };
        if Access::of(&[wanted.cap, said]).is_none() || !["", "fast", "slow"].contains(&wanted.pool) {
            return self.refuse(FailedPrecondition);
        }
        match self.node.get(&wanted.volume) {
            None => self.inline_all(wanted),
            Some(record) => match &record.inline {
                None => self.refuse(FailedPrecondition),
                Some((there, _)) if there.pod != wanted.pod => self.refuse(FailedPrecondition),
                Some(_) if !record.whole => self.without_record(&wanted.volume).inline_all(wanted),
                Some((there, _)) if same_plan(there, wanted) => self.ok(|_| Ok(())),
                Some(_) => self.refuse(AlreadyExists),
            },
        }
    }

    fn inline_all(&self, wanted: &Inline) -> Vec<Branch> {
        let record = Record {
            whole: true,
            marked: true,
            path: 0,
            cap: wanted.cap,
            image: wanted.kind != "directory",
            read_only: false,
            targets: BTreeMap::new(),
            inline: Some((wanted.clone(), 0)),
        };
        self.with_record(&wanted.volume, record).ok(|_| Ok(()))
    }
}

/// What it comes to is the same, however it was said.
fn same_plan(a: &Inline, b: &Inline) -> bool {
    let plan = |i: &Inline| {
        let fs = i.cap.fs().or(Some(i.fs).filter(|fs| !fs.is_empty())).unwrap_or("ext4");
        let pool = if i.pool.is_empty() { "fast" } else { i.pool };
        let image = i.kind != "directory";
        // Sizes are rounded up to what the file system needs.
        let size = match (i.size, fs, image) {
            ("", ..) => "1Gi",
            (_, "xfs", true) => "300Mi",
            (size, ..) => size,
        };
        (fs, pool, image, size, i.cap, i.read_only)
    };
    plan(a) == plan(b)
}
