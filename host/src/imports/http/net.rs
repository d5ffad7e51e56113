//! How requests travel: one request and its answer over a connection, with timeouts and caps.

use super::{
    connect::{Connector, NoConnection, is_near},
    error::HttpError,
    headers,
    pool::{Conn, Key, Pool},
    reply::{Body, Bounds, Held, bounded},
    resolve::Resolve,
    target::Target,
    trust::{Pem, PemFiles, Trust},
};
use crate::{
    config::{Addresses, HttpSettings, Scheme},
    imports::transport::{BoxFuture, Transport, TransportError},
};
use http::{HeaderValue, Request, Response, response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, time::timeout_at};
use tokio_util::task::AbortOnDropHandle;

pub use super::tls::NetError;

/// How long a connection may need to be ready again once its answer is whole.
const BREATH: Duration = Duration::from_secs(1);
/// Connections on which the host itself asks: it logs in, and asks for credentials.
const HOST_CONNECTIONS: u32 = 4;

/// How the requests of one backend travel. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    trust: Arc<Trust>,
    pool: Arc<Pool>,
    settings: HttpSettings,
    http1: http1::Builder,
    handle: Handle,
}

/// Where a request goes and how long it may take.
pub(super) struct Trip {
    pub key: Key,
    /// For looking up, connecting and TLS.
    pub connect: Duration,
    /// From sending to the head of the answer.
    pub first_byte: Duration,
    /// The end of everything.
    pub deadline: Instant,
}

/// The head of an answer, and what is needed for its body.
pub(super) struct Head {
    pub parts: response::Parts,
    incoming: Incoming,
    conn: Conn,
}

impl Net {
    /// Made on the runtime that is to serve the connections. Connects to nothing yet.
    ///
    /// # Errors
    /// A certificate or key can't be used.
    pub fn new(settings: HttpSettings, pem: &Pem, resolver: Arc<dyn Resolve>) -> Result<Self, NetError> {
        let trust = Trust::new(pem, resolver, settings.proxy.clone())?;
        let head = usize::try_from(settings.max_headers).unwrap_or(usize::MAX);
        let mut http1 = http1::Builder::new();
        http1.max_header_size(head).max_buf_size(head.saturating_mul(2).max(64 << 10));
        let pool = Pool::new(settings.max_connections);
        Ok(Self(Arc::new(Inner { trust, pool, settings, http1, handle: Handle::current() })))
    }

    /// Looks from now on whether these files have changed, which held what it was made with.
    #[must_use]
    pub fn watching(self, files: Arc<dyn PemFiles>) -> Self {
        self.0.trust.watch(files);
        self
    }

    pub(super) fn settings(&self) -> &HttpSettings {
        &self.0.settings
    }

