//! Volumes come, change and go.

use super::{
    Branch, Content, Volume, World,
    access::{Access, choose_size, meets, zone_of},
    pool_of, source_text, volume_id, want,
};
use crate::{
    calls::{Cap, Create, Source},
    client::Reply,
    ground::KEY,
};
use bulkhead_proto::v1;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted};

/// What a new volume's data comes from.
struct Origin {
    pool: &'static str,
    image: bool,
    size: u64,
    fs: Option<&'static str>,
    content: Content,
    was_thick: bool,
    tag: u64,
}

/// The request without what a repeat may change.
fn identity(c: &Create) -> Create {
    let mut caps = c.caps.clone();
    caps.sort_by_key(|cap| format!("{cap:?}"));
    caps.dedup();
    Create { caps, required: 0, limit: 0, zones: vec![], ..c.clone() }
}

/// A volume on the wire is this one.
pub fn same(wire: &v1::Volume, id: &str, volume: &Volume) -> Result<(), String> {
    use v1::volume_content_source::Type;
    let source = match wire.content_source.as_ref().and_then(|source| source.r#type.as_ref()) {
        None => String::new(),
        Some(Type::Volume(source)) => format!("volume:{}", source.volume_id),
        Some(Type::Snapshot(source)) => format!("snapshot:{}", source.snapshot_id),
    };
    let place: Vec<_> = wire.accessible_topology.iter().map(|t| t.segments.get(KEY).cloned()).collect();
    let context: BTreeMap<_, _> = wire.volume_context.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut wanted = BTreeMap::from([("type", if volume.image { "image" } else { "directory" })]);
    wanted.extend(volume.fs.map(|fs| ("fsType", fs)));
    wanted.extend(volume.copied.then_some(("content", "copied")));
    want(wire.volume_id == id, || format!("volume {id}"))?;
    want(u64::try_from(wire.capacity_bytes) == Ok(volume.size), || format!("{id} has {} bytes", volume.size))?;
    want(source == source_text(volume.made.source.as_ref()), || format!("{id} made from {:?}", volume.made.source))?;
    want(place == [Some(zone_of(volume.pool).to_owned())], || format!("{id} reachable from {}", zone_of(volume.pool)))?;
    want(context == wanted, || format!("{id} has the context {wanted:?}"))
}

impl World {
    pub(super) fn create(&self, c: &Create) -> Vec<Branch> {
        if c.caps.is_empty() {
            return self.refuse(InvalidArgument);
        }
        if let Some(bad) = self.bad_range(c.required, c.limit) {
            return bad;
        }
        let known = ["", "thin", "thick"];
        let parameters = known.contains(&c.provisioning) && known.contains(&c.mutable) && c.kind != "tape";
        let Some(access) = Access::of(&c.caps).filter(|_| parameters) else { return self.refuse(InvalidArgument) };
        if let Some((id, volume)) = self.named(&c.name) {
            return self.repeat(c, id, volume);
        }
        match &c.source {
            None => self.create_new(c, access),
            Some(source) => self.create_copy(c, access, source),
        }
    }

    /// The name is taken: by the same, or by something incompatible.
    fn repeat(&self, c: &Create, id: &str, volume: &Volume) -> Vec<Branch> {
        let bytes = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
        let large = bytes(c.required).is_none_or(|required| volume.size >= required);
        let small = bytes(c.limit).is_none_or(|limit| volume.size <= limit);
        if identity(c) != volume.made || !large || !small || !meets(volume.pool, &c.zones) {
            return self.refuse(AlreadyExists);
        }
        self.shows(id)
    }

    /// OK with the volume as it is in this world.
    fn shows(&self, id: &str) -> Vec<Branch> {
        let (id, volume) = (id.to_owned(), self.volumes[id].clone());
        self.ok(move |reply| match reply {
            Reply::Volume(wire) => same(wire, &id, &volume),
            other => Err(format!("a volume, not {other:?}")),
        })
    }

