//! AWS Signature Version 4: to sign what is asked at moto directly, and to tell before a rule answers a request whether moto
//! would have taken its signature. What moto is sent it checks by itself, with code that isn't ours.

use crate::{Credentials, form::encode};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};

/// What a signature covers besides headers.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// HTTP's.
    pub method: &'a str,
    /// Path, with `?` and the query if there is one.
    pub target: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Parts of an `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Id of the key.
    pub key: String,
    /// Day, region, service, `aws4_request`.
    pub scope: String,
    /// Names of the headers that are signed.
    pub headers: Vec<String>,
    signature: String,
}

impl Authorization {
    /// Of a request's headers; nothing if there is none of this kind.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("authorization")?.to_str().ok()?.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let part = |name: &str| text.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let (key, scope) = part("Credential")?.split_once('/')?;
        let headers = part("SignedHeaders")?.split(';').map(str::to_owned).collect();
        Some(Self { key: key.into(), scope: scope.into(), headers, signature: part("Signature")?.into() })
    }

    /// What of it may be written down.
    pub fn without_signature(&self) -> String {
        format!("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}", self.key, self.scope, self.headers.join(";"))
    }

    /// Whether it is the signature of this request with this key.
    pub fn is_right(&self, signed: Signed<'_>, headers: &HeaderMap, credentials: &Credentials) -> bool {
        let token = headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
        let Some(time) = headers.get("x-amz-date").and_then(|time| time.to_str().ok()) else { return false };
        token == credentials.token.as_deref()
            && signature(signed, headers, &self.headers, (time, &self.scope), &credentials.secret) == self.signature
    }
}

/// When a request says that it was signed: `20261123T130355Z`.
pub fn signed_at(headers: &HeaderMap) -> Option<SystemTime> {
    let text = headers.get("x-amz-date")?.to_str().ok()?;
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(day, 8) || !digits(time, 6) {
        return None;
    }
    let (year, month, day) = (&day[..4], &day[4..6], &day[6..]);
    let (hour, minute, second) = (&time[..2], &time[2..4], &time[4..]);
    humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

/// Signs: adds `x-amz-date`, `x-amz-security-token` and `authorization`, which covers them, `host`, which must be there, and
/// `content-type`, if it is. `skew` is added to the clock.
pub fn sign(
    signed: Signed<'_>,
    headers: &mut HeaderMap,
    credentials: &Credentials,
    (region, service): (&str, &str),
    skew: (Duration, bool),
) {
    let now = SystemTime::now();
    let now = if skew.1 { now + skew.0 } else { now - skew.0 };
    let time = humantime::format_rfc3339_seconds(now).to_string().replace(['-', ':'], "");
    let scope = format!("{}/{region}/{service}/aws4_request", &time[..8]);
    // Sorted.
    let names = ["content-type", "host", "x-amz-date"]
        .into_iter()
        .filter(|name| *name != "content-type" || headers.contains_key(*name));
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    put("x-amz-date", &time);
    if let Some(token) = &credentials.token {
        put("x-amz-security-token", token);
        names.push("x-amz-security-token".into());
    }
    let made = signature(signed, headers, &names, (&time, &scope), &credentials.secret);
    let head = Authorization { key: credentials.id.clone(), scope, headers: names, signature: String::new() };
    let value = format!("{}, Signature={made}", head.without_signature());
    if let Ok(value) = value.parse() {
        headers.insert("authorization", value);
    }
}

fn signature(
    signed: Signed<'_>,
    headers: &HeaderMap,
    names: &[String],
    (time, scope): (&str, &str),
    secret: &str,
) -> String {
    let (path, query) = signed.target.split_once('?').unwrap_or((signed.target, ""));
    let mut query: Vec<_> = crate::Form::parse(query.as_bytes()).0;
    query.sort();
    let query: Vec<_> = query.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    let mut canonical = format!("{}\n{path}\n{}\n", signed.method, query.join("&"));
    for name in names {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        canonical += &format!("{name}:{value}\n");
    }
    canonical += &format!("\n{}\n{}", names.join(";"), hex::encode(Sha256::digest(signed.body)));
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part);
    }
    hex::encode(hmac(&key, &text))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of HMAC may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return vec![] };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> (HeaderMap, Credentials) {
        let mut headers = HeaderMap::new();
        headers.insert("host", "ec2.example".parse().unwrap());
        (headers, Credentials { id: "AKIA1".into(), secret: "very secret".into(), token: Some("t".into()) })
    }

    #[test]
    fn a_signature_is_of_one_request_and_one_key() {
        let (mut headers, credentials) = request();
        let signed = Signed { method: "POST", target: "/", body: b"Action=A" };
        sign(signed, &mut headers, &credentials, ("eu-1", "ec2"), (Duration::ZERO, true));
        let authorization = Authorization::of(&headers).unwrap();
        assert!(authorization.is_right(signed, &headers, &credentials));
        assert!(!authorization.is_right(Signed { body: b"Action=B", ..signed }, &headers, &credentials));
        assert!(!authorization.is_right(Signed { target: "/?a=1", ..signed }, &headers, &credentials));
        let other = Credentials { secret: "other".into(), ..credentials.clone() };
        assert!(!authorization.is_right(signed, &headers, &other));
        let other = Credentials { token: None, ..credentials.clone() };
        assert!(!authorization.is_right(signed, &headers, &other));
        assert!(!authorization.without_signature().contains(&authorization.signature));
        assert_eq!(authorization.headers, ["host", "x-amz-date", "x-amz-security-token"]);
        headers.insert("content-type", "text/plain".parse().unwrap());
        sign(signed, &mut headers, &credentials, ("eu-1", "ec2"), (Duration::ZERO, true));
        let authorization = Authorization::of(&headers).unwrap();
        assert_eq!(authorization.headers, ["content-type", "host", "x-amz-date", "x-amz-security-token"]);
        assert!(authorization.is_right(signed, &headers, &credentials));
        headers.insert("content-type", "text/html".parse().unwrap());
        assert!(!authorization.is_right(signed, &headers, &credentials));
    }

    #[test]
    fn the_time_of_signing() {
        let (mut headers, credentials) = request();
        let signed = Signed { method: "POST", target: "/", body: b"" };
        sign(signed, &mut headers, &credentials, ("eu-1", "ec2"), (Duration::from_secs(600), false));
        let ago = SystemTime::now().duration_since(signed_at(&headers).unwrap()).unwrap();
        assert!((599..=602).contains(&ago.as_secs()), "{ago:?}");
        for wrong in ["", "20261123T130355", "2026-11-23T13:03:55Z", "20261123T1303ééZ"] {
            headers.insert("x-amz-date", http::HeaderValue::from_bytes(wrong.as_bytes()).unwrap());
            assert_eq!(signed_at(&headers), None, "{wrong}");
        }
    }
}