    /// Runs `task` beside the sockets, until it ends or the caller drops it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, HttpError>> + Send + 'static,
    ) -> Result<T, HttpError> {
        let task = AbortOnDropHandle::new(self.0.handle.spawn(task));
        task.await.unwrap_or_else(|e| Err(HttpError::Broken(format!("(the host failed: {e})"))))
    }

    /// A place among the requests in progress, by `deadline`.
    pub(super) async fn slot(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, HttpError> {
        timeout_at(deadline.into(), self.0.pool.slot()).await.ok().flatten().ok_or(HttpError::ConnectionLimit)
    }

    /// The key of connections to such a target.
    pub(super) fn key(&self, target: Target, addresses: Addresses) -> Key {
        Key { target, addresses, proxied: self.0.settings.proxy.is_some() }
    }

    /// Sends a request and waits for the head of its answer. The caller has a slot.
    pub(super) async fn exchange(&self, trip: &Trip, mut request: Request<Body>) -> Result<Head, NoConnection> {
        let target = &trip.key.target;
        // Towards a proxy the request line says where a plain request goes; TLS ends at the host itself.
        if !(trip.key.proxied && target.scheme == Scheme::Http) {
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map(http::Uri::from).unwrap_or_default();
        }
        let host = || target.to_string();
        let connector = self.0.trust.connector().await;
        loop {
            let mut conn = match self.0.pool.take(&trip.key, connector.generation) {
                Some(conn) => conn,
                None => self.open(trip, &connector).await?,
            };
            let end = trip.deadline.min(Instant::now() + trip.first_byte);
            let sent = timeout_at(end.into(), conn.sender.try_send_request(request)).await;
            match sent.map_err(|_| HttpError::ResponseTimeout(host()))? {
                Ok(response) => {
                    let (parts, incoming) = response.into_parts();
                    return Ok(Head { parts, incoming, conn });
                }
                Err(mut error) => match error.take_message() {
                    // The server closed it meanwhile, and nothing of the request has left.
                    Some(unsent) if conn.reused => request = unsent,
                    Some(_) => {
                        let why = "it closed the connection at once".to_owned();
                        return Err(HttpError::Unreachable(host(), why).into());
                    }
                    None => return Err(HttpError::of_exchange(&host(), error.error()).into()),
                },
            }
        }
    }

    async fn open(&self, trip: &Trip, connector: &Connector) -> Result<Conn, NoConnection> {
        let late = || HttpError::ConnectTimeout(trip.key.target.to_string());
        let end = trip.deadline.min(Instant::now() + trip.connect);
        let opening = async {
            let permit = self.0.pool.socket().await.ok_or_else(late)?;
            let Key { target, addresses, proxied } = &trip.key;
            let time = end.saturating_duration_since(Instant::now());
            let stream = connector.connect(target, *addresses, *proxied, time).await?;
            let shaken = self.0.http1.handshake(stream).await;
            let (sender, connection) = shaken.map_err(|e| HttpError::of_exchange(&target.to_string(), &e))?;
            let task = self.0.handle.spawn(async move {
                // How it ended is seen by whoever uses it.
                let _ = connection.await;
                drop(permit);
            });
            let task = AbortOnDropHandle::new(task);
            Ok(Conn { key: trip.key.clone(), sender, generation: connector.generation, reused: false, _task: task })
        };
        timeout_at(end.into(), opening).await.map_err(|_| late())?
    }

    /// The answer with its body.
    pub(super) fn answer(
        &self,
        head: Head,
        slot: OwnedSemaphorePermit,
        bounds: &Bounds,
    ) -> Result<Response<Body>, HttpError> {
        let Head { parts, incoming, conn } = head;
        let body = bounded(incoming, Held { net: self.clone(), conn, slot }, bounds)?;
        Ok(Response::from_parts(parts, body))
    }

    /// Keeps a connection for the next request, once it is ready for it.
    pub(super) fn give_back(&self, mut conn: Conn, slot: OwnedSemaphorePermit) {
        let pool = self.0.pool.clone();
        self.0.handle.spawn(async move {
            if let Ok(Ok(())) = tokio::time::timeout(BREATH, conn.sender.ready()).await {
                pool.put(conn);
            }
            drop(slot);
        });
    }

    /// How the host itself sends requests, over connections of its own: one that is made while a guest's request waits for it must
    /// not wait for that one's place. They go wherever the operator says; what is near is never asked by way of the proxy.
    pub fn transport(&self) -> Arc<dyn Transport> {
        let Inner { trust, settings, http1, handle, .. } = &*self.0;
        Arc::new(HostNet(Net(Arc::new(Inner {
            trust: trust.clone(),
            pool: Pool::new(HOST_CONNECTIONS),
            settings: settings.clone(),
            http1: http1.clone(),
            handle: handle.clone(),
        }))))
    }
}

struct HostNet(Net);

impl Transport for HostNet {
    fn send(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let net = self.0.clone();
        Box::pin(async move {
            self.0.run(net.ask(request, deadline)).await.map_err(|e| match e.not_sent() {
                true => TransportError::NotSent(e.to_string()),
                false => TransportError::NoReply(e.to_string()),
            })
        })
    }
}

impl Net {
    async fn ask(self, request: Request<Full<Bytes>>, deadline: Instant) -> Result<Response<Bytes>, HttpError> {
        let settings = self.settings();
        let target = Target::of(request.uri())
            .map_err(|why| HttpError::Unreachable("a URL of the config".into(), why.to_owned()))?;
        let deadline = deadline.min(Instant::now() + settings.total_timeout);
        let mut key = self.key(target, Addresses::all());
        key.proxied &= !is_near(&key.target.host);
        let trip = Trip { key, connect: settings.connect_timeout, first_byte: settings.first_byte_timeout, deadline };
        let (mut parts, body) = request.into_parts();
        let host = HeaderValue::try_from(trip.key.target.authority());
        headers::clean(&mut parts.headers, host.map_err(|_| HttpError::Protocol(trip.key.target.to_string()))?);
        let request = Request::from_parts(parts, body.map_err(|e| match e {}).boxed_unsync());
        let slot = self.slot(deadline).await?;
        let head = self.exchange(&trip, request).await.map_err(|e| match e {
            NoConnection::Failed(error) => error,
            NoConnection::Addresses(_) => {
                let why = "no address of it can be connected to".to_owned();
                HttpError::Unreachable(trip.key.target.to_string(), why)
            }
        })?;
        let bounds = Bounds { deadline, pause: None, most: settings.max_response };
        let (parts, body) = self.answer(head, slot, &bounds)?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }
}
