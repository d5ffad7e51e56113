//! HTTP servers on loopback, well-behaved and not, plain or with TLS. What they do is chosen by the path of a request.
//!
//! | path | answer |
//! |---|---|
//! | `/echo` | 200, the head of the request as it came, and how many bytes its body had |
//! | `/status/CODE` | that status |
//! | `/redirect/URL` | 302 to that URL |
//! | `/headers` | a head without an end |
//! | `/many` | 20,000 headers |
//! | `/flood` | a body without an end, with no length |
//! | `/chunks` | the same in chunks |
//! | `/large/N` | a body of N bytes, with its length |
//! | `/short` | 100 bytes are promised, 10 come, and the connection ends |
//! | `/lengths` | two lengths that differ |
//! | `/garbage` | no HTTP |
//! | `/hang` | nothing, ever |
//! | `/trickle` | the head, then a byte every 200 ms |
//! | `/stall` | the head and half the body, then nothing |
//! | `/informs` | 100 Continue without an end |
//! | `/close` | the connection ends at once |
//! | `/latest/...` | what EC2's instance metadata service, version 2, says of an instance: `i-0abc`, or [`Web::metadata`]'s |

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls};

/// Longest head that a server takes.
const HEAD_BYTES: usize = 256 << 10;

/// What a server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Connections, also those that ended.
    pub connections: AtomicUsize,
    /// Connections that are open now.
    pub open: AtomicUsize,
    /// Most that were open at a time.
    pub most: AtomicUsize,
    /// Heads of all requests, as they came.
    pub heads: Mutex<Vec<String>>,
    /// Names that clients asked for in TLS.
    pub names: Mutex<Vec<String>>,
    /// How many clients showed a certificate.
    pub certificates: AtomicUsize,
    instance: Instance,
}

/// What the metadata service says.
#[derive(Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
}

impl Default for Instance {
    fn default() -> Self {
        let [id, kind, region, zone] = ["i-0abc", "m6i.large", "eu-central-1", "eu-central-1b"].map(str::to_owned);
        Self { id, kind, region, zone }
    }
}

/// A server. Ends when dropped.
#[derive(Debug)]
pub struct Web {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// What it has seen.
    pub seen: Arc<Seen>,
    tasks: JoinSet<()>,
}

impl Web {
    /// Speaks plain HTTP.
    ///
    /// # Panics
    /// No port is free.
    pub async fn plain() -> Self {
        Self::start(None, 0, Instance::default()).await
    }

    /// As [`Web::plain`], on this port.
    ///
    /// # Panics
    /// It is not free.
    pub async fn plain_on(port: u16) -> Self {
        Self::start(None, port, Instance::default()).await
    }

    /// As [`Web::plain`], the metadata service of this instance.
    ///
    /// # Panics
    /// No port is free.
    pub async fn metadata(instance: Instance) -> Self {
        Self::start(None, 0, instance).await
    }

    /// Speaks TLS with a certificate for `localhost`.
    ///
    /// # Panics
    /// No port is free.
    pub async fn tls(pki: &Pki, wants_client: bool) -> Self {
        Self::start(Some(pki.server(wants_client)), 0, Instance::default()).await
    }

    async fn start(tls: Option<TlsAcceptor>, port: u16, instance: Instance) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let seen = Arc::new(Seen { instance, ..Seen::default() });
        let mut tasks = JoinSet::new();
        let shared = seen.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (seen, tls) = (shared.clone(), tls.clone());
                connections.spawn(async move {
                    seen.connections.fetch_add(1, SeqCst);
                    seen.most.fetch_max(seen.open.fetch_add(1, SeqCst) + 1, SeqCst);
                    match tls {
                        None => serve(tcp, &seen).await,
                        Some(tls) => serve_tls(tls, tcp, &seen).await,
                    }
                    seen.open.fetch_sub(1, SeqCst);
                });
            }
        });
        Self { port, seen, tasks }
    }

    /// How many connections it has had.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    /// Heads of all requests.
    ///
    /// # Panics
    /// A server task has panicked.
    pub fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().expect("the heads").clone()
    }

    /// Stops listening and closes all connections.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn serve_tls(tls: TlsAcceptor, tcp: TcpStream, seen: &Seen) {
    let Ok(stream) = tls.accept(tcp).await else { return };
    let (_, session) = stream.get_ref();
    let name = session.server_name().unwrap_or("(none)").to_owned();
    seen.names.lock().expect("the names").push(name);
    if session.peer_certificates().is_some() {
        seen.certificates.fetch_add(1, SeqCst);
    }
    serve(stream, seen).await;
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Seen) {
    let mut left = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut left).await {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        seen.heads.lock().expect("the heads").push(head.clone());
        // A proxy is asked for whole URLs.
        let path =
            path.strip_prefix("http://").map_or(path.clone(), |rest| rest[rest.find('/').unwrap_or(0)..].to_owned());
        if respond(&mut stream, &path, &head, (body, &seen.instance)).await.is_none() {
            return;
        }
    }
}

