//! Snapshots, groups of them, and their blocks.

use super::{
    Branch, Content, Member, Snapshot, World,
    access::{meets, zone_of},
    group_id, pool_of, snapshot_id, want,
};
use crate::{client::Reply, ground::KEY};
use bulkhead_proto::v1;
use std::collections::BTreeSet;
use tonic::Code::{
    Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted,
};

/// Where the recorder's volumes hold what a pod wrote.
const TAG_AT: i64 = 1 << 20;

impl World {
    /// A snapshot on the wire is this one.
    pub fn same_snapshot(&self, wire: &v1::Snapshot, id: &str) -> Result<(), String> {
        let Some(snapshot) = self.snapshots.get(id) else { return Err(format!("no snapshot {id}")) };
        let group = snapshot.member.as_ref().map_or("", |member| member.group.as_str());
        let place: Vec<_> = wire.accessible_topology.iter().filter_map(|t| t.segments.get(KEY)).collect();
        let wanted = if self.csi_1_13 { vec![zone_of(snapshot.pool)] } else { vec![] };
        want(wire.snapshot_id == id, || format!("snapshot {id}"))?;
        want(wire.source_volume_id == snapshot.source, || format!("{id} cut from {}", snapshot.source))?;
        want(u64::try_from(wire.size_bytes) == Ok(snapshot.size), || format!("{id} has {} bytes", snapshot.size))?;
        want(wire.ready_to_use && wire.creation_time.is_some(), || format!("{id} is ready and has a time"))?;
        want(wire.group_snapshot_id == group, || format!("{id} in group {group:?}"))?;
        want(place == wanted, || format!("{id} reachable from {wanted:?}"))
    }

    fn shows_snapshot(&self, id: &str) -> Vec<Branch> {
        let (world, id) = (self.clone(), id.to_owned());
        self.ok(move |reply| match reply {
            Reply::Snapshot(wire) => world.same_snapshot(wire, &id),
            other => Err(format!("a snapshot, not {other:?}")),
        })
    }

    fn cut_of(&self, volume: &str) -> Option<Snapshot> {
        self.volumes.get(volume).map(|v| Snapshot {
            pool: v.pool,
            source: volume.to_owned(),
            image: v.image,
            size: v.size,
            fs: v.fs,
            was_thick: v.was_thick,
            content: v.content,
            tag: v.tag,
            member: None,
        })
    }

    pub(super) fn snapshot(&self, name: &str, volume: &str, parameter: bool, zone: Option<&str>) -> Vec<Branch> {
        // A field that the older generation does not have: not looked at.
        let zone = zone.filter(|_| self.csi_1_13);
        if parameter {
            return self.refuse(InvalidArgument);
        }
        let taken = super::POOLS.into_iter().map(|pool| snapshot_id(pool, name));
        if let Some((id, snapshot)) = taken.into_iter().find_map(|id| self.snapshots.get_key_value(&id)) {
            return if snapshot.source == volume { self.shows_snapshot(id) } else { self.refuse(AlreadyExists) };
        }
        let Some(cut) = self.cut_of(volume) else { return self.refuse(NotFound) };
        if zone.is_some_and(|zone| !meets(cut.pool, &[zone])) {
            return self.refuse(ResourceExhausted);
        }
        let (id, size) = (snapshot_id(cut.pool, name), cut.size);
        let mut next = self.clone();
        next.snapshots.insert(id.clone(), cut);
        self.copied(&[(volume, size)], next.shows_snapshot(&id))
    }

    pub(super) fn delete_snapshot(&self, id: &str) -> Vec<Branch> {
        match self.snapshots.get(id) {
            None if pool_of(id).is_none() && id.contains("/_") => self.refuse(FailedPrecondition),
            None => self.ok(|_| Ok(())),
            Some(snapshot) if snapshot.member.is_some() => self.refuse(InvalidArgument),
            Some(_) => {
                let mut next = self.clone();
                next.snapshots.remove(id);
                next.ok(|_| Ok(()))
            }
        }
    }

    pub(super) fn get_snapshot(&self, id: &str) -> Vec<Branch> {
        if self.snapshots.contains_key(id) { self.shows_snapshot(id) } else { self.refuse(NotFound) }
    }

