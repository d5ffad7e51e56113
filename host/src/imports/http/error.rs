//! Why a request has no answer.

use super::denied::Denial;
use std::io;

/// Why a request has no answer, or not all of it. Never holds anything of a header or a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The config doesn't grant it. Nothing was sent.
    #[error("denied: {0}")]
    Denied(Denial),
    /// There is no such name. Nothing was sent.
    #[error("the name of {0} can't be resolved")]
    NoSuchName(String),
    /// Nobody listens there. Nothing was sent.
    #[error("{0} refused the connection")]
    Refused(String),
    /// It can't be connected to. Nothing was sent.
    #[error("{0} can't be reached: {1}")]
    Unreachable(String, String),
    /// No connection in time. Nothing was sent.
    #[error("no connection to {0} in time")]
    ConnectTimeout(String),
    /// All connections of the backend were in use until the end. Nothing was sent.
    #[error("all connections of the backend are in use (http.maxConnections)")]
    ConnectionLimit,
    /// The server's certificate isn't trusted. Nothing was sent.
    #[error("the certificate of {0} is not trusted: {1}")]
    Certificate(String, String),
    /// The server ended TLS with an alert.
    #[error("{0} refused TLS: {1}")]
    TlsAlert(String, String),
    /// Something else about TLS. Nothing was sent.
    #[error("no TLS with {0}: {1}")]
    Tls(String, String),
    /// The head of the request is larger than allowed. Nothing was sent.
    #[error("the head of the request has {0} bytes, more than http.maxHeaders")]
    RequestHead(u64),
    /// The body of the request is larger than allowed, or not as long as it said.
    #[error("the body of the request is not of a size that is allowed (http.maxRequest)")]
    RequestBody(u64),
    /// The guest gave its body up.
    #[error("the backend ended the body of its request early")]
    RequestAborted,
    /// The request can't be signed: credentials are absent, expired or refused. Nothing was sent, or it was refused.
    #[error("unauthenticated: {0}")]
    Unauthenticated(String),
    /// The request can't be signed now. Nothing was sent.
    #[error("unavailable: {0}")]
    AuthUnavailable(String),
    /// The head of the answer is larger than allowed.
    #[error("the head of the answer from {0} is larger than http.maxHeaders")]
    ResponseHead(String),
    /// The body of the answer is larger than allowed.
    #[error("the body of the answer is larger than {0} bytes (http.maxResponse)")]
    ResponseBody(u64),
    /// The connection ended before the answer was whole.
    #[error("the answer from {0} is incomplete")]
    Incomplete(String),
    /// The answer is not HTTP.
    #[error("the answer from {0} is not HTTP/1.1")]
    Protocol(String),
    /// No answer, or not all of it, in time.
    #[error("no whole answer from {0} in time")]
    ResponseTimeout(String),
    /// The connection broke after the request had left.
    #[error("the connection to {0} broke")]
    Broken(String),
}

impl HttpError {
    /// The server can't have seen the request.
    pub fn not_sent(&self) -> bool {
        use HttpError as E;
        matches!(
            self,
            E::Denied(_)
                | E::NoSuchName(_)
                | E::Refused(_)
                | E::Unreachable(..)
                | E::ConnectTimeout(_)
                | E::ConnectionLimit
                | E::Certificate(..)
                | E::Tls(..)
                | E::RequestHead(_)
                | E::AuthUnavailable(_)
        )
    }

    /// What went wrong once the request was on its way over a connection.
    pub(super) fn of_exchange(host: &str, error: &hyper::Error) -> Self {
        let host = host.to_owned();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(known) = cause.downcast_ref::<Self>() {
                return known.clone();
            }
            if let Some(tls) = tls_error(cause) {
                return Self::of_tls(&host, tls);
            }
            match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(io::ErrorKind::UnexpectedEof) => return Self::Incomplete(host),
                // The frame of the body: a size of a piece that is none.
                Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => return Self::Protocol(host),
                _ => source = cause.source(),
            }
        }
        if error.is_parse_too_large() {
            Self::ResponseHead(host)
        } else if error.is_parse() {
            Self::Protocol(host)
        } else if error.is_incomplete_message() {
            Self::Incomplete(host)
        } else if error.is_user() {
            // A body that is shorter or longer than its content-length.
            Self::RequestBody(0)
        } else {
            Self::Broken(host)
        }
    }

    pub(super) fn of_tls(host: &str, error: &rustls::Error) -> Self {
        let host = host.to_owned();
        match error {
            rustls::Error::InvalidCertificate(_) => Self::Certificate(host, error.to_string()),
            rustls::Error::AlertReceived(alert) => Self::TlsAlert(host, format!("{alert:?}")),
            _ => Self::Tls(host, error.to_string()),
        }
    }
}

/// What TLS says, in the chain of `error` or hidden in an I/O error.
pub(super) fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

impl From<std::convert::Infallible> for HttpError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
