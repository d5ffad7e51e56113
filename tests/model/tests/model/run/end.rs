//! The end of a run: what was written is read, everything is taken down, and nothing may be left.

use super::{Divergence, Run, text};
use crate::{
    calls::{Call, Cap, Create, Mode, Source, Use},
    ground::Executor,
    seen,
    world::{Content, POOLS, Snapshot, World, volume_id},
};
use tonic::Status;

impl Run<'_> {
    /// Off the node, detached, deleted: then nothing may be left anywhere.
    pub(super) async fn tear_down(&mut self) -> Result<(), Divergence> {
        self.restart(None).await;
        self.look(1).await?;
        self.must(|world| {
            let pods = world.node.iter().flat_map(|(id, record)| {
                let inline = record.inline.as_ref().map(|(inline, _)| inline.pod);
                record.targets.keys().copied().chain(inline).map(move |pod| (id, pod))
            });
            pods.map(|(volume, pod)| Call::Unpublish { volume: volume.clone(), pod }).collect()
        })
        .await?;
        self.must(|world| {
            let staged = world.node.keys().flat_map(|volume| [0, 1].map(|path| (volume.clone(), path)));
            staged.map(|(volume, path)| Call::Unstage { volume, path }).collect()
        })
        .await?;
        self.read_everything().await?;
        self.must(|world| {
            let all = world.volumes.keys().cloned();
            all.flat_map(|volume| [Call::Detach { volume: volume.clone(), node: "" }, Call::DeleteVolume { volume }])
                .collect()
        })
        .await?;
        self.must(|world| {
            let group = |id: &String, s: &Snapshot| match &s.member {
                Some(member) => Call::DeleteGroup { group: member.group.clone(), members: vec![] },
                None => Call::DeleteSnapshot { snapshot: id.clone() },
            };
            world.snapshots.iter().map(|(id, snapshot)| group(id, snapshot)).collect()
        })
        .await?;
        self.restart(None).await;
        self.look(0).await?;
        self.nothing_is_left()
    }

    fn nothing_is_left(&self) -> Result<(), Divergence> {
        let left = |world: &World| world.volumes.len() + world.snapshots.len() + world.node.len();
        let worlds: Vec<_> = self.worlds.iter().map(left).collect();
        let dirs = POOLS.iter().flat_map(|pool| ["objects", "tmp", "trash", "placing", "freezing"].map(|d| (pool, d)));
        let mut files: Vec<_> =
            dirs.flat_map(|(pool, dir)| seen::names(&self.ground.root.join(pool).join(dir))).collect();
        let pods = self.ground.root.join("kubelet/pods");
        for (pod, volume) in seen::names(&pods)
            .iter()
            .flat_map(|pod| seen::names(&pods.join(pod)).into_iter().map(move |volume| (pod.clone(), volume)))
        {
            files.extend(seen::names(&pods.join(pod).join(volume)));
        }
        if worlds.contains(&0) && files.is_empty() && self.ground.records() == 0 {
            return Ok(());
        }
        let got = format!("{worlds:?} things in the possible worlds, {files:?}, {} records", self.ground.records());
        Err(self.at("the end".to_owned(), vec!["nothing".to_owned()], got))
    }

    /// Makes calls that take things away; each must be answered with OK.
    async fn must(&mut self, calls: impl Fn(&World) -> Vec<Call>) -> Result<(), Divergence> {
        let all: Vec<_> = self.worlds.iter().flat_map(calls).collect();
        for call in all {
            self.succeeds(call).await?;
        }
        Ok(())
    }

    async fn succeeds(&mut self, call: Call) -> Result<(), Divergence> {
        let answer = self.ask(&call, None).await.unwrap_or_else(|| Err(Status::unavailable("the host died")));
        if answer.is_err() {
            return Err(self.at(format!("{call:?}"), vec!["OK".to_owned()], text(&answer)));
        }
        self.settle(&call, &answer)
    }

    /// What a pod reads from each volume, and from each snapshot once it is restored, is what was written last. The recorder's
    /// objects can be read at any time, and were.
    async fn read_everything(&mut self) -> Result<(), Divergence> {
        if self.setting.executor == Executor::Recording {
            return Ok(());
        }
        let world = self.worlds[0].clone();
        for (id, volume) in &world.volumes {
            self.read(id, volume.image, volume.content).await?;
        }
        for (id, snapshot) in &world.snapshots {
            let Some(cap) = reading(snapshot.image, snapshot.content) else { continue };
            let create = Create {
                name: "restored".to_owned(),
                caps: vec![cap],
                pool: "",
                kind: "",
                provisioning: "",
                mutable: "",
                required: 0,
                limit: 0,
                source: Some(Source::Snapshot(id.clone())),
                zones: vec![],
            };
            let restored = volume_id(snapshot.pool, &create.name);
            self.succeeds(Call::CreateVolume(create)).await?;
            self.read(&restored, snapshot.image, snapshot.content).await?;
            self.succeeds(Call::DeleteVolume { volume: restored }).await?;
        }
        Ok(())
    }

    async fn read(&mut self, id: &str, image: bool, content: Content) -> Result<(), Divergence> {
        let Some(cap) = reading(image, content) else { return Ok(()) };
        let (volume, path, pod, read_only) = (id.to_owned(), 0, 0, true);
        let stage = Call::Stage { volume: volume.clone(), path, cap, read_only: false };
        self.succeeds(stage).await?;
        self.succeeds(Call::Publish { volume: volume.clone(), path, pod, cap, read_only }).await?;
        self.look_at_disk()?;
        self.succeeds(Call::Unpublish { volume: volume.clone(), pod }).await?;
        self.succeeds(Call::Unstage { volume, path }).await
    }
}

/// How something with that content is read. None: nobody can say, or there is nothing.
fn reading(image: bool, content: Content) -> Option<Cap> {
    let usage = match content {
        _ if !image => Use::Mount(""),
        Content::Fs(fs) => Use::Mount(fs),
        Content::Raw => Use::Block,
        Content::Blank | Content::Murky => return None,
    };
    Some(Cap { usage, mode: Mode::SingleNodeWriter })
}
