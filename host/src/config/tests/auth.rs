//! Secrets and auth profiles.

use super::super::types::*;
use super::good::full;
use super::*;
use std::time::Duration;

const SECRETS: &str = "secrets: { pass: { file: p }, id: { file: i } }";

/// The only error of a profile, without its key's beginning.
#[track_caller]
fn profile(text: &str) -> String {
    let found = errors_with(
        &with("source: a.wasm", &format!("source: a.wasm\n      {SECRETS}\n      auth:\n        x: {text}")),
        &[],
    );
    let [error] = &found[..] else { panic!("{found:?}") };
    let (place, rest) = error.split_once(' ').expect("a place");
    assert!(place.starts_with("9:"), "{error}");
    rest.strip_prefix("drivers[0].backend.auth.").unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn all_types() {
    let backend = &full().drivers[0].backend;
    assert_eq!(backend.secrets["array"].file.as_os_str(), "/etc/bulkhead/secrets/array");
    let method = |name: &str| &backend.auth[name].method;
    let text = |text: &str| Piece::Text(text.to_owned());
    let secret = |name: &str| Piece::Secret(name.to_owned());
    let role = |arn: &str| Role {
        arn: arn.into(),
        session_name: "bulkhead".into(),
        external_id: None,
        duration: Duration::from_secs(3600),
        sts_endpoint: None,
    };
    assert_eq!(
        *method("basic"),
        AuthMethod::Basic { username: Template(vec![text("n"), secret("array")]), password: "array".into() }
    );
    let header = |header: &str, prefix: &str| AuthMethod::Header {
        header: header.into(),
        prefix: prefix.into(),
        value: "array".into(),
    };
    assert_eq!(*method("bearer"), header("authorization", "Bearer "));
    assert_eq!(*method("header"), header("x-api-key", "v1 "));
    let AuthMethod::SigV4(aws) = method("aws") else { panic!("sigv4") };
    assert_eq!((aws.service.as_str(), aws.region.as_str()), ("ec2", "eu-central-1"));
    let web = Role { sts_endpoint: Some("http://127.0.0.1:5000".into()), ..role("arn:aws:iam::123456789012:role/a") };
    assert_eq!(
        aws.credentials,
        [
            CredentialSource::Static {
                access_key_id: "key-id".into(),
                secret_access_key: "key".into(),
                session_token: Some("array".into())
            },
            CredentialSource::WebIdentity { token_file: "/etc/bulkhead/token".into(), role: web },
            CredentialSource::InstanceMetadata { endpoint: "http://169.254.169.254".into() },
        ]
    );
    let assumed = aws.assume_role.as_ref().expect("a role");
    assert_eq!((assumed.duration, assumed.external_id.as_deref()), (Duration::from_secs(900), Some("abc")));
    let AuthMethod::Login(login) = method("session") else { panic!("login") };
    assert_eq!((login.method.as_str(), login.header.as_str(), login.prefix.as_str()), ("PUT", "x-auth", ""));
    assert_eq!(login.headers, [("x-token".to_owned(), Template(vec![secret("key")]))]);
    assert_eq!(
        (&login.token_from, login.lifetime),
        (&TokenFrom::JsonPointer("/data/token".into()), Some(Duration::from_secs(1800)))
    );
    let plain = |value: serde_json::Value| Json::Plain(value);
    let deep =
        Json::List(vec![plain(true.into()), plain(().into()), Json::Object(vec![("n".into(), plain(1.5.into()))])]);
    let LoginBody::Json(Json::Object(body)) = &login.body else { panic!("json") };
    assert_eq!(body[1], ("password".into(), Json::Text(Template(vec![secret("array")]))));
    assert_eq!((&body[2], &body[3]), (&("ttl".into(), plain(30.into())), &("deep".into(), deep)));
    let AuthMethod::OAuth2(oauth) = method("oauth") else { panic!("oauth2") };
    assert_eq!((oauth.in_body, &oauth.scopes[..]), (true, &["a".to_owned(), "b:c".to_owned()][..]));
}

#[test]
fn what_is_missing_or_too_much() {
    for (text, expected) in [
        (
            "{ type: digest }",
            "x.type: \"digest\" is not known: write one of basic, bearer, header, login, oauth2, sigv4",
        ),
        ("{ type: basic, username: a }", "x.password: is missing: add it"),
        ("{ type: basic, password: pass }", "x.username: is missing: add it"),
        (
            "{ type: bearer, token: other }",
            "x.token: \"other\" names no secret of this backend (there: pass, id): add it to secrets, or name one of them",
        ),
        ("{ type: bearer, token: pass, region: a }", "x.region: is no key of type bearer: possible there are token"),
        (
            "{ type: basic, username: \"${secret:nope}\", password: pass }",
            "x.username: names no secret of this backend (there: pass, id): add it to secrets, or name one of them",
        ),
        (
            "{ type: header, header: \"a b\", value: pass }",
            "x.header: \"a b\" is not a header that can be set: write its name, such as x-api-key",
        ),
        (
            "{ type: header, header: Host, value: pass }",
            "x.header: \"Host\" is not a header that can be set: write its name, such as x-api-key",
        ),
        (
            "{ type: login, url: \"https://a/\", json: {}, form: {}, tokenFrom: { header: t } }",
            "x.form: a login has one body: write either json or form",
        ),
        (
            "{ type: login, url: \"https://a/\", tokenFrom: { header: t, json: /t } }",
            "x.tokenFrom: says where the answer has the token: write either { json: /POINTER } or { header: NAME }",
        ),
        (
            "{ type: login, url: \"https://a/\", tokenFrom: { json: t } }",
            "x.tokenFrom.json: \"t\" is not a JSON pointer: write e.g. /token or /data/0/token",
        ),
        (
            "{ type: login, url: \"https://a/\", json: { a: [0x10] }, tokenFrom: { header: t } }",
            "x.json.a[0]: is no number or boolean of JSON: put it in quotes, or write it as JSON does",
        ),
        (
            "{ type: sigv4, service: ec2, region: a, credentials: [] }",
            "x.credentials: says where keys come from: add at least one of { type: static }, { type: webIdentity }, { type: instanceMetadata }",
        ),
        (
            "{ type: sigv4, service: EC2, region: a, credentials: [{ type: instanceMetadata }] }",
            "x.service: \"EC2\" is not such a name: write lower-case letters, digits and dashes",
        ),
        (
            "{ type: sigv4, service: ec2, region: a, credentials: [{ type: static, accessKeyId: id }] }",
            "x.credentials[0].secretAccessKey: is missing: add it",
        ),
        (
            "{ type: sigv4, service: ec2, region: a, credentials: [{ type: instanceMetadata, tokenFile: f }] }",
            "x.credentials[0].tokenFile: is no key of type instanceMetadata: possible there are endpoint",
        ),
        (
            "{ type: sigv4, service: ec2, region: a, credentials: [{ type: instanceMetadata }], assumeRole: { roleArn: admin } }",
            "x.assumeRole.roleArn: \"admin\" is not the ARN of a role: write arn:aws:iam::ACCOUNT:role/NAME",
        ),
    ] {
        assert_eq!(profile(text), expected, "{text}");
    }
}

#[test]
fn keys_travel_encrypted_or_stay_here() {
    let oauth = |url: &str| format!("{{ type: oauth2, tokenUrl: \"{url}\", clientId: a, clientSecret: pass }}");
    let plain = "would send keys without encryption: write https://, http:// is for this machine only (localhost, loopback and \
                 link-local addresses)";
    for url in
        ["http://id.example.com/token", "http://10.0.0.1/token", "http://localhost.example.com/", "http://[fd00::1]/"]
    {
        assert_eq!(profile(&oauth(url)), format!("x.tokenUrl: {url:?} {plain}"));
    }
    for url in ["id.example.com/token", "ftp://a/", "https://user:pw@a/", "https://a/#f", "https:///a", "https://a b/"]
    {
        assert_eq!(profile(&oauth(url)), format!("x.tokenUrl: {url:?} is not a URL: write https://HOST/PATH"));
    }
    let metadata = |url: &str| {
        format!(
            "{{ type: sigv4, service: ec2, region: a, credentials: [{{ type: instanceMetadata, endpoint: \"{url}\" }}] }}"
        )
    };
    assert_eq!(
        profile(&metadata("http://169.254.169.254/latest")),
        "x.credentials[0].endpoint: \"http://169.254.169.254/latest\" has a path: write https://HOST or https://HOST:PORT"
    );
    for url in [
        "http://localhost:1/t",
        "http://127.0.0.1/t",
        "http://[::1]:5/t",
        "http://169.254.169.254/",
        "http://[fd00:ec2::254]/",
        "https://a/t",
    ] {
        let text =
            with("source: a.wasm", &format!("source: a.wasm\n      {SECRETS}\n      auth: {{ x: {} }}", oauth(url)));
        assert!(load(&text).is_ok(), "{url}");
    }
}

#[test]
fn names_of_secrets_and_profiles() {
    let backend = |lines: &str| errors_with(&with("source: a.wasm", &format!("source: a.wasm\n      {lines}")), &[]);
    let problem = "has 1 to 128 letters, digits and . _ -: choose another name";
    assert_eq!(
        backend("secrets: { \"a b\": { file: p } }"),
        [format!("7:18: drivers[0].backend.secrets.a b: the name of a secret {problem}")]
    );
    assert_eq!(
        backend("secrets: { a: { file: \"\" } }"),
        ["7:29: drivers[0].backend.secrets.a.file: \"\" is not a path: write 1 to 4095 bytes without NUL"]
    );
    assert_eq!(
        backend("grants: { http: [{ scheme: https, host: a, methods: [GET], auth: nope }] }"),
        [
            "7:24: drivers[0].backend.grants.http[0].auth: \"nope\" names no auth profile of this backend (there: none): add it to \
          backend.auth, or name one of them"
        ]
    );
    assert_eq!(
        backend("secrets: { a: { file: p, env: P } }"),
        ["7:32: drivers[0].backend.secrets.a.env: unknown key: possible here are file"]
    );
}

#[test]
fn what_came_from_the_environment_is_not_shown() {
    let text = with(
        "source: a.wasm",
        &format!(
            "source: a.wasm\n      {SECRETS}\n      auth: {{ x: {{ type: basic, username: \"${{WHO}}\", password: pass }} }}"
        ),
    );
    let config = load_with(&text, &[("WHO", "hunter2")]).expect("fine");
    assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
}
