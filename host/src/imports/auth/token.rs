//! Tokens that are fetched: a login of the storage system's own, or OAuth 2.0 client credentials.

use super::{
    error::Problem,
    exchange::{exchange, header_name, header_value, render, text},
    lease::{Fetched, Source},
};
use crate::{
    config::{Json, Login, LoginBody, OAuth2, TokenFrom},
    imports::{BackendSecrets, Transport, secrets::Value},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use form_urlencoded::{Serializer, byte_serialize};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::body::Bytes;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// Longest error code of a server that is shown.
const CODE_BYTES: usize = 64;

/// How a token is fetched.
pub(super) enum Way {
    Login(Login),
    OAuth2(OAuth2),
}

/// Where tokens come from.
pub(super) struct Tokens {
    pub way: Way,
    /// For what is remembered as seen.
    pub label: String,
    pub secrets: BackendSecrets,
    pub transport: Arc<dyn Transport>,
}

impl Source for Tokens {
    type Item = Value;

    async fn fetch(&self, deadline: Instant) -> Result<Fetched<Value>, Problem> {
        let fetched = match &self.way {
            Way::Login(login) => self.log_in(login, deadline).await?,
            Way::OAuth2(client) => self.client_credentials(client, deadline).await?,
        };
        tracing::info!(lifetime = ?fetched.lifetime, "{} has got a token", self.label);
        // Before anybody can use it: whoever sees it may say it.
        self.secrets.seen().add(&self.label, &fetched.item);
        Ok(fetched)
    }
}

impl Tokens {
    async fn log_in(&self, login: &Login, deadline: Instant) -> Result<Fetched<Value>, Problem> {
        let mut request = http::Request::builder().method(login.method.as_str()).uri(&login.url);
        let body = match &login.body {
            LoginBody::Empty => vec![],
            LoginBody::Json(json) => {
                request = request.header(CONTENT_TYPE, JSON);
                serde_json::to_vec(&self.json(json).await?).map_err(Problem::unauthenticated)?
            }
            LoginBody::Form(fields) => {
                request = request.header(CONTENT_TYPE, FORM);
                let mut rendered = Vec::with_capacity(fields.len());
                for (name, value) in fields {
                    rendered.push((name, render(value, &self.secrets).await?));
                }
                let pairs = rendered.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
            }
        };
        let mut request =
            request.body(body).map_err(|e| Problem::unauthenticated(format_args!("its url is wrong: {e}")))?;
        for (name, value) in &login.headers {
            let value = header_value(name, render(value, &self.secrets).await?.as_bytes())?;
            request.headers_mut().insert(header_name(name)?, value);
        }
        let response = exchange(&*self.transport, request, deadline, |_| None).await?;
        let token = match &login.token_from {
            TokenFrom::Header(name) => response.headers().get(name).map(|value| value.as_bytes().to_vec()),
            TokenFrom::JsonPointer(pointer) => {
                let body: serde_json::Value = serde_json::from_slice(response.body())
                    .map_err(|_| Problem::unavailable("the answer to the login is not JSON"))?;
                body.pointer(pointer).and_then(|token| token.as_str()).map(|token| token.as_bytes().to_vec())
            }
        };
        let token = token.filter(|token| !token.is_empty()).ok_or_else(|| {
            let place = match &login.token_from {
                TokenFrom::Header(name) => format!("header {name}"),
                TokenFrom::JsonPointer(pointer) => pointer.clone(),
            };
            Problem::unavailable(format_args!("the answer to the login has no token at {place}: is tokenFrom right?"))
        })?;
        Ok(Fetched { item: Value::new(token), lifetime: login.lifetime })
    }

    /// The body, with the values of secrets in their places. Boxed: it calls itself.
    fn json<'a>(
        &'a self,
        json: &'a Json,
    ) -> Pin<Box<dyn Future<Output = Result<serde_json::Value, Problem>> + Send + 'a>> {
        Box::pin(async move {
            Ok(match json {
                Json::Plain(value) => value.clone(),
                Json::Text(template) => serde_json::Value::String(render(template, &self.secrets).await?.to_string()),
                Json::List(items) => {
                    let mut list = Vec::with_capacity(items.len());
                    for item in items {
                        list.push(self.json(item).await?);
                    }
                    serde_json::Value::Array(list)
                }
                Json::Object(entries) => {
                    let mut object = serde_json::Map::new();
                    for (name, value) in entries {
                        object.insert(name.clone(), self.json(value).await?);
                    }
                    serde_json::Value::Object(object)
                }
            })
        })
    }

    /// RFC 6749, 4.4.
    async fn client_credentials(&self, client: &OAuth2, deadline: Instant) -> Result<Fetched<Value>, Problem> {
        let id = render(&client.client_id, &self.secrets).await?;
        let secret = self.secrets.get(&client.client_secret).await?;
        let secret = text(&client.client_secret, &secret)?;
        let mut request = http::Request::post(&client.token_url)
            .header(CONTENT_TYPE, FORM)
            .header(ACCEPT, JSON)
            .body(client_form(client, &id, secret))
            .map_err(|e| Problem::unauthenticated(format_args!("its tokenUrl is wrong: {e}")))?;
        if !client.in_body {
            // Both are form-encoded before they are joined by a colon (RFC 6749, 2.3.1).
            let encoded = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
            let pair = Zeroizing::new(format!("{}:{}", *encoded(&id), *encoded(secret)));
            let basic = Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(&*pair))));
            request.headers_mut().insert(AUTHORIZATION, header_value("the client", basic.as_bytes())?);
        }
        let response = exchange(&*self.transport, request, deadline, error_code).await?;
        token_of(response.body())
    }
}

fn client_form(client: &OAuth2, id: &str, secret: &str) -> Vec<u8> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !client.scopes.is_empty() {
        form.append_pair("scope", &client.scopes.join(" "));
    }
    if let Some(audience) = &client.audience {
        form.append_pair("audience", audience);
    }
    if client.in_body {
        form.append_pair("client_id", id).append_pair("client_secret", secret);
    }
    form.finish().into_bytes()
}

/// RFC 6749, 5.2: `error` is a word for programs. What else is in there may repeat what was sent.
fn error_code(response: &http::Response<Bytes>) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(response.body()).ok()?;
    let code = body.get("error")?.as_str()?;
    let word = code.len() <= CODE_BYTES && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    word.then(|| code.to_owned())
}

/// RFC 6749, 5.1.
fn token_of(body: &[u8]) -> Result<Fetched<Value>, Problem> {
    let answer: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| Problem::unavailable("the token endpoint's answer is not JSON"))?;
    let field = |name: &str| answer.get(name);
    if let Some(kind) = field("token_type").and_then(|kind| kind.as_str())
        && !kind.eq_ignore_ascii_case("bearer")
    {
        return Err(Problem::unavailable("the token endpoint gives tokens of another type than Bearer"));
    }
    let token = field("access_token").and_then(|token| token.as_str()).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Problem::unavailable("the token endpoint's answer has no access_token"))?;
    // A number; some servers put it in quotes.
    let seconds = field("expires_in").and_then(|s| s.as_u64().or_else(|| s.as_str()?.parse().ok()));
    Ok(Fetched { item: Value::new(token.as_bytes().to_vec()), lifetime: seconds.map(Duration::from_secs) })
}
