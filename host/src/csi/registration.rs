//! Registration with kubelet: what the node-driver-registrar does for drivers that can't do it themselves.
//!
//! Kubelet watches a directory for sockets. It asks on a new one who is there, tries the driver, and says how that went. A
//! driver that it refuses is offered again on a new socket, for kubelet looks at a socket once.

use super::{
    incoming::{Incoming, Keeper},
    socket::BindError,
};
use bulkhead_domain::error::clean_text;
use bulkhead_proto::registration::{
    CSI_PLUGIN, CSI_VERSION, InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
    registration_server::{Registration as Served, RegistrationServer},
};
use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tonic::{Request, Response, Status, transport::Server};

/// How long a refused driver waits before it is offered again; doubled with each refusal.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A kubelet that has not asked by then is probably watching another directory.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest text of kubelet's that is shown, in bytes.
const SHOWN_BYTES: usize = 1024;

/// The registration of one driver. Cheap to clone.
#[derive(Clone)]
pub struct Registration {
    inner: Arc<Inner>,
}

struct Inner {
    driver: String,
    socket: PathBuf,
    endpoint: PathBuf,
    state: Mutex<State>,
}

struct State {
    word: Word,
    /// In a row.
    refusals: u32,
    /// When to offer the driver on a new socket.
    again: Option<Instant>,
    /// When kubelet's silence is to be remarked upon.
    patience: Option<Instant>,
}

/// What is known of a registration.
enum Word {
    /// The driver is not offered to kubelet: it is not ready.
    NotOffered,
    /// The socket can't be had.
    NoSocket(String),
    /// Kubelet has not said anything.
    Offered,
    /// Kubelet uses the driver.
    Registered,
    /// It does not, for this reason.
    Refused(String),
}

impl Registration {
    /// Will tell kubelet, on `socket`, that `driver` is served on `endpoint`, which kubelet must see at the same path.
    pub fn new(driver: &str, socket: PathBuf, endpoint: &Path) -> Self {
        let state = State { word: Word::NotOffered, refusals: 0, again: None, patience: None };
        let (driver, endpoint) = (driver.to_owned(), endpoint.to_owned());
        Self { inner: Arc::new(Inner { driver, socket, endpoint, state: Mutex::new(state) }) }
    }

    /// Why kubelet does not use the driver; none: it does.
    pub fn problem(&self) -> Option<String> {
        let socket = self.inner.socket.display();
        match &self.inner.lock().word {
            Word::Registered => None,
            Word::NotOffered => Some("not offered to kubelet yet".to_owned()),
            Word::NoSocket(why) => Some(format!("can't be offered to kubelet: {why}")),
            Word::Offered => Some(format!("not registered: kubelet has not answered on {socket} yet")),
            Word::Refused(why) => Some(format!("not registered: kubelet refused it: {why}")),
        }
    }

    /// Offers the driver until `stop` is ready; then the socket is removed, by which kubelet knows that the driver is gone.
    ///
    /// # Errors
    /// The transport fails.
    pub async fn serve(&self, stop: impl Future<Output = ()> + Send) -> Result<(), tonic::transport::Error> {
        let incoming = Incoming::at(self.inner.socket.clone(), self.inner.clone());
        let service = RegistrationServer::new(self.clone());
        let ended = Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, stop).await;
        self.inner.lock().word = Word::NotOffered;
        ended
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, status: RegistrationStatus) {
        let mut state = self.lock();
        state.patience = None;
        if status.plugin_registered {
            tracing::info!(driver = self.driver, "registered with kubelet");
            (state.word, state.refusals, state.again) = (Word::Registered, 0, None);
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << state.refusals.min(16)).min(LONGEST_PAUSE);
        let reason = match clean_text(&status.error, SHOWN_BYTES) {
            reason if reason.is_empty() => "without a reason".to_owned(),
            reason => reason,
        };
        tracing::error!(
            driver = self.driver,
            endpoint = %self.endpoint.display(),
            reason,
            again_in_s = pause.as_secs(),
            "kubelet refused to register the driver: see that it finds the endpoint at this very path (kubelet's directory \
             mounted at the same path inside and outside), and that NodeGetInfo works"
        );
        state.refusals += 1;
        state.again = Some(Instant::now() + pause);
        state.word = Word::Refused(reason);
    }
}

impl Keeper for Inner {
    fn wants_new(&self) -> bool {
        let mut state = self.lock();
        let passed = |when: Option<Instant>| when.is_some_and(|when| when <= Instant::now());
        if passed(state.patience) {
            state.patience = None;
            tracing::warn!(
                driver = self.driver,
                socket = %self.socket.display(),
                "kubelet has not asked on the registration socket for a minute: is node.kubeletRoot its --root-dir, and mounted \
                 at the same path?"
            );
        }
        passed(state.again)
    }

    fn bound(&self) {
        let mut state = self.lock();
        tracing::info!(driver = self.driver, socket = %self.socket.display(), "offered to kubelet");
        state.again = None;
        state.patience = Some(Instant::now() + SILENCE);
        // A refusal stays to be seen until kubelet says something else.
        if !matches!(state.word, Word::Refused(_)) {
            state.word = Word::Offered;
        }
    }

    fn lost(&self, why: &BindError) {
        let (mut state, why) = (self.lock(), why.to_string());
        if !matches!(&state.word, Word::NoSocket(before) if *before == why) {
            tracing::error!(driver = self.driver, why, "the driver can't be offered to kubelet; trying again");
        }
        state.word = Word::NoSocket(why);
    }
}

#[tonic::async_trait]
impl Served for Registration {
    async fn get_info(&self, _request: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        tracing::debug!(driver = self.inner.driver, "kubelet asks who is there");
        Ok(Response::new(PluginInfo {
            r#type: CSI_PLUGIN.to_owned(),
            name: self.inner.driver.clone(),
            endpoint: self.inner.endpoint.display().to_string(),
            supported_versions: vec![CSI_VERSION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        self.inner.heard(request.into_inner());
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
