//! The native client of the table `http`: sends what the backend has sent, over one connection that stays open.

use super::cloud::{Recorded, credentials};
use crate::pin;
use anyhow::{Context, Result, ensure};
use bulkhead_ec2::{
    Credentials,
    sigv4::{Signed, sign},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use std::{
    net::Ipv4Addr,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, runtime::Runtime};

/// What a signature sets; the frame of a request is hyper's.
const NOT_COPIED: [&str; 4] = ["authorization", "x-amz-date", "x-amz-security-token", "content-length"];

/// How many times, and the pause after each.
type Order = (usize, Duration);

/// The client. It has a thread and a runtime of its own, on the core on which the host is.
pub struct Native {
    orders: Sender<Order>,
    times: Receiver<Result<Vec<Duration>>>,
}

impl Native {
    /// Connects; `requests` are what it sends for one volume, signed for `region`.
    pub fn start(port: u16, core: usize, region: &'static str, requests: &[Recorded]) -> Result<Self> {
        let requests = requests.iter().map(prepared).collect::<Result<_>>()?;
        let (orders, to_do) = channel();
        let (done, times) = channel();
        std::thread::spawn(move || {
            let client = pin(core).and_then(|()| Client::connect(port, region, requests));
            let failed = client.and_then(|mut client| {
                for order in to_do {
                    let _ = done.send(Ok(client.calls(order)?));
                }
                Ok(())
            });
            // The other end is gone only when nobody asks any more.
            let _ = failed.map_err(|error| done.send(Err(error)));
        });
        Ok(Self { orders, times })
    }

    /// All requests of one volume, so many times; how long each time took.
    pub fn calls(&self, calls: usize, pause: Duration) -> Result<Vec<Duration>> {
        let _ = self.orders.send((calls, pause));
        self.times.recv().context("the native client has panicked")?
    }
}

struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    credentials: Credentials,
    region: &'static str,
    requests: Vec<(HeaderMap, Bytes)>,
}

impl Client {
    fn connect(port: u16, region: &'static str, requests: Vec<(HeaderMap, Bytes)>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            // How it ends is seen when something is sent.
            tokio::spawn(connection);
            Ok::<_, anyhow::Error>(sender)
        })?;
        Ok(Self { runtime, sender, credentials: credentials(), region, requests })
    }

    fn calls(&mut self, (calls, pause): Order) -> Result<Vec<Duration>> {
        let Self { runtime, sender, credentials, region, requests } = self;
        runtime.block_on(async {
            let mut times = Vec::with_capacity(calls);
            for _ in 0..calls {
                let start = Instant::now();
                for (headers, body) in &*requests {
                    send(sender, signed(headers, body, credentials, region)?).await?;
                }
                times.push(start.elapsed());
                std::thread::sleep(pause);
            }
            Ok(times)
        })
    }
}

fn prepared((headers, body, _): &Recorded) -> Result<(HeaderMap, Bytes)> {
    let copied = headers.iter().filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()));
    let header = |(name, value): &(String, String)| {
        Ok::<_, anyhow::Error>((name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?))
    };
    Ok((copied.map(header).collect::<Result<_>>()?, body.clone().into()))
}

/// Signed for this moment, as the host signs: each request anew.
fn signed(headers: &HeaderMap, body: &Bytes, keys: &Credentials, region: &str) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/");
    *request.headers_mut() = headers.clone();
    let what = Signed { method: "POST", target: "/", body };
    sign(what, request.headers_mut(), keys, (region, "ec2"), (Duration::ZERO, true));
    Ok(request)
}

async fn send(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<()> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    ensure!(response.status() == StatusCode::OK, "the native client was answered with {}", response.status());
    response.into_body().collect().await?;
    Ok(())
}
