//! Signature Version 4 over the wire, and where its keys come from. The signatures themselves are compared with AWS's vectors in
//! `sigv4::sign`; the verifier here shows that what arrives is what was signed.

use super::{
    server::{Received, Server, dead_url, reply, status},
    *,
};
use crate::{
    config::{CredentialSource, Role, SigV4},
    imports::hmac_sha256,
};
use http::Response;
use reqsign_core::time::Timestamp;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU32, Ordering};

fn profile(credentials: Vec<CredentialSource>, assume_role: Option<Role>) -> AuthMethod {
    AuthMethod::SigV4(SigV4 { service: "ec2".into(), region: "eu-central-1".into(), credentials, assume_role })
}

fn secrets(token: Option<&str>) -> CredentialSource {
    CredentialSource::Static {
        access_key_id: "key-id".into(),
        secret_access_key: "key".into(),
        session_token: token.map(str::to_owned),
    }
}

fn role(endpoint: String) -> Role {
    Role {
        arn: "arn:aws:iam::123456789012:role/storage".into(),
        session_name: "bulkhead".into(),
        external_id: Some("ext-1".into()),
        duration: Duration::from_secs(900),
        sts_endpoint: Some(endpoint),
    }
}

/// A request is signed with this key, and for this body.
fn verify(received: &Received, service: &str, id: &str, key: &str, token: Option<&str>) -> Result<(), String> {
    let authorization = received.header("authorization");
    let part = |name: &str| {
        let rest = authorization.split_once(name)?.1;
        Some(rest.split([',', ' ']).next().unwrap_or_default().to_owned())
    };
    let (scope, signed) = part("Credential=").zip(part("SignedHeaders=")).ok_or("no signature")?;
    let time = received.header("x-amz-date");
    let date = time.get(..8).ok_or("no date")?;
    if scope != format!("{id}/{date}/eu-central-1/{service}/aws4_request") {
        return Err(format!("another key or scope: {scope}"));
    }
    if token.is_some_and(|token| received.header("x-amz-security-token") != token)
        || (token.is_some() != signed.contains("x-amz-security-token"))
    {
        return Err("another session token".into());
    }
    if !["host", "x-amz-date"].iter().all(|name| signed.split(';').any(|signed| signed == *name)) {
        return Err(format!("not signed: {signed}"));
    }
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", received.header(name))).collect();
    let uri = &received.parts.uri;
    let mut query: Vec<_> = uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    let hash = hex::encode(Sha256::digest(&received.body));
    let request =
        format!("{}\n{}\n{}\n{headers}\n{signed}\n{hash}", received.parts.method, uri.path(), query.join("&"));
    let (_, range) = scope.split_once('/').unwrap();
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{range}\n{}", hex::encode(Sha256::digest(request)));
    let mut signing = format!("AWS4{key}").into_bytes();
    for part in range.split('/') {
        signing = hmac_sha256(&signing, part.as_bytes()).to_vec();
    }
    let expected = hex::encode(hmac_sha256(&signing, to_sign.as_bytes()));
    (part("Signature=") == Some(expected)).then_some(()).ok_or_else(|| "another signature".into())
}

/// The service: 200 if a request is signed with that key, otherwise 401 as EC2 has it.
async fn service(id: &'static str, key: &'static str, token: Option<&'static str>) -> Server {
    Server::start(move |received| match verify(received, "ec2", id, key, token) {
        Ok(()) => status(200),
        Err(reason) => reply(401, &reason),
    })
    .await
}

#[tokio::test]
async fn static_keys_with_and_without_session_token() {
    let (id, key) = ("AKIDPLANTED000000001", "wJalrXUtnFEMI/K7MDENG+bPxPLANTEDKEY");
    let token = "IQoJb3JpZ2luX2VjPLANTEDTOKEN//////////wEaDGV1LWNlbnRyYWwt";
    let bench = Bench::new(&[
        ("plain", profile(vec![secrets(None)], None)),
        ("token", profile(vec![secrets(Some("session-token"))], None)),
    ]);
    let (plain, with_token) = (service(id, key, None).await, service(id, key, Some(token)).await);
    assert_eq!(bench.call("plain", &plain, "Action=DescribeVolumes").await, Ok(200));
    assert_eq!(bench.call("token", &with_token, "Action=DescribeVolumes").await, Ok(200));
    assert_eq!(bench.call("plain", &with_token, "").await, Ok(401));
    // Not sent once more: the files are as they were.
    assert_eq!(with_token.received("/").len(), 2);
    let received = &plain.received("/")[0];
    assert!(received.header("authorization").contains("SignedHeaders=content-type;host;x-amz-date,"));
    assert_eq!(received.header("x-amz-content-sha256"), "", "the server has to look at the body");
    // The verifier sees another body and another key.
    let changed = Received { body: b"Action=DeleteVolume".to_vec(), ..received.clone() };
    assert_eq!(verify(&changed, "ec2", id, key, None), Err("another signature".into()));
    bench.rotate("key", "another-key-that-is-wrong");
    assert_eq!(bench.call("plain", &plain, "").await, Ok(401));
}

