//! Servers that are slow, that flood and that lie: every call ends in time, with the right error, and the host goes on.

use super::{ask, at, caller, localhost, outcome, serving};
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    client::{Use, create_request},
    web::Web,
};
use std::time::{Duration, Instant};
use tonic::Code;

const LIMITS: &str = "{ firstByteTimeout: 500ms, totalTimeout: 1500ms, maxResponse: 100KiB, maxHeaders: 8KiB }";

#[test]
fn every_answer_ends_in_time() {
    sandboxed(async |s| {
        let web = Web::plain().await;
        let host = serving(&s, caller([localhost("http", web.port)], LIMITS));
        let client = host.client().await;
        // Why a body ended early is in the log: the library keeps the code of an error in a body to itself.
        for (path, expected) in [
            ("large/100", "status 200"),
            ("large/102400", "status 200"),
            ("large/102401", "error ErrorCode::HttpResponseBodySize(Some(102400))"),
            ("flood", "body error"),
            ("chunks", "body error"),
            ("headers", "error ErrorCode::HttpResponseHeaderSectionSize(None)"),
            ("many", "error ErrorCode::HttpResponseHeaderSectionSize(None)"),
            ("short", "body error"),
            ("lengths", "error ErrorCode::HttpProtocolError"),
            ("garbage", "error ErrorCode::HttpProtocolError"),
            ("close", "error ErrorCode::HttpResponseIncomplete"),
            ("hang", "error ErrorCode::HttpResponseTimeout"),
            ("informs", "error ErrorCode::HttpResponseTimeout"),
            ("stall", "body error"),
            ("trickle", "body error"),
            ("status/503", "status 503"),
        ] {
            let start = Instant::now();
            let got = outcome(&client, &[("authority", &at(web.port)), ("path", &format!("/{path}"))]).await;
            assert_eq!(got, expected, "{path}");
            assert!(start.elapsed() < Duration::from_secs(4), "{path} took {:?}", start.elapsed());
            // What was broken off is not used again.
            let echo = outcome(&client, &[("authority", &at(web.port)), ("path", "/echo")]).await;
            assert_eq!(echo, "status 200", "after {path}");
        }
        let paused = [("authority", &*at(web.port)), ("path", "/trickle"), ("pause-ms", "100")];
        let start = Instant::now();
        assert_eq!(outcome(&client, &paused).await, "body error");
        assert!(start.elapsed() < Duration::from_millis(1400), "the guest's own limit counts: {:?}", start.elapsed());
        let log = host.log();
        for reason in ["larger than 102400 bytes", "is incomplete", "no whole answer"] {
            assert!(log.contains(reason), "{reason}");
        }
    });
}

#[test]
fn nobody_there_is_told_apart() {
    sandboxed(async |s| {
        let gone = Web::plain().await;
        let port = gone.port;
        gone.stop().await;
        let host = serving(&s, caller([localhost("http", port)], ""));
        let client = host.client().await;
        let got = outcome(&client, &[("authority", &at(port))]).await;
        assert_eq!(got, "error ErrorCode::ConnectionRefused");
    });
}

#[test]
fn redirects_are_not_followed() {
    sandboxed(async |s| {
        let (web, other) = (Web::plain().await, Web::plain().await);
        let grants = [localhost("http", web.port), localhost("http", other.port)];
        let host = serving(&s, caller(grants, ""));
        let client = host.client().await;
        let path = format!("/redirect/http://localhost:{}/echo", other.port);
        let context = ask(&client, &[("authority", &at(web.port)), ("path", &path)]).await.unwrap();
        assert_eq!(context["outcome"], "status 302");
        assert_eq!(context["header.location"], format!("http://localhost:{}/echo", other.port));
        assert_eq!(other.connections(), 0);
    });
}

#[test]
fn a_call_ends_at_its_deadline_whatever_the_server_does() {
    sandboxed(async |s| {
        let web = Web::plain().await;
        let host = serving(&s, caller([localhost("http", web.port)], ""));
        let client = host.client().await;
        for path in ["/hang", "/stall", "/trickle", "/informs"] {
            let parameters = [("authority", &*at(web.port)), ("path", path)];
            let mut request = tonic::Request::new(create_request("late", 1 << 30, Use::Block, &parameters));
            request.set_timeout(Duration::from_millis(800));
            let start = Instant::now();
            match client.controller.clone().create_volume(request).await {
                // The host breaks the body off a little before, and this guest takes that for an answer.
                Ok(reply) => {
                    let context = reply.into_inner().volume.unwrap().volume_context;
                    assert!(context["outcome"].contains("error"), "{path}: {context:?}");
                }
                Err(status) => {
                    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{path}: {status}");
                }
            }
            assert!(start.elapsed() < Duration::from_secs(3), "{path}: {:?}", start.elapsed());
            // The same name can be asked for again at once: nothing holds it.
            let again = [("authority", &*at(web.port)), ("path", "/echo")];
            let deadline = Instant::now() + Duration::from_secs(5);
            loop {
                let created = client.create(create_request("late", 1 << 30, Use::Block, &again)).await;
                match created {
                    Ok(v1::Volume { volume_context, .. }) => {
                        assert_eq!(volume_context["outcome"], "status 200");
                        break;
                    }
                    Err(status) => assert!(status.code() == Code::Aborted && Instant::now() < deadline, "{status}"),
                }
            }
        }
    });
}

#[test]
fn connections_outlive_calls() {
    sandboxed(async |s| {
        let web = Web::plain().await;
        let host = serving(&s, caller([localhost("http", web.port)], ""));
        let client = host.client().await;
        for _ in 0..30 {
            let echo = [("authority", &*at(web.port)), ("path", "/echo")];
            assert_eq!(outcome(&client, &echo).await, "status 200");
        }
        let many =
            [("authority", &*at(web.port)), ("path", "/echo"), ("times", "20"), ("method", "POST"), ("body", "9000")];
        assert_eq!(outcome(&client, &many).await, "status 200");
        assert_eq!(web.heads().len(), 50);
        assert!(web.connections() <= 3, "{} connections for 50 requests", web.connections());
    });
}
