//! The proxy: HTTP in front of moto, with EC2's rules and with faults.

use crate::{
    Change, Credentials, Fault, Form, Moto, Reply, Settings,
    body::Sent,
    disks::Disks,
    faults::Dice,
    record::Record,
    rules::{self, Hand},
    sigv4::{Authorization, Signed},
    stats::Stats,
    throttle::Level,
    upstream::{Incoming, Upstream},
    world::World,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming as Body};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, runtime::Runtime};

/// The largest request.
const REQUEST: usize = 1 << 20;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Core {
    upstream: Upstream,
    world: World,
    settings: Mutex<Settings>,
    stats: Mutex<Stats>,
    dice: Mutex<Dice>,
    level: Mutex<Level>,
    keys: Mutex<HashMap<String, Credentials>>,
    zones: Vec<String>,
    disks: Mutex<Option<Disks>>,
    record: Option<Record>,
}

/// A proxy that runs, with an admin port beside it. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    core: Arc<Core>,
    address: SocketAddr,
    admin: SocketAddr,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// In front of this moto, at a free port of 127.0.0.1, with a recording in this file if there is one.
    ///
    /// # Errors
    /// No port, no thread, or no file can be had.
    pub fn start(moto: &Moto, settings: Settings, record: Option<&Path>) -> io::Result<Self> {
        Self::at(moto, settings, record, (0, 0))
    }

    /// As `start`, at these ports: of the proxy and of its admin port.
    ///
    /// # Errors
    /// As `start`.
    pub fn at(moto: &Moto, settings: Settings, record: Option<&Path>, ports: (u16, u16)) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (facts, key) = (&moto.facts, moto.key("proxy"));
        let core = Arc::new(Core {
            upstream: Upstream::new(facts.port, &facts.region, key, settings.moto_at_once),
            world: World::default(),
            dice: Mutex::new(Dice::new(settings.seed)),
            settings: Mutex::new(settings),
            stats: Mutex::default(),
            level: Mutex::default(),
            keys: Mutex::new(facts.users.values().map(|key| (key.id.clone(), key.clone())).collect()),
            zones: facts.zones.clone(),
            disks: Mutex::default(),
            record: record.map(Record::create).transpose()?,
        });
        let (ec2, admin) = runtime.block_on(async {
            let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            Ok::<_, io::Error>((bind(ports.0).await?, bind(ports.1).await?))
        })?;
        let (address, at) = (ec2.local_addr()?, admin.local_addr()?);
        runtime.spawn(serve(ec2, core.clone()));
        runtime.spawn(crate::admin::serve(admin, core.clone()));
        Ok(Self { core, address, admin: at, runtime: Some(runtime) })
    }

    /// Where EC2 seems to be.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where the admin port is.
    pub fn admin(&self) -> String {
        format!("http://{}/", self.admin)
    }

    /// Changes settings; requests that are under way keep theirs.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.core.settings());
    }

    /// The next request of this action (any, if it is empty) meets the fault.
    pub fn plan(&self, action: &str, fault: Fault) {
        self.core.plan(action, fault);
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        self.core.stats().clone()
    }

    /// Counts from now on.
    pub fn reset_stats(&self) {
        self.core.stats().reset();
    }

    /// Every key that it knows: users', and those of assumed roles.
    pub fn keys(&self) -> Vec<Credentials> {
        lock(&self.core.keys).values().cloned().collect()
    }

    /// From now on `tell` is called with each change of a volume or a snapshot, before the client is answered. It may block.
    pub fn on_change(&self, tell: impl Fn(Change) + Send + Sync + 'static) {
        *lock(&self.core.disks) = Some(Disks(Arc::new(tell)));
    }

    /// Makes a key known that was not had through the proxy: requests with unknown keys meet no rules.
    pub fn learn(&self, key: Credentials) {
        self.core.learn(key);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, core: Arc<Core>) {
    loop {
        // Out of descriptors, most likely: some will be free soon.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        _ = stream.set_nodelay(true);
        let core = core.clone();
        let service = hyper::service::service_fn(move |request| {
            // In a task of its own: a client that hangs up doesn't stop what it has begun, in EC2 neither.
            let task = tokio::spawn(answer(core.clone(), request));
            async move { task.await.map_err(io::Error::other)? }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).auto_date_header(false);
        tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), service).await });
    }
}

/// Answers a request; an error closes the connection.
async fn answer(core: Arc<Core>, request: Request<Body>) -> io::Result<Response<Sent>> {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, REQUEST).collect().await else {
        return Err(io::Error::other("a request that is too large, or cut off"));
    };
    let incoming = Incoming::new(&parts, body.to_bytes());
    let settings = core.settings().clone();
    core.stats().begin(&incoming.action, begun);
    let mut fault = None;
    let reply = core.reply(&settings, &incoming, &mut fault).await;
    core.stats().end(&reply.code());
    if let Some(record) = &core.record {
        record.add(&incoming, &reply, (fault, begun.elapsed()));
    }
    if let Some(fault) = fault {
        *core.stats().faults.entry(fault.name()).or_default() += 1;
    }
    send(reply, fault, &settings).await
}