/// The head and how many bytes the body had; none at the end of the connection.
async fn request(stream: &mut (impl AsyncRead + Unpin), left: &mut Vec<u8>) -> Option<(String, usize)> {
    let end = loop {
        if let Some(at) = left.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if left.len() > HEAD_BYTES || stream.read_buf(left).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&left.drain(..end).collect::<Vec<_>>()).into_owned();
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    let chunked = lower.contains("transfer-encoding: chunked");
    let mut body = 0;
    if let Some(length) = length {
        while left.len() < length {
            if stream.read_buf(left).await.ok()? == 0 {
                return None;
            }
        }
        left.drain(..length);
        body = length;
    } else if chunked {
        while !left.ends_with(b"0\r\n\r\n") {
            if stream.read_buf(left).await.ok()? == 0 {
                return None;
            }
        }
        body = left.len();
        left.clear();
    }
    Some((head, body))
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// Of version 2: nothing is told without a session's token.
fn metadata(head: &str, what: &str, instance: &Instance) -> String {
    const TOKEN: &str = "a-session";
    if head.starts_with("PUT ") && what == "api/token" {
        return answer("200 OK", "", TOKEN);
    }
    if !head.contains(&format!("x-aws-ec2-metadata-token: {TOKEN}\r\n")) {
        return answer("401 Unauthorized", "", "");
    }
    match what {
        "meta-data/instance-id" => answer("200 OK", "", &instance.id),
        "meta-data/instance-type" => answer("200 OK", "", &instance.kind),
        "meta-data/placement/region" => answer("200 OK", "", &instance.region),
        "meta-data/placement/availability-zone" => answer("200 OK", "", &instance.zone),
        _ => answer("404 Not Found", "", ""),
    }
}

/// None: the connection is over.
async fn respond(
    stream: &mut (impl AsyncWrite + Unpin),
    path: &str,
    head: &str,
    (body, instance): (usize, &Instance),
) -> Option<()> {
    let (what, rest) = path[1..].split_once(['/', '?']).unwrap_or((&path[1..], ""));
    let forever = || tokio::time::sleep(Duration::from_secs(600));
    let text = match what {
        "echo" => answer("200 OK", "", &format!("{head}({body} bytes)")),
        "status" => answer(&format!("{rest} Whatever"), "", ""),
        "redirect" => answer("302 Found", &format!("location: {rest}\r\n"), ""),
        "many" => answer("200 OK", &"x-more: and more\r\n".repeat(20_000), ""),
        "large" => answer("200 OK", "", &"l".repeat(rest.parse().ok()?)),
        "short" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes!").await.ok()?;
            stream.shutdown().await.ok()?;
            return None;
        }
        "lengths" => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 50\r\n\r\nhello".to_owned(),
        "garbage" => {
            stream.write_all(b"220 mail.example ESMTP ready\r\n\r\n").await.ok()?;
            return None;
        }
        "headers" => return flood(stream, "HTTP/1.1 200 OK\r\nx: ", &"y".repeat(1000)).await,
        "flood" => return flood(stream, "HTTP/1.1 200 OK\r\n\r\n", &"f".repeat(1000)).await,
        "chunks" => {
            return flood(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "5\r\nflood\r\n").await;
        }
        "informs" => return flood(stream, "", "HTTP/1.1 100 Continue\r\n\r\n").await,
        "hang" => {
            forever().await;
            return None;
        }
        "stall" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nten bytes!").await.ok()?;
            stream.flush().await.ok()?;
            forever().await;
            return None;
        }
        "trickle" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await.ok()?;
            for _ in 0..1000 {
                stream.write_all(b"t").await.ok()?;
                stream.flush().await.ok()?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            return Some(());
        }
        "close" => return None,
        "latest" => metadata(head, rest, instance),
        _ => answer("404 Not Found", "", "no such path"),
    };
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

async fn flood(stream: &mut (impl AsyncWrite + Unpin), start: &str, again: &str) -> Option<()> {
    stream.write_all(start.as_bytes()).await.ok()?;
    loop {
        stream.write_all(again.as_bytes()).await.ok()?;
    }
}

/// A certificate authority with a server's and a client's certificate.
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What clients trust, as PEM.
    pub ca: String,
}

impl Pki {
    /// Makes new keys.
    ///
    /// # Panics
    /// They can't be made.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).expect("an authority's parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let ca = issuer.pem();
        Self { issuer, ca }
    }

    /// A certificate for `name` and its key, as PEM.
    ///
    /// # Panics
    /// It can't be made.
    pub fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }

    /// Writes `ca.pem`, `client.pem` and `client.key` into a directory.
    ///
    /// # Panics
    /// They can't be written.
    pub fn write(&self, directory: &Path) {
        let (certificate, key) = self.certificate("client");
        for (name, text) in [("ca.pem", &self.ca), ("client.pem", &certificate), ("client.key", &key)] {
            std::fs::write(directory.join(name), text).expect("a PEM file");
        }
    }

    fn server(&self, wants_client: bool) -> TlsAcceptor {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let (certificate, key) = self.certificate("localhost");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if wants_client {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).expect("the authority")).expect("a root");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a server's config")))
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}
