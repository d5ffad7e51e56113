//! What a guest sends: caps, lengths that are wrong, bodies that are given up, and more than it may hold.

use super::{ask, at, caller, localhost, outcome, serving};
use crate::sandboxed;
use bulkhead_tests::web::Web;
use tonic::Code;

#[test]
fn a_body_has_the_size_that_it_says_and_may_have() {
    sandboxed(async |s| {
        let web = Web::plain().await;
        let host = serving(&s, caller([localhost("http", web.port)], "{ maxRequest: 100KiB, totalTimeout: 5s }"));
        let client = host.client().await;
        let port = at(web.port);
        let post = |more: &[(&'static str, &'static str)]| {
            let mut pairs = vec![("authority", port.as_str()), ("path", "/echo"), ("method", "POST")];
            pairs.extend(more);
            pairs
        };
        let context = ask(&client, &post(&[("body", "100000"), ("length", "100000")])).await.unwrap();
        assert!(context["body"].ends_with("(100000 bytes)"), "{}", context["body"]);
        let context = ask(&client, &post(&[("body", "5000")])).await.unwrap();
        assert!(context["body"].to_lowercase().contains("transfer-encoding: chunked"), "{}", context["body"]);
        assert_eq!(outcome(&client, &post(&[])).await, "status 200");
        let seen = web.heads().len();
        for (more, expected) in [
            (&[("body", "200000"), ("length", "200000")][..], "error ErrorCode::HttpRequestBodySize(Some(102400))"),
            (&[("body", "200000")], "error ErrorCode::HttpRequestBodySize(Some(102400))"),
            (&[("body", "100"), ("abandon", "true")], "error ErrorCode::HttpProtocolError"),
        ] {
            assert_eq!(outcome(&client, &post(more)).await, expected, "{more:?}");
        }
        for (body, length) in [("100", "50"), ("50", "100"), ("0", "5")] {
            let got = outcome(&client, &post(&[("body", body), ("length", length)])).await;
            assert!(got.starts_with("error"), "{body} of {length}: {got}");
        }
        assert_eq!(outcome(&client, &post(&[("length", "-1")])).await, "refused length");
        assert_eq!(web.heads().len(), seen, "none of those was a whole request");
        assert_eq!(outcome(&client, &post(&[("body", "10"), ("length", "10")])).await, "status 200");
    });
}

#[test]
fn headers_and_handles_have_limits() {
    sandboxed(async |s| {
        let web = Web::plain().await;
        let host = serving(&s, caller([localhost("http", web.port)], "{ maxHeaders: 8KiB }"));
        let client = host.client().await;
        let port = at(web.port);
        let with =
            |key: &'static str, value: &'static str| [("authority", port.as_str()), ("path", "/echo"), (key, value)];
        assert_eq!(outcome(&client, &with("headers", "50")).await, "status 200");
        let seen = web.heads().len();
        let large = outcome(&client, &with("headers", "90")).await;
        assert!(large.starts_with("error ErrorCode::HttpRequestHeaderSectionSize"), "{large}");
        for (key, value) in [("headers", "5000"), ("hoard", "5000")] {
            // The guest is stopped; the host and other calls don't notice.
            let status = ask(&client, &with(key, value)).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{key}: {status}");
        }
        assert_eq!(web.heads().len(), seen);
        assert_eq!(outcome(&client, &with("header.x-a", "(long)")).await, "status 200");
    });
}
