//! What needs a resolver, an authorizer or a count of connections of the test's own. Over the host's socket: `tests/tests/api/egress`.

use super::{
    authorize::{Authorizer, Signed, Unauthorized},
    denied::Reason,
    egress::{Egress, Options},
    error::HttpError,
    net::Net,
    reply::Body,
    resolve::Resolve,
    trust::Pem,
};
use crate::{
    config::{AddressKind, Addresses, HostPattern, HttpGrant, HttpSettings, Place, Proxy, Scheme},
    imports::{BoxFuture, Pace, TransportError},
};
use http::{Request, Response, request, response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

/// Gives one answer after the other, and the last one again and again. Counts how often it is asked.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers.iter().map(parse).collect()), asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    requests: Mutex<Vec<(String, http::HeaderMap, Bytes)>>,
}

impl Seen {
    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// Answers 200 at once; with `close` it ends the connection after each answer, with `refuse` the first so many get 401.
#[derive(Clone, Copy, Default)]
struct Manner {
    close: bool,
    refuse: usize,
    pause: Duration,
}

async fn server(address: &str, port: u16, manner: Manner) -> (u16, Arc<Seen>) {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Seen::default());
    let shared = seen.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let seen = shared.clone();
            tokio::spawn(async move {
                seen.connections.fetch_add(1, SeqCst);
                seen.most.fetch_max(seen.open.fetch_add(1, SeqCst) + 1, SeqCst);
                let counted = seen.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let seen = counted.clone();
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        tokio::time::sleep(manner.pause).await;
                        let mut requests = seen.requests.lock().unwrap();
                        requests.push((parts.uri.to_string(), parts.headers, body));
                        let mut response = Response::new(Full::new(Bytes::from_static(b"fine")));
                        if requests.len() <= manner.refuse {
                            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
                        }
                        if manner.close {
                            response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
                        }
                        Ok::<_, io::Error>(response)
                    }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(tcp), answer).await;
                seen.open.fetch_sub(1, SeqCst);
            });
        }
    });
    (port, seen)
}

fn grant(host: &str, port: u16, addresses: &[AddressKind]) -> HttpGrant {
    HttpGrant {
        scheme: Scheme::Http,
        host: match host.strip_prefix('*') {
            Some(suffix) => HostPattern::Below(suffix.to_owned()),
            None => HostPattern::Name(host.to_owned()),
        },
        port,
        methods: ["GET".to_owned(), "POST".to_owned()].into(),
        auth: None,
        addresses: addresses.iter().copied().collect(),
        at: Place::default(),
    }
}

const LOOPBACK: &[AddressKind] = &[AddressKind::Loopback];

fn egress(grants: Vec<HttpGrant>, settings: HttpSettings, resolver: Arc<Scripted>) -> Egress {
    let net = Net::new(settings, &Pem::default(), resolver).unwrap();
    Egress::new(grants, "drivers[0].backend.grants.http".into(), net, Pace::default(), None)
}

fn body(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|e| match e {}).boxed_unsync()
}

async fn get(egress: &Egress, uri: &str) -> Result<(http::StatusCode, Bytes), HttpError> {
    let request = Request::get(uri).body(body("")).unwrap();
    let call = egress.send(request, Instant::now() + Duration::from_secs(10), Options::default()).await?;
    let (parts, body) = call.response.into_parts();
    Ok((parts.status, body.collect().await?.to_bytes()))
}

