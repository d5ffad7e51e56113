//! What comes back.

use super::time;
use crate::types::Error;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longest `Retry-After` that is believed: an hour.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// A whole reply. Any status is a reply, also 4xx and 5xx.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// 100 to 599.
    pub status: u16,
    /// In their order, names in lower case; values that aren't UTF-8 have replacement characters.
    pub headers: Vec<(String, String)>,
    /// At most what the host's config and [`Client::max_body`](super::Client::max_body) allow.
    pub body: Vec<u8>,
    /// The request that it answers changes something.
    pub(super) writes: bool,
}

impl Response {
    /// A reply without headers to a request that changes nothing.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), writes: false }
    }

    /// The same with one more header: for transports of your own.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that aren't UTF-8 become replacement characters.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// Not what was expected. After a write `unknown-outcome`, otherwise `unavailable`: a proxy's page instead of the
    /// storage system's answer, or half an answer, says nothing of what happened. The body isn't in the message.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // Its text may quote the body.
            self.unreadable(format!("JSON, line {}, column {}", error.line(), error.column()))
        })
    }

    /// The body, read as XML. Names of elements are fields; attributes begin with `@`, text is `$text`.
    ///
    /// # Errors
    /// As [`Response::json`].
    pub fn xml<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let text = std::str::from_utf8(&self.body).map_err(|_| self.unreadable("XML in UTF-8".to_owned()))?;
        quick_xml::de::from_str(text).map_err(|_| self.unreadable("XML of the expected form".to_owned()))
    }

    /// `Retry-After`, at most an hour: seconds, or a date beside the reply's own `Date`.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        let wait = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => Duration::from_millis(time::http_date(text)?.saturating_sub(self.date()?)),
        };
        Some(wait.min(MAX_WAIT))
    }

    /// The server's clock, from `Date`: milliseconds since 1970-01-01 UTC.
    pub fn date(&self) -> Option<u64> {
        time::http_date(self.header("date")?)
    }

    /// A reply that nobody can use: the error that says so.
    pub fn unexpected(&self, what: &str) -> Error {
        let text = format!("the storage system answered with status {} and {what}", self.status);
        if self.writes { Error::unknown_outcome(text) } else { Error::unavailable(text) }
    }

    fn unreadable(&self, expected: String) -> Error {
        self.unexpected(&format!("{} bytes that aren't {expected}", self.body.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Item {
        name: String,
        size: u64,
    }

    fn with(headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Response { headers, ..Response::new(503, "") }
    }

    #[test]
    fn bodies_are_read() {
        let item = Item { name: "a<b".to_owned(), size: 7 };
        assert_eq!(Response::new(200, r#"{"name":"a<b","size":7,"more":1}"#).json(), Ok(item));
        let xml = "<?xml version=\"1.0\"?><r xmlns=\"urn:x\"><size>7</size><more/><name>a&lt;b</name></r>";
        assert_eq!(Response::new(200, xml).xml::<Item>().unwrap().name, "a<b");
    }

    #[test]
    fn bodies_that_are_something_else_tell_nothing_and_show_nothing() {
        for body in
            ["", "<html>hunter2", "{\"name\":\"hunter2\",\"size\":\"hunter2\"}", "<a><name>x</name></a>", "\u{fffd}"]
        {
            let read = Response::new(200, body);
            let wrote = Response { writes: true, ..read.clone() };
            for error in [read.json::<Item>().unwrap_err(), read.xml::<Item>().unwrap_err()] {
                assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
                assert!(!error.message().contains("hunter2"), "{error:?}");
            }
            for error in [wrote.json::<Item>().unwrap_err(), wrote.xml::<Item>().unwrap_err()] {
                assert!(matches!(error, Error::UnknownOutcome(_)), "{error:?}");
            }
        }
        assert!(Response::new(200, vec![0xff, 0xfe]).xml::<Item>().is_err());
    }

    #[test]
    fn waits_are_read_and_bounded() {
        assert_eq!(with(&[("retry-after", "7")]).retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(with(&[("Retry-After", "999999999")]).retry_after(), Some(MAX_WAIT));
        let dates = [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")];
        assert_eq!(with(&dates).retry_after(), Some(Duration::from_secs(60)));
        assert_eq!(with(&dates[1..]).retry_after(), None);
        assert_eq!(with(&[("retry-after", "soon")]).retry_after(), None);
    }
}