async fn send(reply: Reply, fault: Option<Fault>, settings: &Settings) -> io::Result<Response<Sent>> {
    let lost = |why| Err(io::Error::other(why));
    let (mut reply, mut body) = (reply, None);
    match fault {
        None | Some(Fault::Throttle | Fault::ErrorBefore | Fault::Tampered) => {}
        Some(Fault::LostReply | Fault::LostRequest) => return lost("lost on purpose"),
        Some(Fault::Hang) => {
            tokio::time::sleep(Duration::from_millis(settings.hang_ms)).await;
            return lost("hung up on purpose");
        }
        Some(Fault::ErrorAfter) => reply = Reply::error(500, "InternalError", "An internal error has occurred"),
        Some(Fault::Garbage) => reply.body = Bytes::from_static(b"<html><h1>Gateway</h1>\xff\x00</html"),
        Some(Fault::SlowBody) => {
            body = Some(Sent::slowly(reply.body.clone(), Duration::from_millis(settings.slow_ms)));
        }
        Some(Fault::Truncated) => body = Some(Sent::truncated(&reply.body)),
        Some(Fault::Flood) => body = Some(Sent::flood(settings.flood_bytes)),
    }
    let mut response = Response::new(body.unwrap_or_else(|| Sent::Whole(Some(reply.body))));
    *response.status_mut() = reply.status;
    *response.headers_mut() = *reply.headers;
    let date = http_date(rules::clock_now(&settings.rules));
    if let Ok(date) = date.parse() {
        response.headers_mut().insert("date", date);
    }
    Ok(response)
}

/// As HTTP writes a time: `Mon, 23 Nov 2026 13:03:55 GMT`.
fn http_date(time: std::time::SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let month = text[5..7].parse().unwrap_or(1usize);
    let day = DAYS[usize::try_from(since.as_secs() / 86_400 % 7).unwrap_or(0)];
    format!("{day}, {} {} {} {} GMT", &text[8..10], MONTHS[month - 1], &text[..4], &text[11..19])
}

impl Incoming {
    fn new(parts: &http::request::Parts, body: Bytes) -> Self {
        let mut form = Form::parse(parts.uri.query().unwrap_or_default().as_bytes());
        form.0.extend(Form::parse(&body).0);
        let scope = Authorization::of(&parts.headers).map(|authorization| authorization.scope).unwrap_or_default();
        Self {
            method: parts.method.clone(),
            target: parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
            headers: parts.headers.clone(),
            action: form.get("Action").unwrap_or_default().to_owned(),
            service: scope.split('/').nth(2).unwrap_or_default().to_owned(),
            body,
            form,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        lock(&self.stats)
    }

    pub(crate) fn plan(&self, action: &str, fault: Fault) {
        lock(&self.dice).plan(action, fault);
    }

    fn learn(&self, key: Credentials) {
        lock(&self.keys).insert(key.id.clone(), key);
    }

    /// The reply, and the fault that it will meet.
    async fn reply(&self, settings: &Settings, incoming: &Incoming, fault: &mut Option<Fault>) -> Reply {
        if incoming.service == "ec2" {
            if let Some(bucket) = settings.throttle
                && !lock(&self.level).take(bucket, Instant::now())
            {
                self.stats().throttled += 1;
                return Reply::throttled();
            }
            *fault = lock(&self.dice).throw(&incoming.action, settings.rates(&incoming.action), settings.seed);
            match fault {
                Some(Fault::Throttle) => return Reply::throttled(),
                Some(Fault::ErrorBefore) => return Reply::error(503, "Unavailable", "The service is unavailable."),
                Some(Fault::LostRequest) => return Reply::error(503, "Unavailable", "Never sent."),
                _ => {}
            }
        }
        if let Some(wrong) = rules::wrong_clock(&settings.rules, &incoming.headers) {
            return wrong;
        }
        if Authorization::of(&incoming.headers).is_none() {
            // moto breaks on it.
            return Reply::error(403, "MissingAuthenticationToken", "The request must be signed.");
        }
        if *fault == Some(Fault::Tampered) {
            let body = [&incoming.body, &b"&DryRun=false"[..]].concat().into();
            let mut tampered = Incoming { body, ..incoming.clone() };
            tampered.headers.remove("content-length");
            return self.past_the_rules(&tampered).await;
        }
        if incoming.service != "ec2" || !self.is_signed(incoming) {
            return self.past_the_rules(incoming).await;
        }
        let hand = Hand {
            upstream: &self.upstream,
            world: &self.world,
            rules: &settings.rules,
            zones: &self.zones,
            disks: lock(&self.disks).clone(),
        };
        let reply = rules::answer(&hand, incoming).await;
        if reply.code() == "AccessDenied" {
            // moto's word; EC2 has one of its own.
            let message = "You are not authorized to perform this operation.";
            return Reply::error(403, "UnauthorizedOperation", message);
        }
        reply
    }

    fn is_signed(&self, incoming: &Incoming) -> bool {
        let Some(authorization) = Authorization::of(&incoming.headers) else { return false };
        let Some(key) = lock(&self.keys).get(&authorization.key).cloned() else { return false };
        let signed = Signed { method: incoming.method.as_str(), target: &incoming.target, body: &incoming.body };
        authorization.is_right(signed, &incoming.headers, &key)
    }

    /// What is not EC2's, and what is not rightly signed: moto judges.
    async fn past_the_rules(&self, incoming: &Incoming) -> Reply {
        let reply = self.upstream.forward(incoming).await;
        if reply.is_ok() && incoming.service == "ec2" {
            self.stats().unverified += 1;
        }
        let tree = (reply.is_ok() && incoming.service == "sts").then(|| reply.tree().ok()).flatten();
        let result = tree.as_ref().and_then(|tree| tree.children.iter().find(|child| child.name().ends_with("Result")));
        if let Some(key) = result.and_then(|result| result.child("Credentials")) {
            let text = |name| key.get(name).to_owned();
            let token = Some(text("SessionToken"));
            self.learn(Credentials { id: text("AccessKeyId"), secret: text("SecretAccessKey"), token });
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::http_date;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_are_as_http_writes_them() {
        assert_eq!(http_date(UNIX_EPOCH + Duration::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
