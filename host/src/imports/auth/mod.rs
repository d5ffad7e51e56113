//! Auth profiles: how requests are signed, so that a backend never sees a key.
//!
//! | file | subject |
//! |---|---|
//! | `fixed` | basic, bearer, header |
//! | `token` | logins and OAuth 2.0 client credentials |
//! | `sigv4` | AWS Signature Version 4, and where its keys come from |
//! | `lease` | tokens and keys: one fetch for all who wait, renewed in time, pauses after failures |
//! | `exchange` | requests of the host's own |
//! | `authorizer` | all of it as what sends requests sees it |
//! | `error` | why a request can't be signed |
//!
//! **Invariant:** a key is in the request that it signs and nowhere else: errors and log lines name profiles.

mod authorizer;
mod error;
mod exchange;
mod fixed;
mod lease;
mod sigv4;
mod token;

#[cfg(test)]
mod tests;

pub use error::{AuthError, AuthErrorKind};

use super::{BackendSecrets, Transport, secrets::Value};
use crate::config::{AuthMethod, AuthProfile};
use bulkhead_domain::error::clean_text;
use error::Problem;
use exchange::header_name;
use fixed::{Fixed, prefixed};
use http::{request, response};
use lease::Lease;
use sigv4::{SigV4, SignedWith};
use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use token::{Tokens, Way};

/// Longest text about a problem, in bytes.
const PROBLEM_BYTES: usize = 512;
/// By how much this host's clock may differ from a server's before it is worth a hint. Signatures are refused beyond it.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// What to do with a request that was refused with 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Sign it anew and send it once more.
    Again,
    /// That wouldn't help.
    No,
}

/// How a request was signed.
#[derive(Debug, Clone)]
pub struct Signed {
    profile: Arc<str>,
    with: With,
    deadline: Instant,
}

impl Signed {
    /// The profile that signed it.
    pub fn profile(&self) -> &str {
        &self.profile
    }
}

#[derive(Debug, Clone)]
enum With {
    Fixed(Value),
    Token(u64),
    SigV4(SignedWith),
}

/// The auth profiles of one backend. Cheap to clone; all clones share logins and keys.
#[derive(Clone, Default)]
pub struct Profiles(Arc<BTreeMap<String, Profile>>);

struct Profile {
    name: Arc<str>,
    driver: String,
    method: Method,
    secrets: BackendSecrets,
}

enum Method {
    Fixed(Fixed),
    Token { lease: Lease<Tokens>, header: String, prefix: String },
    SigV4(Box<SigV4>),
}

impl Profiles {
    /// The profiles of `driver`. Nobody is asked for anything before a request is to be signed.
    pub fn new(
        driver: &str,
        profiles: &BTreeMap<String, AuthProfile>,
        secrets: &BackendSecrets,
        transport: &Arc<dyn Transport>,
    ) -> Self {
        let made = profiles.iter().map(|(name, profile)| {
            let method = Method::new(name, &profile.method, secrets, transport);
            let made = Profile { name: name.as_str().into(), driver: driver.into(), method, secrets: secrets.clone() };
            (name.clone(), made)
        });
        Self(Arc::new(made.collect()))
    }

    /// There is a profile of this name.
    pub fn has(&self, profile: &str) -> bool {
        self.0.contains_key(profile)
    }

