//! `grants.http` and `http` of a backend.

use super::{Maybe, Placed, Text};
use schemars::JsonSchema;
use serde::Deserialize;

/// One place that a backend may send requests to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Http")]
pub(in crate::config) struct RawHttp {
    /// http or https.
    #[schemars(with = "crate::config::schema::SchemeName")]
    pub scheme: Text,
    /// Host name or address, exactly as in the request, or *.DOMAIN for every name below a domain.
    #[schemars(with = "String")]
    pub host: Text,
    /// Port. Default: 443 for https, 80 for http.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Port")]
    pub port: Maybe,
    /// Methods, at least one.
    #[schemars(with = "Vec<crate::config::schema::Method>", length(min = 1))]
    pub methods: Placed<Vec<Text>>,
    /// Name of the auth profile that signs the requests.
    #[serde(default)]
    #[schemars(with = "String")]
    pub auth: Maybe,
    /// Kinds of address that the host's name may lead to, at least one. Default: public and private.
    #[schemars(with = "Option<Vec<crate::config::schema::AddressName>>", length(min = 1))]
    pub addresses: Option<Placed<Vec<Text>>>,
}

/// How the requests of a backend travel.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "HttpSettings")]
pub(in crate::config) struct RawHttpSettings {
    /// http://HOST:PORT or https://HOST:PORT of a proxy through which all requests go. Default: none.
    #[serde(default)]
    #[schemars(with = "String")]
    pub proxy: Maybe,
    /// PEM file of the certificates that are trusted, instead of the system's; relative paths begin at this file.
    #[serde(default)]
    #[schemars(with = "String")]
    pub ca: Maybe,
    /// What the host shows to servers that ask who it is.
    pub client_certificate: Option<Placed<RawClientCertificate>>,
    /// Longest for looking the name up, connecting and TLS, 100ms to 10min. Default: 5s.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Time")]
    pub connect_timeout: Maybe,
    /// Longest from sending a request to the head of its answer, 100ms to 10min. Default: 30s.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Time")]
    pub first_byte_timeout: Maybe,
    /// Longest for a request and its whole answer, 100ms to 10min; the deadline of the call counts too. Default: 60s.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Time")]
    pub total_timeout: Maybe,
    /// Connections of this backend at a time, 1 to 1000; requests beyond wait. Default: 32.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Count")]
    pub max_connections: Maybe,
    /// Largest body of a request, up to 64MiB. Default: 1MiB.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Size")]
    pub max_request: Maybe,
    /// Largest body of an answer, up to 1GiB. Default: 8MiB.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Size")]
    pub max_response: Maybe,
    /// Largest head of a request or an answer, 8KiB to 1MiB. Default: 32KiB.
    #[serde(default)]
    #[schemars(with = "crate::config::schema::Size")]
    pub max_headers: Maybe,
}

/// What the host shows to servers that ask who it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ClientCertificate")]
pub(in crate::config) struct RawClientCertificate {
    /// PEM file of the certificate, and of those that lead to its root; relative paths begin at this file.
    #[schemars(with = "String")]
    pub certificate: Text,
    /// PEM file of its private key.
    #[schemars(with = "String")]
    pub key: Text,
}
