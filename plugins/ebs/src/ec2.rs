//! EC2's Query API: a form goes there, XML comes back. The host signs it; no key is ever in here.

use crate::errors::{self, Fault};
use crate::model::{Refusal, Set};
use crate::settings::Settings;
use bulkhead_sdk::http::{Client, Request, Response, Retry};
use bulkhead_sdk::prelude::*;
use serde::de::DeserializeOwned;
use std::cell::Cell;

const VERSION: &str = "2016-11-15";

/// An action and what goes with it.
#[derive(Clone, Debug)]
pub struct Query {
    action: &'static str,
    form: Vec<(String, String)>,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Changes nothing.
    Reads,
    /// Twice is as good as once.
    Repeats,
    /// Twice is one too many: whoever calls it looks first what is there.
    Once,
}

impl Query {
    fn new(action: &'static str, effect: Effect) -> Self {
        Self { action, form: Vec::new(), effect }
    }

    /// An action that changes nothing.
    pub fn read(action: &'static str) -> Self {
        Self::new(action, Effect::Reads)
    }

    /// An action that may be sent again when its answer is lost.
    pub fn write(action: &'static str) -> Self {
        Self::new(action, Effect::Repeats)
    }

    /// An action that makes another thing each time.
    pub fn make(action: &'static str) -> Self {
        Self::new(action, Effect::Once)
    }

    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.form.push((key.into(), value.into()));
        self
    }

    /// Only if there is a value.
    #[must_use]
    pub fn with_some<T: ToString>(self, key: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.with(key, value.to_string()),
            None => self,
        }
    }

    /// Only what has this; filters are joined by "and".
    #[must_use]
    pub fn filter(self, name: impl Into<String>, value: &str) -> Self {
        let number = 1 + self.form.iter().filter(|(key, _)| key.ends_with(".Name")).count();
        // `*` and `?` are wildcards in here and `\` takes that from them. `?` stands for any one character, so also for these.
        let value = value.replace(['*', '?', '\\'], "?");
        self.with(format!("Filter.{number}.Name"), name).with(format!("Filter.{number}.Value.1"), value)
    }

    /// Tags of what is made.
    #[must_use]
    pub fn tags(self, resource: &str, tags: &StringMap) -> Self {
        let start = self.with("TagSpecification.1.ResourceType", resource);
        start.pairs("TagSpecification.1.Tag", tags)
    }

    /// `PREFIX.1.Key`, `PREFIX.1.Value`, …
    #[must_use]
    pub fn pairs(self, prefix: &str, pairs: &StringMap) -> Self {
        pairs.iter().enumerate().fold(self, |query, (index, (key, value))| {
            let number = index + 1;
            query.with(format!("{prefix}.{number}.Key"), key).with(format!("{prefix}.{number}.Value"), value)
        })
    }
}

/// EC2 as the operator has configured it.
pub struct Ec2 {
    url: String,
    client: Client,
    now: Cell<u64>,
}

impl Ec2 {
    pub fn new(settings: &Settings) -> Self {
        let retry = Retry { is_throttle, ..Retry::default() };
        Self {
            url: format!("{}/", settings.endpoint),
            client: Client { retry, ..Client::default() },
            now: Cell::new(0),
        }
    }

    /// EC2's clock at its last answer, milliseconds since 1970; 0 if it hasn't said.
    pub fn now_ms(&self) -> u64 {
        self.now.get()
    }

    /// Asks and reads the answer.
    pub fn ask<T: DeserializeOwned>(&self, query: Query) -> Result<T, Fault> {
        let Query { action, form, effect } = query;
        let head = [("Action", action), ("Version", VERSION)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let request = Request::post(&self.url).form(head.into_iter().chain(form));
        let request = match effect {
            Effect::Reads => request.read_only(),
            Effect::Repeats => request.repeatable(),
            Effect::Once => request,
        };
        let reply = self.client.send(&request).map_err(|failure| Fault::from(Error::from(failure)))?;
        self.now.set(reply.date().unwrap_or_default());
        if reply.is_success() {
            return Ok(reply.xml()?);
        }
        Err(refused(action, effect != Effect::Reads, &reply))
    }
}

fn refused(action: &str, writes: bool, reply: &Response) -> Fault {
    match code(reply) {
        Some((code, message)) => {
            let error = errors::of(&code, reply, writes, format!("{action}: EC2 answered {code}: {message}"));
            Fault { code, error }
        }
        None => match reply.status {
            401 => Error::unauthenticated(format!("{action}: status 401")).into(),
            403 => Error::permission_denied(format!("{action}: status 403")).into(),
            _ => reply.unexpected("no error of EC2").into(),
        },
    }
}

/// EC2's code and message, if it is EC2 who answers.
fn code(reply: &Response) -> Option<(String, String)> {
    let refusal: Refusal = reply.xml().ok()?;
    Some((refusal.errors.error.code, refusal.errors.error.message))
}

fn is_throttle(reply: &Response) -> bool {
    reply.status == 429 || (reply.status >= 400 && code(reply).is_some_and(|(code, _)| errors::is_throttle(&code)))
}

impl<T> Set<T> {
    pub fn first(self) -> Option<T> {
        self.items.into_iter().next()
    }
}
