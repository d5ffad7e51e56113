//! The part of [`Lower`] about a backend's secrets and auth profiles.

use super::credentials;
use super::template::known;
use crate::config::Place;
use crate::config::lower::Lower;
use crate::config::raw::auth::{RawAuth, RawSecret, RawTokenFrom};
use crate::config::raw::{Entries, Maybe, Placed, Text};
use crate::config::tree::{Node, Value, unquoted};
use crate::config::types::{
    AuthMethod, AuthProfile, Json, Login, LoginBody, OAuth2, SecretSource, SigV4, Template, TokenFrom,
};
use crate::config::units;
use bulkhead_domain::limits;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a profile may be called, and a secret.
const NAME_BYTES: usize = 128;
const TOKEN_METHODS: [&str; 3] = ["POST", "PUT", "GET"];

/// A profile while it is read.
pub(super) struct Reading<'r> {
    /// Its key.
    pub path: &'r str,
    pub at: Place,
    /// Names of the backend's secrets.
    pub secrets: &'r [&'r str],
}

impl Lower<'_, '_> {
    /// Types `backend.secrets`.
    pub(super) fn secrets(&mut self, path: &str, raw: Option<&Entries<RawSecret>>) -> BTreeMap<String, SecretSource> {
        let base = self.base.clone();
        let mut secrets = BTreeMap::new();
        for (name, secret) in raw.iter().flat_map(|entries| &entries.0) {
            let key = format!("{path}.{}", name.text);
            self.name(&key, "a secret", name);
            if let Some(file) = self.read(&format!("{key}.file"), &secret.file, |text| units::path(text, &base)) {
                secrets.insert(name.text.clone(), SecretSource { file, at: secret.file.at });
            }
        }
        secrets
    }

    /// Types `backend.auth`. `secrets` are the names of the backend's secrets, wrong ones too.
    pub(super) fn profiles(
        &mut self,
        path: &str,
        raw: Option<&Entries<Placed<RawAuth>>>,
        secrets: &[&str],
    ) -> BTreeMap<String, AuthProfile> {
        let mut profiles = BTreeMap::new();
        for (name, profile) in raw.iter().flat_map(|entries| &entries.0) {
            let path = format!("{path}.{}", name.text);
            self.name(&path, "an auth profile", name);
            let reading = Reading { path: &path, at: profile.at, secrets };
            if let Some(method) = self.profile(&reading, &profile.value) {
                profiles.insert(name.text.clone(), AuthProfile { method, at: profile.at });
            }
        }
        profiles
    }

    fn name(&mut self, key: &str, what: &str, name: &Text) {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.text.is_empty() || name.text.len() > NAME_BYTES || !name.text.chars().all(fits) {
            let message =
                format!("the name of {what} has 1 to {NAME_BYTES} letters, digits and . _ -: choose another name");
            self.errors.add(name.at, key, message);
        }
    }

    fn profile(&mut self, it: &Reading<'_>, raw: &RawAuth) -> Option<AuthMethod> {
        const TYPES: [&str; 6] = ["basic", "bearer", "header", "login", "oauth2", "sigv4"];
        let kind = self.read(&format!("{}.type", it.path), &raw.kind, |text| units::word(text, &TYPES))?;
        let allowed: &[&str] = match kind {
            "basic" => &["username", "password"],
            "bearer" => &["token"],
            "header" => &["header", "value", "prefix"],
            "login" => &["method", "url", "headers", "json", "form", "tokenFrom", "header", "prefix", "lifetime"],
            "oauth2" => &["tokenUrl", "clientId", "clientSecret", "clientAuthentication", "scopes", "audience"],
            _ => &["service", "region", "credentials", "assumeRole"],
        };
        self.only(it, kind, allowed, &keys(raw, it.at));
        match kind {
            "basic" => self.basic(it, raw),
            "bearer" => {
                let value = self.secret(it, "token", &raw.token)?;
                Some(AuthMethod::Header { header: "authorization".into(), prefix: "Bearer ".into(), value })
            }
            "header" => {
                let header = self.needed(it, "header", &raw.header, header_name);
                let prefix = self.read_or(&format!("{}.prefix", it.path), &raw.prefix, String::new(), header_text);
                let value = self.secret(it, "value", &raw.value);
                Some(AuthMethod::Header { header: header?, prefix, value: value? })
            }
            "login" => self.login(it, raw).map(AuthMethod::Login),
            "oauth2" => self.oauth2(it, raw).map(AuthMethod::OAuth2),
            _ => self.sigv4(it, raw).map(AuthMethod::SigV4),
        }
    }

