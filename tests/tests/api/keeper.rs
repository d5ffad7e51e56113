//! Secrets of a backend: handles, signing, values, and that they are seen nowhere. The backend is `tests/backends/keeper`.

use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Sandbox,
    client::{Use, capability, create_request},
    secrets::plant,
};
use std::{collections::BTreeMap, fs};
use tonic::{Code, Status};

const PLANTED: &str = "pl4nted/\"s3cret\"&%";

fn keeper(sandbox: &Sandbox, grants: &str) -> Driver {
    let file = sandbox.path().join("array-password");
    plant(PLANTED);
    if !file.exists() {
        fs::write(&file, format!("{PLANTED}\n")).unwrap();
    }
    Driver {
        backend: format!("secrets: {{ array-password: {{ file: {} }} }}", file.display()),
        grants: grants.to_owned(),
        ..Driver::plain("keeper")
    }
}

async fn create(
    client: &Client,
    parameters: &[(&str, &str)],
    secrets: &[(&str, &str)],
) -> Result<BTreeMap<String, String>, Status> {
    let mut request = create_request("v", 1 << 20, Use::Mount(""), parameters);
    secrets.iter().filter(|(_, value)| value.len() > "another".len()).for_each(|(_, value)| plant(value));
    request.secrets = secrets.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let volume = client.controller.clone().create_volume(request).await?.into_inner().volume.unwrap();
    Ok(volume.volume_context)
}

#[test]
fn handles_signatures_and_values() {
    sandboxed(async |s| {
        let driver = keeper(&s, "secrets: [sign, reveal]");
        let host = HostBuilder::new(&s, [driver]).env("BULKHEAD_LOG", "trace").start();
        let client = host.client().await;
        let context = create(&client, &[("keys", "")], &[("chap", "chap-secret")]).await.unwrap();
        assert_eq!(context["keys"], "array-password,chap");
        assert_eq!(create(&client, &[], &[]).await.unwrap()["keys"], "array-password");
        // HMACs by another tool than ours: openssl dgst -sha256 -hmac.
        let signed = async |name: &str, bytes: &str| {
            create(&client, &[("sign", name), ("bytes", bytes)], &[("chap", "chap-secret")]).await
        };
        assert_eq!(signed("array-password", "1").await.unwrap()["signature"], OWN);
        assert_eq!(signed("chap", "1").await.unwrap()["signature"], OF_THE_CALL);
        assert!(signed("chap", "65536").await.is_ok());
        let status = signed("chap", "65537").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(host.log().contains("hmac-sha256 over 65537 bytes: at most 64KiB are allowed"));
        assert_eq!(signed("nope", "1").await.unwrap_err().code(), Code::NotFound);
        assert_eq!(create(&client, &[("reveal", "array-password")], &[]).await.unwrap()["length"], "18");
        let log = host.log();
        assert!(log.contains("the backend looks at the value of a secret") && log.contains("times=1"), "{log}");
        // One name, two secrets.
        let status = create(&client, &[], &[("array-password", "another")]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.message(),
            "secret \"array-password\" is in the request and in the host's config (backend.secrets): rename one of them"
        );
        // The file is changed: so is the signature.
        plant("rotated-4711");
        fs::write(s.path().join("array-password"), "rotated-4711").unwrap();
        assert_ne!(signed("array-password", "1").await.unwrap()["signature"], OWN);
        fs::remove_file(s.path().join("array-password")).unwrap();
        let status = signed("array-password", "1").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(host.log().contains("array-password is not there: put the value there"));
    });
}

/// printf x | openssl dgst -sha256 -hmac 'pl4nted/"s3cret"&%'
const OWN: &str = "7a164d62d52ea7d0bccae45d272ef3dd8439db110d6d61f881273d788e079873";
/// printf x | openssl dgst -sha256 -hmac chap-secret
const OF_THE_CALL: &str = "300ab3d32dc443c75727b77498763fbf8c70fcfa75bd11809b8a0ef840d1e052";

#[test]
fn what_a_backend_tells_is_masked_in_every_form() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [keeper(&s, "secrets: [sign, reveal]")]).env("BULKHEAD_LOG", "trace").start();
        let client = host.client().await;
        for (name, secrets) in [("array-password", vec![]), ("chap", vec![("chap", PLANTED)])] {
            let status = create(&client, &[("tell", name)], &secrets).await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert_eq!(status.message(), "begin <redacted> <redacted> <redacted> \"<redacted>\" end");
        }
        let log = host.log();
        assert_eq!(log.matches("begin <redacted> <redacted> <redacted> end").count(), 2, "{log}");
        let hex: String = PLANTED.bytes().map(|byte| format!("{byte:02x}")).collect();
        for planted in [PLANTED, "pl4nted", "s3cret", &hex] {
            assert!(!log.contains(planted), "{planted}: {log}");
        }
    });
}

#[test]
fn a_node_has_none_and_needs_no_files() {
    sandboxed(async |s| {
        // Without grants and without the file: the same component serves.
        let driver = keeper(&s, "");
        fs::remove_file(s.path().join("array-password")).unwrap();
        let host = HostBuilder::new(&s, [driver]).mode("node").start();
        let client = host.client().await;
        let request = v1::NodeStageVolumeRequest {
            volume_id: "v".into(),
            staging_target_path: client.staging("v"),
            volume_capability: Some(capability(Use::Mount(""))),
            secrets: [("chap".to_owned(), "chap-secret".to_owned())].into(),
            ..Default::default()
        };
        let status = client.node.clone().node_stage_volume(request).await.unwrap_err();
        assert!(!status.message().contains("secrets on a node"), "{status}");
    });
}

#[test]
fn grants_and_files_that_lack_are_named() {
    sandboxed(async |s| {
        for (grants, says) in [
            ("", "imports bulkhead:backend/secrets, which is not granted: add grants.secrets: []"),
            (
                "secrets: []",
                "imports bulkhead:backend/secrets-reveal, which is not granted: add reveal to grants.secrets",
            ),
            (
                "secrets: [reveal]",
                "imports bulkhead:backend/secrets-sign, which is not granted: add sign to grants.secrets",
            ),
        ] {
            let builder = HostBuilder::new(&s, [keeper(&s, grants)]);
            let (status, out, err) = builder.run(&["check"]);
            assert!(!status.success() && format!("{out}{err}").contains(says), "{grants}: {out}{err}");
        }
        let builder = HostBuilder::new(&s, [keeper(&s, "secrets: [sign, reveal]")]);
        assert!(builder.run(&["check"]).0.success());
        fs::remove_file(s.path().join("array-password")).unwrap();
        let (status, out, err) = builder.run(&["check"]);
        let says = "drivers[0].backend.secrets.array-password.file: secret array-password: ";
        let said = format!("{out}{err}");
        assert!(
            !status.success() && said.contains(says) && said.contains("is not there: put the value there"),
            "{said}"
        );
    });
}