    /// An empty filter is none.
    pub(super) fn list_snapshots(&self, volume: &str, snapshot: &str) -> Vec<Branch> {
        let (world, volume, snapshot) = (self.clone(), volume.to_owned(), snapshot.to_owned());
        self.ok(move |reply| match reply {
            Reply::Snapshots(found) => world.lists_snapshots(found, &volume, &snapshot),
            other => Err(format!("snapshots, not {other:?}")),
        })
    }

    pub fn lists_snapshots(&self, found: &[v1::Snapshot], volume: &str, snapshot: &str) -> Result<(), String> {
        let wanted = self
            .snapshots
            .iter()
            .filter(|(id, s)| (volume.is_empty() || s.source == volume) && (snapshot.is_empty() || *id == snapshot));
        let wanted: Vec<_> = wanted.map(|(id, _)| id.as_str()).collect();
        let ids: Vec<_> = found.iter().map(|s| s.snapshot_id.as_str()).collect();
        want(ids == wanted, || format!("snapshots {wanted:?}"))?;
        found.iter().try_for_each(|wire| self.same_snapshot(wire, &wire.snapshot_id))
    }

    fn shows_group(&self, group: &str) -> Vec<Branch> {
        let (world, group) = (self.clone(), group.to_owned());
        self.ok(move |reply| match reply {
            Reply::Group(wire) => world.same_group(wire, &group),
            other => Err(format!("a group, not {other:?}")),
        })
    }

    pub fn same_group(&self, wire: &v1::VolumeGroupSnapshot, group: &str) -> Result<(), String> {
        let ids: BTreeSet<_> = wire.snapshots.iter().map(|s| s.snapshot_id.clone()).collect();
        let wanted: BTreeSet<_> = self.members(group).map(|(id, ..)| id.clone()).collect();
        want(wire.group_snapshot_id == group && wire.ready_to_use, || format!("group {group}, ready"))?;
        want(ids == wanted && wire.snapshots.len() == wanted.len(), || format!("members {wanted:?}"))?;
        wire.snapshots.iter().try_for_each(|wire| self.same_snapshot(wire, &wire.snapshot_id))
    }

    /// None: it is not there. Some(true): all of it is.
    pub fn group_is_whole(&self, group: &str) -> Option<bool> {
        let count = self.members(group).map(|(_, _, member)| member.count).next()?;
        Some(self.members(group).count() == count)
    }

    pub(super) fn group(&self, name: &str, volumes: &[String], parameter: bool) -> Vec<Branch> {
        let sources: BTreeSet<_> = volumes.iter().cloned().collect();
        if sources.is_empty() || sources.len() < volumes.len() || parameter {
            return self.refuse(InvalidArgument);
        }
        for pool in super::POOLS {
            let group = group_id(pool, name);
            match self.group_is_whole(&group) {
                None => {}
                // Its removal was cut short and goes on now; then the host asks the backend again.
                Some(false) => return self.without_group(&group).group(name, volumes, parameter),
                Some(true) => {
                    let same = self.members(&group).all(|(_, _, member)| member.sources == sources);
                    return if same { self.shows_group(&group) } else { self.refuse(AlreadyExists) };
                }
            }
        }
        let cuts: Vec<_> = sources.iter().filter_map(|id| self.cut_of(id)).collect();
        if cuts.len() < sources.len() {
            return self.refuse(NotFound);
        }
        let pool = cuts[0].pool;
        if cuts.iter().any(|cut| cut.pool != pool) {
            return self.refuse(FailedPrecondition);
        }
        let (group, count) = (group_id(pool, name), cuts.len());
        let sizes: Vec<_> = sources.iter().zip(&cuts).map(|(id, cut)| (id.as_str(), cut.size)).collect();
        let mut next = self.clone();
        for (number, cut) in cuts.into_iter().enumerate() {
            let member = Member { group: group.clone(), number, count, sources: sources.clone() };
            next.snapshots.insert(format!("{group}_{number:03}"), Snapshot { member: Some(member), ..cut });
        }
        self.copied(&sizes, next.shows_group(&group))
    }

    pub(super) fn without_group(&self, group: &str) -> Self {
        let mut next = self.clone();
        next.snapshots.retain(|_, s| s.member.as_ref().is_none_or(|member| member.group != group));
        next
    }

    /// What is named is not the members, all of them. Those that are gone count too.
    fn misnamed(&self, group: &str, named: &[String]) -> bool {
        let count = self.members(group).map(|(_, _, member)| member.count).next().unwrap_or(0);
        let members: BTreeSet<_> = (0..count).map(|number| format!("{group}_{number:03}")).collect();
        !named.is_empty() && named.iter().cloned().collect::<BTreeSet<_>>() != members
    }

