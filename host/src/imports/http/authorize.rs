//! What signs requests, as this room sees it.

use crate::imports::transport::BoxFuture;
use http::{request, response};
use hyper::body::Bytes;
use std::{any::Any, time::Instant};

/// What an [`Authorizer`] wants to know again of a request that it has signed.
pub struct Signed(pub Box<dyn Any + Send + Sync>);

/// Why a request can't be signed. The texts name the profile, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unauthorized {
    /// Credentials are absent, expired or refused.
    Refused(String),
    /// Whoever gives them can't be reached.
    Unavailable(String),
}

/// The auth profiles of a backend.
pub trait Authorizer: Send + Sync {
    /// Adds to the headers of a request what `profile` says. `parts` have an absolute URI and the Host header; of what is changed
    /// only the headers count.
    fn authorize<'a>(
        &'a self,
        profile: &'a str,
        parts: &'a mut request::Parts,
        body: &'a Bytes,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Signed, Unauthorized>>;

    /// A signed request was answered with 401. True: signing it anew may help, so it is sent once more.
    fn refused<'a>(&'a self, signed: &'a Signed, response: &'a response::Parts) -> BoxFuture<'a, bool>;

    /// What an operator may want to know when a signed request was answered like this: a clock that is off.
    fn hint(&self, signed: &Signed, response: &response::Parts) -> Option<String>;
}
