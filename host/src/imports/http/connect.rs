//! One connection: to a checked address, or to the proxy.

use super::{
    error::{HttpError, tls_error},
    resolve::{self, Found, Resolve},
    target::{Host, Target},
};
use crate::config::{AddressKind, Addresses, Proxy, Scheme};
use http::{Uri, uri::PathAndQuery};
use hyper::rt::{Read, Write};
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connection, proxy::Tunnel},
    rt::TokioIo,
};
use rustls::ClientConfig;
use std::{future::ready, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tower::Service;

/// Shortest that one of several addresses is tried, so that one that does not answer leaves time for the next.
const LEAST_ATTEMPT: Duration = Duration::from_millis(250);

/// To the proxy or the host (the inner one), and then TLS with the host or none.
pub(super) type Stream = MaybeHttpsStream<MaybeHttpsStream<TokioIo<TcpStream>>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections for one backend.
pub(super) struct Connector {
    pub resolver: Arc<dyn Resolve>,
    pub tls: Arc<ClientConfig>,
    /// For the way to the proxy: nothing is shown there.
    pub proxy_tls: Arc<ClientConfig>,
    pub proxy: Option<Proxy>,
    /// Counts up each time that certificates have changed.
    pub generation: u64,
}

/// Why there is no connection.
pub(super) enum NoConnection {
    /// The host's name leads to addresses of these kinds only, and none of them is granted. None: never connected to.
    Addresses(Vec<Option<AddressKind>>),
    /// Anything else.
    Failed(HttpError),
}

impl From<HttpError> for NoConnection {
    fn from(error: HttpError) -> Self {
        Self::Failed(error)
    }
}

impl Connector {
    /// Connects within `time`; the caller ends it then.
    pub async fn connect(
        &self,
        target: &Target,
        allowed: Addresses,
        proxied: bool,
        time: Duration,
    ) -> Result<Stream, NoConnection> {
        let uri = uri_of(target);
        let inner = match &self.proxy {
            Some(proxy) if proxied => {
                // A resolver that doesn't answer here is like one that doesn't know: the proxy may.
                let checking = resolve::all_allowed(&*self.resolver, target, allowed);
                let checked = tokio::time::timeout(time / 2, checking).await;
                checked.unwrap_or(Ok(())).map_err(NoConnection::Addresses)?;
                self.through(proxy, target, &uri, time).await?
            }
            _ => match resolve::find(&*self.resolver, target, allowed).await? {
                Found::Allowed(addresses) => MaybeHttpsStream::Http(tcp(target, &addresses, time).await?),
                Found::Denied(kinds) => return Err(NoConnection::Addresses(kinds)),
            },
        };
        Ok(tls(self.tls.clone(), uri, inner).await.map_err(|e| tls_failed(target, &e))?)
    }

    /// To the proxy, and for https through it.
    async fn through(
        &self,
        proxy: &Proxy,
        target: &Target,
        uri: &Uri,
        time: Duration,
    ) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, HttpError> {
        let host = match proxy.host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(proxy.host.clone()),
        };
        let there = Target { scheme: proxy.scheme, host, port: proxy.port };
        // The operator's word stands for the address, but for those that nobody can mean.
        let addresses = match resolve::find(&*self.resolver, &there, Addresses::all()).await? {
            Found::Allowed(addresses) => addresses,
            Found::Denied(_) => return Err(unreachable(&there, "no address of it can be connected to")),
        };
        let io = tcp(&there, &addresses, time).await?;
        let io = tls(self.proxy_tls.clone(), uri_of(&there), io).await.map_err(|e| tls_failed(&there, &e))?;
        if target.scheme == Scheme::Http {
            return Ok(io);
        }
        let tunnel = Tunnel::new(uri_of(&there), once(io)).call(uri.clone()).await;
        tunnel.map_err(|e| unreachable(target, &format!("the proxy {there} does not let it through: {e}")))
    }
}

fn unreachable(target: &Target, why: &str) -> HttpError {
    HttpError::Unreachable(target.to_string(), why.to_owned())
}

/// Scheme, host and port, for libraries that want them in this form.
fn uri_of(target: &Target) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = match target.scheme {
        Scheme::Http => Some(http::uri::Scheme::HTTP),
        Scheme::Https => Some(http::uri::Scheme::HTTPS),
    };
    // What a target shows is always an authority.
    parts.authority = target.host_and_port().parse().ok();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_default()
}

/// The first of the addresses that takes a connection.
async fn tcp(target: &Target, addresses: &[SocketAddr], time: Duration) -> Result<TokioIo<TcpStream>, HttpError> {
    let share = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let attempt = (time / share).max(LEAST_ATTEMPT);
    let mut last = HttpError::ConnectTimeout(target.to_string());
    for address in addresses {
        last = match tokio::time::timeout(attempt, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are written whole: waiting for more would only cost time.
                let _ = stream.set_nodelay(true);
                return Ok(TokioIo::new(stream));
            }
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => HttpError::Refused(target.to_string()),
            Ok(Err(e)) => unreachable(target, &e.to_string()),
            Err(_) => HttpError::ConnectTimeout(target.to_string()),
        };
    }
    Err(last)
}

/// TLS over what is connected already, if the URI's scheme wants it; the name in the URI is the one that the server must prove.
async fn tls<T>(config: Arc<ClientConfig>, uri: Uri, io: T) -> Result<MaybeHttpsStream<T>, BoxError>
where
    T: Connection + Read + Write + Send + Unpin + 'static,
{
    HttpsConnector::new(once(io), config, false, Arc::new(DefaultServerNameResolver::default())).call(uri).await
}

/// A service that gives `io`, to whomever it is asked to connect to.
fn once<T: Send + 'static>(
    io: T,
) -> impl Service<Uri, Response = T, Error = io::Error, Future = std::future::Ready<io::Result<T>>> {
    let mut io = Some(io);
    tower::service_fn(move |_: Uri| ready(io.take().ok_or_else(|| io::Error::other("connected twice"))))
}

fn tls_failed(target: &Target, error: &BoxError) -> HttpError {
    match tls_error(&**error) {
        Some(tls) => HttpError::of_tls(&target.to_string(), tls),
        None => HttpError::Tls(target.to_string(), error.to_string()),
    }
}

/// An address that no proxy leads to: this machine, this link, and a cloud's metadata.
pub(super) fn is_near(host: &Host) -> bool {
    use AddressKind as K;
    let Host::Address(address) = host else { return false };
    matches!(super::address::kind(*address), Some(K::Loopback | K::LinkLocal | K::Metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn a_target_becomes_a_uri() {
        for (host, expected) in [
            (Host::Name("a.example".into()), "https://a.example:8443/"),
            (Host::Address(IpAddr::V6("::1".parse().unwrap())), "https://[::1]:8443/"),
        ] {
            assert_eq!(uri_of(&Target { scheme: Scheme::Https, host, port: 8443 }).to_string(), expected);
        }
    }
}
