//! Requests of the host's own, on behalf of a profile: filled with secrets, sent, and judged by their status.

use super::error::Problem;
use crate::{
    config::{Piece, Template},
    imports::{
        BackendSecrets, Transport,
        secrets::{SecretError, Value},
    },
};
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use hyper::body::Bytes;
use std::time::Instant;
use zeroize::Zeroizing;

impl From<SecretError> for Problem {
    /// Credentials that aren't there are as good as wrong ones: somebody has to do something.
    fn from(error: SecretError) -> Self {
        Self::unauthenticated(error)
    }
}

/// The text, with the values of secrets in their places.
pub(super) async fn render(template: &Template, secrets: &BackendSecrets) -> Result<Zeroizing<String>, Problem> {
    let mut out = Zeroizing::new(String::new());
    for piece in &template.0 {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Secret(name) => out.push_str(text(name, &secrets.get(name).await?)?),
        }
    }
    Ok(out)
}

/// A secret's value as text.
pub(super) fn text<'v>(name: &str, value: &'v Value) -> Result<&'v str, Problem> {
    value
        .text()
        .ok_or_else(|| Problem::unauthenticated(format_args!("secret {name} is not UTF-8: put a text into its file")))
}

/// A header's value that no library shows. `whose`: for the error.
pub(super) fn header_value(whose: &str, bytes: &[u8]) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_bytes(bytes).map_err(|_| {
        Problem::unauthenticated(format_args!("{whose} holds what can't stand in a header, such as a newline"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A header with a name from the config, which has been checked.
pub(super) fn header_name(name: &str) -> Result<HeaderName, Problem> {
    name.parse().map_err(|_| Problem::unauthenticated(format_args!("{name:?} is not the name of a header")))
}

/// Scheme, host and path: what may be said of a URL.
pub(super) fn place(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
}

/// Sends a request and takes the answer if it is a good one. `refusal` reads the reason out of a refusal, if there is one that may be
/// shown.
pub(super) async fn exchange(
    transport: &dyn Transport,
    request: http::Request<Vec<u8>>,
    deadline: Instant,
    refusal: fn(&http::Response<Bytes>) -> Option<String>,
) -> Result<http::Response<Bytes>, Problem> {
    let place = place(request.uri());
    let response = transport
        .send(request.map(Into::into), deadline)
        .await
        .map_err(|error| Problem::unavailable(format_args!("{place} {error}")))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let reason = refusal(&response).map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(match status {
        StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::UNPROCESSABLE_ENTITY => {
            Problem::unauthenticated(format_args!("{place} refused the login (HTTP {}{reason})", status.as_u16()))
        }
        _ => Problem::unavailable(format_args!("{place} answered the login with HTTP {}{reason}", status.as_u16())),
    })
}