    /// Refuses keys that `kind` doesn't know. `there` are those that the file has.
    pub(super) fn only(&mut self, it: &Reading<'_>, kind: &str, allowed: &[&str], there: &[(&str, Option<Place>)]) {
        for (key, at) in there.iter().filter_map(|(key, at)| Some((key, (*at)?))) {
            if !allowed.contains(key) {
                let message = format!("is no key of type {kind}: possible there are {}", allowed.join(", "));
                self.errors.add(at, format!("{}.{key}", it.path), message);
            }
        }
    }

    /// A value that must be there.
    pub(super) fn needed<T>(
        &mut self,
        it: &Reading<'_>,
        key: &str,
        text: &Maybe,
        read: impl FnOnce(&str) -> Result<T, units::Problem>,
    ) -> Option<T> {
        let path = format!("{}.{key}", it.path);
        match &text.0 {
            Some(text) => self.read(&path, text, read),
            None => {
                self.errors.add(it.at, path, "is missing: add it");
                None
            }
        }
    }

    /// The name of a secret, which must be there.
    pub(super) fn secret(&mut self, it: &Reading<'_>, key: &str, text: &Maybe) -> Option<String> {
        self.needed(it, key, text, |name| known(name, it.secrets))
    }

    fn basic(&mut self, it: &Reading<'_>, raw: &RawAuth) -> Option<AuthMethod> {
        let username = self.needed_template(it, "username", &raw.username);
        let password = self.secret(it, "password", &raw.password);
        Some(AuthMethod::Basic { username: username?, password: password? })
    }

    fn needed_template(&mut self, it: &Reading<'_>, key: &str, text: &Maybe) -> Option<Template> {
        let Some(text) = &text.0 else {
            self.errors.add(it.at, format!("{}.{key}", it.path), "is missing: add it");
            return None;
        };
        self.template(&format!("{}.{key}", it.path), text, it.secrets)
    }

