//! Profiles as what sends requests sees them.

use super::{AuthError, AuthErrorKind, Profiles, Retry, Signed};
use crate::imports::{
    BoxFuture,
    http::{self as sending, Authorizer, Unauthorized},
};
use http::{request, response};
use hyper::body::Bytes;
use std::time::Instant;

impl Authorizer for Profiles {
    fn authorize<'a>(
        &'a self,
        profile: &'a str,
        parts: &'a mut request::Parts,
        body: &'a Bytes,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<sending::Signed, Unauthorized>> {
        Box::pin(async move {
            let signed = self.authorize(profile, parts, body, deadline).await;
            signed.map(|signed| sending::Signed(Box::new(signed))).map_err(Unauthorized::from)
        })
    }

    fn refused<'a>(&'a self, signed: &'a sending::Signed, response: &'a response::Parts) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match signed.0.downcast_ref::<Signed>() {
                Some(signed) => self.refused(signed, response).await == Retry::Again,
                None => false,
            }
        })
    }

    fn hint(&self, signed: &sending::Signed, response: &response::Parts) -> Option<String> {
        self.hint(signed.0.downcast_ref::<Signed>()?, response)
    }
}

impl From<AuthError> for Unauthorized {
    fn from(error: AuthError) -> Self {
        match error.kind() {
            AuthErrorKind::Unauthenticated => Self::Refused(error.about()),
            AuthErrorKind::Unavailable => Self::Unavailable(error.about()),
        }
    }
}
