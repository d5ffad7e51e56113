//! A whole life in steps that can be repeated and taken back, one call each. What happens between them is up to a case: nothing,
//! a kill, a client that gives up.

use super::source::{of_snapshot, of_volume};
use crate::{
    Cx, Outcome, Stop,
    check::{ok, same},
    ensure,
    kernel::{mounts_below, mounts_named},
    options::Map,
    undo::Undo,
};
use bulkhead_proto::v1::{
    self, controller_service_capability::rpc::Type as ControllerRpc, node_service_capability::rpc::Type as NodeRpc,
};
use tonic::{Code, Status};

/// What is written to the volume before it is copied.
pub(super) const SEED: u64 = 11;

/// A step; each comes after those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Create,
    Attach,
    Stage,
    Publish,
    Snapshot,
    Restore,
    Clone,
    Expand,
    NodeExpand,
}

impl Step {
    /// All steps that the driver can do.
    pub(super) fn all(cx: &Cx) -> Vec<Self> {
        let caps = &cx.driver.caps;
        let snapshots = caps.has(ControllerRpc::CreateDeleteSnapshot);
        [
            (Self::Create, true),
            (Self::Attach, caps.has(ControllerRpc::PublishUnpublishVolume)),
            (Self::Stage, caps.node_has(NodeRpc::StageUnstageVolume)),
            (Self::Publish, true),
            (Self::Snapshot, snapshots),
            (Self::Restore, snapshots),
            (Self::Clone, caps.has(ControllerRpc::CloneVolume)),
            (Self::Expand, can_expand_online(cx)),
            (Self::NodeExpand, can_expand_online(cx) && caps.node_has(NodeRpc::ExpandVolume)),
        ]
        .into_iter()
        .filter_map(|(step, can)| can.then_some(step))
        .collect()
    }

    /// Whether there is a call that takes it back.
    pub(super) fn has_reverse(self) -> bool {
        !matches!(self, Self::Expand | Self::NodeExpand)
    }
}

pub(super) fn can_expand_online(cx: &Cx) -> bool {
    use v1::plugin_capability::volume_expansion::Type::Online;
    cx.driver.caps.has(ControllerRpc::ExpandVolume) && cx.driver.caps.expansion.contains(&Online.into())
}

/// A life, as far as it has come. Its requests stay the same, so that each can be repeated.
pub(super) struct Life {
    pub(super) cx: Cx,
    create: v1::CreateVolumeRequest,
    snapshot_name: String,
    restore_name: String,
    clone_name: String,
    staging: String,
    target: String,
    pub(super) volume: v1::Volume,
    context: Map,
    snapshot: v1::Snapshot,
    pub(super) restored: Option<v1::Volume>,
    pub(super) cloned: Option<v1::Volume>,
    written: bool,
    grows_later: bool,
    refused: bool,
}

impl Life {
    pub(super) fn new(cx: &Cx) -> Outcome<Self> {
        Ok(Self {
            cx: cx.clone(),
            create: cx.create_request("life"),
            snapshot_name: cx.name("snapshot"),
            restore_name: cx.name("restore"),
            clone_name: cx.name("clone"),
            staging: if cx.driver.caps.node_has(NodeRpc::StageUnstageVolume) {
                cx.staging_path()?
            } else {
                String::new()
            },
            target: cx.target_path()?,
            volume: v1::Volume::default(),
            context: Map::new(),
            snapshot: v1::Snapshot::default(),
            restored: None,
            cloned: None,
            written: false,
            grows_later: false,
            refused: false,
        })
    }

    fn range(&self) -> Option<v1::CapacityRange> {
        Some(v1::CapacityRange { required_bytes: 2 * self.cx.bytes(), limit_bytes: 0 })
    }

    /// Makes a volume from a source; the same again must give the same one.
    async fn copy(&self, name: &str, source: v1::VolumeContentSource) -> Result<Option<v1::Volume>, Status> {
        let mut request = self.create.clone();
        name.clone_into(&mut request.name);
        request.volume_content_source = Some(source);
        Ok(self.cx.create_volume(request).await?.volume)
    }