    fn login(&mut self, it: &Reading<'_>, raw: &RawAuth) -> Option<Login> {
        let path = it.path;
        let url = self.needed(it, "url", &raw.url, units::login_url);
        let method =
            self.read_or(&format!("{path}.method"), &raw.method, "POST", |text| units::word(text, &TOKEN_METHODS));
        let mut headers = Vec::new();
        for (name, value) in raw.headers.iter().flat_map(|entries| &entries.0) {
            let key = format!("{path}.headers.{}", name.text);
            let name = self.read(&key, name, header_name);
            let value = self.template(&key, value, it.secrets);
            headers.extend(name.zip(value));
        }
        let body = self.login_body(it, raw);
        let token_from = self.token_from(it, raw.token_from.as_ref());
        let header = self.read_or(&format!("{path}.header"), &raw.header, "authorization".to_owned(), header_name);
        let default = if header == "authorization" { "Bearer " } else { "" };
        let prefix = self.read_or(&format!("{path}.prefix"), &raw.prefix, default.to_owned(), header_text);
        let lifetime = self.read_or(&format!("{path}.lifetime"), &raw.lifetime, None, |text| {
            units::duration(text, Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3600)).map(Some)
        });
        let method = method.to_owned();
        Some(Login { method, url: url?, headers, body: body?, token_from: token_from?, header, prefix, lifetime })
    }

    fn login_body(&mut self, it: &Reading<'_>, raw: &RawAuth) -> Option<LoginBody> {
        match (&raw.json, &raw.form) {
            (None, None) => Some(LoginBody::Empty),
            (Some(_), Some(_)) => {
                self.errors.add(it.at, format!("{}.form", it.path), "a login has one body: write either json or form");
                None
            }
            (Some(tree), None) => {
                let path = format!("{}.json", it.path);
                let mut object = Vec::new();
                for (name, node) in tree.entries() {
                    object.push((name.text.clone(), self.json(&format!("{path}.{}", name.text), node, it.secrets)?));
                }
                Some(LoginBody::Json(Json::Object(object)))
            }
            (None, Some(form)) => {
                let mut fields = Vec::new();
                for (name, value) in &form.0 {
                    let value = self.template(&format!("{}.form.{}", it.path, name.text), value, it.secrets)?;
                    fields.push((name.text.clone(), value));
                }
                Some(LoginBody::Form(fields))
            }
        }
    }

    fn json(&mut self, path: &str, node: &Node, secrets: &[&str]) -> Option<Json> {
        Some(match &node.value {
            Value::Null => Json::Plain(serde_json::Value::Null),
            Value::Verbatim(span) => {
                let text = unquoted(self.source.get(span.clone()).unwrap_or_default());
                let Ok(value) = serde_json::from_str(text) else {
                    self.errors.add(
                        node.at,
                        path,
                        "is no number or boolean of JSON: put it in quotes, or write it as JSON does",
                    );
                    return None;
                };
                Json::Plain(value)
            }
            Value::Text(text) => Json::Text(self.template(path, &Text { text: text.clone(), at: node.at }, secrets)?),
            Value::List(items) => {
                let items = items.iter().enumerate();
                Json::List(
                    items.map(|(i, node)| self.json(&format!("{path}[{i}]"), node, secrets)).collect::<Option<_>>()?,
                )
            }
            Value::Map(entries) => {
                let entry = |(name, node): &(Text, Node)| {
                    Some((name.text.clone(), self.json(&format!("{path}.{}", name.text), node, secrets)?))
                };
                Json::Object(entries.iter().map(entry).collect::<Option<_>>()?)
            }
        })
    }

    fn token_from(&mut self, it: &Reading<'_>, raw: Option<&RawTokenFrom>) -> Option<TokenFrom> {
        let path = format!("{}.tokenFrom", it.path);
        match raw.map(|raw| (&raw.json.0, &raw.header.0)) {
            Some((Some(pointer), None)) => {
                self.read(&format!("{path}.json"), pointer, json_pointer).map(TokenFrom::JsonPointer)
            }
            Some((None, Some(header))) => {
                self.read(&format!("{path}.header"), header, header_name).map(TokenFrom::Header)
            }
            _ => {
                let message =
                    "says where the answer has the token: write either { json: /POINTER } or { header: NAME }";
                self.errors.add(it.at, path, message);
                None
            }
        }
    }

    fn oauth2(&mut self, it: &Reading<'_>, raw: &RawAuth) -> Option<OAuth2> {
        let path = it.path;
        let token_url = self.needed(it, "tokenUrl", &raw.token_url, units::login_url);
        let client_id = self.needed_template(it, "clientId", &raw.client_id);
        let client_secret = self.secret(it, "clientSecret", &raw.client_secret);
        let way = self.read_or(&format!("{path}.clientAuthentication"), &raw.client_authentication, "basic", |text| {
            units::word(text, &["basic", "body"])
        });
        let mut scopes = Vec::new();
        for (index, scope) in raw.scopes.iter().flatten().enumerate() {
            scopes.extend(self.read(&format!("{path}.scopes[{index}]"), scope, scope_token));
        }
        let audience = self.read_or(&format!("{path}.audience"), &raw.audience, None, |text| plain(text).map(Some));
        let in_body = way == "body";
        Some(OAuth2 {
            token_url: token_url?,
            client_id: client_id?,
            client_secret: client_secret?,
            in_body,
            scopes,
            audience,
        })
    }

    fn sigv4(&mut self, it: &Reading<'_>, raw: &RawAuth) -> Option<SigV4> {
        let service = self.needed(it, "service", &raw.service, credentials::scope_part);
        let region = self.needed(it, "region", &raw.region, credentials::scope_part);
        let mut credentials = Vec::new();
        match &raw.credentials {
            Some(list) if !list.value.is_empty() => {
                for (index, source) in list.value.iter().enumerate() {
                    let path = format!("{}.credentials[{index}]", it.path);
                    let it = Reading { path: &path, at: source.at, secrets: it.secrets };
                    credentials.extend(self.credential_source(&it, &source.value));
                }
            }
            found => {
                let at = found.as_ref().map_or(it.at, |list| list.at);
                let message = "says where keys come from: add at least one of { type: static }, { type: webIdentity }, \
                               { type: instanceMetadata }";
                self.errors.add(at, format!("{}.credentials", it.path), message);
            }
        }
        let assume_role = match &raw.assume_role {
            Some(role) => Some(self.role(&Reading { path: &format!("{}.assumeRole", it.path), ..*it }, role)?),
            None => None,
        };
        Some(SigV4 { service: service?, region: region?, credentials, assume_role })
    }
}

