//! The GroupController service.

use super::{
    Driver,
    call::Call,
    lock::{Guard, Key},
    ports::{CreateOrder, GroupMembers},
};
use bulkhead_domain::{
    Result,
    digest::{WantedGroup, group_digest, idempotency_key},
    request::{CreateGroupSnapshot, OneGroupSnapshot},
    snapshot::GroupSnapshot,
};
use std::time::Duration;

impl Driver {
    /// CreateVolumeGroupSnapshot. Locks the name, and shares the sources with others that read them.
    ///
    /// # Errors
    /// NOT_FOUND; FAILED_PRECONDITION for volumes that can't be cut together; ALREADY_EXISTS when the name is taken by
    /// another group.
    pub async fn create_group_snapshot(
        &self,
        request: CreateGroupSnapshot,
        timeout: Option<Duration>,
    ) -> Result<GroupSnapshot> {
        let locks = &self.inner.locks;
        let name = locks.try_lock(Key::GroupName(request.name.as_str().to_owned()))?;
        let sources = request.source_volume_ids.iter();
        let sources: Vec<Guard> =
            sources.map(|id| locks.try_share(Key::Volume(id.as_str().to_owned()))).collect::<Result<_>>()?;
        let key = idempotency_key(&format!("{} group", self.name()), request.name.as_str());
        let like = Call::creating(timeout, request.secrets.clone(), key).about("CreateVolumeGroupSnapshot", &request);
        self.ask(like, (name, sources), request, |backend, cx, request| async move {
            let digest = group_digest(&request);
            let wanted = WantedGroup::of(&request, &digest);
            let group = backend.create_group_snapshot(cx, CreateOrder { request, digest }).await?;
            wanted.check(&group)?;
            Ok(group)
        })
        .await
    }

    /// DeleteVolumeGroupSnapshot, with all members. Locks the group and the members that the client names.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for snapshots that are not its members.
    pub async fn delete_group_snapshot(&self, request: OneGroupSnapshot, timeout: Option<Duration>) -> Result<()> {
        let locks = &self.inner.locks;
        let group = locks.try_lock(Key::Group(request.group_snapshot_id.as_str().to_owned()))?;
        let members = request.snapshot_ids.iter();
        let members: Vec<Guard> =
            members.map(|id| locks.try_lock(Key::Snapshot(id.as_str().to_owned()))).collect::<Result<_>>()?;
        let like = Call::changing(timeout, request.secrets.clone()).about("DeleteVolumeGroupSnapshot", &request);
        self.ask(like, (group, members), members_of(request), |backend, cx, group| async move {
            backend.delete_group_snapshot(cx, group).await
        })
        .await
    }

    /// GetVolumeGroupSnapshot. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// NOT_FOUND; INVALID_ARGUMENT for snapshots that are not its members.
    pub async fn get_group_snapshot(
        &self,
        request: OneGroupSnapshot,
        timeout: Option<Duration>,
    ) -> Result<GroupSnapshot> {
        let like = Call::reading(timeout, request.secrets.clone());
        let group = members_of(request);
        self.ask(like, (), group, |backend, cx, group| async move { backend.get_group_snapshot(cx, group).await }).await
    }
}

fn members_of(request: OneGroupSnapshot) -> GroupMembers {
    GroupMembers { id: request.group_snapshot_id, snapshot_ids: request.snapshot_ids.into_iter().collect() }
}
