//! The Controller service.

use super::{
    Driver,
    lock::Key,
    ports::{CreateOrder, Effect, Role},
    token,
};
use bulkhead_domain::{
    Error, Result,
    digest::{Wanted, idempotency_key, request_digest},
    offer::Interface,
    request::{
        CreateVolume, DeleteVolume, ExpandVolume, GetCapacity, ListVolumes, Secrets, ValidateVolumeCapabilities,
    },
    volume::{Available, Expanded, ListedVolume, Page, PageRequest, Volume, VolumeId},
};
use std::time::Duration;

const VOLUMES_LIST: &str = "volumes";

impl Driver {
    /// UNIMPLEMENTED unless this process serves the controller half and the backend exports `interface`.
    fn require(&self, interface: Interface) -> Result<()> {
        if self.serves_controller() && self.offer().has(interface) {
            return Ok(());
        }
        Err(Error::unimplemented(format_args!("driver {} does not offer {} here", self.name(), interface.name())))
    }

    /// CreateVolume. Locks the name.
    ///
    /// # Errors
    /// As the specification's table; ALREADY_EXISTS when the name is taken by something incompatible.
    pub async fn create_volume(&self, request: CreateVolume, timeout: Option<Duration>) -> Result<Volume> {
        self.require(Interface::Volumes)?;
        if request.source.is_some() {
            return Err(Error::invalid_argument(format_args!(
                "driver {} can't make a volume from a snapshot or another volume",
                self.name()
            )));
        }
        if !request.mutable_parameters.is_empty() && !self.offer().has(Interface::Modification) {
            return Err(Error::invalid_argument(format_args!("driver {} has no mutable parameters", self.name())));
        }
        let guard = self.inner.locks.try_lock(Key::Name(request.name.as_str().to_owned()))?;
        let key = idempotency_key(self.name(), request.name.as_str());
        let cx = self.context(Role::Controller, Effect::Possible, timeout, Some(key), request.secrets.clone());
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        let operation = async move {
            let _guard = guard;
            let digest = request_digest(&request);
            let wanted = Wanted::of(&request, &digest);
            let volume = backend.create_volume(cx, CreateOrder { request, digest }).await?;
            wanted.check(&volume)?;
            Ok(volume)
        };
        self.inner.work.run(deadline, operation).await
    }

    /// DeleteVolume. Locks the volume.
    ///
    /// # Errors
    /// FAILED_PRECONDITION when it is in use.
    pub async fn delete_volume(&self, request: DeleteVolume, timeout: Option<Duration>) -> Result<()> {
        self.require(Interface::Volumes)?;
        let guard = self.lock(&request.volume_id)?;
        let cx = self.context(Role::Controller, Effect::Possible, timeout, None, request.secrets);
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        let operation = async move {
            let _guard = guard;
            backend.delete_volume(cx, request.volume_id).await
        };
        self.inner.work.run(deadline, operation).await
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
        self.require(Interface::Volumes)?;
        let cx = self.context(Role::Controller, Effect::None, timeout, None, request.secrets.clone());
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        self.inner.work.run(deadline, async move { backend.validate_volume_capabilities(cx, request).await }).await
    }

    /// ListVolumes. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// ABORTED for a token that is not one of ours or no longer good.
    pub async fn list_volumes(&self, request: ListVolumes, timeout: Option<Duration>) -> Result<Page<ListedVolume>> {
        self.require(Interface::Listing)?;
        let token = token::unwrap(self.name(), VOLUMES_LIST, &request.starting_token)?;
        let page = PageRequest { max_entries: request.max_entries, token };
        let cx = self.context(Role::Controller, Effect::None, timeout, None, Secrets::default());
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        let mut page = self.inner.work.run(deadline, async move { backend.list_volumes(cx, page).await }).await?;
        page.next_token = page.next_token.map(|t| token::wrap(self.name(), VOLUMES_LIST, &t));
        Ok(page)
    }

    /// ControllerGetVolume. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// NOT_FOUND for an unknown volume.
    pub async fn get_volume(&self, volume_id: VolumeId, timeout: Option<Duration>) -> Result<ListedVolume> {
        self.require(Interface::Inspection)?;
        let cx = self.context(Role::Controller, Effect::None, timeout, None, Secrets::default());
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        self.inner.work.run(deadline, async move { backend.get_volume(cx, volume_id).await }).await
    }

    /// GetCapacity. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn get_capacity(&self, request: GetCapacity, timeout: Option<Duration>) -> Result<Available> {
        self.require(Interface::Capacity)?;
        let cx = self.context(Role::Controller, Effect::None, timeout, None, Secrets::default());
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        self.inner.work.run(deadline, async move { backend.get_capacity(cx, request).await }).await
    }

    /// ControllerExpandVolume. Locks the volume.
    ///
    /// # Errors
    /// NOT_FOUND, OUT_OF_RANGE, FAILED_PRECONDITION.
    pub async fn expand_volume(&self, request: ExpandVolume, timeout: Option<Duration>) -> Result<Expanded> {
        self.require(Interface::Expansion)?;
        let guard = self.lock(&request.volume_id)?;
        let is_block = request.capability.as_ref().is_some_and(|c| c.is_block());
        // Where both halves live in this process, growing a pool's image has grown its loop device too.
        let device_has_grown = is_block && self.inner.engine.is_some();
        let cx = self.context(Role::Controller, Effect::Possible, timeout, None, request.secrets.clone());
        let (deadline, backend) = (cx.deadline, self.inner.backend.clone());
        let operation = async move {
            let _guard = guard;
            let mut expanded = backend.expand_volume(cx, request).await?;
            expanded.node_expansion_required &= !device_has_grown;
            Ok(expanded)
        };
        self.inner.work.run(deadline, operation).await
    }

    pub(super) fn lock(&self, volume_id: &VolumeId) -> Result<super::lock::Guard> {
        self.inner.locks.try_lock(Key::Volume(volume_id.as_str().to_owned()))
    }
}
