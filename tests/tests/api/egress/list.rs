//! The allow-list, and attempts to get round it.

use super::{ask, at, caller, localhost, outcome, serving};
use crate::sandboxed;
use bulkhead_tests::web::Web;

const DENIED: &str = "error ErrorCode::HttpRequestDenied";

#[test]
fn no_way_leads_round_the_list() {
    sandboxed(async |s| {
        let (good, evil) = (Web::plain().await, Web::plain().await);
        let host = serving(&s, caller([localhost("http", good.port)], ""));
        let client = host.client().await;
        let (p, q) = (good.port, evil.port);
        let get = outcome(&client, &[("authority", &at(p)), ("path", "/echo")]).await;
        assert_eq!(get, "status 200");
        for authority in [
            at(q),
            "localhost".into(),
            format!("user@localhost:{p}"),
            format!("user:word@localhost:{p}"),
            format!("localhost:{p}@127.0.0.1:{q}"),
            format!("127.0.0.1:{p}"),
            format!("[::1]:{p}"),
            format!("[::ffff:127.0.0.1]:{p}"),
            format!("[::127.0.0.1]:{p}"),
            format!("2130706433:{p}"),
            format!("0177.0.0.1:{p}"),
            format!("0x7f000001:{p}"),
            format!("127.1:{p}"),
            format!("localhost.:{p}"),
            format!("localhost.localdomain:{p}"),
            format!("xlocalhost:{p}"),
            format!("localhost:0{p}0"),
            format!("localhost:{q}:{p}"),
            format!("evil.localhost:{p}"),
        ] {
            let got = outcome(&client, &[("authority", &authority), ("path", "/echo")]).await;
            // What the library takes for no authority at all never becomes a request.
            assert!(got == DENIED || got == "refused authority", "{authority}: {got}");
        }
        for (key, value) in [
            ("method", "CONNECT"),
            ("method", "TRACE"),
            ("method", "DELETE"),
            ("method", "get"),
            ("method", "NONSENSE"),
            ("scheme", "https"),
            ("scheme", "ftp"),
            ("scheme", "none"),
        ] {
            let got = outcome(&client, &[("authority", &at(p)), ("path", "/echo"), (key, value)]).await;
            assert_eq!(got, DENIED, "{key} {value}");
        }
        for path in [format!("http://127.0.0.1:{q}/echo"), format!("localhost:{q}"), "*".into(), "echo".into()] {
            let got = outcome(&client, &[("authority", &at(p)), ("path", &path)]).await;
            assert_eq!(got, "refused path", "{path}");
        }
        let seen = good.heads().len();
        assert_eq!((evil.connections(), seen), (0, 1), "nothing of that has arrived anywhere");
        // Odd, and harmless: it is a path of the granted host.
        let path = format!("//127.0.0.1:{q}/echo");
        assert_eq!(outcome(&client, &[("authority", &at(p)), ("path", &path)]).await, "status 404");
        assert_eq!((evil.connections(), good.heads().len()), (0, 2));
    });
}

#[test]
fn the_frame_of_a_request_is_the_hosts() {
    sandboxed(async |s| {
        let good = Web::plain().await;
        let host = serving(&s, caller([localhost("http", good.port)], ""));
        let client = host.client().await;
        for name in [
            "Host",
            "host",
            "Connection",
            "Transfer-Encoding",
            "Upgrade",
            "Proxy-Authorization",
            "Proxy-Evil",
            "TE",
            "Expect",
        ] {
            let header = format!("header.{name}");
            let got = outcome(&client, &[("authority", &at(good.port)), (&header, "evil.test")]).await;
            assert_eq!(got, format!("refused header {name}"));
        }
        for (name, value) in [("x-a", "b\r\nHost: evil"), ("bad name", "x"), ("x-a", "\0"), ("content-length", "5, 6")]
        {
            let header = format!("header.{name}");
            // A parameter with control characters is refused before it comes to a backend.
            if let Ok(context) = ask(&client, &[("authority", &at(good.port)), (&header, value)]).await {
                assert_eq!(context["outcome"], format!("refused header {name}"));
            }
        }
        assert_eq!(good.connections(), 0);
        let upper = format!("LOCALHOST:{}", good.port);
        let context =
            ask(&client, &[("authority", &upper), ("path", "/echo?a=b"), ("header.x-mine", "1")]).await.unwrap();
        let head = &context["body"];
        assert!(head.starts_with("GET /echo?a=b HTTP/1.1\r\n"), "{head}");
        let hosts: Vec<_> = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("host:")).collect();
        assert_eq!(hosts, [format!("host: {}", at(good.port))], "one, from the URI: {head}");
        assert!(head.contains("x-mine: 1"), "{head}");
    });
}

#[test]
fn denials_name_the_missing_line_and_nothing_of_the_request() {
    sandboxed(async |s| {
        let good = Web::plain().await;
        let private = localhost("http", good.port).replace(", addresses: [loopback]", "");
        let other = localhost("http", good.port).replace("host: localhost", "host: \"*.example.test\"");
        let host = serving(&s, caller([private, other], ""));
        let client = host.client().await;
        let p = good.port;
        let planted = [("header.authorization", "planted-header"), ("path", "/planted-path?token=planted-query")];
        let with = |pairs: &[(&'static str, String)]| {
            let pairs = pairs.iter().map(|(k, v)| (*k, v.clone()));
            pairs.chain(planted.iter().map(|(k, v)| (*k, (*v).to_owned()))).collect::<Vec<_>>()
        };
        for pairs in [
            with(&[("authority", at(p))]),
            with(&[("authority", "array.example:8443".into()), ("scheme", "https".into()), ("method", "PUT".into())]),
            with(&[("authority", format!("[fd00::1]:{p}"))]),
            with(&[("authority", format!("a.example.test:{p}")), ("method", "PATCH".into())]),
        ] {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
            assert_eq!(outcome(&client, &pairs).await, DENIED, "{pairs:?}");
        }
        let log = host.log();
        for line in [
            "addresses: [public, private, loopback] in the entry of drivers[0].backend.grants.http".to_owned(),
            "add to drivers[0].backend.grants.http: - { scheme: https, host: array.example, port: 8443, methods: [PUT] }".into(),
            format!("- {{ scheme: http, host: \"fd00::1\", port: {p}, methods: [GET] }}"),
            format!("- {{ scheme: http, host: a.example.test, port: {p}, methods: [PATCH] }}"),
        ] {
            assert!(log.contains(&line), "{line} is not in\n{log}");
        }
        assert!(log.contains("reason=\"address\"") && log.contains("reason=\"method\"") && log.contains("request_id="));
        assert!(!log.contains("planted"), "{log}");
        assert_eq!(good.connections(), 0);
    });
}

#[test]
fn nothing_of_a_request_that_works_or_fails_is_logged() {
    sandboxed(async |s| {
        let good = Web::plain().await;
        let host = serving(&s, caller([localhost("http", good.port)], "{ totalTimeout: 1s }"));
        let client = host.client().await;
        for what in ["echo", "hang", "garbage", "close", "short", "status/401"] {
            let path = format!("/{what}?planted-query");
            let pairs = [("authority", &*at(good.port)), ("path", &path), ("header.x-secret", "planted-header")];
            outcome(&client, &pairs).await;
        }
        assert!(good.heads()[0].contains("planted-header"), "it was sent");
        assert!(!host.log().contains("planted"), "{}", host.log());
        assert!(host.log().contains("a request of the backend failed"), "{}", host.log());
    });
}
