//! Basic, bearer, header; logins and OAuth 2.0.

use super::{
    server::{Received, Server, dead_url, reply, status},
    *,
};
use crate::config::{Json, Login, LoginBody, OAuth2, Piece, TokenFrom};
use http::Response;
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

fn header(header: &str, prefix: &str, value: &str) -> AuthMethod {
    AuthMethod::Header { header: header.into(), prefix: prefix.into(), value: value.into() }
}

#[tokio::test]
async fn basic_bearer_and_header() {
    let server = Server::start(|received| {
        // "ann:" and the password in base64, by another tool than ours.
        let known = ["Basic YW5uOmh1bnRlcjIhJiJwbGFudGVk", "Bearer key-planted-4711"];
        let header = received.header("x-api-key") == "v1 key-planted-4711";
        status(if header || known.contains(&received.header("authorization")) { 200 } else { 401 })
    })
    .await;
    let bench = Bench::new(&[
        ("basic", AuthMethod::Basic { username: text("ann"), password: "password".into() }),
        ("bearer", header("authorization", "Bearer ", "api-key")),
        ("header", header("x-api-key", "v1 ", "api-key")),
        ("wrong", header("authorization", "Bearer ", "key")),
    ]);
    for (profile, expected) in [("basic", 200), ("bearer", 200), ("header", 200), ("wrong", 401)] {
        assert_eq!(bench.call(profile, &server, "x").await, Ok(expected), "{profile}");
    }
    assert_eq!(server.received("/").len(), 4, "a wrong key is not sent twice");
}

#[tokio::test]
async fn what_the_backend_set_is_replaced_and_libraries_do_not_show_it() {
    let bench = Bench::new(&[("bearer", header("authorization", "Bearer ", "api-key"))]);
    let request =
        http::Request::get("http://127.0.0.1/").header("authorization", "forged").header("authorization", "twice");
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let signed = bench.profiles.authorize("bearer", &mut parts, b"", Instant::now()).await.unwrap();
    assert_eq!(parts.headers.get_all("authorization").iter().count(), 1);
    assert_eq!(parts.headers["authorization"], "Bearer key-planted-4711");
    assert!(!format!("{parts:?} {signed:?}").contains("key-planted"));
}

#[tokio::test]
async fn a_rotated_file_counts_at_once_and_is_tried_after_a_refusal() {
    let good = Arc::new(Mutex::new("key-planted-4711".to_owned()));
    let expected = good.clone();
    let server = Server::start(move |received| {
        let fits = received.header("authorization") == format!("Bearer {}", expected.lock().unwrap());
        status(if fits { 200 } else { 401 })
    })
    .await;
    let bench = Bench::new(&[("bearer", header("authorization", "Bearer ", "api-key"))]);
    assert_eq!(bench.call("bearer", &server, "").await, Ok(200));
    bench.rotate("api-key", "another-key\n");
    *good.lock().unwrap() = "another-key".into();
    assert_eq!(bench.call("bearer", &server, "").await, Ok(200));
    assert_eq!(server.received("/").len(), 2);
    // The file changes between signing and the answer.
    let (mut parts, ()) = http::Request::get(server.url("/")).body(()).unwrap().into_parts();
    let signed = bench.profiles.authorize("bearer", &mut parts, b"", Instant::now()).await.unwrap();
    let refused = Response::builder().status(401).body(()).unwrap().into_parts().0;
    assert_eq!(bench.profiles.refused(&signed, &refused).await, Retry::No);
    bench.rotate("api-key", "a-third-key");
    assert_eq!(bench.profiles.refused(&signed, &refused).await, Retry::Again);
}

#[tokio::test]
async fn a_missing_file_and_odd_values() {
    let server = Server::start(|_| status(200)).await;
    let bench = Bench::new(&[
        ("bearer", header("authorization", "Bearer ", "api-key")),
        ("basic", AuthMethod::Basic { username: text("a:b"), password: "password".into() }),
    ]);
    bench.rotate("api-key", "two\nlines");
    let error = bench.error("bearer", bench.call("bearer", &server, "").await);
    assert_eq!(error, "secret api-key holds what can't stand in a header, such as a newline");
    std::fs::remove_file(bench.file("api-key")).unwrap();
    let error = bench.error("bearer", bench.call("bearer", &server, "").await);
    assert!(error.starts_with("secret api-key: /") && error.ends_with("is not there: put the value there"), "{error}");
    let error = bench.error("basic", bench.call("basic", &server, "").await);
    assert!(error.contains("holds a colon"), "{error}");
    assert_eq!(bench.error("nope", bench.call("nope", &server, "").await), "is not in backend.auth: add it");
    assert_eq!(server.received("/").len(), 0);
}

