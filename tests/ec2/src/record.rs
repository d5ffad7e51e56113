//! What was asked and answered, one JSON object a line, for `python/check.py` and for people. No signature, session token or
//! secret is written.

use crate::{Fault, Reply, sigv4::Authorization, upstream::Incoming};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A file that grows by a line for each request.
#[derive(Debug)]
pub struct Record(Mutex<File>);

impl Record {
    /// In this file, which is emptied.
    ///
    /// # Errors
    /// It can't be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        // Appending, so that whoever empties it meanwhile gets what follows.
        let file = File::options().create(true).append(true).open(path)?;
        file.set_len(0)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Adds a line.
    pub(crate) fn add(&self, incoming: &Incoming, reply: &Reply, (fault, took): (Option<Fault>, Duration)) {
        let mut line = entry(incoming, reply, fault, took).to_string();
        line.push('\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What can't be written is missed by who reads it.
        _ = file.write_all(line.as_bytes());
    }
}

fn entry(incoming: &Incoming, reply: &Reply, fault: Option<Fault>, took: Duration) -> Value {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let text = match name.as_str() {
            "authorization" => {
                Authorization::of(&incoming.headers).map_or("other".into(), |found| found.without_signature())
            }
            "x-amz-security-token" => "masked".into(),
            _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        (name.to_string(), Value::from(text))
    };
    let headers: serde_json::Map<_, _> = incoming.headers.iter().map(header).collect();
    let secret = |name: &str| ["WebIdentityToken", "X-Amz-Signature", "X-Amz-Security-Token"].contains(&name);
    let parameters = incoming.form.0.iter().map(|(name, value)| {
        let value = if secret(name) { "masked" } else { value.as_str() };
        json!([name, value])
    });
    // The answers of STS are keys.
    let body = if incoming.service == "ec2" { String::from_utf8_lossy(&reply.body) } else { "masked".into() };
    json!({
        "action": incoming.action,
        "service": incoming.service,
        "method": incoming.method.as_str(),
        "path": incoming.target.split('?').next(),
        "headers": headers,
        "parameters": parameters.collect::<Vec<_>>(),
        "status": reply.status.as_u16(),
        "reply": body,
        "fault": fault.map(Fault::name),
        "ms": took.as_millis(),
    })
}
