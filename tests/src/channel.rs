//! A gRPC connection on which every status is searched for planted secrets.

use crate::secrets;
use http_body_util::BodyExt;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{Status, body::Body};
use tower::Service;

/// A connection like tonic's own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Channel<S = tonic::transport::Channel>(S);

impl<S> Channel<S> {
    /// Over this one.
    pub fn over(inner: S) -> Self {
        Self(inner)
    }

    /// The connection without the search, for what is measured.
    pub fn bare(&self) -> &S {
        &self.0
    }
}

/// Message, details and metadata of the status in these headers, if there is one.
fn search(headers: &http::HeaderMap) {
    let Some(status) = Status::from_header_map(headers) else { return };
    let mut findings = secrets::in_bytes("the message of a status", status.message().as_bytes());
    findings.extend(secrets::in_bytes("the details of a status", status.details()));
    for (name, value) in headers {
        findings.extend(secrets::in_bytes(&format!("trailer {name} of a status"), value.as_bytes()));
    }
    secrets::assert_none(&findings);
}

impl<S> Service<http::Request<Body>> for Channel<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // Of a call without a message the status is in the head.
            search(response.headers());
            let searched = |body: Body| {
                body.map_frame(|frame| {
                    frame.trailers_ref().into_iter().for_each(search);
                    frame
                })
            };
            Ok(response.map(|body| Body::new(searched(body))))
        })
    }
}
