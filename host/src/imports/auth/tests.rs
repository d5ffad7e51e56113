//! Each kind of profile against a server that checks it, over real connections on loopback.

mod aws;
mod logins;
mod server;
mod signed;

use super::*;
use crate::config::{Place, SecretSource, Template};
use server::{Client, Server};
use std::path::PathBuf;

/// Secrets in files, and profiles made of them.
struct Bench {
    dir: tempfile::TempDir,
    secrets: BackendSecrets,
    profiles: Profiles,
}

const SECRETS: [(&str, &str); 6] = [
    ("password", "hunter2!&\"planted"),
    ("api-key", "key-planted-4711"),
    ("client-secret", "s3cr3t planted/+"),
    ("key-id", "AKIDPLANTED000000001"),
    ("key", "wJalrXUtnFEMI/K7MDENG+bPxPLANTEDKEY"),
    ("session-token", "IQoJb3JpZ2luX2VjPLANTEDTOKEN//////////wEaDGV1LWNlbnRyYWwt"),
];

impl Bench {
    fn new(methods: &[(&str, AuthMethod)]) -> Self {
        Self::over(methods, Arc::new(Client))
    }

    fn over(methods: &[(&str, AuthMethod)], transport: Arc<dyn Transport>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sources: BTreeMap<String, SecretSource> = SECRETS
            .iter()
            .map(|(name, value)| {
                let file = dir.path().join(name);
                std::fs::write(&file, format!("{value}\n")).unwrap();
                ((*name).to_owned(), SecretSource { file, at: Place::default() })
            })
            .collect();
        let secrets = BackendSecrets::new(&sources, None);
        let profile = |method: &AuthMethod| AuthProfile { method: method.clone(), at: Place::default() };
        let methods = methods.iter().map(|(name, method)| ((*name).to_owned(), profile(method))).collect();
        let profiles = Profiles::new("driver.example.com", &methods, &secrets, &transport);
        Self { dir, secrets, profiles }
    }

    /// As a rotation does it.
    fn rotate(&self, name: &str, value: &str) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, value).unwrap();
        std::fs::rename(new, self.file(name)).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Signs, sends, and after a 401 once more if that may help: as the egress does.
    async fn call(&self, profile: &str, server: &Server, body: &str) -> Result<u16, AuthError> {
        let request = http::Request::post(server.url("/volumes?b=2&a=1")).header("content-type", "text/plain");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let deadline = Instant::now() + Duration::from_secs(5);
        for again in [true, false] {
            let signed = self.profiles.authorize(profile, &mut parts, body.as_bytes(), deadline).await?;
            let request = http::Request::from_parts(parts.clone(), body.as_bytes().to_vec());
            let response = Client.send(request.map(Into::into), deadline).await.unwrap().into_parts().0;
            let refused = response.status == http::StatusCode::UNAUTHORIZED;
            if !(again && refused && self.profiles.refused(&signed, &response).await == Retry::Again) {
                return Ok(response.status.as_u16());
            }
        }
        unreachable!("the second try returns")
    }

    /// An error that names the profile, and nothing that is secret.
    #[track_caller]
    fn error(&self, profile: &str, result: Result<u16, AuthError>) -> String {
        let error = result.unwrap_err();
        let shown = format!("{error} {error:?} {:?} {:?}", self.profiles, self.secrets);
        for (_, value) in SECRETS {
            assert!(!shown.contains(value) && self.secrets.seen().mask(&shown, [value.as_bytes()]) == shown, "{shown}");
        }
        assert_eq!(error.profile(), profile);
        let text = error.to_string();
        let kind = if error.kind() == AuthErrorKind::Unavailable { "unavailable" } else { "unauthenticated" };
        let prefix = format!("{kind}: auth profile `{profile}`: ");
        text.strip_prefix(&prefix).unwrap_or_else(|| panic!("{text}")).to_owned()
    }
}

fn text(text: &str) -> Template {
    Template(vec![crate::config::Piece::Text(text.to_owned())])
}

fn secret(name: &str) -> Template {
    Template(vec![crate::config::Piece::Secret(name.to_owned())])
}
