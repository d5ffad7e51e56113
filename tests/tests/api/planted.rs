//! The search for planted secrets, over real hosts: it finds one in each place where one could be.

use crate::sandboxed;
use bulkhead_tests::{
    Channel, Driver, Host, HostBuilder, Sandbox,
    client::{Use, create_request},
    secrets::{self, forms, fresh, over_http},
};
use http_body_util::BodyExt;
use std::{
    fs,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, Status, body::Body};
use tower::{Service, ServiceExt};

fn host(sandbox: &Sandbox) -> Host {
    HostBuilder::new(sandbox, [Driver::plain("example")]).start()
}

/// What a panic says.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// A value that a test has called a secret is used where it is none: the host logs the name of a volume and repeats it in an error.
#[test]
fn a_real_host_that_shows_one_fails_its_test() {
    sandboxed(async |s| {
        let (host, value) = (host(&s), fresh("name"));
        let client = host.client().await;
        let name = value.replace('/', "-");
        secrets::plant(&name);
        client.create(create_request(&name, 1 << 20, Use::Mount(""), &[])).await.unwrap();
        let found = host.secrets();
        assert!(!found.is_empty() && found.iter().all(|finding| finding.place.ends_with("host.log")), "{found:?}");
        let log = host.log();
        assert!(log.lines().nth(found[0].line - 1).unwrap().contains(&name), "{}: {log}", found[0]);
        let panic = catch_unwind(AssertUnwindSafe(|| drop(host))).unwrap_err();
        let said = said(&*panic);
        assert!(said.contains("host.log, line") && !said.contains(&name), "{said}");
    });
}

#[test]
fn it_is_found_in_a_log_and_in_a_record_in_every_form() {
    sandboxed(async |s| {
        let (host, value) = (host(&s), fresh("places"));
        assert_eq!(host.secrets(), vec![], "nothing was shown yet");
        let records = s.dir("state/node/example.csi.bulkhead.dev");
        for (written, form) in forms(value.as_bytes()) {
            let text = String::from_utf8(written).unwrap();
            let mut log = fs::OpenOptions::new().append(true).open(s.path().join("host.log")).unwrap();
            let before = log.metadata().unwrap().len();
            writeln!(log, "TRACE it says {text}").unwrap();
            let found = host.secrets();
            assert_eq!(found.len(), 1, "{form}: {found:?}");
            assert!(found[0].place.ends_with("host.log") && found[0].form.starts_with(&form[..6]), "{}", found[0]);
            log.set_len(before).unwrap();
            let record = records.join("planted.json");
            fs::write(&record, format!("{{\n\"context\": \"{text}\"\n}}")).unwrap();
            let found = host.secrets();
            assert_eq!((found.len(), found[0].line), (1, 2), "{form}: {found:?}");
            assert_eq!(found[0].place, record.display().to_string());
            fs::remove_file(&record).unwrap();
        }
        assert_eq!(host.secrets(), vec![]);
    });
}

/// As the head of the answer or after it, in the message, in the details and in a trailer.
#[tokio::test]
async fn it_is_found_in_an_error_in_every_form() {
    let value = fresh("error");
    for (written, form) in forms(value.as_bytes()) {
        let text = String::from_utf8(written).unwrap();
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("x-why", text.parse().unwrap());
        for status in [
            Status::internal(format!("it says {text}")),
            Status::with_details(Code::Internal, "it", format!("it {text}").into_bytes().into()),
            Status::with_metadata(Code::Internal, "it", metadata),
        ] {
            for in_head in [true, false] {
                let status = status.clone();
                let answer = move |_| {
                    let status = status.clone();
                    async move {
                        if in_head {
                            return Ok::<_, Status>(status.into_http::<Body>());
                        }
                        let trailers = status.into_http::<Body>().headers().clone();
                        Ok(http::Response::new(Body::new(Body::empty().with_trailers(async { Some(Ok(trailers)) }))))
                    }
                };
                let mut channel = Channel::over(tower::service_fn(answer));
                let call = async {
                    let answer = channel.ready().await.unwrap().call(http::Request::new(Body::empty())).await.unwrap();
                    answer.into_body().collect().await.map(drop).unwrap();
                };
                let ended = catch(call).await;
                let said = ended.unwrap_or_else(|| panic!("{form}, in the head: {in_head}: nothing was found"));
                assert!(said.contains("of a status, line 1") && !said.contains(&text), "{form}: {said}");
            }
        }
    }
    // An error without one passes.
    let mut channel =
        Channel::over(tower::service_fn(async |_| Ok::<_, Status>(Status::internal("it").into_http::<Body>())));
    let answer = channel.ready().await.unwrap().call(http::Request::new(Body::empty())).await.unwrap();
    assert_eq!(Status::from_header_map(answer.headers()).unwrap().message(), "it");
}

/// What the panic says with which this ends, if it does.
async fn catch(call: impl Future<Output = ()>) -> Option<String> {
    let mut call = std::pin::pin!(call);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
        Ok(poll) => poll.map(|()| None),
        Err(panic) => std::task::Poll::Ready(Some(said(&*panic))),
    })
    .await
}

/// The host has no metrics yet; what answers in its place here does.
#[tokio::test]
async fn it_is_found_in_a_metric_in_every_form() {
    let (listener, value) = (tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), fresh("metric"));
    let port = listener.local_addr().unwrap().port();
    let ask = || tokio::task::spawn_blocking(move || over_http(port));
    let answer = async |text: &str| {
        for path in ["/metrics", "/livez", "/readyz", "/healthz"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let metrics = head.starts_with(b"GET /metrics ");
            assert_eq!(metrics, path == "/metrics");
            let body = if metrics { format!("calls{{of=\"{text}\"}} 1\n") } else { "ok\n".into() };
            let reply = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    };
    for (written, form) in forms(value.as_bytes()) {
        let text = String::from_utf8(written).unwrap();
        let (found, ()) = tokio::join!(ask(), answer(&text));
        let found = found.unwrap();
        assert_eq!(found.len(), 1, "{form}: {found:?}");
        assert!(found[0].place.starts_with("the answer to GET /metrics"), "{}", found[0]);
    }
    let (found, ()) = tokio::join!(ask(), answer("CreateVolume"));
    assert_eq!(found.unwrap(), vec![]);
}
