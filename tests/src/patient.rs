//! A gRPC connection that leaves deadlines to the server. tonic's own ends a call by itself when its time is over: then nobody
//! can tell whether the server would have.

use crate::secrets;
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    future::Future,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tonic::{Request, body::Body};

/// What a request names as its origin: of a unix socket it means nothing.
pub const ORIGIN: &str = "http://localhost";

/// A connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Patient(SendRequest<Body>);

impl Patient {
    /// Connects to a driver's socket. It ends with the runtime on which it was made.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn connect(socket: &Path) -> Self {
        let stream = tokio::net::UnixStream::connect(socket).await.expect("the driver's socket");
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(async move { drop(connection.await) });
        Self(sender)
    }
}

impl tower::Service<http::Request<Body>> for Patient {
    type Response = http::Response<http_body_util::combinators::MapErr<Incoming, fn(hyper::Error) -> tonic::Status>>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.0.send_request(request);
        Box::pin(async move {
            let failed: fn(hyper::Error) -> tonic::Status = |error| tonic::Status::internal(error.to_string());
            answer.await.map(|answer| answer.map(|body| body.map_err(failed)))
        })
    }
}

/// A request that the server has to answer within so long.
pub fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// The status of an answer, searched for planted secrets.
///
/// # Panics
/// One is found.
pub fn searched<T>(answer: Result<tonic::Response<T>, tonic::Status>) -> Result<T, tonic::Status> {
    if let Err(status) = &answer {
        secrets::assert_none(&secrets::in_bytes("the message of a status", status.message().as_bytes()));
    }
    answer.map(tonic::Response::into_inner)
}
