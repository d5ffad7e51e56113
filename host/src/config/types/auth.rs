//! Secrets and auth profiles of a backend.

use crate::config::Place;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the value of a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSource {
    /// A file with nothing but the value.
    pub file: PathBuf,
    /// Where that stands.
    pub at: Place,
}

/// How requests are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthProfile {
    /// In which way. The names of secrets in it are all in [`super::BackendConfig::secrets`].
    pub method: AuthMethod,
    /// Where the profile begins.
    pub at: Place,
}

/// The ways of signing a request. What is called a secret is the name of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMethod {
    /// RFC 7617.
    Basic {
        /// Without colons.
        username: Template,
        /// A secret.
        password: String,
    },
    /// A value in a header, which also RFC 6750's bearer token is.
    Header {
        /// Lower case.
        header: String,
        /// Before the value.
        prefix: String,
        /// A secret.
        value: String,
    },
    /// A token that is fetched.
    Login(Login),
    /// RFC 6749, 4.4: client credentials.
    OAuth2(OAuth2),
    /// AWS Signature Version 4.
    SigV4(SigV4),
}

/// How a token is fetched, and how it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Upper case.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// Lower-case names.
    pub headers: Vec<(String, Template)>,
    /// Of the request that logs in.
    pub body: LoginBody,
    /// Where the answer has the token.
    pub token_from: TokenFrom,
    /// Header that carries the token, lower case.
    pub header: String,
    /// Before the token.
    pub prefix: String,
    /// None: until it is refused.
    pub lifetime: Option<Duration>,
}

/// The body of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginBody {
    /// None.
    Empty,
    /// `application/json`.
    Json(Json),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
}

/// JSON with places for secrets in its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// Null, a boolean or a number.
    Plain(serde_json::Value),
    /// A text.
    Text(Template),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

/// Where the answer to a login has the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFrom {
    /// RFC 6901.
    JsonPointer(String),
    /// Name of a header, lower case.
    Header(String),
}

/// A client of an authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2 {
    /// Absolute.
    pub token_url: String,
    /// The client.
    pub client_id: Template,
    /// A secret.
    pub client_secret: String,
    /// Id and secret travel in the body instead of a header.
    pub in_body: bool,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Whom the token is for.
    pub audience: Option<String>,
}

/// Signature Version 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigV4 {
    /// Name of the service in signatures.
    pub service: String,
    /// Region in signatures.
    pub region: String,
    /// At least one; the first that is there counts.
    pub credentials: Vec<CredentialSource>,
    /// Assumed with those.
    pub assume_role: Option<Role>,
}

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// Secrets.
    Static {
        /// A secret.
        access_key_id: String,
        /// A secret.
        secret_access_key: String,
        /// A secret.
        session_token: Option<String>,
    },
    /// A token of somebody whom the cloud trusts, exchanged for keys.
    WebIdentity {
        /// File with the token.
        token_file: PathBuf,
        /// Whose keys they are.
        role: Role,
    },
    /// Instance metadata, version 2.
    InstanceMetadata {
        /// Scheme and authority.
        endpoint: String,
    },
}

/// A role, and how it is assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// ARN.
    pub arn: String,
    /// For the audit trail.
    pub session_name: String,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
    /// How long the keys live.
    pub duration: Duration,
    /// Scheme and authority of the token service; none = that of the region.
    pub sts_endpoint: Option<String>,
}

/// A text with places for secrets.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Template(pub Vec<Piece>);

/// A part of a [`Template`].
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The value of the secret of this name.
    Secret(String),
}

impl fmt::Debug for Template {
    /// Names of secrets only: what is written around them may come from the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|piece| match piece {
            Piece::Text(_) => "..",
            Piece::Secret(name) => name,
        });
        f.debug_list().entries(names).finish()
    }
}
