//! The Controller service: what is there, and how it is.

use super::{Driver, call::Call, token};
use bulkhead_domain::{
    Result,
    health::{UnhealthyVolume, VolumeProblem},
    offer::Interface,
    request::{GetVolumeHealth, ListVolumeHealth, ListVolumes, Secrets},
    volume::{ListedVolume, Page, PageRequest, VolumeId},
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

const VOLUMES_LIST: &str = "volumes";
const HEALTH_LIST: &str = "health";
/// How long a look at all unhealthy volumes is good for at least: a client that walks a list page by page causes one.
const HEALTH_TTL: Duration = Duration::from_secs(2);
/// A look that took long is good for this many times that: at most a tenth of the time is spent on looking.
const HEALTH_TTL_FACTOR: u32 = 9;

type Problems = Arc<HashMap<VolumeId, Vec<VolumeProblem>>>;

/// The last look at all unhealthy volumes, and until when it is good.
#[derive(Default)]
pub(super) struct HealthCache(Mutex<Option<(Instant, Problems)>>);

/// How long a look is good that took so long.
fn good_for(took: Duration) -> Duration {
    HEALTH_TTL.max(took * HEALTH_TTL_FACTOR)
}

impl Driver {
    /// ListVolumes. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// ABORTED for a token that is not one of ours or no longer good.
    pub async fn list_volumes(&self, request: ListVolumes, timeout: Option<Duration>) -> Result<Page<ListedVolume>> {
        let token = token::unwrap(self.name(), VOLUMES_LIST, &request.starting_token)?;
        let page = PageRequest { max_entries: request.max_entries, token };
        let like = Call::reading(timeout, Secrets::default());
        let mut page =
            self.ask(like, (), page, |backend, cx, page| async move { backend.list_volumes(cx, page).await }).await?;
        page.next_token = page.next_token.map(|t| token::wrap(self.name(), VOLUMES_LIST, &t));
        if self.offer().shows_volume_condition() {
            self.add_conditions(&mut page.entries, timeout).await?;
        }
        Ok(page)
    }

    /// ControllerGetVolume. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// NOT_FOUND for an unknown volume.
    pub async fn get_volume(&self, volume_id: VolumeId, timeout: Option<Duration>) -> Result<ListedVolume> {
        let mut listed = self.listed(volume_id.clone(), timeout).await?;
        if self.offer().shows_volume_condition() {
            listed.problems = Some(self.problems_of(volume_id, timeout, Secrets::default()).await?);
        }
        Ok(listed)
    }

    /// A volume and its nodes, without its condition.
    pub(super) async fn listed(&self, volume_id: VolumeId, timeout: Option<Duration>) -> Result<ListedVolume> {
        let like = Call::reading(timeout, Secrets::default());
        self.ask(like, (), volume_id, |backend, cx, id| async move { backend.get_volume(cx, id).await }).await
    }

    /// ControllerGetVolumeHealth: empty = healthy. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// NOT_FOUND for an unknown volume.
    pub async fn get_volume_health(
        &self,
        request: GetVolumeHealth,
        timeout: Option<Duration>,
    ) -> Result<Vec<VolumeProblem>> {
        self.problems_of(request.volume_id, timeout, request.secrets).await
    }

    /// ControllerListVolumeHealth: volumes with a problem only. Takes no lock: it changes nothing.
    ///
    /// # Errors
    /// ABORTED for a token that is not one of ours or no longer good.
    pub async fn list_volume_health(
        &self,
        request: ListVolumeHealth,
        timeout: Option<Duration>,
    ) -> Result<Page<UnhealthyVolume>> {
        let token = token::unwrap(self.name(), HEALTH_LIST, &request.starting_token)?;
        let page = PageRequest { max_entries: request.max_entries, token };
        let mut page = self.health_page(page, timeout, request.secrets).await?;
        page.next_token = page.next_token.map(|t| token::wrap(self.name(), HEALTH_LIST, &t));
        Ok(page)
    }

    async fn health_page(
        &self,
        page: PageRequest,
        timeout: Option<Duration>,
        secrets: Secrets,
    ) -> Result<Page<UnhealthyVolume>> {
        let like = Call::reading(timeout, secrets);
        self.ask(like, (), page, |backend, cx, page| async move { backend.list_volume_health(cx, page).await }).await
    }

    async fn problems_of(
        &self,
        volume_id: VolumeId,
        timeout: Option<Duration>,
        secrets: Secrets,
    ) -> Result<Vec<VolumeProblem>> {
        let like = Call::reading(timeout, secrets);
        self.ask(like, (), volume_id, |backend, cx, id| async move { backend.get_volume_health(cx, id).await }).await
    }

    /// The conditions of a page of volumes: from one look at all that are unhealthy where the backend can list them, otherwise
    /// one by one.
    async fn add_conditions(&self, volumes: &mut Vec<ListedVolume>, timeout: Option<Duration>) -> Result<()> {
        if volumes.is_empty() {
            return Ok(());
        }
        if self.offer().has(Interface::HealthListing) {
            let problems = self.all_problems(timeout).await?;
            for listed in volumes {
                listed.problems = Some(problems.get(&listed.volume.id).cloned().unwrap_or_default());
            }
            return Ok(());
        }
        let mut kept = Vec::with_capacity(volumes.len());
        for mut listed in volumes.drain(..) {
            match self.problems_of(listed.volume.id.clone(), timeout, Secrets::default()).await {
                Ok(problems) => listed.problems = Some(problems),
                // Removed since the page was made.
                Err(e) if e.kind() == bulkhead_domain::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            }
            kept.push(listed);
        }
        *volumes = kept;
        Ok(())
    }

    async fn all_problems(&self, timeout: Option<Duration>) -> Result<Problems> {
        // Held across the walk: others that come meanwhile wait for it instead of walking too.
        let mut last = self.inner.health.0.lock().await;
        if let Some((until, problems)) = last.as_ref()
            && Instant::now() < *until
        {
            return Ok(problems.clone());
        }
        let (start, mut all, mut token) = (Instant::now(), HashMap::new(), None);
        loop {
            let ask = PageRequest { max_entries: 0, token: token.clone() };
            let page = self.health_page(ask, timeout, Secrets::default()).await?;
            all.extend(page.entries.into_iter().map(|found| (found.volume_id, found.problems)));
            if page.next_token.is_none() {
                break;
            }
            if page.next_token == token {
                return Err(bulkhead_domain::Error::unavailable(
                    "the backend's list of unhealthy volumes does not come to an end",
                ));
            }
            token = page.next_token;
        }
        let problems = Arc::new(all);
        let end = Instant::now();
        *last = Some((end + good_for(end.duration_since(start)), problems.clone()));
        Ok(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_look_is_good_for_long() {
        assert_eq!(good_for(Duration::from_millis(5)), HEALTH_TTL);
        assert_eq!(good_for(Duration::from_secs(3)), Duration::from_secs(27));
    }
}
