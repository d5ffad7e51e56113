//! Where a server is.

use crate::limits::Violation;
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv6Addr, num::NonZeroU16, str::FromStr};

/// Longest name of a host in bytes (RFC 1035).
const NAME_BYTES: usize = 255;
/// Longest name of a network interface in bytes (IFNAMSIZ of Linux, less the NUL).
const INTERFACE_BYTES: usize = 15;

/// A name or an address, and maybe a port: `host`, `host:port`, `[IPv6]` or `[IPv6]:port`. What has passed can't be taken for
/// more than one option of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    port: Option<NonZeroU16>,
}

impl HostPort {
    /// Reads one.
    ///
    /// # Errors
    /// It is neither a name nor an address, or has no such port.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let bad = |why: &str| Err(format!("{:?} {why}", crate::error::clean_text(text, 128)));
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((address, rest)) if is_ipv6(address) => (address, rest),
                _ => return bad("has no IPv6 address in its brackets"),
            },
            None => match text.split_once(':') {
                Some((_, more)) if more.contains(':') => {
                    return bad("is no server; an IPv6 address stands in brackets");
                }
                Some((host, _)) => (host, &text[host.len()..]),
                None => (text, ""),
            },
        };
        if !text.starts_with('[') && !is_name(host) {
            return bad("is neither a name nor an address of a server");
        }
        let digits = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(port) if digits(port) => match port.parse() {
                Ok(port) => Some(port),
                Err(_) => return bad("has a port that is not between 1 and 65535"),
            },
            _ => return bad("has a port that is no number"),
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// The name or address; IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; none: that of the protocol.
    pub fn port(&self) -> Option<u16> {
        self.port.map(NonZeroU16::get)
    }
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.len() <= NAME_BYTES && text.chars().all(plain) && !text.starts_with('-')
}

/// With the name of an interface behind a percent sign, if it is a link-local one (RFC 4007).
fn is_ipv6(text: &str) -> bool {
    let (address, interface) = text.split_once('%').map_or((text, None), |(address, name)| (address, Some(name)));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = |name: &str| !name.is_empty() && name.len() <= INTERFACE_BYTES && name.chars().all(plain);
    address.parse::<Ipv6Addr>().is_ok() && interface.is_none_or(named)
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for HostPort {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        Self::parse(text)
    }
}

impl TryFrom<String> for HostPort {
    type Error = Violation;

    fn try_from(text: String) -> Result<Self, Violation> {
        Self::parse(&text)
    }
}

impl From<HostPort> for String {
    fn from(server: HostPort) -> Self {
        server.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_and_without_a_port() {
        for (text, host, port) in [
            ("fs-1.example", "fs-1.example", None),
            ("10.0.0.1:2049", "10.0.0.1", Some(2049)),
            ("a_b:1", "a_b", Some(1)),
            ("[fd00::1]", "fd00::1", None),
            ("[fe80::1%eth0]:65535", "fe80::1%eth0", Some(65535)),
        ] {
            let server = HostPort::parse(text).unwrap();
            assert_eq!((server.host(), server.port(), server.to_string().as_str()), (host, port, text));
            assert_eq!(HostPort::try_from(String::from(server.clone())), Ok(server));
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            ":",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "fd00::1",
            "[fd00::1",
            "[fd00::1]1",
            "[fd00::1]:",
            "[10.0.0.1]",
            "[]",
            "[fe80::1%]",
            "[fe80::1%a,b]",
            "a b",
            "a/b",
            "-o",
            "a,addr=b",
            "a\n",
            "ä",
            "a:1 -o suid",
        ] {
            assert!(HostPort::parse(text).is_err(), "{text:?}");
        }
        assert!(HostPort::parse(&"a".repeat(256)).is_err());
    }
}
