//! The test of the test: a host that lies in one way, named by the environment. The model must find each of them.

use bulkhead::{
    ops::ports::{AttachOrder, Backend, BlocksRequest, BoxFuture, CallContext, CreateOrder, GroupMembers, PlanRequest},
    wasm::Ready,
};
use bulkhead_domain::{
    Error, ErrorKind, Result, StringMap,
    blocks::BlockPage,
    capability::VolumeCapability,
    health::{StorageProblem, UnhealthyVolume, VolumeProblem},
    node::{NodeFacts, NodeInfo},
    offer::Offer,
    plan::{EphemeralPlan, Plan},
    request::{
        CreateGroupSnapshot, CreateSnapshot, ExpandVolume, GetCapacity, SnapshotFilter, ValidateVolumeCapabilities,
    },
    snapshot::{GroupSnapshot, Snapshot},
    volume::{Available, Expanded, ListedVolume, NodeId, Page, PageRequest, SnapshotId, Volume, VolumeId},
};
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

macro_rules! lies {
    ($($name:ident $(: $what:literal)?),* $(,)?) => {
        /// One way to lie.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Lie { $($(#[doc = $what])? $name),* }

        impl Lie {
            fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

lies! {
    ForgetsJournal: "The engine knows nothing of what was staged before a restart.",
    StagesAnyhow: "OK instead of ALREADY_EXISTS.",
    UnstagesAnyhow: "OK instead of FAILED_PRECONDITION.",
    PublishesTwice: "OK instead of FAILED_PRECONDITION.",
    ForgetsAttachment: "ControllerPublishVolume does nothing.",
    KeepsAttachment: "ControllerUnpublishVolume does nothing.",
    LosesContent: "A snapshot is empty.",
    GrowsInWords: "ControllerExpandVolume does nothing.",
    WrongCode: "INTERNAL instead of NOT_FOUND.",
    SkipsAnEntry: "The second page of a list begins one too late.",
    KeepsVolume: "DeleteVolume does nothing.",
    ModifiesNothing: "ControllerModifyVolume does nothing.",
    TakesAnySource: "A snapshot of a taken name is another volume's.",
}

/// What the environment asks for.
pub fn lie() -> Option<Lie> {
    Lie::from_name(&std::env::var("BULKHEAD_MODEL_LIE").ok()?)
}

/// A backend, but for one lie.
pub struct Mutant {
    inner: Arc<Ready>,
    lie: Option<Lie>,
    pools: BTreeMap<String, PathBuf>,
}

impl Mutant {
    pub fn new(inner: Ready, lie: Option<Lie>, pools: BTreeMap<String, PathBuf>) -> Self {
        Self { inner: Arc::new(inner), lie, pools }
    }

    fn lies(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }

    /// Takes the content of a snapshot's object away.
    fn blank(&self, id: &SnapshotId) {
        let Some((pool, object)) = id.as_str().split_once('/') else { return };
        let Some(object) = self.pools.get(pool).map(|pool| pool.join("objects").join(object)) else { return };
        let image = object.join("image");
        if let Ok(file) = fs::OpenOptions::new().write(true).open(&image)
            && let Ok(found) = file.metadata()
        {
            let _ = file.set_len(0).and_then(|()| file.set_len(found.len()));
        }
        let _ = fs::remove_file(object.join("data/tag"));
    }
}

/// Hands calls on as they are.
macro_rules! honest {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, cx: CallContext, $($argument: $kind),*) -> BoxFuture<'_, Result<$answer>> {
            self.inner.$name(cx, $($argument),*)
        })*
    };
}

impl Backend for Mutant {
    fn offer(&self) -> &Offer {
        self.inner.offer()
    }

    honest! {
        probe() -> bool;
        create_volume(order: CreateOrder) -> Volume;
        validate_volume_capabilities(request: ValidateVolumeCapabilities) -> Option<String>;
        get_capacity(request: GetCapacity) -> Available;
        delete_snapshot(snapshot_id: SnapshotId) -> ();
        list_snapshots(filter: SnapshotFilter, page: PageRequest) -> Page<Snapshot>;
        get_snapshot(snapshot_id: SnapshotId) -> Snapshot;
        create_group_snapshot(order: CreateOrder<CreateGroupSnapshot>) -> GroupSnapshot;
        delete_group_snapshot(group: GroupMembers) -> ();
        get_group_snapshot(group: GroupMembers) -> GroupSnapshot;
        get_blocks(request: BlocksRequest) -> BlockPage;
        get_volume_health(volume_id: VolumeId) -> Vec<VolumeProblem>;
        list_volume_health(page: PageRequest) -> Page<UnhealthyVolume>;
        get_storage_health() -> Vec<StorageProblem>;
        get_node_info(facts: NodeFacts) -> NodeInfo;
        plan_volume(request: PlanRequest) -> Plan;
        plan_ephemeral_volume(volume_id: VolumeId, context: StringMap, capability: VolumeCapability) -> EphemeralPlan;
    }

