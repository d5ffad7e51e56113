//! What a cloud's instance metadata service says of the machine on which this process runs.

#[cfg(test)]
mod tests;

use crate::{
    config::HttpSettings,
    imports::{
        Transport,
        http::{Net, NetError, Pem, SystemResolver},
    },
};
use bulkhead_domain::limits;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Bytes;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long all questions together may take: whoever is there answers within milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// Longest wait for a connection: where nobody is, nothing refuses it either.
const CONNECT: Duration = Duration::from_secs(2);
/// The session is used at once and never again.
const SESSION_SECONDS: &str = "60";
/// Largest answer, in bytes.
const ANSWER_BYTES: u64 = 64 << 10;

/// Identity of a machine in its cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// By which the cloud's API knows it.
    pub id: String,
    /// Like `m6i.large`.
    pub kind: String,
    /// Region.
    pub region: String,
    /// Zone.
    pub zone: String,
}

/// The instance metadata service of Amazon's cloud, version 2 (EC2 User Guide, "Access instance metadata for an EC2 instance").
pub struct AmazonMetadata {
    transport: Arc<dyn Transport>,
    endpoint: String,
}

impl AmazonMetadata {
    /// At `endpoint`, scheme and authority. Asks nothing yet. Call it on a runtime.
    ///
    /// # Errors
    /// TLS can't be had.
    pub fn new(endpoint: &str) -> Result<Self, NetError> {
        let settings = HttpSettings {
            connect_timeout: CONNECT,
            first_byte_timeout: PATIENCE,
            total_timeout: PATIENCE,
            max_response: ANSWER_BYTES,
            ..HttpSettings::default()
        };
        let net = Net::new(settings, &Pem::default(), Arc::new(SystemResolver))?;
        Ok(Self { transport: net.transport(), endpoint: endpoint.to_owned() })
    }

    /// Asks who this machine is; gives up after [`PATIENCE`].
    ///
    /// # Errors
    /// Who was asked, what went wrong and what can be done.
    pub async fn instance(&self) -> Result<Instance, String> {
        let deadline = Instant::now() + PATIENCE;
        let session = Request::builder()
            .method(Method::PUT)
            .uri(self.url("api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
        let session = self.send(session, deadline).await?;
        let mut token =
            HeaderValue::from_bytes(session.body()).map_err(|_| self.trouble("api/token", "answered with no token"))?;
        token.set_sensitive(true);
        let ask = |what: &'static str| {
            let request = Request::builder().uri(self.url(what)).header("x-aws-ec2-metadata-token", token.clone());
            async move { self.word(what, &self.send(request, deadline).await?) }
        };
        Ok(Instance {
            id: ask("meta-data/instance-id").await?,
            kind: ask("meta-data/instance-type").await?,
            region: ask("meta-data/placement/region").await?,
            zone: ask("meta-data/placement/availability-zone").await?,
        })
    }

    fn url(&self, what: &str) -> String {
        format!("{}/latest/{what}", self.endpoint)
    }

    fn trouble(&self, what: &str, why: impl std::fmt::Display) -> String {
        format!("instance metadata: {} {why}", self.url(what))
    }

    async fn send(&self, request: http::request::Builder, deadline: Instant) -> Result<Response<Bytes>, String> {
        let request = request.body(Bytes::new().into()).map_err(|e| format!("instance metadata: {e}"))?;
        let url = request.uri().to_string();
        let trouble = |why: String| format!("instance metadata: {url} {why}");
        let response = self.transport.send(request, deadline).await.map_err(|e| {
            trouble(format!("{e}; is the service on, and does the instance's hop limit reach into containers (2)?"))
        })?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(trouble(format!("answered HTTP {}", status.as_u16()))),
        }
    }

    /// The answer, which backends and other processes are going to see.
    fn word(&self, what: &str, response: &Response<Bytes>) -> Result<String, String> {
        let text = std::str::from_utf8(response.body()).unwrap_or_default().trim();
        let plain =
            !text.is_empty() && text.len() <= limits::STRING_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
        if plain { Ok(text.to_owned()) } else { Err(self.trouble(what, "answered with something else than a word")) }
    }
}
