//! The transport of a component: `wasi:http`, and the clock of `wasi:clocks` to wait by.

use super::{Failure, Kind, Method, Request, Response};
use crate::imports::call;
use std::time::Duration;
use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{self, ErrorCode, Fields, IncomingBody, IncomingResponse, OutgoingBody, OutgoingRequest};
use wasip2::io::streams::StreamError;

/// A stream takes at most this much at once (`blocking-write-and-flush`).
const CHUNK: usize = 4096;

pub(super) fn remaining() -> Duration {
    Duration::from_millis(call::remaining_ms())
}

pub(super) fn pause(time: Duration) {
    monotonic_clock::subscribe_duration(nanoseconds(time)).block();
}

pub(super) fn chance() -> u64 {
    wasip2::random::insecure::get_insecure_random_u64()
}

pub(super) fn send(request: &Request, timeout: Duration, max_body: usize) -> Result<Response, Failure> {
    let outgoing = head(request)?;
    let options = types::RequestOptions::new();
    // What the host can't set, it has limits of its own for.
    let _ = options.set_connect_timeout(Some(nanoseconds(timeout)));
    let _ = options.set_first_byte_timeout(Some(nanoseconds(timeout)));
    let _ = options.set_between_bytes_timeout(Some(nanoseconds(timeout)));
    let body = outgoing.body().map_err(|()| invalid("the body was taken before"))?;
    let pending = outgoing_handler::handle(outgoing, Some(options)).map_err(|code| failure(&code))?;
    // A host that answers before it has read the whole body closes the stream: the answer says why.
    write(body, &request.body);
    pending.subscribe().block();
    let reply = pending.get().and_then(Result::ok).ok_or_else(|| Failure::new(Kind::NoReply, "no answer is there"))?;
    receive(&reply.map_err(|code| failure(&code))?, max_body)
}

fn head(request: &Request) -> Result<OutgoingRequest, Failure> {
    let (scheme, authority, path) = request.parts()?;
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let length = (types::FieldName::from("content-length"), request.body.len().to_string().into_bytes());
    let headers: Vec<_> = headers.into_iter().chain((!request.body.is_empty()).then_some(length)).collect();
    let headers =
        Fields::from_list(&headers).map_err(|error| invalid(&format!("a header that can't be: {error:?}")))?;
    let outgoing = OutgoingRequest::new(headers);
    let method = match request.method {
        Method::Get => types::Method::Get,
        Method::Head => types::Method::Head,
        Method::Post => types::Method::Post,
        Method::Put => types::Method::Put,
        Method::Patch => types::Method::Patch,
        Method::Delete => types::Method::Delete,
    };
    let scheme = if scheme == "https" { types::Scheme::Https } else { types::Scheme::Http };
    let set = outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(path)));
    set.map_err(|()| invalid("the URL isn't one that can be asked for"))?;
    Ok(outgoing)
}

fn write(body: OutgoingBody, bytes: &[u8]) {
    if let Ok(stream) = body.write() {
        let _ = bytes.chunks(CHUNK).try_for_each(|chunk| stream.blocking_write_and_flush(chunk));
    }
    let _ = OutgoingBody::finish(body, None);
}

fn receive(reply: &IncomingResponse, max_body: usize) -> Result<Response, Failure> {
    let headers = reply.headers().entries().into_iter();
    let headers = headers.map(|(name, value)| (name.to_lowercase(), String::from_utf8_lossy(&value).into_owned()));
    let mut response = Response { headers: headers.collect(), ..Response::new(reply.status(), "") };
    let lost = |()| Failure::new(Kind::NoReply, "the reply's body can't be read");
    let body = reply.consume().map_err(lost)?;
    let outcome = read(&body, &mut response.body, max_body);
    drop(IncomingBody::finish(body));
    outcome.map(|()| response)
}