fn xml(action: &str, expires_in: u64) -> Response<String> {
    let expiration = (Timestamp::now() + Duration::from_secs(expires_in)).format_rfc3339_zulu();
    reply(
        200,
        &format!(
            "<{action}Response><{action}Result><Credentials><AccessKeyId>ASIAPLANTED000000002</AccessKeyId>\
             <SecretAccessKey>assumed-planted-key</SecretAccessKey><SessionToken>assumed-planted-token</SessionToken>\
             <Expiration>{expiration}</Expiration></Credentials></{action}Result></{action}Response>"
        ),
    )
}

/// A token service that takes the web identity `good-identity`, and assumes roles with the static keys.
async fn token_service() -> Server {
    Server::start(|received| {
        let query = received.parts.uri.query().unwrap_or_default();
        let both = [query.as_bytes(), &received.body].join(&b'&');
        let all: BTreeMap<_, _> = form_urlencoded::parse(&both).into_owned().collect();
        let field = |name: &str| all.get(name).map_or("", String::as_str);
        if field("RoleArn") != "arn:aws:iam::123456789012:role/storage" || field("RoleSessionName") != "bulkhead" {
            return reply(400, "<ErrorResponse><Error><Code>ValidationError</Code><Message>role</Message></Error></ErrorResponse>");
        }
        match field("Action") {
            "AssumeRoleWithWebIdentity" if field("WebIdentityToken") == "good-identity" => xml("AssumeRoleWithWebIdentity", 3600),
            "AssumeRoleWithWebIdentity" => reply(
                400,
                &format!(
                    "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>not {}</Message></Error></ErrorResponse>",
                    field("WebIdentityToken")
                ),
            ),
            "AssumeRole" if (field("ExternalId"), field("DurationSeconds")) == ("ext-1", "900") => {
                let (id, key) = ("AKIDPLANTED000000001", "wJalrXUtnFEMI/K7MDENG+bPxPLANTEDKEY");
                let refused = |reason: String| {
                    let error = format!("<Error><Code>SignatureDoesNotMatch</Code><Message>{reason}</Message></Error>");
                    reply(403, &format!("<ErrorResponse>{error}</ErrorResponse>"))
                };
                verify(received, "sts", id, key, None).map_or_else(refused, |()| xml("AssumeRole", 900))
            }
            _ => status(500),
        }
    })
    .await
}

const ASSUMED: (&str, &str, Option<&str>) =
    ("ASIAPLANTED000000002", "assumed-planted-key", Some("assumed-planted-token"));

#[tokio::test]
async fn a_web_identity_is_exchanged_for_keys() {
    let (sts, ec2) = (token_service().await, service(ASSUMED.0, ASSUMED.1, ASSUMED.2).await);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "good-identity\n").unwrap();
    let source = |token_file: &std::path::Path| CredentialSource::WebIdentity {
        token_file: token_file.to_owned(),
        role: Role { external_id: None, ..role(sts.url("")) },
    };
    let bench = Bench::new(&[("web", profile(vec![source(file.path())], None))]);
    for _ in 0..3 {
        assert_eq!(bench.call("web", &ec2, "x").await, Ok(200));
    }
    assert_eq!(sts.received("/").len(), 1);
    let said = bench.secrets.seen().mask("assumed-planted-key assumed-planted-token good-identity", []);
    assert_eq!(said, "<redacted> <redacted> <redacted>");
    // A wrong one: the profile's name and the service's word, not the token that it repeats.
    std::fs::write(file.path(), "bad-identity-4711").unwrap();
    let bench = Bench::new(&[("web", profile(vec![source(file.path()), secrets(None)], None))]);
    let error = bench.error("web", bench.call("web", &ec2, "x").await);
    assert!(error.contains("InvalidIdentityToken") && !error.contains("4711"), "{error}");
    // One that isn't there: the next source counts.
    let bench = Bench::new(&[("web", profile(vec![source("/nowhere/token".as_ref()), secrets(None)], None))]);
    assert_eq!(bench.call("web", &ec2, "x").await, Ok(401), "signed with the static keys");
    let bench = Bench::new(&[("web", profile(vec![source("/nowhere/token".as_ref())], None))]);
    let error = bench.error("web", bench.call("web", &ec2, "x").await);
    assert_eq!(error, "no keys are there: /nowhere/token is not there");
}

