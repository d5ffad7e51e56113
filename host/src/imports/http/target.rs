//! Where a request wants to go, read strictly: what two readers could understand differently is refused.

use crate::config::Scheme;
use http::Uri;
use std::{fmt, net::IpAddr};

/// Longest host name in bytes (RFC 1035).
const NAME_BYTES: usize = 253;

/// Scheme, host and port of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
}

/// A host in the one spelling that it has here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// Lower case, labels of letters, digits and dashes, no dot at the end, no number as the last label.
    Name(String),
    Address(IpAddr),
}

impl Target {
    /// Of an absolute URI.
    ///
    /// # Errors
    /// What is wrong with it. Nothing of the URI stands in there.
    pub fn of(uri: &Uri) -> Result<Self, &'static str> {
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err("its scheme is neither https nor http"),
        };
        let authority = uri.authority().ok_or("it names no host")?.as_str();
        if authority.contains('@') {
            return Err("it has a user name");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']').ok_or("its address has no closing bracket")?;
                let address = inside.parse().map_err(|_| "what is in brackets is no IPv6 address")?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or("something stands behind its address")?),
                };
                (Host::Address(IpAddr::V6(address)), port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (Host::of(host)?, Some(port)),
                None => (Host::of(authority)?, None),
            },
        };
        let port = match port {
            None => default_port(scheme),
            Some(text) => read_port(text).ok_or("its port is not a number from 1 to 65535")?,
        };
        Ok(Self { scheme, host, port })
    }

    /// As it stands in the Host header: without the scheme's own port.
    pub fn authority(&self) -> String {
        if self.port == default_port(self.scheme) { self.host.to_string() } else { self.host_and_port() }
    }

    /// With the port, whichever it is.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl Host {
    fn of(text: &str) -> Result<Self, &'static str> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        if text.ends_with('.') {
            return Err("its host ends in a dot");
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() > NAME_BYTES || !text.split('.').all(label) {
            return Err("its host is neither a name nor an address");
        }
        let last = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
            // Resolvers take `2130706433`, `0177.1` and `0x7f.1` for 127.0.0.1.
            return Err("its host is a number that some take for an address: write addresses in full");
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host_and_port())
    }
}

fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Digits only: `str::parse` would take a plus sign.
fn read_port(text: &str) -> Option<u16> {
    let port: u16 = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok()? } else { return None };
    (port != 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Result<String, &'static str> {
        Target::of(&uri.parse().unwrap()).map(|target| target.to_string())
    }

    #[test]
    fn hosts_have_one_spelling() {
        for (uri, expected) in [
            ("https://API.Example.com/x?y", "https://api.example.com:443"),
            ("http://a-1.example:8080", "http://a-1.example:8080"),
            ("http://localhost", "http://localhost:80"),
            ("http://127.0.0.1:81/", "http://127.0.0.1:81"),
            ("https://[2001:DB8:0::1]:444/", "https://[2001:db8::1]:444"),
            ("https://[::ffff:127.0.0.1]", "https://[::ffff:127.0.0.1]:443"),
            ("https://0177.example.com", "https://0177.example.com:443"),
        ] {
            assert_eq!(target(uri).as_deref(), Ok(expected), "{uri}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for uri in [
            "https://user@example.com/",
            "https://user:pass@example.com/",
            "https://allowed.example.com@evil.example.com/",
            "https://example.com./",
            "http://127.0.0.1./",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://017700000001/",
            "http://a..b/",
            "http://-a.example/",
            "http://a_b.example/",
            "http://example.com:0/",
            "http://example.com:65536/",
            "http://example.com:/",
            "ftp://example.com/",
            "http://[v1.a]/",
        ] {
            // What http::Uri refuses by itself never comes this far.
            if let Ok(parsed) = uri.parse::<Uri>() {
                assert!(Target::of(&parsed).is_err(), "{uri} is accepted");
            }
        }
        assert!(Target::of(&Uri::from_static("/only/a/path")).is_err());
        assert!(Target::of(&Uri::from_static("example.com:443")).is_err());
    }

    #[test]
    fn the_host_header_leaves_the_schemes_port_out() {
        let authority = |uri: &str| Target::of(&uri.parse().unwrap()).unwrap().authority();
        assert_eq!(authority("https://A.example:443/"), "a.example");
        assert_eq!(authority("https://a.example:80/"), "a.example:80");
        assert_eq!(authority("http://[::1]:80/"), "[::1]");
    }
}
