//! Texts that name hosts.

use super::Problem;
use crate::config::types::{HostPattern, Proxy, Scheme};
use std::net::IpAddr;

/// A host name or an address, in lower case; an IPv6 address may stand in brackets.
fn host(text: &str) -> Option<Result<IpAddr, String>> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(Ok(address));
    }
    is_name(text).then(|| Err(text.to_ascii_lowercase()))
}

/// Labels of letters, digits and dashes. The last one is no number: resolvers take `0177.1` and `2130706433` for addresses.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = |label: &str| {
        let digits = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
        label.chars().all(|c| c.is_ascii_digit()) || digits.is_some_and(|d| d.chars().all(|c| c.is_ascii_hexdigit()))
    };
    text.len() <= 253 && text.split('.').all(label) && !text.rsplit('.').next().is_some_and(number)
}

/// A host name, an address, or `*.` and a domain of at least two labels.
pub(in crate::config) fn host_pattern(text: &str) -> Result<HostPattern, Problem> {
    if let Some(domain) = text.strip_prefix("*.") {
        if is_name(domain) && domain.contains('.') {
            return Ok(HostPattern::Below(format!(".{}", domain.to_ascii_lowercase())));
        }
        return Err("is too wide or not a domain: write *.DOMAIN with a domain of at least two labels".into());
    }
    match host(text) {
        Some(Ok(address)) => Ok(HostPattern::Address(address)),
        Some(Err(name)) => Ok(HostPattern::Name(name)),
        None => {
            Err("is not a host: write a full host name, an address or *.DOMAIN, without scheme, port or path".into())
        }
    }
}

/// `http://HOST:PORT` or `https://HOST:PORT`.
pub(in crate::config) fn proxy(text: &str) -> Result<Proxy, Problem> {
    let problem =
        || "is not a proxy: write http://HOST:PORT or https://HOST:PORT, without user, path or query".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(problem)?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(problem()),
    };
    let (name, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':').ok_or_else(problem)?;
    let bracketed = name.starts_with('[') && name.ends_with(']');
    if name.contains(':') && !bracketed {
        return Err(problem());
    }
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(problem)?;
    let host = match host(name).ok_or_else(problem)? {
        Ok(address) => address.to_string(),
        Err(name) => name,
    };
    Ok(Proxy { scheme, host, port })
}
