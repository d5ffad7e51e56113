//! The signature: canonical request, string to sign, key, in AWS's words.

use super::keys::Keys;
use http::{HeaderMap, HeaderValue, Uri, header, request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use reqsign_core::{
    hash::{hex_hmac_sha256, hex_sha256, hmac_sha256},
    time::Timestamp,
};
use std::fmt::Write;
use zeroize::Zeroizing;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";
const CONTENT_HASH: &str = "x-amz-content-sha256";
/// Every byte but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a signature is good for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub service: &'a str,
    pub region: &'a str,
}

/// A body's SHA-256 in hexadecimal.
pub(super) fn hash(body: &[u8]) -> String {
    hex_sha256(body)
}

/// Sets Host, X-Amz-Date, X-Amz-Security-Token and Authorization, whatever was there. The signature covers the first three,
/// Content-Type, Content-MD5 and all X-Amz headers, the path, the query, and the body by its hash.
///
/// # Errors
/// The request can't be signed; says why. Nothing was set but perhaps a date.
pub(super) fn sign(parts: &mut Parts, hash: &str, keys: &Keys, scope: Scope<'_>, now: Timestamp) -> Result<(), String> {
    let headers = &mut parts.headers;
    for name in [header::AUTHORIZATION.as_str(), DATE, TOKEN, CONTENT_HASH] {
        headers.remove(name);
    }
    headers.insert(header::HOST, host(&parts.uri)?);
    headers.insert(DATE, value(&now.format_iso8601())?);
    if let Some(token) = &keys.token {
        headers.insert(TOKEN, secret_value(token.expose())?);
    }
    if scope.service == "s3" {
        headers.insert(CONTENT_HASH, value(hash)?);
    }
    let mut names: Vec<String> =
        headers.keys().map(|name| name.as_str().to_owned()).filter(|name| is_signed(name)).collect();
    names.sort_unstable();
    let authorization = authorization(parts, &names, hash, keys, scope, now)?;
    parts.headers.insert(header::AUTHORIZATION, secret_value(authorization.as_bytes())?);
    Ok(())
}

fn is_signed(name: &str) -> bool {
    matches!(name, "host" | "content-type" | "content-md5") || name.starts_with("x-amz-")
}

/// The value of Authorization, over the headers `names`, which are sorted.
fn authorization(
    parts: &Parts,
    names: &[String],
    hash: &str,
    keys: &Keys,
    scope: Scope<'_>,
    now: Timestamp,
) -> Result<String, String> {
    let signed = names.join(";");
    let path = canonical_path(parts.uri.path(), scope.service);
    let query = canonical_query(parts.uri.query().unwrap_or_default());
    let headers = canonical_headers(&parts.headers, names)?;
    let request = format!("{}\n{path}\n{query}\n{headers}\n{signed}\n{hash}", parts.method);
    let (date, time) = (now.format_date(), now.format_iso8601());
    let range = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("{ALGORITHM}\n{time}\n{range}\n{}", hex_sha256(request.as_bytes()));
    let key = signing_key(keys, &date, scope);
    let signature = hex_hmac_sha256(&key, to_sign.as_bytes());
    Ok(format!("{ALGORITHM} Credential={}/{range}, SignedHeaders={signed}, Signature={signature}", keys.id))
}

fn signing_key(keys: &Keys, date: &str, scope: Scope<'_>) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(b"AWS4".to_vec());
    key.extend_from_slice(keys.secret.expose());
    for part in [date, scope.region, scope.service, "aws4_request"] {
        key = Zeroizing::new(hmac_sha256(&key, part.as_bytes()));
    }
    key
}

/// Host as it goes over the wire: with the port if it isn't the scheme's own.
fn host(uri: &Uri) -> Result<HeaderValue, String> {
    let host = uri.host().ok_or("the request has no host")?;
    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    match uri.port_u16().filter(|port| *port != default) {
        Some(port) => value(&format!("{host}:{port}")),
        None => value(host),
    }
}

fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| "the request can't be signed: a value can't stand in a header".to_owned())
}

fn secret_value(bytes: &[u8]) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_bytes(bytes).map_err(|_| "the keys hold what can't stand in a header, such as a newline")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Encoded once more than on the wire and tidied up; S3 alone takes paths as they are.
fn canonical_path(path: &str, service: &str) -> String {
    let encoded = |segment: &str| percent_encode(segment.as_bytes(), ENCODED).to_string();
    if service == "s3" {
        let once =
            |segment: &str| percent_encode(&percent_decode_str(segment).collect::<Vec<_>>(), ENCODED).to_string();
        return path.split('/').map(once).collect::<Vec<_>>().join("/");
    }
    let mut kept: Vec<String> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(encoded(segment)),
        }
    }
    let directory = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let end = if directory && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// Every pair encoded alike, in order.
fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| percent_encode(&percent_decode_str(text).collect::<Vec<_>>(), ENCODED).to_string();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A line for each, values joined by commas, runs of spaces as one.
fn canonical_headers(headers: &HeaderMap, names: &[String]) -> Result<String, String> {
    let mut out = String::new();
    for name in names {
        let mut values = Vec::new();
        for value in headers.get_all(name) {
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| format!("header {name} is not UTF-8"))?;
            values.push(text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
        }
        // Writing to a String can't fail.
        let _ = writeln!(out, "{name}:{}", values.join(","));
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