    pub(super) fn delete_group(&self, group: &str, named: &[String]) -> Vec<Branch> {
        match self.group_is_whole(group) {
            None if pool_of(group).is_none() && group.contains("/_m_") => self.refuse(FailedPrecondition),
            None => self.ok(|_| Ok(())),
            Some(_) if self.misnamed(group, named) => self.refuse(InvalidArgument),
            Some(_) => self.without_group(group).ok(|_| Ok(())),
        }
    }

    pub(super) fn get_group(&self, group: &str, named: &[String]) -> Vec<Branch> {
        match self.group_is_whole(group) {
            None => self.refuse(NotFound),
            Some(_) if self.misnamed(group, named) => self.refuse(InvalidArgument),
            Some(false) => self.refuse(Aborted),
            Some(true) => self.shows_group(group),
        }
    }

    /// The snapshot whose blocks are asked for, if it has any; else what is answered.
    fn blocks_of(&self, id: &str) -> Result<&Snapshot, Vec<Branch>> {
        match self.snapshots.get(id) {
            None => Err(self.refuse(NotFound)),
            Some(snapshot) if !snapshot.image => Err(self.refuse(FailedPrecondition)),
            Some(snapshot) => Ok(snapshot),
        }
    }

    fn window(&self, offset: i64, size: u64) -> Option<Vec<Branch>> {
        (u64::try_from(offset).is_err() || offset >= i64::try_from(size).unwrap()).then(|| self.refuse(OutOfRange))
    }

    pub(super) fn allocated(&self, id: &str, offset: i64) -> Vec<Branch> {
        let snapshot = match self.blocks_of(id) {
            Ok(snapshot) => snapshot,
            Err(answer) if offset >= 0 => return answer,
            Err(_) => return self.refuse(OutOfRange),
        };
        if let Some(answer) = self.window(offset, snapshot.size) {
            return answer;
        }
        let (size, kernel, has_tag) = (snapshot.size, self.kernel, snapshot.tag != 0);
        let has_something = !matches!(snapshot.content, Content::Blank | Content::Murky);
        self.ok(move |reply| {
            let ranges = ranges(reply, size, offset)?;
            let tag_seen = ranges.iter().any(|(at, length)| *at <= TAG_AT && TAG_AT < at + length);
            want(kernel || !has_tag || offset > TAG_AT || tag_seen, || "the block that was written".to_owned())?;
            want(offset > 0 || !has_something || !ranges.is_empty(), || "at least one range".to_owned())
        })
    }

    pub(super) fn delta(&self, base: &str, target: &str, offset: i64) -> Vec<Branch> {
        if offset < 0 {
            return self.refuse(OutOfRange);
        }
        let (base, target) = match (self.blocks_of(base), self.blocks_of(target)) {
            (Ok(base), Ok(target)) => (base, target),
            (Err(answer), _) | (_, Err(answer)) => return answer,
        };
        if base.pool != target.pool || base.source != target.source {
            return self.refuse(InvalidArgument);
        }
        if let Some(answer) = self.window(offset, target.size) {
            return answer;
        }
        let differs = base.tag != target.tag && !self.kernel && offset <= TAG_AT;
        let (size, same) = (target.size, !self.kernel && base.tag == target.tag && base.content == target.content);
        let same = same && base.size == target.size;
        self.ok(move |reply| {
            let ranges = ranges(reply, size, offset)?;
            let seen = ranges.iter().any(|(at, length)| *at <= TAG_AT && TAG_AT < at + length);
            want(seen || !differs, || "the block that was written between".to_owned())?;
            want(!same || ranges.is_empty(), || "no range: nothing was written between".to_owned())
        })
    }
}

/// Ranges in order, within the snapshot, none that ends before `offset`.
fn ranges(reply: &Reply, size: u64, offset: i64) -> Result<Vec<(i64, i64)>, String> {
    let Reply::Blocks(capacity, ranges) = reply else { return Err(format!("ranges, not {reply:?}")) };
    want(u64::try_from(*capacity) == Ok(size), || format!("a capacity of {size}"))?;
    let mut end = 0;
    for (at, length) in ranges {
        want(*at >= end && *length > 0 && at + length <= *capacity, || "ranges in order and inside".to_owned())?;
        want(at + length > offset, || format!("ranges that end after {offset}"))?;
        end = at + length;
    }
    Ok(ranges.clone())
}
