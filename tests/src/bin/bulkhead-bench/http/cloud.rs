//! The other side of the table `http`: as much of EC2 and of the instance metadata service as one CreateVolume needs. It answers
//! at once and looks at nothing that it needn't: only while requests are recorded are signatures checked.

use anyhow::Result;
use bulkhead_ec2::{
    Credentials, Element, Form,
    sigv4::{Authorization, Signed},
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    collections::HashMap,
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::net::TcpListener;

/// PUT begins to record requests to EC2, GET ends it and gives them as JSON.
pub const RECORD: &str = "/record";
/// Where all volumes are.
pub const ZONE: &str = "eu-central-1a";
/// Where the instance's role is, at the metadata service.
const ROLE: &str = "/latest/meta-data/iam/security-credentials/";

/// A request to EC2: headers in the order in which they came, body, and whether its signature was right.
pub type Recorded = (Vec<(String, String)>, String, bool);

/// Keys of the instance's role. They live long enough for any run.
pub fn credentials() -> Credentials {
    let text = |letter: &str, length| letter.repeat(length);
    Credentials { id: text("A", 20), secret: text("s", 40), token: Some(text("t", 600)) }
}

/// Serves until it is killed.
pub fn serve(port: u16, takes: Duration) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let cloud = Arc::new(Cloud { takes, state: Mutex::default() });
        loop {
            let (connection, _) = listener.accept().await?;
            connection.set_nodelay(true)?;
            let cloud = cloud.clone();
            let service = service_fn(move |request| {
                let cloud = cloud.clone();
                async move { Ok::<_, Infallible>(cloud.answer(request).await) }
            });
            // How a connection ends is seen by the one who uses it.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
    })
}

struct Cloud {
    /// For each answer of EC2.
    takes: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By id: the last that was made for a token.
    volumes: HashMap<String, Element>,
    recorded: Option<Vec<Recorded>>,
}

impl Cloud {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return reply(StatusCode::BAD_REQUEST, "", "") };
        let body = body.to_bytes();
        match (&head.method, head.uri.path()) {
            (&Method::POST, "/") => {
                if !self.takes.is_zero() {
                    tokio::time::sleep(self.takes).await;
                }
                self.ec2(&head.headers, &body)
            }
            (&Method::PUT, RECORD) => {
                self.state().recorded = Some(vec![]);
                last(reply(StatusCode::OK, "text/plain", ""))
            }
            (&Method::GET, RECORD) => {
                let recorded = self.state().recorded.take().unwrap_or_default();
                last(reply(StatusCode::OK, "application/json", serde_json::json!(recorded).to_string()))
            }
            (_, path) => metadata(path),
        }
    }

    fn ec2(&self, headers: &HeaderMap, body: &Bytes) -> Response<Full<Bytes>> {
        let mut state = self.state();
        if let Some(recorded) = &mut state.recorded {
            recorded.push(record(headers, body));
        }
        let form = Form::parse(body);
        let answer = match (form.get("Action"), form.list("VolumeId").first()) {
            (Some("CreateVolume"), _) => {
                let volume = volume(&form);
                let id = volume.children[0].text.clone();
                state.volumes.insert(id, Element::node("item", volume.children.clone()));
                Some(volume)
            }
            (Some("DescribeVolumes"), Some(id)) => Some(volumes(state.volumes.get(*id).cloned())),
            // Nothing has any of the names that are asked for: each request is the first for its volume.
            (Some("DescribeVolumes"), None) => Some(volumes(None)),
            _ => None,
        };
        match answer {
            Some(answer) => reply(StatusCode::OK, "text/xml;charset=UTF-8", answer.write()),
            None => reply(StatusCode::BAD_REQUEST, "text/plain", "the table needs no such action"),
        }
    }
}

/// A new volume, which is ready at once: one for a token, as in EC2.
fn volume(form: &Form) -> Element {
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let token = text("ClientToken");
    let tag = |number: usize| {
        let part = |part: &str| form.get(&format!("TagSpecification.1.Tag.{number}.{part}"));
        Some((part("Key")?.to_owned(), part("Value")?.to_owned()))
    };
    let tags = (1..)
        .map_while(tag)
        .map(|(key, value)| Element::node("item", vec![Element::leaf("key", key), Element::leaf("value", value)]));
    let leaves = [
        ("volumeId", format!("vol-{}", token.get(..17).unwrap_or_default())),
        ("size", text("Size")),
        ("snapshotId", String::new()),
        ("availabilityZone", text("AvailabilityZone")),
        ("status", "available".to_owned()),
        ("createTime", "2026-01-01T00:00:00.000Z".to_owned()),
        ("volumeType", text("VolumeType")),
        ("iops", "3000".to_owned()),
        ("throughput", "125".to_owned()),
        ("encrypted", "false".to_owned()),
        ("multiAttachEnabled", "false".to_owned()),
    ];
    let leaves = leaves.into_iter().map(|(name, text)| Element::leaf(name, text));
    let sets = [Element::node("attachmentSet", vec![]), Element::node("tagSet", tags.collect())];
    Element::node("CreateVolumeResponse", leaves.chain(sets).collect())
}

fn volumes(found: Option<Element>) -> Element {
    Element::node("DescribeVolumesResponse", vec![Element::node("volumeSet", found.into_iter().collect())])
}

/// Version 2 of the instance metadata service. Which session asks is not looked at.
fn metadata(path: &str) -> Response<Full<Bytes>> {
    let plain = |text: &str| reply(StatusCode::OK, "text/plain", text.to_owned());
    match path {
        "/latest/api/token" => plain("session"),
        ROLE => plain("storage"),
        _ if path.strip_prefix(ROLE) == Some("storage") => {
            let Credentials { id, secret, token } = credentials();
            let keys = serde_json::json!({
                "Code": "Success", "Message": "", "Expiration": "2099-01-01T00:00:00Z",
                "AccessKeyId": id, "SecretAccessKey": secret, "Token": token,
            });
            reply(StatusCode::OK, "application/json", keys.to_string())
        }
        _ => reply(StatusCode::NOT_FOUND, "text/plain", "no such path"),
    }
}

fn record(headers: &HeaderMap, body: &[u8]) -> Recorded {
    let signed = Signed { method: "POST", target: "/", body };
    let right = Authorization::of(headers).is_some_and(|given| given.is_right(signed, headers, &credentials()));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    (headers.collect(), text(body), right)
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

/// The last answer of its connection.
fn last(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    response
}
