//! The model: what there is, and what a call must answer. Written from the specification and from what the docs of the host
//! and of the local backend say, not from their code's structure: nothing here knows of locks, objects or components.
//!
//! Where more than one thing may be true (a call was cut short, a file system may or may not say that space was never
//! written) there are several worlds, and each answer leaves those that it fits.

mod access;
mod attach;
mod cut;
mod inline;
mod node;
mod snapshots;
mod volumes;

pub use access::MIB;
pub use cut::add;

use super::{
    calls::{Call, Cap, Create, Source},
    client::Reply,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use tonic::Code;

pub const POOLS: [&str; 2] = ["fast", "slow"];
/// Most volumes attached to one node.
pub const SLOTS: usize = 3;

/// What is on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Blank,
    Fs(&'static str),
    /// What a pod wrote to the raw device.
    Raw,
    /// A file system that was being made when the host died, and a copy of that.
    Murky,
}

/// How a volume is attached to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    pub read_only: bool,
    pub cap: Cap,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    pub name: String,
    pub pool: &'static str,
    pub image: bool,
    pub size: u64,
    /// Bytes of its image: more than its size where growing was cut short.
    pub file: u64,
    /// The file system that it was made for.
    pub fs: Option<&'static str>,
    pub thick: bool,
    /// It has been thick, so that nobody can be sure what counts as written.
    pub was_thick: bool,
    /// The request, without what a repeat may change.
    pub made: Create,
    pub copied: bool,
    pub nodes: BTreeMap<&'static str, Way>,
    pub content: Content,
    /// What a pod wrote last; 0 = nothing.
    pub tag: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub group: String,
    pub number: usize,
    pub count: usize,
    pub sources: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub pool: &'static str,
    pub source: String,
    pub image: bool,
    pub size: u64,
    pub fs: Option<&'static str>,
    pub was_thick: bool,
    pub content: Content,
    pub tag: u64,
    pub member: Option<Member>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Not cut short.
    pub whole: bool,
    pub read_only: bool,
    pub cap: Cap,
}

/// What the node has of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Not cut short.
    pub whole: bool,
    /// The volume counts as in use.
    pub marked: bool,
    pub path: u8,
    pub cap: Cap,
    pub image: bool,
    /// The device or mount is for reading only.
    pub read_only: bool,
    pub targets: BTreeMap<u8, Target>,
    /// An inline ephemeral volume, and what a pod wrote to it.
    pub inline: Option<(super::calls::Inline, u64)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub csi_1_13: bool,
    /// Mounts are real.
    pub kernel: bool,
    /// Pools can share extents between files.
    pub reflinks: bool,
    pub volumes: BTreeMap<String, Volume>,
    pub snapshots: BTreeMap<String, Snapshot>,
    pub node: BTreeMap<String, Record>,
}

type Check = Rc<dyn Fn(&Reply) -> Result<(), String>>;

/// What a call may answer.
#[derive(Clone)]
pub enum Expect {
    Refused(Code),
    Ok(Check),
}

/// One thing that a call may come to.
#[derive(Clone)]
pub struct Branch {
    pub expect: Expect,
    pub next: World,
}

impl Branch {
    /// The answer fits.
    pub fn fits(&self, answer: &Result<Reply, tonic::Status>) -> Result<(), String> {
        match (&self.expect, answer) {
            (Expect::Ok(check), Ok(reply)) => check(reply),
            (Expect::Refused(code), Err(status)) if status.code() == *code => Ok(()),
            (Expect::Ok(_), Err(_)) => Err("OK".to_owned()),
            (Expect::Refused(code), _) => Err(format!("{code:?}")),
        }
    }
}

/// Something that a reply must be.
pub fn want(right: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(what()) }
}

pub fn hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..16])
}

