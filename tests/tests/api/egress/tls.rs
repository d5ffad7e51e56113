//! TLS: whom the host trusts, which name it asks for, and what it shows.

use super::{at, caller, localhost, outcome, serving};
use crate::sandboxed;
use bulkhead_tests::web::{Pki, Web};
use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

const CA: &str = "ca: pki/ca.pem";
const CLIENT: &str = "clientCertificate: { certificate: pki/client.pem, key: pki/client.key }";

#[test]
fn only_the_named_authority_is_trusted() {
    sandboxed(async |s| {
        let (pki, other) = (Pki::new(), Pki::new());
        pki.write(&s.dir("pki"));
        let (ours, theirs) = (Web::tls(&pki, false).await, Web::tls(&other, false).await);
        let address = localhost("https", ours.port).replace("localhost", "127.0.0.1");
        let grants = [localhost("https", ours.port), localhost("https", theirs.port), address];
        let host = serving(&s, caller(grants, &format!("{{ {CA} }}")));
        let client = host.client().await;
        let get = async |authority: &str| {
            outcome(&client, &[("scheme", "https"), ("authority", authority), ("path", "/echo")]).await
        };
        assert_eq!(get(&at(ours.port)).await, "status 200");
        assert_eq!(*ours.seen.names.lock().unwrap(), ["localhost"], "the name of the URI is asked for");
        assert_eq!(get(&at(theirs.port)).await, "error ErrorCode::TlsCertificateError");
        assert_eq!(
            get(&format!("127.0.0.1:{}", ours.port)).await,
            "error ErrorCode::TlsCertificateError",
            "another name"
        );
        assert_eq!((ours.heads().len(), theirs.heads().len()), (1, 0));
        assert!(host.log().contains("is not trusted"), "{}", host.log());
        // The system's authorities don't know it either.
        drop(host);
        let host = serving(&s, caller([localhost("https", ours.port)], ""));
        let client = host.client().await;
        let system = outcome(&client, &[("scheme", "https"), ("authority", &at(ours.port))]).await;
        assert_eq!(system, "error ErrorCode::TlsCertificateError");
    });
}

#[test]
fn a_client_certificate_is_shown_if_there_is_one() {
    sandboxed(async |s| {
        let pki = Pki::new();
        pki.write(&s.dir("pki"));
        let web = Web::tls(&pki, true).await;
        let get = [("scheme", "https"), ("authority", &*at(web.port)), ("path", "/echo")];
        let host = serving(&s, caller([localhost("https", web.port)], &format!("{{ {CA} }}")));
        let without = outcome(&host.client().await, &get).await;
        assert!(without.starts_with("error"), "{without}");
        assert_eq!(web.seen.certificates.load(SeqCst), 0);
        drop(host);
        let host = serving(&s, caller([localhost("https", web.port)], &format!("{{ {CA}, {CLIENT} }}")));
        let client = host.client().await;
        for _ in 0..5 {
            assert_eq!(outcome(&client, &get).await, "status 200");
        }
        assert_eq!(web.seen.certificates.load(SeqCst), 1, "one handshake serves five calls");
        assert_eq!(web.heads().len(), 5);
    });
}

#[test]
fn certificates_that_are_replaced_count_without_a_restart() {
    sandboxed(async |s| {
        let (pki, next) = (Pki::new(), Pki::new());
        let dir = s.dir("pki");
        pki.write(&dir);
        let (old, new) = (Web::tls(&pki, true).await, Web::tls(&next, true).await);
        let grants = [localhost("https", old.port), localhost("https", new.port)];
        let host = serving(&s, caller(grants, &format!("{{ {CA}, {CLIENT} }}")));
        let client = host.client().await;
        let get = async |port: u16| {
            outcome(&client, &[("scheme", "https"), ("authority", &at(port)), ("path", "/echo")]).await
        };
        // The files are looked at once a second.
        let eventually = async |port: u16, wanted: &str| {
            let start = Instant::now();
            loop {
                let got = get(port).await;
                if got.starts_with(wanted) {
                    return;
                }
                assert!(start.elapsed() < Duration::from_secs(10), "{port}: {got}, not {wanted}\n{}", host.log());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        assert_eq!(get(old.port).await, "status 200");
        assert!(get(new.port).await.starts_with("error"));
        // What can't be used changes nothing, and is said once.
        std::fs::write(dir.join("ca.pem"), "nonsense").unwrap();
        let warned = || host.log().matches("can't be used; those read before are kept").count();
        let start = Instant::now();
        while warned() == 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "{}", host.log());
            assert_eq!(get(old.port).await, "status 200");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(get(old.port).await, "status 200");
        assert_eq!(warned(), 1, "{}", host.log());
        assert_eq!(old.connections(), 1, "the connection of before is kept");
        // The new ones count for all connections, also those that are open.
        next.write(&dir);
        eventually(new.port, "status 200").await;
        eventually(old.port, "error ErrorCode::TlsCertificateError").await;
        assert_eq!(new.seen.certificates.load(SeqCst), 1, "the new client certificate is shown");
    });
}

#[test]
fn plain_http_to_a_port_of_tls_and_the_other_way_round_fail() {
    sandboxed(async |s| {
        let pki = Pki::new();
        pki.write(&s.dir("pki"));
        let (tls, plain) = (Web::tls(&pki, false).await, Web::plain().await);
        let grants = [localhost("http", tls.port), localhost("https", plain.port)];
        let host = serving(&s, caller(grants, &format!("{{ {CA}, totalTimeout: 3s, firstByteTimeout: 1s }}")));
        let client = host.client().await;
        for (scheme, port) in [("http", tls.port), ("https", plain.port)] {
            let got = outcome(&client, &[("scheme", scheme), ("authority", &at(port)), ("path", "/echo")]).await;
            assert!(got.starts_with("error"), "{scheme}: {got}");
        }
        assert_eq!((tls.heads().len(), plain.heads().len()), (0, 0));
    });
}