fn read(body: &IncomingBody, out: &mut Vec<u8>, max_body: usize) -> Result<(), Failure> {
    let stream = body.stream().map_err(|()| Failure::new(Kind::NoReply, "the reply's body can't be read"))?;
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) if out.len() + bytes.len() > max_body => {
                return Err(Failure::new(Kind::TooLarge, format!("the reply has more than {max_body} bytes")));
            }
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = types::http_error_code(&error);
                let failure = code.map_or_else(|| Failure::new(Kind::NoReply, "cut short"), |code| failure(&code));
                // Something had come, so the request had gone.
                let kind = if failure.kind == Kind::TooLarge { Kind::TooLarge } else { Kind::NoReply };
                return Err(Failure {
                    kind,
                    message: format!("while the reply was read: {}", failure.message),
                    ..failure
                });
            }
        }
    }
}

/// What the host says, sorted by what may have happened. Whatever isn't surely harmless counts as sent.
fn failure(code: &ErrorCode) -> Failure {
    let (kind, text) = match code {
        ErrorCode::HttpRequestDenied => {
            (Kind::Denied, "the host refuses this destination; its log names the line of config that would grant it")
        }
        ErrorCode::DestinationIpProhibited => {
            (Kind::Denied, "the host refuses the address that this name stands for; see `addresses` of the grant")
        }
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => {
            (Kind::NotSent, "the name can't be resolved")
        }
        ErrorCode::ConnectionRefused => (Kind::NotSent, "the connection was refused"),
        ErrorCode::ConnectionTimeout => (Kind::NotSent, "no connection in time"),
        ErrorCode::ConnectionLimitReached => (Kind::NotSent, "all connections of this backend are in use"),
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => {
            (Kind::NotSent, "it can't be reached")
        }
        ErrorCode::TlsProtocolError | ErrorCode::TlsCertificateError | ErrorCode::TlsAlertReceived(_) => {
            (Kind::NotSent, "no trusted TLS connection; see `http.ca` in the host's config and its log")
        }
        ErrorCode::HttpRequestBodySize(_) => (Kind::Invalid, "the request is larger than `http.maxRequest`"),
        ErrorCode::HttpRequestHeaderSectionSize(_) | ErrorCode::HttpRequestHeaderSize(_) => {
            (Kind::Invalid, "the request's headers are larger than `http.maxHeaders`")
        }
        ErrorCode::HttpRequestMethodInvalid | ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestUriTooLong => {
            (Kind::Invalid, "the host can't send this method or URL")
        }
        ErrorCode::HttpResponseBodySize(_) => (Kind::TooLarge, "the reply is larger than `http.maxResponse`"),
        ErrorCode::HttpResponseHeaderSectionSize(_) | ErrorCode::HttpResponseHeaderSize(_) => {
            (Kind::TooLarge, "the reply's headers are larger than `http.maxHeaders`")
        }
        ErrorCode::HttpResponseTimeout | ErrorCode::ConnectionReadTimeout => (Kind::NoReply, "no reply in time"),
        ErrorCode::InternalError(Some(text)) => return internal(text),
        other => return Failure::new(Kind::NoReply, format!("no reply: {}", name(other))),
    };
    Failure::new(kind, text)
}

/// The host can't sign: it says so in words, since wasi:http has no case for it.
fn internal(text: &str) -> Failure {
    let kinds = [("unauthenticated: ", Kind::Unauthenticated), ("unavailable: ", Kind::NotSent)];
    let known = kinds.into_iter().find_map(|(prefix, kind)| text.strip_prefix(prefix).map(|rest| (kind, rest)));
    known.map_or_else(
        || Failure::new(Kind::NoReply, format!("no reply: {text}")),
        |(kind, rest)| Failure::new(kind, rest),
    )
}

/// `ErrorCode::ConnectionTerminated` as `ConnectionTerminated`, without what it carries.
fn name(code: &ErrorCode) -> String {
    let text = format!("{code:?}");
    let text = text.rsplit("::").next().unwrap_or_default();
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn invalid(text: &str) -> Failure {
    Failure::new(Kind::Invalid, text)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