/// The id of a volume, as docs/backends/local.md has it, for the few names that are used here.
pub fn volume_id(pool: &str, name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric()) && !name.is_empty();
    if plain {
        return format!("{pool}/{name}");
    }
    let kept: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{pool}/{kept}_{}", hash(name))
}

pub fn snapshot_id(pool: &str, name: &str) -> String {
    format!("{pool}/_s_{name}")
}

pub fn group_id(pool: &str, name: &str) -> String {
    format!("{pool}/_m_{}", hash(name))
}

/// A granted pool that the id names; and whether the id names another one.
pub fn pool_of(id: &str) -> Option<&'static str> {
    POOLS.into_iter().find(|pool| id.split_once('/').is_some_and(|(named, _)| named == *pool))
}

impl World {
    pub fn new(csi_1_13: bool, kernel: bool, reflinks: bool) -> Self {
        Self { csi_1_13, kernel, reflinks, volumes: BTreeMap::new(), snapshots: BTreeMap::new(), node: BTreeMap::new() }
    }

    pub fn refuse(&self, code: Code) -> Vec<Branch> {
        vec![Branch { expect: Expect::Refused(code), next: self.clone() }]
    }

    pub fn ok(&self, check: impl Fn(&Reply) -> Result<(), String> + 'static) -> Vec<Branch> {
        vec![Branch { expect: Expect::Ok(Rc::new(check)), next: self.clone() }]
    }

    /// OK, or one of these codes: where only the kernel knows.
    pub fn either(&self, codes: &[Code]) -> Vec<Branch> {
        let refused = codes.iter().flat_map(|code| self.refuse(*code));
        self.ok(|_| Ok(())).into_iter().chain(refused).collect()
    }

    pub fn with_volume(&self, id: &str, change: impl FnOnce(&mut Volume)) -> Self {
        let mut next = self.clone();
        if let Some(volume) = next.volumes.get_mut(id) {
            change(volume);
        }
        next
    }

    pub fn with_record(&self, id: &str, record: Record) -> Self {
        let mut next = self.clone();
        next.node.insert(id.to_owned(), record);
        next
    }

    pub fn without_record(&self, id: &str) -> Self {
        let mut next = self.clone();
        next.node.remove(id);
        next
    }

    /// What `call` may come to, undisturbed.
    pub fn step(&self, call: &Call) -> Vec<Branch> {
        use Code::{Aborted, NotFound, Unimplemented};
        match call {
            Call::CreateVolume(create) => self.create(create),
            Call::DeleteVolume { volume } => self.delete(volume),
            Call::Attach { volume, node, cap, read_only } => self.attach(volume, node, *cap, *read_only),
            Call::Detach { volume, node } => self.detach(volume, node),
            Call::Validate { volume, caps, pool, kind, mutable } => self.validate(volume, caps, pool, kind, mutable),
            Call::Expand { volume, required, limit, cap } => self.expand(volume, *required, *limit, *cap),
            Call::Modify { volume, key, value } => self.modify(volume, key, value),
            Call::Capacity { cap, pool, provisioning } => self.capacity(*cap, pool, provisioning),
            Call::CreateSnapshot { name, volume, parameter, zone } => self.snapshot(name, volume, *parameter, *zone),
            Call::DeleteSnapshot { snapshot } => self.delete_snapshot(snapshot),
            Call::GetSnapshot { snapshot } => self.get_snapshot(snapshot),
            Call::ListSnapshots { volume, snapshot, .. } => self.list_snapshots(volume, snapshot),
            Call::CreateGroup { name, volumes, parameter } => self.group(name, volumes, *parameter),
            Call::DeleteGroup { group, members } => self.delete_group(group, members),
            Call::GetGroup { group, members } => self.get_group(group, members),
            Call::Allocated { snapshot, offset, .. } => self.allocated(snapshot, *offset),
            Call::Delta { base, target, offset, .. } => self.delta(base, target, *offset),
            Call::Stage { volume, path, cap, read_only } => self.stage(volume, *path, *cap, *read_only),
            Call::Unstage { volume, path } => self.unstage(volume, *path),
            Call::Publish { volume, path, pod, cap, read_only } => self.publish(volume, *path, *pod, *cap, *read_only),
            Call::Unpublish { volume, pod } => self.unpublish(volume, *pod),
            Call::Inline(inline) => self.inline(inline),
            Call::Stats { volume, at } => self.stats(volume, *at),
            Call::NodeExpand { volume, at, required, limit } => self.node_expand(volume, *at, *required, *limit),
            Call::NodeHealth { volume, at } => self.node_health(volume, *at),
            Call::Write { volume, pod, tag } => self.write(volume, *pod, *tag),
            Call::BadToken { .. } => self.refuse(Aborted),
            Call::ListVolumes { .. } => self.list_volumes(),
            Call::GetVolume { volume } => self.get_volume(volume),
            Call::VolumeHealth { .. } | Call::ListHealth { .. } | Call::StorageHealth if !self.csi_1_13 => {
                self.refuse(Unimplemented)
            }
            Call::VolumeHealth { volume } if !self.volumes.contains_key(volume) => self.refuse(NotFound),
            Call::VolumeHealth { .. } | Call::ListHealth { .. } | Call::StorageHealth => self.ok(healthy),
            Call::Identity | Call::NodeInfo => self.ok(|reply| match reply {
                Reply::Facts(_) => Ok(()),
                other => Err(format!("facts, not {other:?}")),
            }),
        }
    }