#[tokio::test]
async fn a_role_is_assumed_with_other_keys() {
    let (sts, ec2) = (token_service().await, service(ASSUMED.0, ASSUMED.1, ASSUMED.2).await);
    let bench = Bench::new(&[("role", profile(vec![secrets(None)], Some(role(sts.url("")))))]);
    for _ in 0..3 {
        assert_eq!(bench.call("role", &ec2, "x").await, Ok(200));
    }
    let received = sts.received("/");
    assert_eq!(
        (received.len(), &received[0].parts.method, received[0].parts.uri.query()),
        (1, &http::Method::POST, None)
    );
    assert_eq!(received[0].header("content-type"), "application/x-www-form-urlencoded");
    let said = bench.secrets.seen().mask("assumed-planted-key assumed-planted-token", []);
    assert_eq!(said, "<redacted> <redacted>");
    let bench = Bench::new(&[("role", profile(vec![secrets(None)], Some(role(sts.url("")))))]);
    bench.rotate("key", "a-wrong-key-4711");
    let result = bench.call("role", &ec2, "x").await;
    assert_eq!(result.as_ref().map_err(AuthError::kind), Err(AuthErrorKind::Unauthenticated));
    let error = bench.error("role", result);
    assert!(error.contains("SignatureDoesNotMatch") && !error.contains("4711"), "{error}");
    let nobody = dead_url().await;
    let bench = Bench::new(&[("role", profile(vec![secrets(None)], Some(role(nobody.clone()))))]);
    let error = bench.error("role", bench.call("role", &ec2, "x").await);
    assert!(error.starts_with(&format!("{nobody}/ can't be reached")), "{error}");
}

/// The metadata of an instance, version 2; keys live for `lifetime` seconds. How often they were fetched.
async fn metadata(lifetime: u64) -> (Server, Arc<AtomicU32>) {
    let fetched = Arc::new(AtomicU32::new(0));
    let count = fetched.clone();
    let server = Server::start(move |received| {
        let session = received.header("x-aws-ec2-metadata-token") == "imds-session";
        match (received.parts.method.as_str(), received.parts.uri.path()) {
            ("PUT", "/latest/api/token") if received.header("x-aws-ec2-metadata-token-ttl-seconds") == "21600" => {
                reply(200, "imds-session")
            }
            ("GET", "/latest/meta-data/iam/security-credentials/") if session => reply(200, "storage-role"),
            ("GET", "/latest/meta-data/iam/security-credentials/storage-role") if session => {
                count.fetch_add(1, Ordering::SeqCst);
                let expiration = (Timestamp::now() + Duration::from_secs(lifetime)).format_rfc3339_zulu();
                reply(
                    200,
                    &format!(
                        "{{\"Code\":\"Success\",\"AccessKeyId\":\"ASIAPLANTED000000002\",\"SecretAccessKey\":\"assumed-planted-key\",\
                         \"Token\":\"assumed-planted-token\",\"Expiration\":\"{expiration}\"}}"
                    ),
                )
            }
            _ => status(401),
        }
    })
    .await;
    (server, fetched)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machines_role_is_asked_for_once_by_fifty_calls() {
    let (imds, fetched) = metadata(3600).await;
    let ec2 = Arc::new(service(ASSUMED.0, ASSUMED.1, ASSUMED.2).await);
    let source = CredentialSource::InstanceMetadata { endpoint: imds.url("") };
    let bench = Arc::new(Bench::new(&[("aws", profile(vec![source], None))]));
    let call = || {
        let (bench, ec2) = (bench.clone(), ec2.clone());
        tokio::spawn(async move { bench.call("aws", &ec2, "body").await })
    };
    let calls: Vec<_> = (0..50).map(|_| call()).collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(200));
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn sources_that_are_not_there() {
    let ec2 = service("AKIDPLANTED000000001", "wJalrXUtnFEMI/K7MDENG+bPxPLANTEDKEY", None).await;
    let nobody = dead_url().await;
    let source = CredentialSource::InstanceMetadata { endpoint: nobody.clone() };
    let bench = Bench::new(&[
        ("fallback", profile(vec![source.clone(), secrets(None)], None)),
        ("alone", profile(vec![source], None)),
    ]);
    assert_eq!(bench.call("fallback", &ec2, "").await, Ok(200));
    let result = bench.call("alone", &ec2, "").await;
    assert_eq!(result.as_ref().map_err(AuthError::kind), Err(AuthErrorKind::Unavailable));
    let error = bench.error("alone", result);
    assert!(error.starts_with(&format!("no keys are there: {nobody}/latest/api/token can't be reached")), "{error}");
    // One that is in trouble is there.
    let trouble = Server::start(|_| status(503)).await;
    let source = CredentialSource::InstanceMetadata { endpoint: trouble.url("") };
    let bench = Bench::new(&[("aws", profile(vec![source, secrets(None)], None))]);
    let result = bench.call("aws", &ec2, "").await;
    assert_eq!(result.as_ref().map_err(AuthError::kind), Err(AuthErrorKind::Unavailable));
    assert!(bench.error("aws", result).starts_with(&trouble.url("/latest/api/token: ")));
    // Keys that have ended when they come: somebody's clock is wrong.
    let (imds, _) = metadata(0).await;
    let source = CredentialSource::InstanceMetadata { endpoint: imds.url("") };
    let bench = Bench::new(&[("aws", profile(vec![source], None))]);
    let error = bench.error("aws", bench.call("aws", &ec2, "").await);
    assert!(error.contains("expired already") && error.contains("clock"), "{error}");
}
