#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{AmazonMetadata, Instance};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers each request with what `answer` makes of its head; none: never.
async fn server(answer: fn(&str) -> Option<(u16, &'static str)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {
                    if !head.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                    let Some((code, body)) = answer(&text) else { return std::future::pending().await };
                    let reply = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(reply.as_bytes()).await.unwrap();
                }
            });
        }
    });
    endpoint
}

/// As the service does: a token first, and nothing without it.
fn good(head: &str) -> Option<(u16, &'static str)> {
    let path = head.split(' ').nth(1).unwrap();
    if head.starts_with("PUT ") {
        let right = path == "/latest/api/token" && head.contains("x-aws-ec2-metadata-token-ttl-seconds: 60\r\n");
        return Some(if right { (200, "s3ss10n==") } else { (400, "") });
    }
    if !head.contains("x-aws-ec2-metadata-token: s3ss10n==\r\n") {
        return Some((401, ""));
    }
    Some(match path {
        "/latest/meta-data/instance-id" => (200, "i-0abc"),
        "/latest/meta-data/instance-type" => (200, "m6i.large"),
        "/latest/meta-data/placement/region" => (200, "eu-central-1"),
        "/latest/meta-data/placement/availability-zone" => (200, "eu-central-1b\n"),
        _ => (404, ""),
    })
}

async fn asked(endpoint: &str) -> Result<Instance, String> {
    AmazonMetadata::new(endpoint).unwrap().instance().await
}

#[tokio::test]
async fn a_machine_learns_who_it_is() {
    let [id, kind, region, zone] = ["i-0abc", "m6i.large", "eu-central-1", "eu-central-1b"].map(str::to_owned);
    assert_eq!(asked(&server(good).await).await, Ok(Instance { id, kind, region, zone }));
}

#[tokio::test]
async fn refusals_and_nonsense_are_errors_that_say_where() {
    let off = asked(&server(|_| Some((403, ""))).await).await.unwrap_err();
    assert!(off.contains("/latest/api/token answered HTTP 403"), "{off}");
    let odd = |head: &str| match good(head) {
        Some((200, "m6i.large")) => Some((200, "<html>an error page</html> ")),
        other => other,
    };
    let odd = asked(&server(odd).await).await.unwrap_err();
    assert!(odd.contains("instance-type answered with something else"), "{odd}");
    assert!(!odd.contains("html") && !odd.contains("s3ss10n"), "{odd}");
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = asked(&format!("http://{port}")).await.unwrap_err();
    assert!(nobody.contains("can't be reached"), "{nobody}");
}

#[tokio::test]
async fn one_that_hangs_is_given_up() {
    let start = Instant::now();
    let slow = asked(&server(|head| good(head).filter(|_| head.starts_with("PUT "))).await).await.unwrap_err();
    assert!(slow.contains("instance-id"), "{slow}");
    assert!(start.elapsed() < super::PATIENCE + Duration::from_secs(3));
}