/// A storage system with sessions: a login gives token-1, token-2, ...; `valid` of them are accepted.
async fn sessions(valid: Arc<AtomicU32>) -> Server {
    let logins = AtomicU32::new(0);
    Server::start(move |received| {
        if received.parts.uri.path() == "/login" {
            let body: serde_json::Value = serde_json::from_slice(&received.body).unwrap_or_default();
            let good = body == serde_json::json!({ "user": "ann", "password": "hunter2!&\"planted", "ttl": 30 })
                && received.header("content-type") == "application/json"
                && received.header("x-key") == "key-planted-4711";
            if !good {
                return reply(403, &format!("no such user: {}", received.text()));
            }
            std::thread::sleep(Duration::from_millis(50));
            let token = format!("token-{}", logins.fetch_add(1, Ordering::SeqCst) + 1);
            return reply(200, &format!("{{\"data\":[{{\"token\":\"{token}\"}}]}}"));
        }
        let accepted = format!("token-{}", valid.load(Ordering::SeqCst));
        status(if received.header("x-auth") == accepted { 200 } else { 401 })
    })
    .await
}

fn login(url: &str) -> Login {
    let json = |template| Json::Text(template);
    Login {
        method: "POST".into(),
        url: url.into(),
        headers: vec![("x-key".into(), secret("api-key"))],
        body: LoginBody::Json(Json::Object(vec![
            ("user".into(), json(text("ann"))),
            ("password".into(), json(secret("password"))),
            ("ttl".into(), Json::Plain(30.into())),
        ])),
        token_from: TokenFrom::JsonPointer("/data/0/token".into()),
        header: "x-auth".into(),
        prefix: String::new(),
        lifetime: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_log_in_once_and_once_more_after_a_refusal() {
    let valid = Arc::new(AtomicU32::new(1));
    let server = Arc::new(sessions(valid.clone()).await);
    let bench = Arc::new(Bench::new(&[("session", AuthMethod::Login(login(&server.url("/login"))))]));
    for round in 1..=2 {
        valid.store(round, Ordering::SeqCst);
        let call = || {
            let (bench, server) = (bench.clone(), server.clone());
            tokio::spawn(async move { bench.call("session", &server, "body").await })
        };
        let calls: Vec<_> = (0..50).map(|_| call()).collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(200));
        }
        assert_eq!(server.received("/login").len(), usize::try_from(round).unwrap());
    }
    let replayed = server.received("/volumes");
    assert!(replayed.iter().all(|received| received.text() == "body"));
    assert_eq!(bench.secrets.seen().mask("token-1, token-2", []), "<redacted>, <redacted>");
    // One that refuses every token: no login for each request.
    valid.store(99, Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(bench.call("session", &server, "").await, Ok(401));
    }
    assert!(server.received("/login").len() < 8, "{}", server.received("/login").len());
}

#[tokio::test]
async fn a_refused_login_names_the_profile_and_does_not_hammer() {
    let server = sessions(Arc::default()).await;
    let bench = Bench::new(&[("session", AuthMethod::Login(login(&server.url("/login"))))]);
    bench.rotate("password", "wrong-password");
    for _ in 0..20 {
        let error = bench.error("session", bench.call("session", &server, "").await);
        assert_eq!(error, format!("{} refused the login (HTTP 403)", server.url("/login")));
    }
    assert!(server.received("/login").len() < 5, "twenty calls, and a second between logins");
    assert_eq!(server.received("/volumes").len(), 0);
}

