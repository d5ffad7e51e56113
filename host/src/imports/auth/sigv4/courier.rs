//! How `reqsign` reaches the outside: over the host's own transport, and without anything of its environment.

use super::super::error::{AuthErrorKind, Problem};
use super::{
    keys::Keys,
    sign::{Scope, hash, sign},
};
use crate::imports::{BackendSecrets, Transport, TransportError};
use http::{HeaderValue, Method, StatusCode, Uri, header, request::Parts, uri::PathAndQuery};
use hyper::body::Bytes;
use reqsign_aws_v4::Credential;
use reqsign_core::{Context, Error, ErrorKind, FileRead, HttpSend, Result, SignRequest, time::Timestamp};
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// One errand: what is sent for one set of keys. Cheap to clone; all clones share what went wrong.
#[derive(Clone)]
pub(super) struct Courier {
    transport: Arc<dyn Transport>,
    secrets: BackendSecrets,
    /// Scheme and authority to go to instead of those that the library knows.
    endpoint: Option<String>,
    /// Signs what is sent.
    signer: Option<TokenServiceSigner>,
    deadline: Instant,
    last: Arc<Mutex<Last>>,
}

/// Signs requests to the token service of a region.
#[derive(Debug, Clone)]
struct TokenServiceSigner {
    keys: Keys,
    region: String,
}

/// How the latest request ended: the library's errors don't tell.
#[derive(Default)]
struct Last {
    place: String,
    failed: Option<TransportError>,
    status: Option<StatusCode>,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Courier {
    pub(super) fn new(
        transport: &Arc<dyn Transport>,
        secrets: &BackendSecrets,
        endpoint: Option<String>,
        deadline: Instant,
    ) -> Self {
        let (transport, secrets) = (transport.clone(), secrets.clone());
        Self { transport, secrets, endpoint, signer: None, deadline, last: Arc::default() }
    }

    /// Signs what is sent, for the token service of this region.
    pub(super) fn signing(self, keys: &Keys, region: &str) -> Self {
        Self { signer: Some(TokenServiceSigner { keys: keys.clone(), region: region.to_owned() }), ..self }
    }

    /// What the library gets to see of the world.
    pub(super) fn context(&self) -> Context {
        Context::new().with_http_send(self.clone()).with_file_read(self.clone())
    }

    /// `uri` at the endpoint of this errand.
    fn redirected(&self, uri: &Uri) -> Result<Uri> {
        let Some(endpoint) = &self.endpoint else { return Ok(uri.clone()) };
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        format!("{endpoint}{path}").parse().map_err(|_| Error::config_invalid("the endpoint is not a URL"))
    }

    /// The library's error in our words.
    pub(super) fn problem(&self, error: &Error) -> Problem {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = &last.failed {
            return Problem::unavailable(format_args!("{} {failed}", last.place));
        }
        let refused = match last.status {
            Some(status) => status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS,
            None => error.kind() != ErrorKind::RateLimited && !error.is_retryable(),
        };
        let asked = if last.place.is_empty() { String::new() } else { format!("{}: ", last.place) };
        let kind = if refused { AuthErrorKind::Unauthenticated } else { AuthErrorKind::Unavailable };
        Problem { kind, text: format!("{asked}{error}") }
    }

    /// Nothing was sent, for nobody is there.
    pub(super) fn nobody_there(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(last.failed, Some(TransportError::NotSent(_)))
    }
}

impl HttpSend for Courier {
    async fn http_send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>> {
        let (mut parts, mut body) = request.into_parts();
        parts.uri = self.redirected(&parts.uri)?;
        if let Some(signer) = &self.signer {
            body = post(&mut parts, body)?;
            let scope = Scope { service: "sts", region: &signer.region };
            sign(&mut parts, &hash(&body), &signer.keys, scope, Timestamp::now()).map_err(Error::request_invalid)?;
        }
        let place = super::super::exchange::place(&parts.uri);
        let sent = self.transport.send(http::Request::from_parts(parts, body.into()), self.deadline).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last { place, failed: None, status: None };
        match sent {
            Ok(response) => {
                last.status = Some(response.status());
                Ok(response)
            }
            Err(error) => {
                last.failed = Some(error);
                Err(Error::unexpected("no answer").set_retryable(true))
            }
        }
    }
}

impl FileRead for Courier {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>> {
        let (secrets, path) = (self.secrets.clone(), path.to_owned());
        let read = tokio::task::spawn_blocking(move || secrets.read_other(Path::new(&path))).await;
        let value = read.map_err(|_| Error::unexpected("the host is shutting down"))?;
        value.map(|value| value.expose().to_vec()).map_err(Error::config_invalid)
    }
}

/// What the library would ask with GET and a query becomes a POST of the same form, as AWS's own SDKs send it: not every server that
/// speaks the token service's language verifies the other way, and what is in a URL gets into logs.
fn post(parts: &mut Parts, body: Bytes) -> Result<Bytes> {
    let Some(query) = parts.uri.query().filter(|_| body.is_empty()) else { return Ok(body) };
    let form = Bytes::copy_from_slice(query.as_bytes());
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = Some(parts.uri.path().parse().map_err(|_| Error::request_invalid("no path"))?);
    parts.uri = Uri::from_parts(uri).map_err(|_| Error::request_invalid("no URL"))?;
    parts.method = Method::POST;
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    Ok(form)
}

/// What the library hands over to be signed is not what is sent: the courier signs that.
#[derive(Debug)]
pub(super) struct Unsigned;

impl SignRequest for Unsigned {
    type Credential = Credential;

    async fn sign_request(
        &self,
        _: &Context,
        _: &mut Parts,
        _: Option<&Credential>,
        _: Option<Duration>,
    ) -> Result<()> {
        Ok(())
    }
}
