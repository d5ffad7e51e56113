//! The node: what is staged and published.

use super::{
    Branch, Content, Record, Target, World,
    access::{Access, MIB},
    healthy, pool_of, want,
};
use crate::{
    calls::{At, Cap},
    client::Reply,
};
use std::collections::BTreeMap;
use tonic::Code::{AlreadyExists, FailedPrecondition, NotFound, OutOfRange, Unimplemented};

impl World {
    pub(super) fn stage(&self, id: &str, path: u8, cap: Cap, attached_read_only: bool) -> Vec<Branch> {
        if !id.contains('/') || id.contains("/_") {
            return self.refuse(NotFound);
        }
        if !self.can_be_planned(id, cap) {
            return self.refuse(FailedPrecondition);
        }
        let read_only = attached_read_only || cap.is_reader_only();
        match self.node.get(id) {
            Some(record) if record.inline.is_some() => self.refuse(FailedPrecondition),
            Some(record) if record.whole && record.path != path => self.refuse(FailedPrecondition),
            Some(record) if record.whole && record.cap != cap => self.refuse(AlreadyExists),
            Some(record) if record.whole => self.ok(|_| Ok(())),
            Some(_) => self.settled(id).iter().flat_map(|world| world.stage_all(id, path, cap, read_only)).collect(),
            None => self.stage_all(id, path, cap, read_only),
        }
    }

    /// Such a use of the volume is possible, whatever is on it.
    pub(super) fn can_be_planned(&self, id: &str, cap: Cap) -> bool {
        let volume = self.volumes.get(id);
        // Who knows nothing of a volume takes it for an image that was made for anything.
        let (image, fs) = volume.map_or((true, None), |volume| (volume.image, volume.fs));
        let served = |pool| Access::of(&[cap]).is_some_and(|access| access.served_by(image, pool, fs));
        pool_of(id).is_some_and(served)
    }

    /// What was cut short is taken back: nothing is on the node, and a half-made file system is blanked or was whole.
    pub(super) fn settled(&self, id: &str) -> Vec<Self> {
        let without = self.without_record(id);
        match self.volumes.get(id).map(|volume| (volume.content, self.staged_fs(id))) {
            Some((Content::Murky, Some(fs))) => {
                let as_is = |content| without.with_volume(id, |volume| volume.content = content);
                vec![as_is(Content::Blank), as_is(Content::Fs(fs))]
            }
            _ => vec![without],
        }
    }