#[tokio::test]
async fn servers_in_trouble_are_unavailable() {
    let answers = |received: &Received| match received.parts.uri.path() {
        "/500" => status(500),
        "/429" => status(429),
        "/moved" => {
            Response::builder().status(302).header("location", "http://127.0.0.1:1/").body(String::new()).unwrap()
        }
        "/html" => reply(200, "<html>"),
        "/other" => reply(200, "{\"data\":[]}"),
        "/number" => reply(200, "{\"data\":[{\"token\":5}]}"),
        _ => reply(200, "{\"data\":[{\"token\":\"\"}]}"),
    };
    let server = Server::start(answers).await;
    let no_token = "the answer to the login has no token at /data/0/token: is tokenFrom right?";
    for (path, expected) in [
        ("/500", format!("{} answered the login with HTTP 500", server.url("/500"))),
        ("/429", format!("{} answered the login with HTTP 429", server.url("/429"))),
        ("/moved", format!("{} answered the login with HTTP 302", server.url("/moved"))),
        ("/html", "the answer to the login is not JSON".into()),
        ("/other", no_token.into()),
        ("/number", no_token.into()),
        ("/empty", no_token.into()),
    ] {
        let bench = Bench::new(&[("session", AuthMethod::Login(login(&server.url(path))))]);
        let result = bench.call("session", &server, "").await;
        assert_eq!(result.as_ref().map_err(AuthError::kind), Err(AuthErrorKind::Unavailable), "{path}");
        assert_eq!(bench.error("session", result), expected);
    }
    let nobody = dead_url().await;
    let bench = Bench::new(&[("session", AuthMethod::Login(login(&format!("{nobody}/login?key=${{x}}"))))]);
    let error = bench.error("session", bench.call("session", &server, "").await);
    assert!(
        error.starts_with("its url is wrong") || error.starts_with(&format!("{nobody}/login can't be reached")),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_in_a_header_after_a_form() {
    let server = Server::start(|received| match received.parts.uri.path() {
        "/session" if received.text() == "user=ann&secret=s3cr3t+planted%2F%2B+" => {
            Response::builder().header("x-auth-token", "header-token").body(String::new()).unwrap()
        }
        "/session" => status(400),
        _ => status(if received.header("authorization") == "Bearer header-token" { 200 } else { 401 }),
    })
    .await;
    let both = Template(vec![Piece::Secret("client-secret".into()), Piece::Text(" ".into())]);
    let session = Login {
        body: LoginBody::Form(vec![("user".into(), text("ann")), ("secret".into(), both)]),
        token_from: TokenFrom::Header("x-auth-token".into()),
        header: "authorization".into(),
        prefix: "Bearer ".into(),
        lifetime: Some(Duration::from_secs(1)),
        ..login(&server.url("/session"))
    };
    let bench = Bench::new(&[("session", AuthMethod::Login(session))]);
    assert_eq!(bench.call("session", &server, "").await, Ok(200));
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(bench.call("session", &server, "").await, Ok(200));
    assert_eq!(server.received("/session").len(), 2, "it lives for a second");
}

#[tokio::test]
async fn client_credentials_in_a_header_and_in_the_body() {
    let server = Server::start(|received| {
        if received.parts.uri.path() != "/token" {
            return status(if received.header("authorization") == "Bearer oauth-token" { 200 } else { 401 });
        }
        let form: BTreeMap<_, _> = form_urlencoded::parse(&received.body).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        // "client 1" and the secret, form-encoded, joined and in base64, by another tool than ours.
        let in_header = received.header("authorization") == "Basic Y2xpZW50KzE6czNjcjN0K3BsYW50ZWQlMkYlMkI=";
        let in_body = (field("client_id"), field("client_secret")) == ("client 1", "s3cr3t planted/+");
        let rest = (field("grant_type"), field("scope"), field("audience")) == ("client_credentials", "a b:c", "array");
        if !(in_header ^ in_body) {
            return reply(401, "{\"error\":\"invalid_client\",\"error_description\":\"s3cr3t planted/+\"}");
        }
        let answer = "{\"access_token\":\"oauth-token\",\"token_type\":\"bearer\",\"expires_in\":3600}";
        if rest { reply(200, answer) } else { reply(400, "{\"error\":\"invalid_scope\"}") }
    })
    .await;
    let client = |in_body| OAuth2 {
        token_url: server.url("/token"),
        client_id: text("client 1"),
        client_secret: "client-secret".into(),
        in_body,
        scopes: vec!["a".into(), "b:c".into()],
        audience: Some("array".into()),
    };
    let no_scopes = OAuth2 { scopes: vec![], ..client(false) };
    let bench = Bench::new(&[
        ("header", AuthMethod::OAuth2(client(false))),
        ("body", AuthMethod::OAuth2(client(true))),
        ("scopes", AuthMethod::OAuth2(no_scopes)),
    ]);
    for profile in ["header", "body", "header", "body"] {
        assert_eq!(bench.call(profile, &server, "").await, Ok(200), "{profile}");
    }
    assert_eq!(server.received("/token").len(), 2, "each logs in once");
    let error = bench.error("scopes", bench.call("scopes", &server, "").await);
    assert_eq!(error, format!("{} refused the login (HTTP 400: invalid_scope)", server.url("/token")));
    let bench = Bench::new(&[("header", AuthMethod::OAuth2(client(false)))]);
    bench.rotate("client-secret", "wrong-secret");
    let error = bench.error("header", bench.call("header", &server, "").await);
    assert_eq!(error, format!("{} refused the login (HTTP 401: invalid_client)", server.url("/token")));
}

#[tokio::test]
async fn an_expired_token_is_fetched_anew() {
    let issued = Arc::new(AtomicU32::new(0));
    let counter = issued.clone();
    let server = Server::start(move |received| match received.parts.uri.path() {
        "/token" => {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            // In quotes, as some do.
            reply(200, &format!("{{\"access_token\":\"oauth-{number}\",\"expires_in\":\"1\"}}"))
        }
        _ => status(if received.header("authorization").starts_with("Bearer oauth-") { 200 } else { 401 }),
    })
    .await;
    let client = OAuth2 {
        token_url: server.url("/token"),
        client_id: text("client"),
        client_secret: "client-secret".into(),
        in_body: false,
        scopes: vec![],
        audience: None,
    };
    let bench = Bench::new(&[("oauth", AuthMethod::OAuth2(client))]);
    for expected in [1, 2] {
        assert_eq!(bench.call("oauth", &server, "").await, Ok(200));
        assert_eq!(issued.load(Ordering::SeqCst), expected);
        tokio::time::sleep(Duration::from_millis(1010)).await;
    }
}