fn denied(result: Result<(http::StatusCode, Bytes), HttpError>) -> (Reason, Option<String>) {
    match result {
        Err(HttpError::Denied(denial)) => (denial.reason, denial.advice),
        other => panic!("not denied: {other:?}"),
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_what_was_checked_is_connected_to() {
    let (port, right) = server("127.0.0.1", 0, Manner::default()).await;
    let (_, wrong) = server("127.0.0.2", port, Manner::default()).await;
    // A second look-up would lead elsewhere, and a look-up by the connection itself nowhere: there is no such name.
    let resolver = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let egress = egress(vec![grant("flips.test", port, LOOPBACK)], HttpSettings::default(), resolver.clone());
    let uri = format!("http://flips.test:{port}/");
    assert_eq!(get(&egress, &uri).await.unwrap().1, "fine");
    assert_eq!((right.connections(), wrong.connections(), resolver.asked.load(SeqCst)), (1, 0, 1));
    let host = right.requests.lock().unwrap()[0].1["host"].clone();
    assert_eq!(host, format!("flips.test:{port}"));
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_the_second_time_leads_nowhere() {
    let (port, seen) = server("127.0.0.1", 0, Manner { close: true, ..Manner::default() }).await;
    for second in ["169.254.169.254", "::ffff:169.254.169.254", "10.0.0.1", "0.0.0.0", "::", "224.0.0.1"] {
        let before = seen.connections();
        let resolver = Scripted::new(&[&["127.0.0.1"], &[second]]);
        let egress = egress(vec![grant("flips.test", port, LOOPBACK)], HttpSettings::default(), resolver.clone());
        let uri = format!("http://flips.test:{port}/");
        assert_eq!(get(&egress, &uri).await.unwrap().1, "fine");
        let (reason, advice) = denied(get(&egress, &uri).await);
        assert_eq!(reason, Reason::Address, "{second}");
        let grantable = !["0.0.0.0", "::", "224.0.0.1"].contains(&second);
        assert_eq!(advice.is_some(), grantable, "{second}: {advice:?}");
        assert_eq!((seen.connections(), resolver.asked.load(SeqCst)), (before + 1, 2), "{second}");
        assert!(egress.denials().all().any(|(reason, count)| reason == Reason::Address && count == 1));
    }
}

#[tokio::test]
async fn of_several_addresses_only_granted_ones_are_tried() {
    let (port, seen) = server("127.0.0.1", 0, Manner::default()).await;
    let resolver = Scripted::new(&[&["169.254.169.254", "::ffff:10.0.0.1", "127.0.0.1"]]);
    let egress = egress(vec![grant("many.test", port, LOOPBACK)], HttpSettings::default(), resolver);
    assert_eq!(get(&egress, &format!("http://many.test:{port}/")).await.unwrap().1, "fine");
    assert_eq!(seen.connections(), 1);
}

#[tokio::test]
async fn disguised_addresses_are_what_they_lead_to() {
    let (port, seen) = server("127.0.0.1", 0, Manner::default()).await;
    let open = &[AddressKind::Public, AddressKind::Private];
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
        let resolver = Scripted::new(&[&[address]]);
        let egress = egress(vec![grant("*.name.test", port, open)], HttpSettings::default(), resolver);
        let (reason, advice) = denied(get(&egress, &format!("http://a.name.test:{port}/")).await);
        assert_eq!(reason, Reason::Address, "{address}");
        assert!(advice.unwrap().contains("addresses: [public, private, loopback]"));
    }
    assert_eq!(seen.connections(), 0);
}

#[tokio::test]
async fn a_connection_is_never_shared_between_grants_of_other_addresses() {
    let (port, seen) = server("127.0.0.1", 0, Manner::default()).await;
    let mut post = grant("same.test", port, &[AddressKind::Public]);
    post.methods = ["POST".to_owned()].into();
    let mut with_loopback = grant("same.test", port, LOOPBACK);
    with_loopback.methods = ["GET".to_owned()].into();
    let egress = egress(vec![post, with_loopback], HttpSettings::default(), Scripted::new(&[&["127.0.0.1"]]));
    let uri = format!("http://same.test:{port}/");
    assert_eq!(get(&egress, &uri).await.unwrap().1, "fine");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let request = Request::post(&uri).body(body("x")).unwrap();
    let sent = egress.send(request, Instant::now() + Duration::from_secs(5), Options::default()).await;
    assert!(matches!(sent.map(|_| ()), Err(HttpError::Denied(d)) if d.reason == Reason::Address));
    assert_eq!(seen.requests.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_requests_share_eight_connections() {
    let (port, seen) = server("127.0.0.1", 0, Manner { pause: Duration::from_millis(5), ..Manner::default() }).await;
    let settings = HttpSettings { max_connections: 8, ..HttpSettings::default() };
    let egress = egress(vec![grant("one.test", port, LOOPBACK)], settings, Scripted::new(&[&["127.0.0.1"]]));
    let uri = format!("http://one.test:{port}/");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let (egress, uri) = (egress.clone(), uri.clone());
        tasks.spawn(async move { get(&egress, &uri).await.map(|(_, body)| body) });
    }
    for result in tasks.join_all().await {
        assert_eq!(result.unwrap(), "fine");
    }
    assert_eq!(seen.requests.lock().unwrap().len(), 500);
    assert!(seen.most.load(SeqCst) <= 8, "{} connections at a time", seen.most.load(SeqCst));
    assert!(seen.connections() <= 40, "{} connections for 500 requests", seen.connections());
}

#[tokio::test]
async fn idle_connections_make_room_for_other_hosts() {
    let (port, seen) = server("127.0.0.1", 0, Manner::default()).await;
    let settings = HttpSettings { max_connections: 2, ..HttpSettings::default() };
    let egress = egress(vec![grant("*.room.test", port, LOOPBACK)], settings, Scripted::new(&[&["127.0.0.1"]]));
    let start = Instant::now();
    for host in ["a", "b", "c", "d", "a"] {
        assert_eq!(get(&egress, &format!("http://{host}.room.test:{port}/")).await.unwrap().1, "fine");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(seen.most.load(SeqCst) <= 3, "a closing one may overlap: {}", seen.most.load(SeqCst));
}

/// Signs with a number that rises with each login.
#[derive(Default)]
struct Numbered {
    logins: AtomicUsize,
    bodies: Mutex<Vec<Bytes>>,
}

impl Authorizer for Numbered {
    fn authorize<'a>(
        &'a self,
        _profile: &'a str,
        parts: &'a mut request::Parts,
        body: &'a Bytes,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<Signed, Unauthorized>> {
        self.bodies.lock().unwrap().push(body.clone());
        let login = self.logins.load(SeqCst);
        parts.headers.insert("authorization", format!("Number {login}").parse().unwrap());
        // None of this is a profile's to change.
        parts.headers.insert("host", "evil.test".parse().unwrap());
        parts.uri = "http://evil.test/".parse().unwrap();
        Box::pin(async move { Ok(Signed(Box::new(login))) })
    }

    fn refused<'a>(&'a self, signed: &'a Signed, _response: &'a response::Parts) -> BoxFuture<'a, bool> {
        let stale = signed.0.downcast_ref() == Some(&self.logins.load(SeqCst));
        self.logins.fetch_add(usize::from(stale), SeqCst);
        Box::pin(async { true })
    }

    fn hint(&self, _signed: &Signed, response: &response::Parts) -> Option<String> {
        (response.status == 401).then(|| "look at the clock".to_owned())
    }
}

#[tokio::test]
async fn a_refused_login_is_made_anew_once_and_the_body_replayed() {
    for (refuse, status, note) in [(1, 200, None), (2, 401, Some("auth profile `mine`: look at the clock"))] {
        let (port, seen) = server("127.0.0.1", 0, Manner { refuse, ..Manner::default() }).await;
        let mut signed = grant("array.test", port, LOOPBACK);
        signed.auth = Some("mine".into());
        let net = Net::new(HttpSettings::default(), &Pem::default(), Scripted::new(&[&["127.0.0.1"]])).unwrap();
        let profiles = Arc::new(Numbered::default());
        let egress = Egress::new(vec![signed], "key".into(), net, Pace::default(), Some(profiles.clone()));
        let request = Request::post(format!("http://array.test:{port}/create")).header("authorization", "guest's own");
        let request = request.body(body("the order")).unwrap();
        let call = egress.send(request, Instant::now() + Duration::from_secs(5), Options::default()).await.unwrap();
        assert_eq!((call.response.status().as_u16(), call.note.as_deref()), (status, note));
        let requests = seen.requests.lock().unwrap().clone();
        let sent: Vec<_> =
            requests.iter().map(|(uri, h, b)| (uri.as_str(), h["authorization"].to_str().unwrap(), &b[..])).collect();
        assert_eq!(sent, [("/create", "Number 0", &b"the order"[..]), ("/create", "Number 1", b"the order")]);
        assert!(requests.iter().all(|(_, headers, _)| headers["host"] == format!("array.test:{port}")));
        assert!(requests.iter().all(|(_, headers, _)| headers.get_all("authorization").iter().count() == 1));
    }
}

#[tokio::test]
async fn a_profile_that_is_not_there_signs_nothing_and_nothing_is_sent() {
    let (port, seen) = server("127.0.0.1", 0, Manner::default()).await;
    let mut signed = grant("array.test", port, LOOPBACK);
    signed.auth = Some("mine".into());
    let egress = egress(vec![signed], HttpSettings::default(), Scripted::new(&[&["127.0.0.1"]]));
    let error = get(&egress, &format!("http://array.test:{port}/")).await.unwrap_err();
    assert_eq!(error.to_string(), "unavailable: auth profile `mine`: there is no such profile");
    assert!(error.not_sent());
    assert_eq!(seen.connections(), 0);
}

#[tokio::test]
async fn a_proxy_is_used_under_the_same_policy() {
    let (port, proxy) = server("127.0.0.1", 0, Manner::default()).await;
    let through = Proxy { scheme: Scheme::Http, host: "127.0.0.1".into(), port };
    let settings = || HttpSettings { proxy: Some(through.clone()), ..HttpSettings::default() };
    let grants = || vec![grant("far.test", 8080, &[AddressKind::Public])];
    // A name that only the proxy knows.
    let unknown = egress(grants(), settings(), Scripted::new(&[]));
    assert_eq!(get(&unknown, "http://far.test:8080/path?query").await.unwrap().1, "fine");
    let asked = proxy.requests.lock().unwrap()[0].0.clone();
    assert_eq!(asked, "http://far.test:8080/path?query");
    assert_eq!(denied(get(&unknown, "http://near.test:8080/").await).0, Reason::Destination);
    // One that leads, also among others, to where nothing may go.
    for address in ["127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1"] {
        let inside = egress(grants(), settings(), Scripted::new(&[&["93.184.216.34", address]]));
        assert_eq!(denied(get(&inside, "http://far.test:8080/").await).0, Reason::Address, "{address}");
    }
    assert_eq!(proxy.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_hosts_own_requests_go_where_the_operator_says() {
    let (port, seen) = server("127.0.0.1", 0, Manner::default()).await;
    // What is near is asked directly, whatever the proxy.
    let proxy = Some(Proxy { scheme: Scheme::Http, host: "127.0.0.1".into(), port: 9 });
    let settings = HttpSettings { proxy, ..HttpSettings::default() };
    let net = Net::new(settings, &Pem::default(), Scripted::new(&[])).unwrap();
    let transport = net.transport();
    let ask = |uri: String| Request::put(uri).body(Full::new(Bytes::from_static(b"who am I"))).unwrap();
    let soon = || Instant::now() + Duration::from_secs(5);
    let answer = transport.send(ask(format!("http://127.0.0.1:{port}/token")), soon()).await.unwrap();
    assert_eq!(answer.body(), "fine");
    assert_eq!(seen.requests.lock().unwrap()[0].2, "who am I");
    let unreachable = transport.send(ask("http://127.0.0.1:9/".into()), soon()).await.unwrap_err();
    assert!(matches!(unreachable, TransportError::NotSent(_)), "{unreachable}");
}

#[tokio::test]
async fn what_waits_for_a_place_was_not_sent() {
    let (port, seen) = server("127.0.0.1", 0, Manner { pause: Duration::from_secs(30), ..Manner::default() }).await;
    let settings = HttpSettings { max_connections: 1, ..HttpSettings::default() };
    let egress = egress(vec![grant("one.test", port, LOOPBACK)], settings, Scripted::new(&[&["127.0.0.1"]]));
    let send = |millis| {
        let (egress, uri) = (egress.clone(), format!("http://one.test:{port}/"));
        async move {
            let deadline = Instant::now() + Duration::from_millis(millis);
            let request = Request::get(uri).body(body("")).unwrap();
            egress.send(request, deadline, Options::default()).await.map(|_| ()).unwrap_err()
        }
    };
    let (first, second) = tokio::join!(send(600), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        send(200).await
    });
    assert!(matches!(first, HttpError::ResponseTimeout(_)) && !first.not_sent(), "{first}");
    assert!(second == HttpError::ConnectionLimit && second.not_sent(), "{second}");
    assert_eq!(seen.connections(), 1);
    assert!(Addresses::all().contains(AddressKind::Metadata));
}