/// The keys besides `type`, with their places if the file has them.
fn keys(raw: &RawAuth, at: Place) -> [(&'static str, Option<Place>); 23] {
    let text = |maybe: &Maybe| maybe.0.as_ref().map(|text| text.at);
    let entries = |entries: &Option<Entries<Text>>| {
        entries.as_ref().map(|entries| entries.0.first().map_or(at, |(name, _)| name.at))
    };
    [
        ("username", text(&raw.username)),
        ("password", text(&raw.password)),
        ("token", text(&raw.token)),
        ("header", text(&raw.header)),
        ("value", text(&raw.value)),
        ("prefix", text(&raw.prefix)),
        ("method", text(&raw.method)),
        ("url", text(&raw.url)),
        ("headers", entries(&raw.headers)),
        ("json", raw.json.as_ref().map(|tree| tree.entries().first().map_or(at, |(name, _)| name.at))),
        ("form", entries(&raw.form)),
        ("tokenFrom", raw.token_from.as_ref().map(|from| text(&from.json).or(text(&from.header)).unwrap_or(at))),
        ("lifetime", text(&raw.lifetime)),
        ("tokenUrl", text(&raw.token_url)),
        ("clientId", text(&raw.client_id)),
        ("clientSecret", text(&raw.client_secret)),
        ("clientAuthentication", text(&raw.client_authentication)),
        ("scopes", raw.scopes.as_ref().map(|scopes| scopes.first().map_or(at, |scope| scope.at))),
        ("audience", text(&raw.audience)),
        ("service", text(&raw.service)),
        ("region", text(&raw.region)),
        ("credentials", raw.credentials.as_ref().map(|list| list.at)),
        ("assumeRole", raw.assume_role.as_ref().map(|role| role.role_arn.at)),
    ]
}

fn header_name(text: &str) -> Result<String, units::Problem> {
    match text.parse::<http::HeaderName>() {
        // The host's own: the connection decides on them.
        Ok(name) if !["host", "content-length", "transfer-encoding", "connection"].contains(&name.as_str()) => {
            Ok(name.as_str().to_owned())
        }
        _ => Err("is not a header that can be set: write its name, such as x-api-key".into()),
    }
}

fn header_text(text: &str) -> Result<String, units::Problem> {
    match http::HeaderValue::from_str(text) {
        Ok(_) if text.is_ascii() => Ok(text.to_owned()),
        _ => Err("can't stand in a header: write plain ASCII".into()),
    }
}

fn json_pointer(text: &str) -> Result<String, units::Problem> {
    let fits = text.starts_with('/') && text.len() <= limits::STRING_BYTES * 8;
    fits.then(|| text.to_owned()).ok_or_else(|| "is not a JSON pointer: write e.g. /token or /data/0/token".into())
}

fn scope_token(text: &str) -> Result<String, units::Problem> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    fits.then(|| text.to_owned())
        .ok_or_else(|| "is not a scope: write printable ASCII without spaces, quotes and backslashes".into())
}

fn plain(text: &str) -> Result<String, units::Problem> {
    units::text(text, 1024)
}
