//! How the host itself sends a request: for an auth profile that logs in, or that asks a cloud for credentials.

use http_body_util::Full;
use hyper::body::Bytes;
use std::{future::Future, pin::Pin, time::Instant};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent: no such name, refused, a wrong certificate.
    #[error("can't be reached: {0}")]
    NotSent(String),
    /// It was sent, and no whole answer came.
    #[error("did not answer: {0}")]
    NoReply(String),
}

/// Sends requests to places that the operator has named in the config.
pub trait Transport: Send + Sync {
    /// Sends one request with an absolute URI, and takes the whole answer, of whatever status, by `deadline`.
    fn send(
        &self,
        request: http::Request<Full<Bytes>>,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>>;
}
