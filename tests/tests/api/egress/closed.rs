//! Where no request may be made: without a grant, while a backend is loaded, and on a node.

use super::{at, caller, localhost};
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{Driver, HostBuilder, web::Web};

#[test]
fn without_a_grant_it_is_not_loaded() {
    sandboxed(async |s| {
        let (status, _, error) = HostBuilder::new(&s, [Driver::plain("caller")]).run(&["check"]);
        assert!(!status.success());
        for part in ["drivers[0].backend.grants", "imports wasi:http/", "which is not granted: add grants.http: ["] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    });
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    sandboxed(async |s| {
        std::fs::write(s.dir("pki").join("empty.pem"), "").unwrap();
        for (http, key, problem) in [
            ("{ ca: pki/none.pem }", "http.ca", "can't be read"),
            ("{ ca: pki/empty.pem }", "http.ca", "holds no certificate"),
            ("{ ca: pki }", "http.ca", "is not a file"),
            (
                "{ clientCertificate: { certificate: pki/empty.pem, key: pki/empty.pem } }",
                "http.clientCertificate",
                "holds no certificate",
            ),
        ] {
            let driver = caller([localhost("https", 443)], http);
            let (status, _, error) = HostBuilder::new(&s, [driver]).run(&["check"]);
            assert!(!status.success() && error.contains(key) && error.contains(problem), "{http}: {error}");
            assert!(error.contains("bulkhead.yaml:"), "{error}");
        }
    });
}

#[test]
fn nothing_leaves_while_it_is_loaded_or_from_a_node() {
    sandboxed(async |s| {
        let web = Web::plain().await;
        let config = format!("while-loading: \"{0}\"\non-node: \"{0}\"", at(web.port));
        let driver = Driver { config, ..caller([localhost("http", web.port)], "") };
        let host = HostBuilder::new(&s, [driver.clone()]).start();
        let mut client = host.client().await;
        let info = client.identity.get_plugin_info(v1::GetPluginInfoRequest {}).await.unwrap().into_inner();
        assert_eq!(info.manifest["outcome"], "error ErrorCode::HttpRequestDenied");
        let status = client.node.node_get_info(v1::NodeGetInfoRequest {}).await.unwrap_err();
        assert_eq!(status.message(), "error ErrorCode::HttpRequestDenied");
        drop(host);
        // On a node it needs no grant, and gets nothing.
        let host = HostBuilder::new(&s, [Driver { requests: vec![], ..driver }]).mode("node").start();
        let mut client = host.client().await;
        let status = client.node.node_get_info(v1::NodeGetInfoRequest {}).await.unwrap_err();
        assert_eq!(status.message(), "error ErrorCode::HttpRequestDenied");
        assert_eq!(web.connections(), 0);
        assert!(host.log().contains("reason=\"role\""), "{}", host.log());
    });
}
