//! A node engine that touches no mount: it notes what it is asked, keeps a journal of its own, and answers by the rules that
//! clients know of the real one. It dies at the same failpoints.

use crate::{
    mutant::Lie,
    rules::{self, Journal, Record, Target, Wanted},
};
use bulkhead::ops::ports::NodeEngine;
use bulkhead_domain::{
    Error, Result, StringMap,
    health::VolumeProblem,
    node::{NodeExpand, NodeHealth, Publish, PublishEphemeral, Stage, Stats, Unpublish, Unstage, Usage, UsageUnit},
    plan::{Plan, PoolObject},
    volume::VolumeId,
};
use bulkhead_node::{
    failpoint::hit,
    pool::{ObjectKind, ObjectSpec, PoolConfig, PoolStore, Provisioning},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub struct Recorder {
    journal: Journal,
    pools: PoolStore,
    paths: BTreeMap<String, PathBuf>,
    node_id: String,
    asked: Mutex<fs::File>,
    lie: Option<Lie>,
}

fn refuse<T>(why: impl std::fmt::Display) -> Result<T> {
    Err(Error::failed_precondition(why))
}

impl Recorder {
    /// Goes on where an earlier process stopped.
    ///
    /// # Errors
    /// Pools or journal can't be opened.
    pub fn open(
        state: &Path,
        pools: &BTreeMap<String, PoolConfig>,
        node_id: &str,
        lie: Option<Lie>,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(state)?;
        let journal = state.join("recorder.json");
        if lie == Some(Lie::ForgetsJournal) {
            let _ = fs::remove_file(&journal);
        }
        Ok(Self {
            journal: Journal::open(journal)?,
            pools: PoolStore::open(pools, node_id)?,
            paths: pools.iter().map(|(name, pool)| (name.clone(), pool.path.clone())).collect(),
            node_id: node_id.to_owned(),
            asked: Mutex::new(fs::OpenOptions::new().create(true).append(true).open(state.join("asked.log"))?),
            lie,
        })
    }

    fn lies(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }

    fn note(&self, what: &dyn std::fmt::Debug) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // Only for people who look for a reason.
        let _ = writeln!(asked, "{what:?}");
    }

    fn object(&self, pool: &str, object: &str) -> PathBuf {
        self.paths.get(pool).map(|path| path.join("objects").join(object)).unwrap_or_default()
    }

    /// The marker that keeps an object from being deleted, as the real engine leaves it.
    fn marker(&self, record: &Record) -> (PathBuf, Vec<u8>) {
        let id = hex::encode(&Sha256::digest(&record.volume)[..16]);
        let user = serde_json::json!({
            "driver": "model", "node_id": self.node_id, "volume_id": record.volume, "read_only": record.read_only,
        });
        (self.object(&record.pool, &record.object).join("users").join(id), user.to_string().into_bytes())
    }

    fn mark(&self, record: &Record) -> Result<()> {
        let (path, bytes) = self.marker(record);
        let failed = |e: std::io::Error| Error::unavailable(format_args!("{}: {e}", path.display()));
        fs::create_dir_all(path.with_file_name("")).and_then(|()| fs::write(&path, bytes)).map_err(failed)
    }

    fn undo(&self, record: &Record) -> Result<()> {
        self.journal.store(&Record { whole: false, ..record.clone() })?;
        hit("unstage.intent")?;
        let _ = fs::remove_file(self.marker(record).0);
        hit("unstage.unmarked")?;
        if record.inline.is_some() {
            self.pools.delete_object(&record.pool, &record.object)?;
            hit("ephemeral.removed")?;
        }
        self.journal.remove(&record.volume)
    }

    fn stage_all(&self, mut record: Record, wanted: &Wanted) -> Result<()> {
        let missing = || Error::not_found(format_args!("no object {}", wanted.object));
        let object = self.pools.stat_object(&wanted.pool, &wanted.object)?.ok_or_else(missing)?;
        if (object.spec.kind == ObjectKind::Image) != wanted.image {
            return refuse("the object is of another kind");
        }
        self.journal.store(&record)?;
        let done = (|| {
            hit("stage.intent")?;
            self.mark(&record)?;
            hit("stage.marked")?;
            if wanted.image && !wanted.block {
                rules::format(&self.object(&wanted.pool, &wanted.object).join("image"), wanted)?;
            }
            hit("stage.mounted")?;
            record.whole = true;
            self.journal.store(&record)
        })();
        match done {
            Ok(()) => hit("stage.done"),
            Err(error) => Err(self.undo(&record).err().unwrap_or(error)),
        }
    }

    /// The record of a volume that is at `path`; whether that is whole.
    fn at(&self, volume: &VolumeId, path: &Path) -> Result<(Record, bool)> {
        let missing = || Error::not_found(format_args!("volume {volume} is not there"));
        let record = self.journal.load(volume.as_str()).ok_or_else(missing)?;
        let whole = match record.targets.get(path) {
            Some(target) => target.whole,
            None if record.staging == path => true,
            None => return Err(missing()),
        };
        Ok((record.clone(), whole && record.whole))
    }

    fn size(&self, record: &Record) -> Result<u64> {
        let object = self.pools.stat_object(&record.pool, &record.object)?;
        object.map(|object| object.spec.size_bytes).ok_or_else(|| Error::not_found("the object is gone"))
    }
}

