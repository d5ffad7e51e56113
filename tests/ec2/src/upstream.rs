//! The way to moto: requests of clients as they came, and the proxy's own.

use crate::{Credentials, Element, Form, Reply, sigv4};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Headers that are about one connection.
const HOP: [&str; 6] = ["connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"];

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// HTTP's.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Parameters, of the query too.
    pub form: Form,
    /// Parameter `Action`; empty if there is none.
    pub action: String,
    /// `ec2` or `sts`, by the signature's scope; empty without one.
    pub service: String,
}

/// The way.
#[derive(Debug)]
pub struct Upstream {
    client: Client<HttpConnector, Full<Bytes>>,
    port: u16,
    region: String,
    credentials: Credentials,
    /// moto does one thing at a time: what it can't do yet waits here, in order.
    places: Semaphore,
}

impl Upstream {
    /// To moto at this port, with a key for the proxy's own requests.
    pub fn new(port: u16, region: &str, credentials: Credentials, at_once: usize) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { client, port, region: region.into(), credentials, places: Semaphore::new(at_once.max(1)) }
    }

    /// Sends a request as it came: Host, target and body are what the signature covers.
    pub async fn forward(&self, incoming: &Incoming) -> Reply {
        let mut headers = incoming.headers.clone();
        for name in HOP {
            headers.remove(name);
        }
        self.send(incoming.method.clone(), &incoming.target, headers, incoming.body.clone()).await
    }

    /// Asks on the proxy's own account.
    ///
    /// # Errors
    /// moto's reply, if it is an error.
    pub async fn own(&self, form: &Form) -> Result<Element, Reply> {
        let body = form.encode();
        let mut headers = HeaderMap::new();
        if let Ok(host) = format!("127.0.0.1:{}", self.port).parse() {
            headers.insert("host", host);
        }
        headers
            .insert("content-type", http::HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8"));
        let what = sigv4::Signed { method: "POST", target: "/", body: body.as_bytes() };
        sigv4::sign(what, &mut headers, &self.credentials, (&self.region, "ec2"), (Duration::ZERO, true));
        let reply = self.send(Method::POST, "/", headers, body.into()).await;
        if !reply.is_ok() {
            return Err(reply);
        }
        reply.tree().map_err(|e| Reply::error(500, "InternalError", format!("moto's reply: {e}")))
    }

    async fn send(&self, method: Method, target: &str, headers: HeaderMap, body: Bytes) -> Reply {
        let broken = |e: &dyn std::fmt::Display| Reply::error(502, "BadGateway", format!("moto does not answer: {e}"));
        let Ok(_place) = self.places.acquire().await else { return broken(&"closed") };
        let uri: Uri = match format!("http://127.0.0.1:{}{target}", self.port).parse() {
            Ok(uri) => uri,
            Err(e) => return Reply::refused("InvalidRequest", format!("{e}")),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let (parts, body) = match self.client.request(request).await {
            Ok(response) => response.into_parts(),
            Err(e) => return broken(&e),
        };
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(e) => return broken(&e),
        };
        let mut headers = parts.headers;
        for name in HOP.into_iter().chain(["content-length", "date", "server"]) {
            headers.remove(name);
        }
        Reply { status: parts.status, headers: Box::new(headers), body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn host_target_and_body_are_forwarded_as_they_came() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = vec![];
            while !seen.ends_with(b"%20\xff") {
                let mut some = [0; 1024];
                let length = stream.read(&mut some).unwrap();
                assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
                seen.extend(&some[..length]);
            }
            stream.write_all(b"HTTP/1.1 400 Bad\r\ncontent-length: 2\r\nx-amzn-requestid: 7\r\n\r\nno").unwrap();
            seen
        });
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "ec2.example.com:444"), ("connection", "close"), ("x-amz-date", "now")] {
            headers.insert(name, value.parse().unwrap());
        }
        let incoming = Incoming {
            method: Method::POST,
            target: "/a%2Fb/?x=%41&y".into(),
            headers,
            // An encoding that nobody would choose.
            body: Bytes::from_static(b"Action=%41&b=a+b%20\xff"),
            form: Form::default(),
            action: "A".into(),
            service: "ec2".into(),
        };
        let key = Credentials { id: "A".into(), secret: "s".into(), token: None };
        let reply = Upstream::new(port, "eu-1", key, 1).forward(&incoming).await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (400, &b"no"[..]));
        assert_eq!(reply.headers.get("x-amzn-requestid").unwrap(), "7");
        let seen = seen.join().unwrap();
        let end = seen.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        assert_eq!(&seen[end + 4..], &incoming.body[..]);
        let head = String::from_utf8(seen[..end].to_vec()).unwrap().to_lowercase();
        assert!(head.starts_with("post /a%2fb/?x=%41&y http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nhost: ec2.example.com:444\r\n") && head.contains("x-amz-date: now"), "{head}");
        assert_eq!(head.matches("\r\nhost:").count(), 1, "{head}");
    }
}
