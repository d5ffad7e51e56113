//! The Controller service: volumes come, change and go.

use super::{
    Driver,
    call::Call,
    lock::{Guard, Key},
    ports::{CreateOrder, Effect, Role},
    work::blocking,
};
use bulkhead_domain::{
    Error, Result,
    capability::{AccessType, VolumeCapability},
    digest::{Wanted, idempotency_key, request_digest},
    offer::Interface,
    request::{
        CreateVolume, DeleteVolume, ExpandVolume, GetCapacity, ModifyVolume, Secrets, ValidateVolumeCapabilities,
    },
    volume::{Available, ContentSource, Expanded, Volume, VolumeId},
};
use std::time::{Duration, Instant};

impl Driver {
    /// CreateVolume. Locks the name, and shares the source with others that read it.
    ///
    /// # Errors
    /// As the specification's table; ALREADY_EXISTS when the name is taken by something incompatible.
    pub async fn create_volume(&self, mut request: CreateVolume, timeout: Option<Duration>) -> Result<Volume> {
        let locks = &self.inner.locks;
        let source = match &request.source {
            None => None,
            Some(ContentSource::Snapshot(id)) => {
                self.require_source(Interface::Snapshots, "a snapshot")?;
                Some(Key::Snapshot(id.as_str().to_owned()))
            }
            Some(ContentSource::Volume(id)) => {
                self.require_source(Interface::Cloning, "another volume")?;
                Some(Key::Volume(id.as_str().to_owned()))
            }
        };
        self.check_mutable(&request)?;
        self.check_capabilities(&request.capabilities)?;
        self.forget_topology(&mut request.topology);
        let guards = (
            locks.try_lock(Key::Name(request.name.as_str().to_owned()))?,
            source.map(|key| locks.try_share(key)).transpose()?,
        );
        let key = idempotency_key(self.name(), request.name.as_str());
        let like = Call::creating(timeout, request.secrets.clone(), key).about("CreateVolume", &request);
        self.ask(like, guards, request, |backend, cx, request| async move {
            let digest = request_digest(&request);
            let wanted = Wanted::of(&request, &digest);
            let volume = backend.create_volume(cx, CreateOrder { request, digest }).await?;
            wanted.check(&volume)?;
            Ok(volume)
        })
        .await
    }

    fn require_source(&self, interface: Interface, what: &str) -> Result<()> {
        if self.offer().has(interface) {
            return Ok(());
        }
        Err(Error::invalid_argument(format_args!("driver {} can't make a volume from {what}", self.name())))
    }

    fn check_mutable(&self, request: &CreateVolume) -> Result<()> {
        if request.mutable_parameters.is_empty() || self.offer().has(Interface::Modification) {
            return Ok(());
        }
        Err(Error::invalid_argument(format_args!("driver {} has no mutable parameters", self.name())))
    }

    /// What no backend of this driver could do, because the driver does not promise it.
    pub(super) fn check_capabilities(&self, capabilities: &[VolumeCapability]) -> Result<()> {
        let group = |c: &VolumeCapability| match &c.access_type {
            AccessType::Block => false,
            AccessType::Mount(mount) => !mount.volume_mount_group.is_empty(),
        };
        if capabilities.iter().any(group) && !self.offer().info.promises.volume_mount_group {
            return Err(Error::invalid_argument(format_args!(
                "driver {} does not offer VOLUME_MOUNT_GROUP",
                self.name()
            )));
        }
        Ok(())
    }

    /// A driver without topology keys is reachable from everywhere: whatever place is asked for, its volumes are there.
    fn forget_topology<T>(&self, place: &mut Option<T>) {
        if self.offer().info.topology_keys.is_empty() {
            *place = None;
        }
    }

    /// DeleteVolume. Locks the volume.
    ///
    /// # Errors
    /// FAILED_PRECONDITION when it is in use.
    pub async fn delete_volume(&self, request: DeleteVolume, timeout: Option<Duration>) -> Result<()> {
        let guard = self.lock(&request.volume_id)?;
        let like = Call::changing(timeout, request.secrets.clone()).about("DeleteVolume", &request);
        let id = request.volume_id;
        self.ask(like, guard, id, |backend, cx, id| async move { backend.delete_volume(cx, id).await }).await
    }

