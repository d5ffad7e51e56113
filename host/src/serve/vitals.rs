//! How the host and its drivers are, for whoever asks over HTTP.

use crate::{
    csi::{Registration, Service, State},
    health::{Told, Vitals},
    ops::Driver,
    wasm,
};
use tokio_util::sync::CancellationToken;

/// All that a host serves.
pub(super) struct Overview {
    /// Of the guests.
    pub engine: wasm::Engine,
    /// Every driver, with its registration where kubelet is told of it.
    pub drivers: Vec<(Service, Option<Registration>)>,
    /// The host is ending.
    pub stop: CancellationToken,
}

impl Vitals for Overview {
    fn live(&self) -> Told<'_> {
        Box::pin(async {
            self.engine.pulse().await;
            Ok(())
        })
    }

    fn drivers(&self) -> Vec<String> {
        self.drivers.iter().map(|(service, _)| service.name().to_owned()).collect()
    }

    fn healthy(&self, index: usize) -> Told<'_> {
        Box::pin(async move {
            match self.drivers[index].0.state() {
                State::Starting => Err("starting: its backend is being loaded".to_owned()),
                State::Broken(why) | State::Unreachable(why) => Err(why),
                State::Ready(driver) => probe(driver).await,
            }
        })
    }

    fn ready(&self, index: usize) -> Told<'_> {
        Box::pin(async move {
            if self.stop.is_cancelled() {
                return Err("stopping".to_owned());
            }
            self.healthy(index).await?;
            let registration = &self.drivers[index].1;
            registration.as_ref().and_then(Registration::problem).map_or(Ok(()), Err)
        })
    }
}

/// The driver's own Probe, with the patience of its config and in a task of its own: the answer is kept for others, and
/// whoever asks here in a hurry must not make that answer "too late".
async fn probe(driver: Driver) -> Result<(), String> {
    match tokio::spawn(async move { driver.probe(None).await }).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("not ready: the backend is still starting up".to_owned()),
        Ok(Err(error)) => Err(error.message().to_owned()),
        Err(_) => Err("the host failed to ask".to_owned()),
    }
}
