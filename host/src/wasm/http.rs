//! wasi:http, as the guest sees it: the resources are the library's, every request goes through [`crate::imports::http`].

use super::store::{CallState, Shared};
use crate::{
    imports::http::{self as egress, Body, Denial, Egress, HttpError, Options, Reason},
    ops::ports::Role,
};
use bulkhead_domain::{Error as DomainError, ErrorKind, error::clean_text, request::Secrets};
use http::{Request, Response, uri::Scheme};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Instant,
};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// Bytes that a guest may write to a request's body at once, before they are taken off it.
const CHUNK_BYTES: usize = 64 << 10;
/// Lines about requests that fail or are refused, for each call. All are counted.
const LINES: u32 = 20;
/// Longest such line, in bytes.
const LINE_BYTES: usize = 1024;
/// Bytes that the headers of a component without a grant may have.
const CLOSED_HEADERS: u64 = 32 << 10;

/// Links wasi:http, for components that import it.
pub fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// What one call has for its requests.
pub struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

impl Http {
    fn of(state: &CallState) -> Self {
        let (egress, open) = (state.shared.granted.http().cloned(), state.cx.role == Role::Controller);
        let bytes = egress.as_ref().map_or(CLOSED_HEADERS, Egress::max_headers);
        let mut ctx = WasiHttpCtx::new();
        // The library counts what they take in memory, about twice of what they are on the wire.
        ctx.set_field_size_limit(
            usize::try_from(bytes.saturating_mul(2)).unwrap_or(usize::MAX).saturating_add(16 << 10),
        );
        let about = About {
            shared: state.shared.clone(),
            request_id: state.cx.request_id.clone(),
            secrets: state.cx.secrets.clone(),
            lines: AtomicU32::new(0),
        };
        let notes = state.notes.clone();
        Self { ctx, hooks: Hooks { egress, open, deadline: state.cx.deadline, about: Arc::new(about), notes } }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        if self.http.is_none() {
            // Made when first asked for: most backends never do.
            self.http = Some(Http::of(self));
        }
        let Some(http) = &mut self.http else { unreachable!("it was just made") };
        WasiHttpCtxView { ctx: &mut http.ctx, table: &mut self.table, hooks: &mut http.hooks }
    }
}

struct Hooks {
    egress: Option<Egress>,
    /// Requests may leave, if they are granted.
    open: bool,
    deadline: Instant,
    about: Arc<About>,
    notes: Notes,
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(egress::is_forbidden)
    }

    fn is_supported_scheme(&mut self, _scheme: &Scheme) -> bool {
        // The policy refuses what it does not know, and counts it.
        true
    }

    fn set_host_header(&mut self) -> bool {
        // The egress does, from the URI.
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (egress, open, deadline) = (self.egress.clone(), self.open, self.deadline);
        let (about, notes) = (self.about.clone(), self.notes.clone());
        Box::new(async move {
            // What the guest writes ends early in one way only: it drops the body.
            let request = request.map(|body| egress::convert(body, |_: Error| HttpError::RequestAborted));
            let sent = match egress {
                Some(egress) if open => egress.send(request, deadline, own_options(options)).await,
                Some(egress) => Err(egress.denied(closed())),
                None => Err(HttpError::Denied(closed())),
            };
            match sent {
                Ok(call) => {
                    notes.set(call.note);
                    let response = call.response.map(|body: Body| egress::convert(body, move |e| about.told(&e)));
                    Ok((response, Box::new(async { Ok(()) }) as Box<_>))
                }
                Err(e) => {
                    if let HttpError::Unauthenticated(why) = &e {
                        notes.set(Some(why.clone()));
                    }
                    Err(about.told(&e))
                }
            }
        })
    }
}

fn closed() -> Denial {
    let what = "requests are for calls of the controller, and there only if granted".to_owned();
    Denial::new(Reason::Role, what, None)
}

fn own_options(options: Option<RequestOptions>) -> Options {
    let options = options.unwrap_or_default();
    Options {
        connect: options.connect_timeout,
        first_byte: options.first_byte_timeout,
        between_bytes: options.between_bytes_timeout,
    }
}

/// Of which call a line is.
struct About {
    shared: Arc<Shared>,
    request_id: String,
    secrets: Secrets,
    lines: AtomicU32,
}

impl About {
    /// Logs why there is no answer, and gives what the guest gets to know of it.
    fn told(&self, error: &HttpError) -> Error {
        if self.lines.fetch_add(1, Relaxed) < LINES {
            let (driver, request_id) = (self.shared.driver.as_str(), self.request_id.as_str());
            // A host's name is the guest's own word.
            let why = clean_text(&self.shared.granted.mask(&self.secrets, &error.to_string()), LINE_BYTES);
            match error {
                HttpError::Denied(denial) => {
                    let (reason, denied) = (denial.reason.name(), denial.nth);
                    tracing::error!(driver, request_id, reason, denied, "a request of the backend was refused: {why}");
                }
                _ => tracing::warn!(driver, request_id, "a request of the backend failed: {why}"),
            }
        }
        to_wasi(error)
    }
}

fn to_wasi(error: &HttpError) -> Error {
    use HttpError as E;
    match error {
        E::Denied(_) => Error::HttpRequestDenied,
        E::NoSuchName(_) => Error::DnsError { rcode: None, info_code: None },
        E::Refused(_) => Error::ConnectionRefused,
        E::Unreachable(..) => Error::DestinationUnavailable,
        E::ConnectTimeout(_) => Error::ConnectionTimeout,
        E::ConnectionLimit => Error::ConnectionLimitReached,
        E::Certificate(..) => Error::TlsCertificateError,
        E::TlsAlert(_, alert) => Error::TlsAlertReceived { alert_id: None, alert_message: Some(alert.clone()) },
        E::Tls(..) => Error::TlsProtocolError,
        E::RequestHead(size) => Error::HttpRequestHeaderSectionSize(u32::try_from(*size).ok()),
        E::RequestBody(size) => Error::HttpRequestBodySize(Some(*size)),
        E::RequestAborted => Error::HttpProtocolError,
        E::Unauthenticated(_) | E::AuthUnavailable(_) => Error::InternalError(Some(error.to_string())),
        E::ResponseHead(_) => Error::HttpResponseHeaderSectionSize(None),
        E::ResponseBody(size) => Error::HttpResponseBodySize(Some(*size)),
        E::Incomplete(_) => Error::HttpResponseIncomplete,
        E::Protocol(_) => Error::HttpProtocolError,
        E::ResponseTimeout(_) => Error::HttpResponseTimeout,
        E::Broken(_) => Error::ConnectionTerminated,
    }
}

/// What the host knows about requests that were refused for their credentials: the backend's own words can't name the profile.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Option<String>>>);

impl Notes {
    fn set(&self, note: Option<String>) {
        if note.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = note;
        }
    }

    /// An error of the backend with what the host knows, where it is about credentials.
    pub(super) fn explain(&self, error: DomainError) -> DomainError {
        if error.kind() != ErrorKind::Unauthenticated {
            return error;
        }
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(note) => DomainError::unauthenticated(format_args!("{} ({note})", error.message())),
            None => error,
        }
    }
}