    /// The volume that a name stands for, in whichever pool.
    pub fn named(&self, name: &str) -> Option<(&String, &Volume)> {
        self.volumes.iter().find(|(_, volume)| volume.name == name)
    }

    pub fn in_use(&self, id: &str) -> bool {
        self.node.get(id).is_some_and(|record| record.marked && record.inline.is_none())
    }

    /// Copies of volumes as they are at one moment, with so many bytes each: what else may come of it than `done`.
    ///
    /// A directory that is written to can't be held still, nor a raw device, unless it is alone and its pool shares extents.
    /// An image that is larger than the copy is one whose growing was cut short.
    fn copied(&self, sources: &[(&str, u64)], done: Vec<Branch>) -> Vec<Branch> {
        let (mut never, mut maybe) = (false, false);
        for (id, size) in sources {
            let Some(volume) = self.volumes.get(*id) else { continue };
            never |= volume.image && volume.file > *size;
            let Some(record) = self.node.get(*id).filter(|r| !r.read_only && r.inline.is_none()) else { continue };
            never |= !volume.image && record.marked;
            let raw = self.kernel && volume.image && record.cap.is_block() && !(self.reflinks && sources.len() == 1);
            never |= raw && record.whole;
            maybe |= raw;
        }
        match (never, maybe) {
            (true, _) => self.refuse(Code::FailedPrecondition),
            (false, true) => [done, self.refuse(Code::FailedPrecondition)].concat(),
            (false, false) => done,
        }
    }

    /// Members of a group that are there, by id.
    pub fn members<'a>(&'a self, group: &'a str) -> impl Iterator<Item = (&'a String, &'a Snapshot, &'a Member)> {
        let all = self.snapshots.iter().filter_map(|(id, snapshot)| Some((id, snapshot, snapshot.member.as_ref()?)));
        all.filter(move |(_, _, member)| member.group == group)
    }
}

pub fn healthy(reply: &Reply) -> Result<(), String> {
    match reply {
        Reply::Health(problems) => want(problems.is_empty(), || "no problem".to_owned()),
        other => Err(format!("a health, not {other:?}")),
    }
}

/// A volume's source, as the wire has it.
pub fn source_text(source: Option<&Source>) -> String {
    match source {
        None => String::new(),
        Some(Source::Volume(id)) => format!("volume:{id}"),
        Some(Source::Snapshot(id)) => format!("snapshot:{id}"),
    }
}
