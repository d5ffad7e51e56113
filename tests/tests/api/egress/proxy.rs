//! A proxy by config: used for everything, and no way round the list.

use super::{ask, at, caller, localhost, outcome, serving};
use crate::sandboxed;
use bulkhead_tests::web::{Pki, Web};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// A proxy that knows CONNECT only, and to ports of this machine. Its port, and the heads of what it was asked for.
async fn tunnels() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(vec![])));
    let heads = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move {
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.ok()?);
                }
                let head = String::from_utf8(head).ok()?;
                heads.lock().unwrap().push(head.clone());
                let port = head.split(' ').nth(1)?.rsplit(':').next()?.parse::<u16>().ok()?;
                if head.contains("forbidden") {
                    client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.ok()?;
                    return None;
                }
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
                client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.ok()?;
                copy_bidirectional(&mut client, &mut server).await.ok()
            });
        }
    });
    (port, asked)
}

#[test]
fn tls_goes_through_a_tunnel_to_the_host_itself() {
    sandboxed(async |s| {
        let pki = Pki::new();
        pki.write(&s.dir("pki"));
        let web = Web::tls(&pki, false).await;
        let (port, asked) = tunnels().await;
        let granted = localhost("https", web.port);
        let unknown = granted.replace("host: localhost", "host: forbidden.invalid");
        let settings = format!("{{ proxy: \"http://127.0.0.1:{port}\", ca: pki/ca.pem }}");
        let host = serving(&s, caller([granted, unknown], &settings));
        let client = host.client().await;
        let get = [("scheme", "https"), ("authority", &*at(web.port)), ("path", "/echo"), ("header.x-mine", "inside")];
        for _ in 0..3 {
            assert_eq!(outcome(&client, &get).await, "status 200");
        }
        assert_eq!(asked.lock().unwrap().len(), 1, "one tunnel serves three calls");
        let head = asked.lock().unwrap()[0].clone();
        assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", web.port)), "{head}");
        assert!(!head.contains("inside"), "the proxy sees nothing of the request: {head}");
        assert_eq!(*web.seen.names.lock().unwrap(), ["localhost"]);
        // What isn't granted never gets to the proxy; what the proxy refuses was not sent.
        let other = outcome(&client, &[("scheme", "https"), ("authority", "other.test")]).await;
        assert_eq!(other, "error ErrorCode::HttpRequestDenied");
        assert_eq!(asked.lock().unwrap().len(), 1);
        let refused = format!("forbidden.invalid:{}", web.port);
        let refused = outcome(&client, &[("scheme", "https"), ("authority", &refused)]).await;
        assert_eq!(refused, "error ErrorCode::DestinationUnavailable");
    });
}

#[test]
fn plain_requests_carry_their_whole_url_to_the_proxy() {
    sandboxed(async |s| {
        let proxy = Web::plain().await;
        let settings = format!("{{ proxy: \"http://127.0.0.1:{}\" }}", proxy.port);
        let closed = localhost("http", 8081).replace(", addresses: [loopback]", "");
        let host = serving(&s, caller([localhost("http", 8080), closed], &settings));
        let client = host.client().await;
        let context = ask(&client, &[("authority", "localhost:8080"), ("path", "/echo?q")]).await.unwrap();
        assert!(context["body"].starts_with("GET http://localhost:8080/echo?q HTTP/1.1\r\n"), "{}", context["body"]);
        assert!(context["body"].contains("host: localhost:8080\r\n"), "{}", context["body"]);
        // The proxy could reach it; its address is not granted nevertheless.
        let got = outcome(&client, &[("authority", "localhost:8081"), ("path", "/echo")]).await;
        assert_eq!(got, "error ErrorCode::HttpRequestDenied");
        assert_eq!(proxy.heads().len(), 1);
    });
}