    /// Signs a request with an absolute URI and its whole body: sets headers, also those that the backend has set itself. Logs in
    /// if need be, together with all other calls that need the same, and gives up at `deadline`.
    ///
    /// # Errors
    /// There is no such profile, no key, or no login; nothing was sent to the request's own destination.
    pub async fn authorize(
        &self,
        profile: &str,
        parts: &mut request::Parts,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Signed, AuthError> {
        let Some(it) = self.0.get(profile) else {
            let problem = Problem::unauthenticated("is not in backend.auth: add it");
            return Err(AuthError::new(&profile.into(), problem));
        };
        match it.authorize(parts, body, deadline).await {
            Ok(with) => Ok(Signed { profile: it.name.clone(), with, deadline }),
            Err(problem) => Err(it.error(problem)),
        }
    }

    /// A signed request was answered with 401: whether signing it anew may help. Logs in again for that, once for all concurrent
    /// callers, and waits for it until the deadline of the call that signed.
    pub async fn refused(&self, signed: &Signed, response: &response::Parts) -> Retry {
        let Some(it) = self.0.get(&*signed.profile) else { return Retry::No };
        let again = match (&it.method, &signed.with) {
            (Method::Fixed(fixed), With::Fixed(used)) => fixed.changed(used, &it.secrets).await,
            (Method::Token { lease, .. }, With::Token(generation)) => lease.renew(*generation, signed.deadline).await,
            (Method::SigV4(sigv4), With::SigV4(with)) => sigv4.renew(with, signed.deadline).await,
            _ => false,
        };
        let (driver, profile, status) = (&it.driver, signed.profile(), response.status.as_u16());
        tracing::warn!(driver, profile, status, again, "a request was refused");
        if again { Retry::Again } else { Retry::No }
    }

    /// What an operator should know about a signed request that was refused: that the clocks differ, if they do. None: nothing
    /// that this host can see.
    pub fn hint(&self, signed: &Signed, response: &response::Parts) -> Option<String> {
        let With::SigV4(_) = &signed.with else { return None };
        clock_skew(response, SystemTime::now())
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Method {
    fn new(name: &str, method: &AuthMethod, secrets: &BackendSecrets, transport: &Arc<dyn Transport>) -> Self {
        let tokens = |way| {
            let label = format!("auth profile {name}");
            Lease::new(Tokens { way, label, secrets: secrets.clone(), transport: transport.clone() })
        };
        match method.clone() {
            AuthMethod::Basic { username, password } => Self::Fixed(Fixed::Basic { username, password }),
            AuthMethod::Header { header, prefix, value } => Self::Fixed(Fixed::Header { header, prefix, value }),
            AuthMethod::Login(login) => {
                let (header, prefix) = (login.header.clone(), login.prefix.clone());
                Self::Token { lease: tokens(Way::Login(login)), header, prefix }
            }
            AuthMethod::OAuth2(client) => Self::Token {
                lease: tokens(Way::OAuth2(client)),
                header: "authorization".into(),
                prefix: "Bearer ".into(),
            },
            AuthMethod::SigV4(config) => {
                Self::SigV4(Box::new(SigV4::new(&format!("auth profile {name}"), config, secrets, transport)))
            }
        }
    }
}

impl Profile {
    async fn authorize(&self, parts: &mut request::Parts, body: &[u8], deadline: Instant) -> Result<With, Problem> {
        match &self.method {
            Method::Fixed(fixed) => fixed.sign(parts, &self.secrets).await.map(With::Fixed),
            Method::Token { lease, header, prefix } => {
                let token = lease.get(deadline).await?;
                parts.headers.insert(header_name(header)?, prefixed("the token", prefix, &token.item)?);
                Ok(With::Token(token.generation))
            }
            Method::SigV4(sigv4) => sigv4.sign(parts, body, deadline).await.map(With::SigV4),
        }
    }

    /// The error, of which also the log is told.
    fn error(&self, problem: Problem) -> AuthError {
        // It may hold what a server has said.
        let text = clean_text(&self.secrets.seen().mask(&problem.text, []), PROBLEM_BYTES);
        let error = AuthError::new(&self.name, Problem { text, ..problem });
        let (driver, profile) = (&self.driver, error.profile());
        tracing::warn!(driver, profile, "a request can't be signed: {error}");
        error
    }
}

/// That the reply's Date is far from now.
fn clock_skew(response: &response::Parts, now: SystemTime) -> Option<String> {
    let date = response.headers.get(http::header::DATE)?.to_str().ok()?;
    let theirs = reqsign_core::time::Timestamp::parse_rfc2822(date).ok()?.as_system_time();
    let (by, direction) = match now.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let by = Duration::from_secs(by.as_secs());
    (by > CLOCK_SKEW).then(|| {
        let by = humantime::format_duration(by);
        format!("clock skew: this host's clock is {by} {direction} the server's, set it right")
    })
}
