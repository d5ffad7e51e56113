//! Requests of one backend: policy, pace, auth profile, and one replay when a login has run out.

use super::{
    authorize::{Authorizer, Signed, Unauthorized},
    connect::NoConnection,
    denied::{Denial, Denials, Reason},
    error::HttpError,
    headers,
    net::{Head, Net, Trip},
    policy::Policy,
    reply::{Body, Bounds},
    target::Target,
};
use crate::{config::HttpGrant, imports::Pace};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime},
};
use tokio::{sync::OwnedSemaphorePermit, time::timeout_at};

/// What one request may ask for of the host, within what the config allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Longest for connecting.
    pub connect: Option<Duration>,
    /// Longest to the head of the answer.
    pub first_byte: Option<Duration>,
    /// Longest between two pieces of the answer.
    pub between_bytes: Option<Duration>,
}

/// The answer to a request.
pub struct Call {
    /// As the server sent it, its body capped.
    pub response: Response<Body>,
    /// If it was signed and the server refuses it: by which profile, and what may be wrong.
    pub note: Option<String>,
}

/// Sends the requests of one backend. Cheap to clone.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    policy: Policy,
    net: Net,
    pace: Pace,
    authorizer: Option<Arc<dyn Authorizer>>,
    denials: Denials,
}

impl Egress {
    /// For a backend with these grants, which stand in the config under `key` (`drivers[0].backend.grants.http`).
    pub fn new(
        grants: Vec<HttpGrant>,
        key: String,
        net: Net,
        pace: Pace,
        authorizer: Option<Arc<dyn Authorizer>>,
    ) -> Self {
        Self(Arc::new(Inner { policy: Policy::new(grants, key), net, pace, authorizer, denials: Denials::default() }))
    }

    /// How many requests were refused.
    pub fn denials(&self) -> &Denials {
        &self.0.denials
    }

    /// Bytes that the head of a request may have.
    pub fn max_headers(&self) -> u64 {
        self.0.net.settings().max_headers
    }

    /// Counts a refusal.
    pub fn denied(&self, denial: Denial) -> HttpError {
        HttpError::Denied(Denial { nth: self.0.denials.count(denial.reason), ..denial })
    }

    /// Sends a request with an absolute URI, if it is granted, and gives the head of the answer; its body comes as it is read. All of
    /// it ends by `deadline`.
    ///
    /// # Errors
    /// All that keeps the answer from coming. A status is no error.
    pub async fn send(&self, request: Request<Body>, deadline: Instant, options: Options) -> Result<Call, HttpError> {
        let malformed = |why: &str| {
            let what = format!("a request that can be read in more than one way: {why}");
            self.denied(Denial::new(Reason::Malformed, what, None))
        };
        let target = Target::of(request.uri()).map_err(malformed)?;
        let grant = self.0.policy.decide(&target, request.method()).map_err(|denial| self.denied(denial))?.clone();
        let (mut parts, body) = request.into_parts();
        let host = HeaderValue::try_from(target.authority()).map_err(|_| malformed("its host is no header value"))?;
        headers::clean(&mut parts.headers, host);
        let settings = self.0.net.settings();
        let path = parts.uri.path_and_query().map_or(0, |path| path.as_str().len() as u64);
        let head = headers::size(&parts.headers) + path;
        if head > settings.max_headers {
            return Err(HttpError::RequestHead(head));
        }
        let most = settings.max_request;
        let body = Limited { body, announced: announced(&parts.headers), seen: 0, most };
        if body.size_hint().lower() > most || body.announced.is_some_and(|length| length > most) {
            return Err(HttpError::RequestBody(most));
        }
        let within = |asked: Option<Duration>, most: Duration| asked.map_or(most, |asked| asked.min(most));
        let trip = Trip {
            key: self.0.net.key(target, grant.addresses),
            connect: within(options.connect, settings.connect_timeout),
            first_byte: within(options.first_byte, settings.first_byte_timeout),
            deadline: deadline.min(Instant::now() + settings.total_timeout),
        };
        let pause = options.between_bytes;
        let this = self.clone();
        self.0.net.run(async move { this.carry(grant, trip, pause, parts, body).await }).await
    }

    async fn carry(
        self,
        grant: HttpGrant,
        trip: Trip,
        pause: Option<Duration>,
        parts: request::Parts,
        body: Limited,
    ) -> Result<Call, HttpError> {
        let slot = self.0.net.slot(trip.deadline).await?;
        let bounds = Bounds { deadline: trip.deadline, pause, most: self.0.net.settings().max_response };
        let Some(profile) = &grant.auth else {
            let head = self.step(&grant, &trip, Request::from_parts(parts, body)).await?;
            let response = self.0.net.answer(head, slot, &bounds)?;
            return Ok(Call { response, note: None });
        };
        self.signed(profile, &grant, &trip, (parts, body), (slot, bounds)).await
    }