    fn create_new(&self, c: &Create, access: Access) -> Vec<Branch> {
        let image = c.kind != "directory";
        let pools: &[&'static str] = match c.pool {
            "" => &["fast", "slow"],
            "fast" => &["fast"],
            "slow" => &["slow"],
            _ => return self.refuse(InvalidArgument),
        };
        let suited: Vec<_> = pools.iter().copied().filter(|pool| access.suits(image, pool)).collect();
        if suited.is_empty() {
            return self.refuse(InvalidArgument);
        }
        // What is asked for first counts first.
        let mut ordered: Vec<_> =
            c.zones.iter().flat_map(|zone| suited.iter().filter(move |pool| zone_of(pool) == *zone)).collect();
        ordered.extend(suited.iter().filter(|_| c.zones.is_empty()));
        let Some(pool) = ordered.first() else { return self.refuse(ResourceExhausted) };
        let Some(size) = choose_size(c.required, c.limit, 1 << 30, access.min_bytes(image, None)) else {
            return self.refuse(OutOfRange);
        };
        let fs = access.fs(None);
        let origin = Origin { pool, image, size, fs, content: Content::Blank, was_thick: false, tag: 0 };
        self.with_new(c, &origin, false)
    }

    fn with_new(&self, c: &Create, origin: &Origin, copied: bool) -> Vec<Branch> {
        let thick = if c.mutable.is_empty() { c.provisioning == "thick" } else { c.mutable == "thick" };
        let volume = Volume {
            name: c.name.clone(),
            pool: origin.pool,
            image: origin.image,
            size: origin.size,
            file: origin.size,
            fs: origin.fs,
            thick,
            was_thick: thick || origin.was_thick,
            made: identity(c),
            copied,
            nodes: BTreeMap::new(),
            content: origin.content,
            tag: origin.tag,
        };
        let id = volume_id(origin.pool, &c.name);
        let mut next = self.clone();
        next.volumes.insert(id.clone(), volume);
        next.shows(&id)
    }

    fn origin(&self, source: &Source) -> Option<Origin> {
        match source {
            Source::Volume(id) => self.volumes.get(id).map(|v| Origin {
                pool: v.pool,
                image: v.image,
                size: v.size,
                fs: v.fs,
                content: v.content,
                was_thick: v.was_thick,
                tag: v.tag,
            }),
            Source::Snapshot(id) => self.snapshots.get(id).map(|s| Origin {
                pool: s.pool,
                image: s.image,
                size: s.size,
                fs: s.fs,
                content: s.content,
                was_thick: s.was_thick,
                tag: s.tag,
            }),
        }
    }

    fn create_copy(&self, c: &Create, access: Access, source: &Source) -> Vec<Branch> {
        let Some(origin) = self.origin(source) else { return self.refuse(NotFound) };
        let kind = if origin.image { "image" } else { "directory" };
        let other = |given: &str, is: &str| !given.is_empty() && given != is;
        let served = access.served_by(origin.image, origin.pool, origin.fs);
        if other(c.pool, origin.pool) || other(c.kind, kind) || !served {
            return self.refuse(InvalidArgument);
        }
        if !meets(origin.pool, &c.zones) {
            return self.refuse(ResourceExhausted);
        }
        let min = access.min_bytes(origin.image, origin.fs).max(origin.size);
        let Some(size) = choose_size(c.required, c.limit, origin.size, min) else { return self.refuse(OutOfRange) };
        let fs = access.fs(origin.fs).or(origin.fs);
        let made = |copied| self.with_new(c, &Origin { size, fs, ..origin }, copied);
        let done = match origin.content {
            Content::Blank if origin.image && origin.was_thick => [made(true), made(false)].concat(),
            Content::Blank if origin.image => made(false),
            // What was being written may not be there yet.
            Content::Murky => [made(true), made(false)].concat(),
            _ => made(true),
        };
        match source {
            Source::Volume(id) => self.copied(&[(id, size)], done),
            Source::Snapshot(_) => done,
        }
    }