impl NodeEngine for Recorder {
    fn stage(&self, request: Stage) -> Result<()> {
        self.note(&request);
        let wanted = Wanted::of(&request.plan)?;
        let (volume, capability) = (request.volume_id.as_str(), rules::text(&request.capability));
        if let Some(record) = self.journal.load(volume) {
            if record.inline.is_some() {
                return refuse("it is an inline ephemeral volume");
            }
            if record.whole {
                if record.staging != request.staging_path {
                    return refuse(format_args!("staged at {}", record.staging.display()));
                }
                if record.capability != capability && !self.lies(Lie::StagesAnyhow) {
                    return Err(Error::already_exists("staged with another capability"));
                }
                return Ok(());
            }
            self.undo(&record)?;
        }
        let record = Record {
            volume: volume.to_owned(),
            whole: false,
            staging: request.staging_path,
            capability,
            plan: String::new(),
            read_only: wanted.read_only,
            block: wanted.block,
            image: wanted.image,
            pool: wanted.pool.clone(),
            object: wanted.object.clone(),
            inline: None,
            targets: BTreeMap::new(),
        };
        self.stage_all(record, &wanted)
    }

    fn unstage(&self, request: Unstage) -> Result<()> {
        self.note(&request);
        let Some(record) = self.journal.load(request.volume_id.as_str()) else { return Ok(()) };
        if record.staging != request.staging_path {
            return Ok(());
        }
        if record.targets.values().any(|target| target.whole) && !self.lies(Lie::UnstagesAnyhow) {
            return refuse("it is published");
        }
        self.undo(&record)?;
        hit("unstage.done")
    }

    fn publish(&self, request: Publish) -> Result<()> {
        self.note(&request);
        let Some(mut record) = self.journal.load(request.volume_id.as_str()) else { return refuse("not staged") };
        if record.inline.is_some() || !record.whole {
            return refuse("it is not staged");
        }
        let here = record.staging == request.staging_path;
        let capability = rules::text(&request.capability);
        let shares = request.capability.access_mode.allows_second_target(true);
        let target = Target { whole: true, read_only: request.read_only, capability, shares };
        let others = match record.targets.get(&request.target_path) {
            Some(earlier) if earlier.whole && *earlier == target && here => return Ok(()),
            Some(earlier) if earlier.whole => return Err(Error::already_exists("published in another way")),
            _ if !here => return refuse("it is not staged there"),
            _ if record.block != request.capability.is_block() => return refuse("staged with the other access type"),
            _ => record.targets.iter().filter(|(path, _)| **path != request.target_path),
        };
        let others: Vec<_> = others.collect();
        let alone = !shares || others.iter().any(|(_, other)| !other.shares);
        if alone && others.iter().any(|(_, other)| other.whole) && !self.lies(Lie::PublishesTwice) {
            return refuse("its access mode allows one target");
        }
        record.targets.insert(request.target_path.clone(), Target { whole: false, ..target.clone() });
        self.journal.store(&record)?;
        hit("publish.intent")?;
        hit("publish.mounted")?;
        record.targets.insert(request.target_path, target);
        self.journal.store(&record)?;
        hit("publish.done")
    }

    fn unpublish(&self, request: Unpublish) -> Result<()> {
        self.note(&request);
        let Some(mut record) = self.journal.load(request.volume_id.as_str()) else { return Ok(()) };
        if let Some(target) = &record.inline {
            if *target == request.target_path {
                self.undo(&record)?;
                hit("unpublish.done")?;
            }
            return Ok(());
        }
        let Some(target) = record.targets.get_mut(&request.target_path) else { return Ok(()) };
        target.whole = false;
        self.journal.store(&record)?;
        hit("unpublish.intent")?;
        record.targets.remove(&request.target_path);
        self.journal.store(&record)?;
        hit("unpublish.done")
    }

