//! What of a guest's headers is sent. The frame of a message is the host's: who it is for, how long it is, what the connection does.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that belong to a connection or to its frame (RFC 9110 7.6.1), and those by which a request could be read as
/// two, or as one for another host.
const FORBIDDEN: [&str; 12] = [
    "connection",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-host",
];

/// A guest may neither set nor see this header.
pub fn is_forbidden(name: &HeaderName) -> bool {
    FORBIDDEN.contains(&name.as_str()) || name.as_str().starts_with("proxy-")
}

/// Takes away what a guest may not set, and says which host the request is for.
pub(super) fn clean(headers: &mut HeaderMap, host: HeaderValue) {
    let forbidden: Vec<_> = headers.keys().filter(|name| is_forbidden(name)).cloned().collect();
    for name in forbidden {
        headers.remove(name);
    }
    headers.insert(header::HOST, host);
}

/// Bytes of the headers on the wire, near enough: name, colon, space, value, end of line.
pub(super) fn size(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_the_hosts() {
        let mut headers = HeaderMap::new();
        for name in ["Host", "Connection", "Transfer-Encoding", "Upgrade", "Proxy-Authorization", "TE", "X-Mine"] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("evil"));
        }
        headers.append(header::HOST, HeaderValue::from_static("evil again"));
        clean(&mut headers, HeaderValue::from_static("right.example"));
        let left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("x-mine", "evil"), ("host", "right.example")]);
        assert_eq!(size(&headers), 14 + 21);
    }
}