    pub(super) fn delete(&self, id: &str) -> Vec<Branch> {
        match self.volumes.get(id) {
            // The data may still be there.
            None if pool_of(id).is_none() && !id.contains("/_") && id.contains('/') => self.refuse(FailedPrecondition),
            None => self.ok(|_| Ok(())),
            Some(volume) if !volume.nodes.is_empty() || self.in_use(id) => self.refuse(FailedPrecondition),
            Some(_) => {
                let mut next = self.clone();
                next.volumes.remove(id);
                next.ok(|_| Ok(()))
            }
        }
    }

    pub(super) fn expand(&self, id: &str, required: i64, limit: i64, cap: Option<Cap>) -> Vec<Branch> {
        if let Some(bad) = self.bad_range(required, limit) {
            return bad;
        }
        if required == 0 && limit == 0 {
            return self.refuse(InvalidArgument);
        }
        let Some(volume) = self.volumes.get(id) else { return self.refuse(NotFound) };
        let served =
            |cap: Cap| Access::of(&[cap]).is_some_and(|access| access.served_by(volume.image, volume.pool, volume.fs));
        if !cap.is_none_or(served) {
            return self.refuse(InvalidArgument);
        }
        let required = if required == 0 { i64::try_from(volume.size).unwrap() } else { required };
        let Some(size) = choose_size(required, limit, volume.size, volume.size) else { return self.refuse(OutOfRange) };
        // Growing to more was cut short: the image has that size, and says so when it is grown again.
        let size = if volume.image && size > volume.size { size.max(volume.file) } else { size };
        let beyond = limit > 0 && i64::try_from(size).unwrap() > limit;
        let on_node = volume.image && !cap.is_some_and(Cap::is_block);
        let grown = self.with_volume(id, |volume| {
            volume.size = size;
            volume.file = volume.file.max(size);
        });
        if beyond {
            return grown.refuse(OutOfRange);
        }
        grown.ok(move |reply| match reply {
            Reply::Expanded(answer) => {
                want(u64::try_from(answer.capacity_bytes) == Ok(size), || format!("{size} bytes"))?;
                want(answer.node_expansion_required == on_node, || format!("node_expansion_required: {on_node}"))
            }
            other => Err(format!("a size, not {other:?}")),
        })
    }

    pub(super) fn modify(&self, id: &str, key: &str, value: &str) -> Vec<Branch> {
        let thick = match (key, value) {
            ("provisioning", "thin") => false,
            ("provisioning", "thick") => true,
            _ => return self.refuse(InvalidArgument),
        };
        let Some(volume) = self.volumes.get(id) else { return self.refuse(NotFound) };
        let done = self
            .with_volume(id, |volume| {
                volume.thick = thick;
                volume.was_thick |= thick;
            })
            .ok(|_| Ok(()));
        let record = self.node.get(id).filter(|_| self.kernel && volume.image && volume.thick && !thick);
        match record {
            // Nobody can say what is written at this moment.
            Some(record) if record.cap.is_block() && record.whole && !record.read_only => {
                self.refuse(FailedPrecondition)
            }
            Some(record) if !record.whole => [done, self.refuse(FailedPrecondition)].concat(),
            _ => done,
        }
    }

    pub(super) fn validate(&self, id: &str, caps: &[Cap], pool: &str, kind: &str, mutable: &str) -> Vec<Branch> {
        if caps.is_empty() {
            return self.refuse(InvalidArgument);
        }
        let Some(volume) = self.volumes.get(id) else { return self.refuse(NotFound) };
        let served = Access::of(caps).is_some_and(|access| access.served_by(volume.image, volume.pool, volume.fs));
        let is = if volume.image { "image" } else { "directory" };
        // Without a type it is an image, or what the source was; without any parameter nothing is said.
        let kind_fits = match (kind, pool) {
            ("", "") => true,
            ("", _) => volume.made.source.is_some() || volume.image,
            (kind, _) => kind == is,
        };
        let provisioning_fits = match mutable {
            "" => true,
            "thin" => !volume.thick,
            "thick" => volume.thick,
            _ => false,
        };
        let right = served && kind_fits && (pool.is_empty() || pool == volume.pool) && provisioning_fits;
        self.ok(move |reply| match reply {
            Reply::Validated(confirmed) => want(*confirmed == right, || format!("confirmed: {right}")),
            other => Err(format!("a verdict, not {other:?}")),
        })
    }