    /// ValidateVolumeCapabilities: none = confirmed, otherwise why not. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// NOT_FOUND for an unknown volume.
    pub async fn validate_volume_capabilities(
        &self,
        request: ValidateVolumeCapabilities,
        timeout: Option<Duration>,
    ) -> Result<Option<String>> {
        let misfit = self.check_capabilities(&request.capabilities).err();
        let like = Call::reading(timeout, request.secrets.clone());
        // The backend is asked in any case: an unknown volume is NOT_FOUND, whatever it is asked about.
        let why = self
            .ask(like, (), request, |backend, cx, request| async move {
                backend.validate_volume_capabilities(cx, request).await
            })
            .await?;
        Ok(why.or_else(|| misfit.map(|e| e.message().to_owned())))
    }

    /// GetCapacity. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn get_capacity(&self, mut request: GetCapacity, timeout: Option<Duration>) -> Result<Available> {
        self.forget_topology(&mut request.topology);
        let like = Call::reading(timeout, Secrets::default());
        self.ask(like, (), request, |backend, cx, request| async move { backend.get_capacity(cx, request).await }).await
    }

    /// ControllerExpandVolume. Locks the volume.
    ///
    /// # Errors
    /// NOT_FOUND, OUT_OF_RANGE; FAILED_PRECONDITION where a published volume can't grow.
    pub async fn expand_volume(&self, request: ExpandVolume, timeout: Option<Duration>) -> Result<Expanded> {
        if let Some(capability) = &request.capability {
            self.check_capabilities(std::slice::from_ref(capability))?;
        }
        let (guard, start) = (self.lock(&request.volume_id)?, Instant::now());
        if !self.offer().info.promises.expand_online {
            self.refuse_if_published(&request.volume_id, timeout).await?;
        }
        let timeout = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let is_block = request.capability.as_ref().is_some_and(VolumeCapability::is_block);
        // Where both halves live in this process, growing a pool's image has grown its loop device too.
        let device_has_grown = is_block && self.inner.node.is_some();
        let node_has_to = self.offer().node_expands() && !device_has_grown;
        let like = Call::changing(timeout, request.secrets.clone()).about("ControllerExpandVolume", &request);
        self.ask(like, guard, request, move |backend, cx, request| async move {
            let mut expanded = backend.expand_volume(cx, request).await?;
            expanded.node_expansion_required &= node_has_to;
            Ok(expanded)
        })
        .await
    }

    /// Of a volume that can grow only while it is nowhere: as the backend knows it, and as this node does.
    async fn refuse_if_published(&self, volume_id: &VolumeId, timeout: Option<Duration>) -> Result<()> {
        let in_use = |where_: &str| {
            Err(Error::failed_precondition(format_args!(
                "volume {volume_id} is published on {where_} and can only grow while it is not"
            )))
        };
        if self.offer().info.promises.published_nodes && self.offer().has(Interface::Inspection) {
            let listed = self.listed(volume_id.clone(), timeout).await?;
            if let Some(node) = listed.published_node_ids.first() {
                return in_use(&format!("node {node}"));
            }
        }
        let Some(engine) = self.inner.node.as_ref().map(|node| node.engine.clone()) else { return Ok(()) };
        let (cx, id) = (self.context(Role::Node, Effect::None, timeout, None, Secrets::default()), volume_id.clone());
        let published = blocking(move || engine.is_published(&id));
        if self.inner.work.run(cx.deadline, published).await? { in_use("this node") } else { Ok(()) }
    }

    /// ControllerModifyVolume. Locks the volume.
    ///
    /// # Errors
    /// NOT_FOUND; INVALID_ARGUMENT for a key or value that can't be, with nothing applied.
    pub async fn modify_volume(&self, request: ModifyVolume, timeout: Option<Duration>) -> Result<()> {
        let guard = self.lock(&request.volume_id)?;
        let like = Call::changing(timeout, request.secrets.clone()).about("ControllerModifyVolume", &request);
        self.ask(like, guard, request, |backend, cx, request| async move {
            backend.modify_volume(cx, request.volume_id, request.mutable_parameters).await
        })
        .await
    }

    pub(super) fn lock(&self, volume_id: &VolumeId) -> Result<Guard> {
        self.inner.locks.try_lock(Key::Volume(volume_id.as_str().to_owned()))
    }
}
