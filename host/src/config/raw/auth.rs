//! The shape of `backend.secrets` and `backend.auth`.
//!
//! All types of profiles share one shape here: which key belongs to which type is judged in `backend::auth`, where an error can
//! say what the type knows. (The YAML library loses the places of what it reads by way of a tag.)

use super::{Entries, Maybe, Placed, Text};
use crate::config::tree::Tree;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where the value of a secret is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Secret")]
pub(in crate::config) struct RawSecret {
    /// A file with nothing but the value, 1 byte to 64KiB; one newline at its end is dropped. Read again when it has changed. Relative
    /// paths begin at this file.
    #[schemars(with = "String")]
    pub file: Text,
}

/// How requests are signed, so that the backend never sees a key. Which keys there are depends on the type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "AuthProfile")]
pub(in crate::config) struct RawAuth {
    /// What kind of profile this is.
    #[serde(rename = "type")]
    #[schemars(with = "crate::config::schema::AuthType")]
    pub kind: Text,
    /// basic: the user's name; ${secret:NAME} in it stands for a secret.
    #[serde(default)]
    #[schemars(with = "String")]
    pub username: Maybe,
    /// basic: name of the secret that is the password.
    #[serde(default)]
    #[schemars(with = "String")]
    pub password: Maybe,
    /// bearer: name of the secret that is the token.
    #[serde(default)]
    #[schemars(with = "String")]
    pub token: Maybe,
    /// header, login: header that carries the value. Default of login: Authorization.
    #[serde(default)]
    #[schemars(with = "String")]
    pub header: Maybe,
    /// header: name of the secret that is the header's value.
    #[serde(default)]
    #[schemars(with = "String")]
    pub value: Maybe,
    /// header, login: text before the value. Default: none; of a login that sends Authorization: "Bearer ".
    #[serde(default)]
    #[schemars(with = "String")]
    pub prefix: Maybe,
    /// login: method of the request that logs in. Default: POST.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Method")]
    pub method: Maybe,
    /// login: where to log in. https, or http on this machine.
    #[serde(default)]
    #[schemars(with = "String")]
    pub url: Maybe,
    /// login: headers of the request; ${secret:NAME} in a value stands for a secret.
    #[schemars(with = "Option<std::collections::BTreeMap<String, String>>")]
    pub headers: Option<Entries<Text>>,
    /// login: body of the request, as JSON; ${secret:NAME} in a text stands for a secret.
    pub json: Option<Tree>,
    /// login: body of the request, as a form; ${secret:NAME} in a value stands for a secret.
    #[schemars(with = "Option<std::collections::BTreeMap<String, crate::config::schema::Scalar>>")]
    pub form: Option<Entries<Text>>,
    /// login: where the answer has the token.
    pub token_from: Option<RawTokenFrom>,
    /// login: how long a token lives. Default: until it is refused.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Time")]
    pub lifetime: Maybe,
    /// oauth2: the token endpoint. https, or http on this machine.
    #[serde(default)]
    #[schemars(with = "String")]
    pub token_url: Maybe,
    /// oauth2: the client's id; ${secret:NAME} in it stands for a secret.
    #[serde(default)]
    #[schemars(with = "String")]
    pub client_id: Maybe,
    /// oauth2: name of the secret that is the client's secret.
    #[serde(default)]
    #[schemars(with = "String")]
    pub client_secret: Maybe,
    /// oauth2: how the client says who it is: in a header (basic, the default) or in the body.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::ClientAuthentication")]
    pub client_authentication: Maybe,
    /// oauth2: scopes that are asked for.
    #[schemars(with = "Option<Vec<String>>")]
    pub scopes: Option<Vec<Text>>,
    /// oauth2: whom the token is for, where the server wants to know.
    #[serde(default)]
    #[schemars(with = "String")]
    pub audience: Maybe,
    /// sigv4: name of the service, such as ec2.
    #[serde(default)]
    #[schemars(with = "String")]
    pub service: Maybe,
    /// sigv4: region of the service, such as eu-central-1.
    #[serde(default)]
    #[schemars(with = "String")]
    pub region: Maybe,
    /// sigv4: where keys come from; the first that is there counts.
    pub credentials: Option<Placed<Vec<Placed<RawCredentials>>>>,
    /// sigv4: a role to assume with those keys.
    pub assume_role: Option<RawRole>,
}

/// Where the answer to a login has the token: one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "TokenFrom")]
pub(in crate::config) struct RawTokenFrom {
    /// JSON pointer (RFC 6901) to a text in the body, such as /data/token.
    #[serde(default)]
    #[schemars(with = "String")]
    pub json: Maybe,
    /// Name of a header.
    #[serde(default)]
    #[schemars(with = "String")]
    pub header: Maybe,
}

/// Where keys come from. Which keys there are depends on the type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Credentials")]
pub(in crate::config) struct RawCredentials {
    /// static: secrets; webIdentity: a token file and a role; instanceMetadata: the machine's own role.
    #[serde(rename = "type")]
    #[schemars(with = "crate::config::schema::CredentialsType")]
    pub kind: Text,
    /// static: name of the secret that is the access key id.
    #[serde(default)]
    #[schemars(with = "String")]
    pub access_key_id: Maybe,
    /// static: name of the secret that is the secret access key.
    #[serde(default)]
    #[schemars(with = "String")]
    pub secret_access_key: Maybe,
    /// static: name of the secret that is the session token, if there is one.
    #[serde(default)]
    #[schemars(with = "String")]
    pub session_token: Maybe,
    /// webIdentity: file with the token, read anew each time.
    #[serde(default)]
    #[schemars(with = "String")]
    pub token_file: Maybe,
    /// webIdentity: the role.
    #[serde(default)]
    #[schemars(with = "String")]
    pub role_arn: Maybe,
    /// webIdentity: name of the session in the cloud's audit trail. Default: bulkhead.
    #[serde(default)]
    #[schemars(with = "String")]
    pub session_name: Maybe,
    /// webIdentity: the token service. Default: that of the region. https, or http on this machine.
    #[serde(default)]
    #[schemars(with = "String")]
    pub sts_endpoint: Maybe,
    /// instanceMetadata: where it is served. Default: http://169.254.169.254.
    #[serde(default)]
    #[schemars(with = "String")]
    pub endpoint: Maybe,
}

/// A role to assume.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Role")]
pub(in crate::config) struct RawRole {
    /// The role.
    #[schemars(with = "String")]
    pub role_arn: Text,
    /// Name of the session in the cloud's audit trail. Default: bulkhead.
    #[serde(default)]
    #[schemars(with = "String")]
    pub session_name: Maybe,
    /// External id that the role's trust policy asks for.
    #[serde(default)]
    #[schemars(with = "String")]
    pub external_id: Maybe,
    /// How long a session lasts, 15min to 12h. Default: 1h.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Time")]
    pub duration: Maybe,
    /// The token service. Default: that of the region. https, or http on this machine.
    #[serde(default)]
    #[schemars(with = "String")]
    pub sts_endpoint: Maybe,
}
