//! A server on loopback that a test tells what to answer, and a plain client.

use crate::imports::{BoxFuture, Transport, TransportError};
use http::{Request, Response, request};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// What a server has been sent.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub parts: request::Parts,
    pub body: Vec<u8>,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.parts.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Ends with the test.
pub(super) struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// `answer` gets each request and says what to answer it with.
    pub(super) async fn start(answer: impl Fn(&Received) -> Response<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), received.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log) = (answer.clone(), log.clone());
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (answer, log) = (answer.clone(), log.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes().to_vec();
                        let received = Received { parts, body };
                        log.lock().unwrap().push(received.clone());
                        Ok::<_, Infallible>(answer(&received).map(|text| Full::new(Bytes::from(text))))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, received, task }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far whose path begins with `path`.
    pub(super) fn received(&self, path: &str) -> Vec<Received> {
        let all = self.received.lock().unwrap();
        all.iter().filter(|received| received.parts.uri.path().starts_with(path)).cloned().collect()
    }
}

pub(super) fn status(status: u16) -> Response<String> {
    reply(status, "")
}

pub(super) fn reply(status: u16, body: &str) -> Response<String> {
    Response::builder().status(status).body(body.to_owned()).unwrap()
}

/// A connection for each request.
pub(super) struct Client;

impl Transport for Client {
    fn send(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let exchange = async move {
                let not_sent = |e: &dyn std::fmt::Display| TransportError::NotSent(e.to_string());
                let no_reply = |e: hyper::Error| TransportError::NoReply(e.to_string());
                let (mut parts, body) = request.into_parts();
                let authority = parts.uri.authority().unwrap().clone();
                let stream = tokio::net::TcpStream::connect(authority.as_str()).await.map_err(|e| not_sent(&e))?;
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| not_sent(&e))?;
                tokio::spawn(connection);
                parts.headers.entry("host").or_insert(authority.as_str().parse().unwrap());
                parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
                let response = sender.send_request(Request::from_parts(parts, body)).await.map_err(no_reply)?;
                let (parts, body) = response.into_parts();
                Ok(Response::from_parts(parts, body.collect().await.map_err(no_reply)?.to_bytes()))
            };
            tokio::time::timeout_at(deadline.into(), exchange)
                .await
                .unwrap_or_else(|_| Err(TransportError::NoReply("in time".into())))
        })
    }
}

/// Nobody is there.
pub(super) async fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
