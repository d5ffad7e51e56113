//! Connections that outlive a call: guests live for one, and a TLS handshake costs more than most requests.

use super::{reply::Body, target::Target};
use crate::config::Addresses;
use hyper::client::conn::http1::SendRequest;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// How long a connection is kept that nobody uses: less than servers and load balancers keep theirs (a minute), so that
/// hardly a request meets a connection that is just being closed.
pub(super) const IDLE: Duration = Duration::from_secs(20);

/// What a connection was made for. The kinds of address are part of it: a grant never uses a connection to an address that
/// another grant allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub target: Target,
    pub addresses: Addresses,
    pub proxied: bool,
}

/// A connection. Closed when dropped.
pub(super) struct Conn {
    pub key: Key,
    pub sender: SendRequest<Body>,
    /// Of what it was made with.
    pub generation: u64,
    /// It has served a request before.
    pub reused: bool,
    /// Drives it, and holds its place among the sockets until it is closed.
    pub _task: AbortOnDropHandle<()>,
}

/// The connections of one backend.
pub(super) struct Pool {
    idle: Mutex<VecDeque<(Instant, Conn)>>,
    /// One for each connection that is open.
    sockets: Arc<Semaphore>,
    /// One for each request in progress. First come, first served.
    slots: Arc<Semaphore>,
    pruning: AtomicBool,
}

impl Pool {
    /// For so many connections at a time.
    pub fn new(most: u32) -> Arc<Self> {
        let semaphore = || Arc::new(Semaphore::new(most.max(1) as usize));
        Arc::new(Self {
            idle: Mutex::default(),
            sockets: semaphore(),
            slots: semaphore(),
            pruning: AtomicBool::new(false),
        })
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Instant, Conn)>> {
        // Nothing that is done under the lock leaves it half done.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more request may be in progress.
    pub async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().acquire_owned().await.ok()
    }

    /// The connection that was used last, if one is there that was made with what counts now. Those of before are closed.
    pub fn take(&self, key: &Key, generation: u64) -> Option<Conn> {
        let mut idle = self.idle();
        idle.retain(|(since, conn)| since.elapsed() < IDLE && conn.sender.is_ready() && conn.generation >= generation);
        let at = idle.iter().rposition(|(_, conn)| conn.key == *key)?;
        idle.remove(at).map(|(_, conn)| conn)
    }

    /// Waits until one more connection may be opened. Whoever has a slot gets it: what is in excess is idle, and is closed.
    pub async fn socket(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.sockets.clone().try_acquire_owned() {
            return Some(permit);
        }
        drop(self.idle().pop_front());
        self.sockets.clone().acquire_owned().await.ok()
    }

    /// Keeps a connection that is ready for the next request.
    pub fn put(self: &Arc<Self>, mut conn: Conn) {
        conn.reused = true;
        self.idle().push_back((Instant::now(), conn));
        if !self.pruning.swap(true, SeqCst) {
            tokio::spawn(prune(Arc::downgrade(self)));
        }
    }
}

/// Closes what nobody uses, until nothing is left.
async fn prune(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.retain(|(since, conn)| since.elapsed() < IDLE && !conn.sender.is_closed());
        if idle.is_empty() {
            // Still under the lock: whoever puts one from now on starts anew.
            pool.pruning.store(false, SeqCst);
            return;
        }
    }
}
