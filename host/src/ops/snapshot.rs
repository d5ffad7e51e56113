//! The Controller service: snapshots.

use super::{Driver, call::Call, lock::Key, ports::CreateOrder, token};
use bulkhead_domain::{
    Result,
    digest::{WantedSnapshot, idempotency_key, snapshot_digest},
    request::{CreateSnapshot, ListSnapshots, OneSnapshot},
    snapshot::Snapshot,
    volume::{Page, PageRequest},
};
use std::time::Duration;

const SNAPSHOTS_LIST: &str = "snapshots";

impl Driver {
    /// CreateSnapshot. Locks the name, and shares the source with others that read it.
    ///
    /// # Errors
    /// NOT_FOUND; ALREADY_EXISTS when the name is taken by another snapshot.
    pub async fn create_snapshot(&self, mut request: CreateSnapshot, timeout: Option<Duration>) -> Result<Snapshot> {
        // A field that the client's generation, or this driver, does not know.
        if !(self.offer().is_1_13() && self.offer().info.promises.snapshot_topology) {
            request.topology = None;
        }
        let locks = &self.inner.locks;
        let guards = (
            locks.try_lock(Key::SnapshotName(request.name.as_str().to_owned()))?,
            locks.try_share(Key::Volume(request.source_volume_id.as_str().to_owned()))?,
        );
        let key = idempotency_key(&format!("{} snapshot", self.name()), request.name.as_str());
        let like = Call::creating(timeout, request.secrets.clone(), key).about("CreateSnapshot", &request);
        self.ask(like, guards, request, |backend, cx, request| async move {
            let digest = snapshot_digest(&request);
            let wanted = WantedSnapshot::of(&request, &digest);
            let snapshot = backend.create_snapshot(cx, CreateOrder { request, digest }).await?;
            wanted.check(&snapshot)?;
            Ok(snapshot)
        })
        .await
    }

    /// DeleteSnapshot. Locks the snapshot.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a member of a group; FAILED_PRECONDITION when it is in use.
    pub async fn delete_snapshot(&self, request: OneSnapshot, timeout: Option<Duration>) -> Result<()> {
        let guard = self.inner.locks.try_lock(Key::Snapshot(request.snapshot_id.as_str().to_owned()))?;
        let like = Call::changing(timeout, request.secrets.clone()).about("DeleteSnapshot", &request);
        let id = request.snapshot_id;
        self.ask(like, guard, id, |backend, cx, id| async move { backend.delete_snapshot(cx, id).await }).await
    }

    /// ListSnapshots. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// ABORTED for a token that is not one of ours or no longer good.
    pub async fn list_snapshots(&self, request: ListSnapshots, timeout: Option<Duration>) -> Result<Page<Snapshot>> {
        // A token is good for the filter that it was given out for.
        let filter = &request.filter;
        let list = format!(
            "{SNAPSHOTS_LIST}\n{}\n{}",
            filter.source_volume_id.as_ref().map_or("", |id| id.as_str()),
            filter.snapshot_id.as_ref().map_or("", |id| id.as_str()),
        );
        let token = token::unwrap(self.name(), &list, &request.starting_token)?;
        let page = PageRequest { max_entries: request.max_entries, token };
        let like = Call::reading(timeout, request.secrets);
        let mut page = self
            .ask(like, (), (request.filter, page), |backend, cx, (filter, page)| async move {
                backend.list_snapshots(cx, filter, page).await
            })
            .await?;
        page.next_token = page.next_token.map(|t| token::wrap(self.name(), &list, &t));
        Ok(page)
    }

    /// GetSnapshot. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// NOT_FOUND for an unknown snapshot.
    pub async fn get_snapshot(&self, request: OneSnapshot, timeout: Option<Duration>) -> Result<Snapshot> {
        let like = Call::reading(timeout, request.secrets);
        let id = request.snapshot_id;
        self.ask(like, (), id, |backend, cx, id| async move { backend.get_snapshot(cx, id).await }).await
    }
}
