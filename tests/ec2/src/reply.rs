//! A reply on its way to the client.

use crate::Element;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Bytes;

/// A whole reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP's.
    pub status: StatusCode,
    /// Headers, without those about the connection.
    pub headers: Box<HeaderMap>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// XML.
    pub fn xml(status: StatusCode, root: &Element) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/xml;charset=UTF-8"));
        Self { status, headers: Box::new(headers), body: root.write().into() }
    }

    /// An error as EC2 words it.
    pub fn error(status: u16, code: &str, message: impl Into<String>) -> Self {
        let error = Element::node("Error", vec![Element::leaf("Code", code), Element::leaf("Message", message)]);
        let root = Element::node(
            "Response",
            vec![Element::node("Errors", vec![error]), Element::leaf("RequestID", "bulkhead-ec2")],
        );
        Self::xml(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), &root)
    }

    /// What a client did wrong.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::error(400, code, message)
    }

    /// Too many requests.
    pub fn throttled() -> Self {
        Self::error(503, "RequestLimitExceeded", "Request limit exceeded.")
    }

    /// Whether it is no error.
    pub fn is_ok(&self) -> bool {
        self.status.is_success()
    }

    /// The tree of the body.
    ///
    /// # Errors
    /// It is no XML.
    pub fn tree(&self) -> Result<Element, String> {
        Element::parse(&self.body)
    }

    /// The same reply with another body.
    #[must_use]
    pub fn with(&self, root: &Element) -> Self {
        Self { status: self.status, headers: self.headers.clone(), body: root.write().into() }
    }

    /// EC2's or STS's error code; `ok` if there is none.
    pub fn code(&self) -> String {
        if self.is_ok() {
            return "ok".into();
        }
        let tree = self.tree().unwrap_or_default();
        let error = tree.child("Errors").and_then(|errors| errors.child("Error")).or_else(|| tree.child("Error"));
        error.map_or_else(|| self.status.as_u16().to_string(), |error| error.get("Code").to_owned())
    }
}