    pub(super) fn capacity(&self, cap: Cap, pool: &str, provisioning: &str) -> Vec<Branch> {
        if !["", "thin", "thick"].contains(&provisioning) || !["", "fast", "slow"].contains(&pool) {
            return self.refuse(InvalidArgument);
        }
        let pools: Vec<_> = ["fast", "slow"].into_iter().filter(|known| pool.is_empty() || pool == *known).collect();
        let access = Access::of(&[cap]).filter(|access| pools.iter().any(|pool| access.suits(true, pool)));
        let (possible, thick) = (access.is_some(), provisioning == "thick");
        let min = access.map(|access| access.min_bytes(true, None));
        self.ok(move |reply| {
            let Reply::Capacity(answer) = reply else { return Err(format!("a capacity, not {reply:?}")) };
            let found = answer.minimum_volume_size.and_then(|n| u64::try_from(n).ok());
            want((answer.available_capacity > 0) == possible, || format!("room: {possible}"))?;
            want(found == min, || format!("a smallest volume of {min:?}"))?;
            want(answer.maximum_volume_size.is_some() == (thick || !possible), || format!("a largest one: {thick}"))
        })
    }

    pub(super) fn list_volumes(&self) -> Vec<Branch> {
        let world = self.clone();
        self.ok(move |reply| match reply {
            Reply::Volumes(entries) => world.lists(entries),
            other => Err(format!("volumes, not {other:?}")),
        })
    }

    /// All volumes, sorted, each once, with their nodes.
    pub fn lists(&self, entries: &[v1::list_volumes_response::Entry]) -> Result<(), String> {
        let ids: Vec<_> = entries.iter().filter_map(|e| Some(e.volume.as_ref()?.volume_id.as_str())).collect();
        let wanted: Vec<_> = self.volumes.keys().map(String::as_str).collect();
        want(ids == wanted, || format!("volumes {wanted:?}"))?;
        for (entry, (id, volume)) in entries.iter().zip(&self.volumes) {
            same(entry.volume.as_ref().ok_or("a volume")?, id, volume)?;
            let status = entry.status.as_ref().ok_or("a status")?;
            nodes(&status.published_node_ids, id, volume)?;
            let condition = status.volume_condition.as_ref().map(|condition| condition.abnormal);
            want(condition == (!self.csi_1_13).then_some(false), || format!("{id} is healthy"))?;
        }
        Ok(())
    }

    pub(super) fn get_volume(&self, id: &str) -> Vec<Branch> {
        let Some(volume) = self.volumes.get(id).cloned() else { return self.refuse(NotFound) };
        let id = id.to_owned();
        self.ok(move |reply| match reply {
            Reply::Listed(answer) => {
                same(answer.volume.as_ref().ok_or("a volume")?, &id, &volume)?;
                nodes(&answer.status.as_ref().ok_or("a status")?.published_node_ids, &id, &volume)
            }
            other => Err(format!("a volume, not {other:?}")),
        })
    }
}

fn nodes(wire: &[String], id: &str, volume: &Volume) -> Result<(), String> {
    let found: BTreeSet<_> = wire.iter().map(String::as_str).collect();
    let wanted: BTreeSet<_> = volume.nodes.keys().copied().collect();
    want(found == wanted && wire.len() == wanted.len(), || format!("{id} attached to {wanted:?}"))
}
