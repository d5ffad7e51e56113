//! One request, by the bindings themselves: nothing here keeps a test from asking for something improper.

use bulkhead_sdk::prelude::lookup;
use wasip2::{
    http::{
        outgoing_handler,
        types::{
            self, ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
        },
    },
    io::streams::StreamError,
};

/// What `blocking-write-and-flush` takes at once.
const CHUNK: usize = 4096;
/// Most of a body that goes into a volume's context.
const SHOWN: usize = 600;

type Pairs = Vec<(String, String)>;

/// Sends what `given` describes.
pub fn send(given: &[(String, String)]) -> Pairs {
    match attempt(given) {
        Ok(context) => context,
        Err(outcome) => vec![("outcome".to_owned(), outcome)],
    }
}

fn number(given: &[(String, String)], key: &str) -> Option<u64> {
    lookup(given, key).and_then(|text| text.parse().ok())
}

fn attempt(given: &[(String, String)]) -> Result<Pairs, String> {
    let kept: Vec<_> = (0..number(given, "hoard").unwrap_or(0)).map(|_| Fields::new()).collect();
    let request = OutgoingRequest::new(headers(given)?);
    let refused = |what: &str| format!("refused {what}");
    request.set_method(&method(given)).map_err(|()| refused("method"))?;
    let scheme = match lookup(given, "scheme") {
        None | Some("http") => Some(Scheme::Http),
        Some("https") => Some(Scheme::Https),
        Some("none") => None,
        Some(other) => Some(Scheme::Other(other.to_owned())),
    };
    request.set_scheme(scheme.as_ref()).map_err(|()| refused("scheme"))?;
    request.set_authority(lookup(given, "authority")).map_err(|()| refused("authority"))?;
    request.set_path_with_query(Some(lookup(given, "path").unwrap_or("/"))).map_err(|()| refused("path"))?;
    let options = types::RequestOptions::new();
    let _ = options.set_between_bytes_timeout(number(given, "pause-ms").map(|ms| ms * 1_000_000));
    let body = number(given, "body").map(|size| (size, request.body()));
    let pending = outgoing_handler::handle(request, Some(options)).map_err(|code| error(&code))?;
    if let Some((size, Ok(body))) = body {
        write(body, size, lookup(given, "abandon") == Some("true"));
    }
    pending.subscribe().block();
    let reply = pending.get().and_then(Result::ok).ok_or_else(|| refused("answer"))?;
    let context = receive(&reply.map_err(|code| error(&code))?);
    drop(kept);
    context
}

fn method(given: &[(String, String)]) -> Method {
    match lookup(given, "method").unwrap_or("GET") {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "CONNECT" => Method::Connect,
        "TRACE" => Method::Trace,
        other => Method::Other(other.to_owned()),
    }
}

fn headers(given: &[(String, String)]) -> Result<Fields, String> {
    let fields = Fields::new();
    for (key, value) in given {
        let Some(name) = key.strip_prefix("header.") else { continue };
        let value = if value == "(long)" { vec![b'h'; 1024] } else { value.clone().into_bytes() };
        fields.append(name, &value).map_err(|_| format!("refused header {name}"))?;
    }
    for index in 0..number(given, "headers").unwrap_or(0) {
        fields.append(&format!("x-many-{index}"), &[b'm'; 100]).map_err(|_| "refused headers".to_owned())?;
    }
    if let Some(length) = lookup(given, "length") {
        fields.append("content-length", length.as_bytes()).map_err(|_| "refused length".to_owned())?;
    }
    Ok(fields)
}

/// A host that has its answer already closes the stream.
fn write(body: OutgoingBody, size: u64, abandon: bool) {
    if let Ok(stream) = body.write() {
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        while left > 0 && stream.blocking_write_and_flush(&[b'b'; CHUNK][..left.min(CHUNK)]).is_ok() {
            left -= left.min(CHUNK);
        }
    }
    if !abandon {
        let _ = OutgoingBody::finish(body, None);
    }
}

fn receive(reply: &IncomingResponse) -> Result<Pairs, String> {
    let mut context = vec![("outcome".to_owned(), format!("status {}", reply.status()))];
    for (name, value) in reply.headers().entries() {
        let value = String::from_utf8_lossy(&value[..value.len().min(100)]).into_owned();
        context.push((format!("header.{name}"), value));
    }
    let body = reply.consume().map_err(|()| "refused body".to_owned())?;
    let stream = body.stream().map_err(|()| "refused stream".to_owned())?;
    let (mut bytes, mut shown) = (0, Vec::new());
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(read) => {
                bytes += read.len();
                shown.extend(read.into_iter().take(SHOWN - shown.len()));
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(e)) => {
                let code = types::http_error_code(&e);
                return Err(format!("body {}", code.map_or_else(|| "error".to_owned(), |code| error(&code))));
            }
        }
    }
    drop(stream);
    drop(IncomingBody::finish(body));
    context.push(("bytes".to_owned(), bytes.to_string()));
    context.push(("body".to_owned(), String::from_utf8_lossy(&shown).into_owned()));
    context.dedup_by(|later, first| later.0 == first.0);
    Ok(context)
}

fn error(code: &ErrorCode) -> String {
    let text = format!("error {code:?}");
    text.chars().take(200).collect()
}