    fn stats(&self, request: Stats, _timeout: Duration) -> Result<Vec<Usage>> {
        self.note(&request);
        let (record, whole) = self.at(&request.volume_id, &request.volume_path)?;
        if !whole {
            return Err(Error::not_found("it was cut short"));
        }
        let total = self.size(&record)?;
        let line = |unit| Usage { unit, total, used: Some(0), available: Some(total) };
        let block = vec![Usage { used: None, available: None, ..line(UsageUnit::Bytes) }];
        Ok(if record.block { block } else { vec![line(UsageUnit::Bytes), line(UsageUnit::Inodes)] })
    }

    fn expand(&self, request: NodeExpand) -> Result<u64> {
        self.note(&request);
        let (record, _) = self.at(&request.volume_id, &request.volume_path)?;
        if record.inline.is_some() {
            return refuse("its size is fixed");
        }
        let size = self.size(&record)?;
        hit("expand.capacity")?;
        if request.required_bytes.is_some_and(|required| required > size) {
            return refuse("the controller has not expanded it yet");
        }
        if request.limit_bytes.is_some_and(|limit| limit < size) {
            return Err(Error::out_of_range("it is larger"));
        }
        Ok(size)
    }

    fn publish_ephemeral(&self, request: PublishEphemeral) -> Result<()> {
        self.note(&request);
        let (volume, made) = (request.volume_id.as_str(), rules::text(&request.capability));
        let (capability, plan) = (format!("{made} {}", request.read_only), format!("{:?}", request.plan));
        if let Some(record) = self.journal.load(volume) {
            let Some(target) = &record.inline else { return refuse("it is staged") };
            if *target != request.target_path {
                return refuse("it has one target");
            }
            if record.whole && (&record.capability, &record.plan) == (&capability, &plan) {
                return Ok(());
            }
            if record.whole {
                return Err(Error::already_exists("published in another way"));
            }
            self.undo(&record)?;
        }
        let object = format!("e-{}", hex::encode(&Sha256::digest(volume)[..16]));
        let pool = PoolObject { pool: request.plan.pool.clone(), name: object.clone() };
        let (access, usage) = (request.plan.scratch.access(pool), request.plan.scratch.usage());
        let image = access.is_block_device();
        let wanted = Wanted::of(&Plan { access, usage, encryption: None, expected_size_bytes: None })?;
        let target = Target { whole: true, read_only: request.read_only, capability: made, shares: false };
        let record = Record {
            volume: volume.to_owned(),
            whole: false,
            staging: PathBuf::new(),
            capability,
            plan,
            read_only: false,
            block: false,
            image,
            pool: wanted.pool.clone(),
            object: object.clone(),
            inline: Some(request.target_path.clone()),
            targets: [(request.target_path, target)].into(),
        };
        self.journal.store(&record)?;
        hit("ephemeral.intent")?;
        self.scratch(&record, request.plan.size_bytes)?;
        hit("ephemeral.made")?;
        self.stage_all(record, &wanted)?;
        hit("ephemeral.done")
    }

    fn health(&self, request: NodeHealth, _timeout: Duration) -> Result<Vec<VolumeProblem>> {
        self.note(&request);
        let missing = || Error::not_found("it is not there");
        let whole = match &request.volume_path {
            Some(path) => self.at(&request.volume_id, path)?.1,
            None => self.journal.load(request.volume_id.as_str()).is_some_and(|record| record.whole),
        };
        if whole { Ok(vec![]) } else { Err(missing()) }
    }

    fn is_published(&self, volume_id: &VolumeId) -> Result<bool> {
        Ok(self.journal.load(volume_id.as_str()).is_some())
    }
}

impl Recorder {
    fn scratch(&self, record: &Record, size_bytes: u64) -> Result<()> {
        let kind = if record.image { ObjectKind::Image } else { ObjectKind::Directory };
        let metadata: StringMap = [("volume-id".to_owned(), record.volume.clone())].into();
        let name = record.object.clone();
        let spec = ObjectSpec { name, kind, size_bytes, provisioning: Provisioning::Thin, metadata };
        let made = self.pools.create_object(&record.pool, &spec).map(drop);
        made.map_err(|error| self.undo(record).err().unwrap_or(error))
    }
}
