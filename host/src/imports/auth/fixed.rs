//! What is the same for every request until somebody changes a file: basic authentication, bearer tokens, keys in headers.

use super::{
    error::Problem,
    exchange::{header_name, header_value, render, text},
};
use crate::{
    config::Template,
    imports::{BackendSecrets, secrets::Value},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{header::AUTHORIZATION, request::Parts};
use zeroize::Zeroizing;

pub(super) enum Fixed {
    Basic { username: Template, password: String },
    Header { header: String, prefix: String, value: String },
}

impl Fixed {
    /// Sets the header. The value that was used.
    pub(super) async fn sign(&self, parts: &mut Parts, secrets: &BackendSecrets) -> Result<Value, Problem> {
        match self {
            Self::Basic { username, password: name } => {
                let username = render(username, secrets).await?;
                if username.contains(':') {
                    return Err(Problem::unauthenticated(
                        "the user's name holds a colon, which basic authentication can't carry",
                    ));
                }
                let password = secrets.get(name).await?;
                let pair = Zeroizing::new(format!("{}:{}", *username, text(name, &password)?));
                let encoded = Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(&*pair))));
                parts.headers.insert(AUTHORIZATION, header_value("the password", encoded.as_bytes())?);
                Ok(Value::new(encoded.as_bytes().to_vec()))
            }
            Self::Header { header, prefix, value: name } => {
                let value = secrets.get(name).await?;
                parts.headers.insert(header_name(header)?, prefixed(&format!("secret {name}"), prefix, &value)?);
                Ok(value)
            }
        }
    }

    /// The files have another value than `used` by now.
    pub(super) async fn changed(&self, used: &Value, secrets: &BackendSecrets) -> bool {
        let mut parts = http::Request::new(()).into_parts().0;
        self.sign(&mut parts, secrets).await.is_ok_and(|now| now != *used)
    }
}

/// A header's value after a prefix.
pub(super) fn prefixed(whose: &str, prefix: &str, value: &Value) -> Result<http::HeaderValue, Problem> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(prefix.len() + value.expose().len()));
    bytes.extend_from_slice(prefix.as_bytes());
    bytes.extend_from_slice(value.expose());
    header_value(whose, &bytes)
}