    fn delete_volume(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<()>> {
        if self.lies(Lie::KeepsVolume) {
            return Box::pin(async { Ok(()) });
        }
        self.inner.delete_volume(cx, volume_id)
    }

    fn list_volumes(&self, cx: CallContext, page: PageRequest) -> BoxFuture<'_, Result<Page<ListedVolume>>> {
        let second = page.token.is_some();
        Box::pin(async move {
            let mut page = self.inner.list_volumes(cx, page).await?;
            if second && self.lies(Lie::SkipsAnEntry) && !page.entries.is_empty() {
                page.entries.remove(0);
            }
            Ok(page)
        })
    }

    fn get_volume(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<ListedVolume>> {
        Box::pin(async move {
            match self.inner.get_volume(cx, volume_id).await {
                Err(e) if e.kind() == ErrorKind::NotFound && self.lies(Lie::WrongCode) => {
                    Err(Error::internal(e.message()))
                }
                answer => answer,
            }
        })
    }

    fn expand_volume(&self, cx: CallContext, request: ExpandVolume) -> BoxFuture<'_, Result<Expanded>> {
        let wanted = request.capacity.required();
        let answer = self.inner.get_volume(cx.clone(), request.volume_id.clone());
        if !self.lies(Lie::GrowsInWords) {
            return self.inner.expand_volume(cx, request);
        }
        Box::pin(async move {
            let now = answer.await?.volume;
            let image = now.context.get("type").is_some_and(|kind| kind == "image");
            let capacity_bytes = wanted.unwrap_or(0).max(now.capacity_bytes).next_multiple_of(4096);
            Ok(Expanded { capacity_bytes, node_expansion_required: image })
        })
    }

    fn modify_volume(&self, cx: CallContext, volume_id: VolumeId, mutable: StringMap) -> BoxFuture<'_, Result<()>> {
        if self.lies(Lie::ModifiesNothing) {
            return Box::pin(async move { self.inner.get_volume(cx, volume_id).await.map(drop) });
        }
        self.inner.modify_volume(cx, volume_id, mutable)
    }

    fn controller_publish_volume(&self, cx: CallContext, order: AttachOrder) -> BoxFuture<'_, Result<StringMap>> {
        if self.lies(Lie::ForgetsAttachment) {
            return Box::pin(async move {
                self.inner.get_volume(cx, order.volume_id).await?;
                Ok([("readOnly".to_owned(), order.read_only.to_string())].into())
            });
        }
        self.inner.controller_publish_volume(cx, order)
    }

    fn controller_unpublish_volume(
        &self,
        cx: CallContext,
        volume_id: VolumeId,
        node_id: Option<NodeId>,
    ) -> BoxFuture<'_, Result<()>> {
        if self.lies(Lie::KeepsAttachment) {
            return Box::pin(async { Ok(()) });
        }
        self.inner.controller_unpublish_volume(cx, volume_id, node_id)
    }

    fn create_snapshot(
        &self,
        cx: CallContext,
        mut order: CreateOrder<CreateSnapshot>,
    ) -> BoxFuture<'_, Result<Snapshot>> {
        Box::pin(async move {
            let asked = order.request.source_volume_id.clone();
            if self.lies(Lie::TakesAnySource) {
                let id = SnapshotId::parse(format!("fast/_s_{}", order.request.name.as_str()));
                let id = id.map_err(Error::internal)?;
                if let Ok(taken) = self.inner.get_snapshot(cx.clone(), id).await {
                    order.request.source_volume_id = taken.source_volume_id;
                    order.digest = taken.request_digest.unwrap_or_default();
                }
            }
            let wanted = bulkhead_domain::digest::snapshot_digest(&CreateSnapshot {
                source_volume_id: asked.clone(),
                ..order.request.clone()
            });
            let mut made = self.inner.create_snapshot(cx, order).await?;
            if self.lies(Lie::LosesContent) {
                self.blank(&made.id);
            }
            if self.lies(Lie::TakesAnySource) {
                (made.source_volume_id, made.request_digest) = (asked, Some(wanted));
            }
            Ok(made)
        })
    }
}