    /// Buffers the body, signs, sends, and does so once more if the server wants a new login.
    async fn signed(
        &self,
        profile: &str,
        grant: &HttpGrant,
        trip: &Trip,
        (parts, body): (request::Parts, Limited),
        (slot, bounds): (OwnedSemaphorePermit, Bounds),
    ) -> Result<Call, HttpError> {
        let late = || HttpError::ConnectTimeout(trip.key.target.to_string());
        let body = timeout_at(trip.deadline.into(), body.collect()).await.map_err(|_| late())??.to_bytes();
        let (request, signed) = self.sign(profile, &parts, &body, trip.deadline).await?;
        let mut signed = signed;
        let mut head = self.step(grant, trip, request).await?;
        if head.parts.status == StatusCode::UNAUTHORIZED && self.refused(profile, &signed, &head, trip).await? {
            drop(head);
            let again = self.sign(profile, &parts, &body, trip.deadline).await?;
            signed = again.1;
            head = self.step(grant, trip, again.0).await?;
        }
        let refused = matches!(head.parts.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let hint = self.0.authorizer.as_ref().and_then(|profiles| profiles.hint(&signed, &head.parts));
        let note = match hint {
            Some(hint) => Some(format!("auth profile `{profile}`: {hint}")),
            None => refused.then(|| format!("auth profile `{profile}`")),
        };
        let response = self.0.net.answer(head, slot, &bounds)?;
        Ok(Call { response, note })
    }

    async fn refused(&self, profile: &str, signed: &Signed, head: &Head, trip: &Trip) -> Result<bool, HttpError> {
        let Some(profiles) = &self.0.authorizer else { return Ok(false) };
        let asked = timeout_at(trip.deadline.into(), profiles.refused(signed, &head.parts)).await;
        asked.map_err(|_| HttpError::AuthUnavailable(format!("auth profile `{profile}`: no new login in time")))
    }

    /// The request with what the profile adds, and never with an Authorization of the guest's.
    async fn sign(
        &self,
        profile: &str,
        parts: &request::Parts,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<(Request<Full<Bytes>>, Signed), HttpError> {
        let unavailable = |why: &str| HttpError::AuthUnavailable(format!("auth profile `{profile}`: {why}"));
        let profiles = self.0.authorizer.as_ref().ok_or_else(|| unavailable("there is no such profile"))?;
        let mut signing = parts.clone();
        signing.headers.remove(header::AUTHORIZATION);
        let signed = timeout_at(deadline.into(), profiles.authorize(profile, &mut signing, body, deadline)).await;
        let signed = signed.map_err(|_| unavailable("it could not sign in time"))?.map_err(|e| match e {
            Unauthorized::Refused(why) => HttpError::Unauthenticated(why),
            Unauthorized::Unavailable(why) => HttpError::AuthUnavailable(why),
        })?;
        // Only headers are the profile's to change, and the frame is not.
        let host = parts.headers.get(header::HOST).cloned().ok_or_else(|| unavailable("the request has no host"))?;
        headers::clean(&mut signing.headers, host);
        signing.headers.remove(header::CONTENT_LENGTH);
        (signing.uri, signing.method) = (parts.uri.clone(), parts.method.clone());
        Ok((Request::from_parts(signing, Full::new(body.clone())), signed))
    }

    /// One request on the wire, in its turn.
    async fn step<B>(&self, grant: &HttpGrant, trip: &Trip, request: Request<B>) -> Result<Head, HttpError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<HttpError>,
    {
        let turn = timeout_at(trip.deadline.into(), self.0.pace.turn()).await;
        turn.map_err(|_| HttpError::ConnectTimeout(trip.key.target.to_string()))?;
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let head = self.0.net.exchange(trip, request).await.map_err(|e| match e {
            NoConnection::Failed(error) => error,
            NoConnection::Addresses(kinds) => {
                self.denied(self.0.policy.wrong_addresses(&trip.key.target, grant, &kinds))
            }
        })?;
        match head.parts.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                self.0.pace.throttled(retry_after(&head.parts.headers, SystemTime::now()));
            }
            _ => self.0.pace.passed(),
        }
        Ok(head)
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("policy", &self.0.policy).field("denials", &self.0.denials).finish()
    }
}

/// What the guest says that its body has.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Retry-After as seconds or as a date (RFC 9110 10.2.3). None: not there, or nonsense.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// A guest's body: not larger than allowed, and as long as it says.
struct Limited {
    body: Body,
    announced: Option<u64>,
    seen: u64,
    most: u64,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            let short = self.announced.filter(|length| *length != self.seen);
            return Poll::Ready(short.map(|_| Err(HttpError::RequestBody(self.seen))));
        };
        let frame = frame?;
        self.seen = self.seen.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
        let allowed = self.announced.unwrap_or(self.most).min(self.most);
        Poll::Ready(Some(if self.seen > allowed { Err(HttpError::RequestBody(allowed)) } else { Ok(frame) }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.announced.is_none_or(|length| length == self.seen)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let of = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]), now).map(|time| time.as_secs())
        };
        assert_eq!(of("120"), Some(120));
        assert_eq!(of(" 0 "), Some(0));
        assert_eq!(of("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(of("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(of("soon"), None);
        assert_eq!(of("-5"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
