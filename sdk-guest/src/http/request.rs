//! What is sent.

use super::{Failure, Kind};
use serde::Serialize;
use std::time::Duration;

/// Methods that storage systems use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request. Made by [`Request::get`] and its like, sent by [`Client::send`](super::Client::send).
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// How it is asked.
    pub method: Method,
    /// `https://host[:port]/path[?query]`.
    pub url: String,
    /// Names and values. The host adds those of the auth profile, `host` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// May be empty.
    pub body: Vec<u8>,
    /// It may change something: without an answer nobody knows whether it did.
    pub writes: bool,
    /// Sending it twice does no more than sending it once.
    pub repeats: bool,
    /// Longest wait for the first byte of the reply. `None`: the host's limit, and the call's.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request without headers and body. GET and HEAD are taken to change nothing, PUT and DELETE to be repeatable.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        let writes = !matches!(method, Method::Get | Method::Head);
        let repeats = !writes || matches!(method, Method::Put | Method::Delete);
        Self { method, url: url.into(), headers: Vec::new(), body: Vec::new(), writes, repeats, timeout: None }
    }

    /// GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    /// POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    /// PUT.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new(Method::Put, url)
    }

    /// PATCH.
    pub fn patch(url: impl Into<String>) -> Self {
        Self::new(Method::Patch, url)
    }

    /// DELETE.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::Delete, url)
    }

    /// It changes nothing, whatever its method (queries by POST).
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { writes: false, repeats: true, ..self }
    }

    /// Sending it twice does no more than sending it once: it is sent again when its reply is lost.
    #[must_use]
    pub fn repeatable(self) -> Self {
        Self { repeats: true, ..self }
    }

    /// Sending it twice may do more than sending it once, whatever its method.
    #[must_use]
    pub fn once(self) -> Self {
        Self { repeats: false, ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a pair to the query, percent-encoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        pair(&mut self.url, name, value);
        self
    }

    /// The body: any bytes.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// The body: an HTML form.
    #[must_use]
    pub fn form<K: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut form = String::new();
        for (name, value) in pairs {
            if !form.is_empty() {
                form.push('&');
            }
            pair(&mut form, name.as_ref(), value.as_ref());
        }
        // A plus is `%2B` by now. Servers that check a signature over a form may write it anew for that, and forms have
        // pluses for spaces.
        let form = form.replace("%20", "+");
        self.body("application/x-www-form-urlencoded; charset=utf-8", form)
    }

    /// The body: JSON.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if `value` has no form in JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Failure> {
        let body = serde_json::to_vec(value);
        let body = body.map_err(|error| Failure::new(Kind::Invalid, format!("a body that isn't JSON: {error}")))?;
        Ok(self.body("application/json", body))
    }

    /// The first byte of the reply must come within this time.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Scheme, authority, and path with query.
    ///
    /// # Errors
    /// [`Kind::Invalid`]: no `http://` or `https://`, no host, or characters that no URL has.
    pub fn parts(&self) -> Result<(&str, &str, &str), Failure> {
        let bad = || Failure::new(Kind::Invalid, "the URL isn't of the form http[s]://host[:port]/path");
        let (scheme, rest) = self.url.split_once("://").ok_or_else(bad)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let clean = self.url.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !matches!(scheme, "http" | "https") || authority.is_empty() || authority.contains('@') || !clean {
            return Err(bad());
        }
        Ok((scheme, authority, if path.is_empty() { "/" } else { path }))
    }

    /// Method, scheme and authority, for messages: queries and paths may hold what isn't for logs.
    pub fn place(&self) -> String {
        let (scheme, authority, _) = self.parts().unwrap_or(("", "an invalid URL", ""));
        format!("{} {scheme}{}{authority}", self.method.name(), if scheme.is_empty() { "" } else { "://" })
    }
}

fn pair(out: &mut String, name: &str, value: &str) {
    encode(out, name);
    out.push('=');
    encode(out, value);
}

/// Adds `text` percent-encoded: all but letters, digits and `-._~`.
pub fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value & 15)]);
            out.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_forms_are_encoded() {
        let request = Request::get("https://a.example.com/x").query("a b", "ü&=").query("c", "~");
        assert_eq!(request.url, "https://a.example.com/x?a%20b=%C3%BC%26%3D&c=~");
        let form = Request::post("https://a").form([("Action", "X"), ("k", "1+1 %")]);
        assert_eq!(String::from_utf8_lossy(&form.body), "Action=X&k=1%2B1+%25");
        assert_eq!(form.headers[0].0, "content-type");
        let json = Request::put("https://a").json(&["x"]).unwrap();
        assert_eq!((json.body.as_slice(), json.repeats, json.writes), (&br#"["x"]"#[..], true, true));
    }

    #[test]
    fn urls_are_taken_apart_or_refused() {
        let parts = |url: &str| Request::get(url).parts().map(|(a, b, c)| format!("{a} {b} {c}")).ok();
        assert_eq!(parts("https://h:8443/p?q=1").as_deref(), Some("https h:8443 /p?q=1"));
        assert_eq!(parts("http://h").as_deref(), Some("http h /"));
        assert_eq!(parts("http://h?q").as_deref(), Some("http h ?q"));
        for bad in ["", "h", "ftp://h/", "https:///p", "https://u:p@h/", "https://h/a b", "https://h/ü", "https://h/#f"]
        {
            assert_eq!(parts(bad), None, "{bad}");
        }
        assert_eq!(Request::delete("https://h/secret?token=x").place(), "DELETE https://h");
    }

    #[test]
    fn what_may_be_sent_twice_is_known() {
        let flags = |request: Request| (request.writes, request.repeats);
        assert_eq!(flags(Request::get("")), (false, true));
        assert_eq!(flags(Request::post("")), (true, false));
        assert_eq!(flags(Request::post("").read_only()), (false, true));
        assert_eq!(flags(Request::post("").repeatable()), (true, true));
        assert_eq!(flags(Request::delete("")), (true, true));
        assert_eq!(flags(Request::delete("").once()), (true, false));
        assert_eq!(flags(Request::patch("")), (true, false));
    }
}