    /// The file system that staging is about.
    fn staged_fs(&self, id: &str) -> Option<&'static str> {
        let (volume, record) = (self.volumes.get(id)?, self.node.get(id)?);
        Access::of(&[record.cap])?.fs(volume.fs)
    }

    fn stage_all(&self, id: &str, path: u8, cap: Cap, read_only: bool) -> Vec<Branch> {
        let Some(volume) = self.volumes.get(id) else { return self.refuse(NotFound) };
        let staged = self.with_record(id, self.staged(id, path, cap, read_only));
        let Some(fs) = Access::of(&[cap]).and_then(|access| access.fs(volume.fs)).filter(|_| volume.image) else {
            return staged.ok(|_| Ok(()));
        };
        let formatted = || staged.with_volume(id, |volume| volume.content = Content::Fs(fs)).ok(|_| Ok(()));
        let too_small = fs == "xfs" && volume.size < 300 * MIB;
        match volume.content {
            Content::Fs(there) if there == fs => staged.ok(|_| Ok(())),
            Content::Fs(_) | Content::Raw => self.refuse(FailedPrecondition),
            Content::Blank if volume.copied || read_only || too_small => self.refuse(FailedPrecondition),
            Content::Blank => formatted(),
            Content::Murky => [formatted(), self.refuse(FailedPrecondition)].concat(),
        }
    }

    /// The record of a volume that is staged.
    pub(super) fn staged(&self, id: &str, path: u8, cap: Cap, read_only: bool) -> Record {
        let image = self.volumes.get(id).is_some_and(|volume| volume.image);
        let targets = BTreeMap::new();
        Record { whole: true, marked: true, path, cap, image, read_only, targets, inline: None }
    }

    pub(super) fn unstage(&self, id: &str, path: u8) -> Vec<Branch> {
        let here = |record: &&Record| record.inline.is_none() && record.path == path;
        let Some(record) = self.node.get(id).filter(here) else { return self.ok(|_| Ok(())) };
        let gone = || -> Vec<Branch> { self.settled(id).iter().flat_map(|world| world.ok(|_| Ok(()))).collect() };
        if record.targets.values().any(|target| target.whole) {
            return self.refuse(FailedPrecondition);
        }
        // What a publish left when it was cut short may be mounted.
        if record.targets.is_empty() { gone() } else { [gone(), self.refuse(FailedPrecondition)].concat() }
    }

    pub(super) fn publish(&self, id: &str, path: u8, pod: u8, cap: Cap, read_only: bool) -> Vec<Branch> {
        let read_only = read_only || cap.is_reader_only();
        let staged = |record: &&Record| record.inline.is_none() && record.whole;
        let Some(record) = self.node.get(id).filter(staged) else { return self.refuse(FailedPrecondition) };
        let target = Target { whole: true, read_only, cap };
        // What is at the target counts before all else.
        match record.targets.get(&pod) {
            Some(there) if *there == target && record.path == path => return self.ok(|_| Ok(())),
            Some(there) if there.whole => return self.refuse(AlreadyExists),
            _ => {}
        }
        if record.path != path || record.cap.is_block() != cap.is_block() {
            return self.refuse(FailedPrecondition);
        }
        let others: Vec<_> = record.targets.iter().filter(|(other, _)| **other != pod).map(|(_, t)| *t).collect();
        let mut next = record.clone();
        next.targets.insert(pod, target);
        let done = self.with_record(id, next).ok(|_| Ok(()));
        // One that was cut short at this target is taken back first, whatever comes of the rest.
        let mut undone = record.clone();
        undone.targets.remove(&pod);
        let refused = || self.with_record(id, undone.clone()).refuse(FailedPrecondition);
        if cap.shares() && others.iter().all(|other| other.cap.shares()) {
            return done;
        }
        if others.iter().any(|other| other.whole) {
            return refused();
        }
        if others.is_empty() { done } else { [done, refused()].concat() }
    }

    pub(super) fn unpublish(&self, id: &str, pod: u8) -> Vec<Branch> {
        let Some(record) = self.node.get(id) else { return self.ok(|_| Ok(())) };
        if let Some((inline, _)) = &record.inline {
            return if inline.pod == pod { self.without_record(id).ok(|_| Ok(())) } else { self.ok(|_| Ok(())) };
        }
        let mut next = record.clone();
        next.targets.remove(&pod);
        self.with_record(id, next).ok(|_| Ok(()))
    }

    /// Something is there, and whole or not.
    fn there(&self, id: &str, at: At) -> Option<(&Record, bool)> {
        let record = self.node.get(id)?;
        match at {
            At::Nowhere => None,
            At::Staging(path) => (record.inline.is_none() && record.path == path).then_some((record, record.whole)),
            At::Pod(pod) => match &record.inline {
                Some((inline, _)) => (inline.pod == pod).then_some((record, record.whole)),
                None => record.targets.get(&pod).map(|target| (record, target.whole && record.whole)),
            },
        }
    }

    pub(super) fn stats(&self, id: &str, at: At) -> Vec<Branch> {
        let Some((record, whole)) = self.there(id, at) else { return self.refuse(NotFound) };
        if !whole {
            return self.either(&[NotFound]);
        }
        let old = !self.csi_1_13;
        let volume = self.volumes.get(id).filter(|_| record.inline.is_none());
        let size = volume.map(|volume| (volume.size, volume.file));
        let (block, image) = (record.cap.is_block(), record.image);
        self.ok(move |reply| {
            let Reply::Usage(usage, abnormal) = reply else { return Err(format!("a usage, not {reply:?}")) };
            want(*abnormal == old.then_some(false), || "healthy".to_owned())?;
            want(usage.len() == if block { 1 } else { 2 }, || {
                "lines for bytes, and inodes of a file system".to_owned()
            })?;
            let total = u64::try_from(usage[0].total).map_err(|e| e.to_string())?;
            match size {
                Some((size, file)) if block => {
                    want([size, file].contains(&total), || format!("a device of {size} bytes"))
                }
                Some((_, size)) if image => want(total <= size && total > 0, || format!("at most {size} bytes")),
                _ => want(total > 0, || "some bytes".to_owned()),
            }
        })
    }

    pub(super) fn node_expand(&self, id: &str, at: At, required: i64, limit: i64) -> Vec<Branch> {
        if let Some(bad) = self.bad_range(required, limit) {
            return bad;
        }
        let Some((record, whole)) = self.there(id, at) else { return self.refuse(NotFound) };
        if record.inline.is_some() {
            return self.refuse(FailedPrecondition);
        }
        let settled = |volume: &&super::Volume| whole && volume.size == volume.file;
        let Some(size) = self.volumes.get(id).filter(settled).map(|volume| volume.size) else {
            return self.either(&[NotFound, FailedPrecondition, OutOfRange]);
        };
        let bytes = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
        if bytes(required).is_some_and(|required| required > size) {
            return self.refuse(FailedPrecondition);
        }
        if bytes(limit).is_some_and(|limit| limit < size) {
            return self.refuse(OutOfRange);
        }
        let grown = self.ok(move |reply| match reply {
            Reply::Bytes(bytes) => want(u64::try_from(*bytes) == Ok(size), || format!("{size} bytes")),
            other => Err(format!("a size, not {other:?}")),
        });
        // Some kernels refuse to grow what is mounted, all of them what is mounted for reading.
        let may_refuse = self.kernel && record.image && !record.cap.is_block();
        if may_refuse { [grown, self.refuse(FailedPrecondition)].concat() } else { grown }
    }

    pub(super) fn node_health(&self, id: &str, at: Option<At>) -> Vec<Branch> {
        if !self.csi_1_13 {
            return self.refuse(Unimplemented);
        }
        let whole = match at {
            None => self.node.get(id).is_some_and(|record| record.whole),
            Some(at) => self.there(id, at).is_some_and(|(_, whole)| whole),
        };
        if whole { self.ok(healthy) } else { self.refuse(NotFound) }
    }

    /// A pod can write there.
    pub fn is_writable(&self, id: &str, pod: u8) -> bool {
        let Some(record) = self.node.get(id).filter(|record| record.whole) else { return false };
        if let Some((inline, _)) = &record.inline {
            return self.kernel && inline.pod == pod && !inline.read_only;
        }
        let Some(target) = record.targets.get(&pod).filter(|target| target.whole && !target.read_only) else {
            return false;
        };
        let file_system = self.volumes.get(id).is_some_and(|volume| matches!(volume.content, Content::Fs(_)));
        let formatted_device = target.cap.is_block() && file_system;
        !record.read_only && !formatted_device
    }

    pub(super) fn write(&self, id: &str, pod: u8, tag: u64) -> Vec<Branch> {
        let mut next = self.clone();
        if let Some(record) = next.node.get_mut(id)
            && let Some((inline, written)) = &mut record.inline
            && inline.pod == pod
        {
            *written = tag;
            return next.ok(|_| Ok(()));
        }
        let raw = self.node.get(id).is_some_and(|record| record.cap.is_block());
        self.with_volume(id, |volume| {
            volume.tag = tag;
            if raw {
                volume.content = Content::Raw;
            }
        })
        .ok(|_| Ok(()))
    }
}