    /// Nothing, if the driver refuses to copy volumes that are used like this one.
    fn unless_in_use<T>(&mut self, answer: Result<T, Status>) -> Result<Option<T>, Status> {
        match answer {
            Err(s) if s.code() == Code::FailedPrecondition => {
                self.refused = true;
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    fn id(&self) -> String {
        self.volume.volume_id.clone()
    }

    fn stage(&self) -> v1::NodeStageVolumeRequest {
        v1::NodeStageVolumeRequest {
            volume_id: self.id(),
            publish_context: self.context.clone(),
            staging_target_path: self.staging.clone(),
            volume_capability: Some(self.cx.capability()),
            volume_context: self.volume.volume_context.clone(),
            ..Default::default()
        }
    }

    fn publish(&self) -> v1::NodePublishVolumeRequest {
        v1::NodePublishVolumeRequest {
            volume_id: self.id(),
            publish_context: self.context.clone(),
            staging_target_path: self.staging.clone(),
            target_path: self.target.clone(),
            volume_capability: Some(self.cx.capability()),
            volume_context: self.volume.volume_context.clone(),
            ..Default::default()
        }
    }

    /// The step's call.
    ///
    /// # Errors
    /// The driver's.
    pub(super) async fn forth(&mut self, step: Step) -> Result<(), Status> {
        let cx = self.cx.clone();
        match step {
            Step::Create => {
                self.volume = cx.create_volume(self.create.clone()).await?.volume.unwrap_or_default();
            }
            Step::Attach => {
                let request = cx.attach_request(&self.volume);
                self.context = cx.controller_publish_volume(request).await?.publish_context;
            }
            // A call that nobody waits for may still succeed: it is taken back in any case.
            Step::Stage => {
                cx.made(Undo::Staged(cx.side, self.id(), self.staging.clone()));
                cx.node_stage_volume(self.stage()).await?;
            }
            Step::Publish => {
                cx.made(Undo::Published(cx.side, self.id(), self.target.clone()));
                cx.node_publish_volume(self.publish()).await?;
            }
            Step::Snapshot => {
                let mut request = cx.snapshot_request(&self.id(), "");
                request.name.clone_from(&self.snapshot_name);
                let Some(answer) = self.unless_in_use(cx.create_snapshot(request).await)? else { return Ok(()) };
                let snapshot = answer.snapshot.unwrap_or_default();
                let ready = snapshot.ready_to_use;
                self.snapshot = snapshot;
                if !ready {
                    return Err(Status::aborted("the snapshot is not ready yet"));
                }
            }
            // There is nothing to restore.
            Step::Restore if self.snapshot.snapshot_id.is_empty() => {}
            Step::Restore => {
                self.restored = self.copy(&self.restore_name, of_snapshot(&self.snapshot.snapshot_id)).await?;
            }
            Step::Clone => {
                let answer = self.copy(&self.clone_name, of_volume(&self.id())).await;
                self.cloned = self.unless_in_use(answer)?.flatten();
            }
            Step::Expand => {
                let request = v1::ControllerExpandVolumeRequest {
                    volume_id: self.id(),
                    capacity_range: self.range(),
                    volume_capability: Some(cx.capability()),
                    ..Default::default()
                };
                cx.controller_expand_volume(request).await?;
            }
            Step::NodeExpand => {
                let request = v1::NodeExpandVolumeRequest {
                    volume_id: self.id(),
                    volume_path: self.target.clone(),
                    capacity_range: self.range(),
                    staging_target_path: self.staging.clone(),
                    volume_capability: Some(cx.capability()),
                    ..Default::default()
                };
                match cx.node_expand_volume(request).await {
                    // A file system that can't grow while it is used grows when it is staged.
                    Err(s) if s.code() == Code::FailedPrecondition => self.grows_later = true,
                    answer => {
                        answer?;
                        self.grows_later = false;
                    }
                }
            }
        }
        Ok(())
    }

    /// The call that takes the step back; nothing if there is none.
    ///
    /// # Errors
    /// The driver's.
    pub(super) async fn back(&self, step: Step) -> Result<(), Status> {
        let cx = &self.cx;
        let volume_id = self.id();
        match step {
            Step::Create => self.delete(Some(&self.volume)).await,
            Step::Restore => self.delete(self.restored.as_ref()).await,
            Step::Clone => self.delete(self.cloned.as_ref()).await,
            Step::Attach => {
                let request =
                    v1::ControllerUnpublishVolumeRequest { volume_id, node_id: cx.node_id(), ..Default::default() };
                cx.controller_unpublish_volume(request).await.map(drop)
            }
            Step::Stage => {
                let request = v1::NodeUnstageVolumeRequest { volume_id, staging_target_path: self.staging.clone() };
                cx.node_unstage_volume(request).await.map(drop)
            }
            Step::Publish => {
                let request = v1::NodeUnpublishVolumeRequest { volume_id, target_path: self.target.clone() };
                cx.node_unpublish_volume(request).await.map(drop)
            }
            Step::Snapshot if self.snapshot.snapshot_id.is_empty() => Ok(()),
            Step::Snapshot => {
                let snapshot_id = self.snapshot.snapshot_id.clone();
                let request = v1::DeleteSnapshotRequest { snapshot_id, ..Default::default() };
                cx.delete_snapshot(request).await.map(drop)
            }
            Step::Expand | Step::NodeExpand => Ok(()),
        }
    }

    async fn delete(&self, volume: Option<&v1::Volume>) -> Result<(), Status> {
        let Some(volume) = volume else { return Ok(()) };
        let volume_id = volume.volume_id.clone();
        self.cx.delete_volume(v1::DeleteVolumeRequest { volume_id, ..Default::default() }).await.map(drop)
    }

    /// What a call gave that its repeat must give again.
    pub(super) fn gave(&self, step: Step) -> String {
        match step {
            Step::Create => format!("{:?}", self.volume),
            Step::Attach => format!("{:?}", self.context),
            Step::Snapshot => format!("{:?}", self.snapshot),
            Step::Restore => format!("{:?}", self.restored),
            Step::Clone => format!("{:?}", self.cloned),
            _ => String::new(),
        }
    }

    /// The step is done: what the kernel shows. The first time that the volume is there it is written to.
    pub(super) async fn is_done(&mut self, step: Step) -> Outcome {
        match step {
            Step::Publish => {
                self.cx.is_there(&self.target)?;
                if !self.written {
                    self.cx.fill(&self.target, SEED).await?;
                    self.written = true;
                }
                self.cx.holds(&self.target, SEED, "the volume").await
            }
            Step::NodeExpand => {
                if !self.grows_later {
                    self.cx.has_room(&self.target, 2 * self.cx.bytes())?;
                }
                self.cx.holds(&self.target, SEED, "the volume that was expanded").await
            }
            _ => Ok(()),
        }
    }

    /// The step is taken back: what the kernel shows. A volume that is gone takes its data along.
    pub(super) fn is_undone(&mut self, step: Step) -> Outcome {
        match step {
            Step::Create => self.written = false,
            Step::Stage => ensure!(mounts_below(&self.staging)? == 0, "something is mounted after NodeUnstageVolume"),
            Step::Publish => self.cx.is_gone(&self.target)?,
            _ => {}
        }
        Ok(())
    }

    /// The copies have the data.
    pub(super) async fn copies_hold(&self) -> Outcome {
        for (what, copy) in [("the volume from a snapshot", &self.restored), ("the clone", &self.cloned)] {
            let Some(copy) = copy else { continue };
            let used = self.cx.put_to_use(copy).await?;
            self.cx.holds(&used.target, SEED, what).await?;
            self.cx.put_away(&used).await?;
        }
        Ok(())
    }

    /// Nothing of the life is left on the node.
    pub(super) fn is_over(&self) -> Outcome {
        for path in [&self.staging, &self.target].into_iter().filter(|path| !path.is_empty()) {
            ensure!(mounts_named(path)? == 0, "{path} is still mounted at the end");
        }
        if self.refused {
            return Err(Stop::skip("all was well, but the driver refuses to copy volumes that are used like this"));
        }
        Ok(())
    }

    /// The step's call, and again as long as its outcome is uncertain.
    pub(super) async fn settle(&mut self, step: Step, what: &str) -> Outcome {
        self.settle_either(step, true, what).await
    }

    /// As `settle`, for the reverse.
    pub(super) async fn settle_back(&mut self, step: Step, what: &str) -> Outcome {
        self.settle_either(step, false, what).await
    }

    async fn settle_either(&mut self, step: Step, forth: bool, what: &str) -> Outcome {
        let start = tokio::time::Instant::now();
        loop {
            let answer = if forth { self.forth(step).await } else { self.back(step).await };
            let uncertain = |s: &Status| matches!(s.code(), Code::Aborted | Code::Unavailable | Code::DeadlineExceeded);
            match answer {
                Err(s) if uncertain(&s) && start.elapsed() < self.cx.driver.options.timeout => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                answer => {
                    return ok(answer, &format!("{}{step:?}, {what}", if forth { "" } else { "the reverse of " }));
                }
            }
        }
    }

    /// What the repeat gave is what the call gave.
    pub(super) fn still_gives(&self, step: Step, gave: &String) -> Outcome {
        same(&self.gave(step), gave, &format!("the answer to {step:?} again"))
    }
}
