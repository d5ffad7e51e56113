//! Whether the host lives and is ready, over HTTP/1.1: what kubelet's probes ask, and people who want to know why not.
//!
//! | path | 200 if | otherwise |
//! |---|---|---|
//! | `/livez` | the process can serve | 503 |
//! | `/readyz`, `/readyz/DRIVER` | every driver is ready for its clients | 503 |
//! | `/healthz`, `/healthz/DRIVER` | every driver answers Probe well | 503 |
//!
//! **Invariant:** the only room that knows HTTP; what is asked it learns through [`Vitals`]. No client can hold it: headers,
//! answers and connections have limits.

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// Longest that a client may take to send its request.
const HEADERS: Duration = Duration::from_secs(2);
/// Longest life of a connection: one request and its answer.
const CONNECTION: Duration = Duration::from_secs(5);
/// Most bytes of a request.
const REQUEST_BYTES: usize = 8 << 10;
/// Longest that an answer may take, as with the livenessprobe of Kubernetes.
const ANSWER: Duration = Duration::from_secs(1);
/// How long to wait when the kernel has no connection to give (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A future that a trait object can return: done, or one line that says why not.
pub type Told<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// What is asked. No answer needs to care for time: what takes longer than a second counts as a failure.
pub trait Vitals: Send + Sync + 'static {
    /// The process can serve.
    fn live(&self) -> Told<'_>;
    /// Names of all configured drivers.
    fn drivers(&self) -> Vec<String>;
    /// The driver `index` answers Probe, and is ready by that.
    fn healthy(&self, index: usize) -> Told<'_>;
    /// The driver `index` can be used by its clients.
    fn ready(&self, index: usize) -> Told<'_>;
}

/// A bound port.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// The whole sentence: somebody else has the port, there is no such address here, or it may not be had.
    pub fn bind(address: SocketAddr) -> Result<Self, String> {
        let failed = |e| format!("can't listen on {address} ({e}): choose another port, or stop who has it");
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        TcpListener::from_std(listener).map(Self).map_err(failed)
    }
}

/// Answers for as long as it is polled.
pub async fn serve(listener: Listener, vitals: Arc<dyn Vitals>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await;
        match listener.0.accept().await {
            Ok((stream, _)) => {
                let vitals = vitals.clone();
                tokio::spawn(async move {
                    let _place = place;
                    // Over or cut off: there is nobody to tell.
                    let _ = tokio::time::timeout(CONNECTION, converse(stream, vitals)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a client of the health endpoint can't be served");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, vitals: Arc<dyn Vitals>) {
    let service = service_fn(move |request| {
        let vitals = vitals.clone();
        async move { Ok::<_, Infallible>(answer(&request, vitals).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(REQUEST_BYTES).keep_alive(false);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a client of the health endpoint broke off");
    }
}

async fn answer(request: &Request<Incoming>, vitals: Arc<dyn Vitals>) -> Response<Full<Bytes>> {
    let Some((question, indices)) = question(request.uri().path(), &vitals.drivers()) else {
        let known = "/livez, /readyz, /readyz/DRIVER, /healthz, /healthz/DRIVER";
        return respond(StatusCode::NOT_FOUND, format!("nothing is here: ask for {known}\n"));
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refusal = respond(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let (fine, text) = match question {
        Question::Live => {
            let live = in_time(vitals.live()).await;
            (live.is_ok(), line("bulkhead", &live))
        }
        question => of_drivers(question, indices, vitals).await,
    };
    respond(if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

/// Asks all at once, and tells in the config's order.
async fn of_drivers(question: Question, indices: Vec<usize>, vitals: Arc<dyn Vitals>) -> (bool, String) {
    let names = vitals.drivers();
    let mut asked = JoinSet::new();
    for index in indices {
        let vitals = vitals.clone();
        asked.spawn(async move {
            let told = if question == Question::Ready { vitals.ready(index) } else { vitals.healthy(index) };
            (index, in_time(told).await)
        });
    }
    let mut told = asked.join_all().await;
    told.sort_by_key(|(index, _)| *index);
    let text = told.iter().map(|(index, told)| line(&names[*index], told)).collect();
    (told.iter().all(|(_, told)| told.is_ok()), text)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Live,
    Ready,
    Healthy,
}

/// What a path asks, and about which drivers.
fn question(path: &str, drivers: &[String]) -> Option<(Question, Vec<usize>)> {
    let (question, driver) = match path.strip_prefix('/')?.split_once('/') {
        Some((question, driver)) => (question, Some(driver)),
        None => (path.strip_prefix('/')?, None),
    };
    let question = match (question, driver) {
        ("livez", None) => Question::Live,
        ("readyz", _) => Question::Ready,
        ("healthz", _) => Question::Healthy,
        _ => return None,
    };
    match driver {
        None => Some((question, (0..drivers.len()).collect())),
        Some(driver) => Some((question, vec![drivers.iter().position(|name| name == driver)?])),
    }
}

async fn in_time(told: Told<'_>) -> Result<(), String> {
    let late = |_| Err(format!("no answer within {} s", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, told).await.unwrap_or_else(late)
}

fn line(name: &str, told: &Result<(), String>) -> String {
    match told {
        Ok(()) => format!("{name}: ok\n"),
        Err(why) => format!("{name}: {}\n", why.lines().next().unwrap_or_default()),
    }
}

fn respond(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let drivers = ["a.b".to_owned(), "c".to_owned()];
        let ask = |path| question(path, &drivers);
        assert_eq!(ask("/livez"), Some((Question::Live, vec![0, 1])));
        assert_eq!(ask("/readyz"), Some((Question::Ready, vec![0, 1])));
        assert_eq!(ask("/healthz/a.b"), Some((Question::Healthy, vec![0])));
        assert_eq!(ask("/readyz/c"), Some((Question::Ready, vec![1])));
        for wrong in ["", "/", "*", "/livez/c", "/readyz/", "/readyz/d", "/readyz/c/", "/ready", "//readyz", "/metrics"]
        {
            assert_eq!(ask(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(line("a", &Err("first\nsecond".into())), "a: first\n");
    }
}
