//! Certificates that somebody may replace while the host runs: what is connected with, as the files are now.

use super::{
    connect::Connector,
    resolve::Resolve,
    tls::{self, NetError},
};
use crate::config::Proxy;
use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);
/// Longest that a request waits for a look at them.
const WAIT: Duration = Duration::from_millis(200);

/// Contents of the files that [`HttpSettings`](crate::config::HttpSettings) names. Shows nothing.
#[derive(Default)]
pub struct Pem {
    /// Certificates that are trusted instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// The client certificate and its key.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// The files themselves.
pub trait PemFiles: Send + Sync {
    /// Whose they are, for the log.
    fn driver(&self) -> &str;

    /// What they hold, if any of them has changed since the last time; or why they can't be read. May block.
    fn changed(&self) -> Option<Result<Pem, String>>;
}

/// What one backend's connections are made with.
pub(super) struct Trust {
    resolver: Arc<dyn Resolve>,
    proxy: Option<Proxy>,
    current: RwLock<Arc<Connector>>,
    files: OnceLock<Arc<dyn PemFiles>>,
    looked: Mutex<Instant>,
    looking: AtomicBool,
}

impl Trust {
    /// With certificates that don't change.
    ///
    /// # Errors
    /// A certificate or key can't be used.
    pub fn new(pem: &Pem, resolver: Arc<dyn Resolve>, proxy: Option<Proxy>) -> Result<Arc<Self>, NetError> {
        let first = connector(pem, &resolver, proxy.as_ref(), 0)?;
        Ok(Arc::new(Self {
            resolver,
            proxy,
            current: RwLock::new(Arc::new(first)),
            files: OnceLock::new(),
            looked: Mutex::new(Instant::now()),
            looking: AtomicBool::new(false),
        }))
    }

    /// From now on these files are looked at.
    pub fn watch(&self, files: Arc<dyn PemFiles>) {
        // A second time changes nothing.
        let _ = self.files.set(files);
    }

    /// What to connect with now. Connections of an earlier [`Connector::generation`] aren't to be used again.
    pub async fn connector(self: &Arc<Self>) -> Arc<Connector> {
        if self.files.get().is_some() && self.is_due() && !self.looking.swap(true, SeqCst) {
            let this = self.clone();
            let look = tokio::task::spawn_blocking(move || {
                this.look();
                this.looking.store(false, SeqCst);
            });
            // A file system that hangs holds nobody up for long.
            let _ = tokio::time::timeout(WAIT, look).await;
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_due(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looked.elapsed() >= LOOK;
        if due {
            *looked = Instant::now();
        }
        due
    }

    fn look(&self) {
        let Some(files) = self.files.get() else { return };
        let (Some(changed), driver) = (files.changed(), files.driver()) else { return };
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let made = changed.and_then(|pem| {
            let next = current.generation + 1;
            connector(&pem, &self.resolver, self.proxy.as_ref(), next).map_err(|e| match e {
                NetError::Ca(why) => format!("ca: {why}"),
                NetError::Identity(why) => format!("clientCertificate: {why}"),
            })
        });
        match made {
            Ok(made) => {
                *current = Arc::new(made);
                tracing::info!(
                    driver,
                    "certificates of backend.http have changed: connections are made with the new ones"
                );
            }
            Err(why) => tracing::warn!(
                driver,
                why,
                "certificates of backend.http have changed and can't be used; those read before are kept: correct the files"
            ),
        }
    }
}

fn connector(
    pem: &Pem,
    resolver: &Arc<dyn Resolve>,
    proxy: Option<&Proxy>,
    generation: u64,
) -> Result<Connector, NetError> {
    let client = pem.client.as_ref().map(|(certificate, key)| tls::Identity { certificate, key });
    let tls = tls::client(pem.ca.as_deref(), client)?;
    let proxy_tls = match proxy {
        Some(_) => tls::client(pem.ca.as_deref(), None)?,
        None => tls.clone(),
    };
    Ok(Connector { resolver: resolver.clone(), tls, proxy_tls, proxy: proxy.cloned(), generation })
}
