//! A client of moto itself, past the proxy and its faults: what is really there?

use crate::{Credentials, Element, Form, sigv4};
use http::HeaderMap;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// Longest wait for an answer: moto may be busy with others.
const PATIENCE: Duration = Duration::from_secs(120);

/// The client. Every request is signed and has a connection of its own.
#[derive(Debug, Clone)]
pub struct Direct {
    port: u16,
    region: String,
    credentials: Credentials,
    /// How far the clock is wrong, and whether it is ahead.
    pub skew: (Duration, bool),
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP's; 0: the connection ended without an answer.
    pub status: u16,
    /// Lines of the head.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The error's code; empty if there is none.
    pub fn code(&self) -> String {
        let tree = Element::parse(&self.body).unwrap_or_default();
        let error = tree.child("Errors").and_then(|errors| errors.child("Error"));
        error.map_or_else(String::new, |error| error.get("Code").to_owned())
    }
}

/// A volume as moto has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Its size in GiB.
    pub size: u64,
    /// Its zone.
    pub zone: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// Instance and device of its attachment.
    pub attached: Option<(String, String)>,
}

/// A snapshot as moto has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// The volume it was made of.
    pub volume: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

impl Direct {
    /// A client at this port of 127.0.0.1: moto's, or a proxy's.
    pub fn new(port: u16, region: &str, credentials: Credentials) -> Self {
        Self { port, region: region.into(), credentials, skew: (Duration::ZERO, true) }
    }

    /// Sends an action, signed, and does not look at what comes.
    ///
    /// # Errors
    /// The connection fails.
    pub fn send(&self, form: &Form) -> std::io::Result<Answer> {
        let body = form.encode();
        self.send_other(body.as_bytes(), body.as_bytes())
    }

    /// Signs one body and sends another.
    ///
    /// # Errors
    /// The connection fails.
    pub fn send_other(&self, signed: &[u8], sent: &[u8]) -> std::io::Result<Answer> {
        let mut headers = HeaderMap::new();
        let put = |headers: &mut HeaderMap, name: &'static str, value: String| {
            value.parse().map(|value| headers.insert(name, value)).is_ok()
        };
        put(&mut headers, "host", format!("127.0.0.1:{}", self.port));
        put(&mut headers, "content-type", "application/x-www-form-urlencoded; charset=utf-8".into());
        let what = sigv4::Signed { method: "POST", target: "/", body: signed };
        sigv4::sign(what, &mut headers, &self.credentials, (&self.region, "ec2"), self.skew);
        put(&mut headers, "content-length", sent.len().to_string());
        put(&mut headers, "connection", "close".into());
        self.exchange(&headers, sent)
    }

    /// Sends these headers and this body to `/`.
    ///
    /// # Errors
    /// The connection fails.
    pub fn exchange(&self, headers: &HeaderMap, body: &[u8]) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = b"POST / HTTP/1.1\r\n".to_vec();
        for (name, value) in headers {
            request.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        request.extend([b"\r\n", body].concat());
        stream.write_all(&request)?;
        let mut answer = vec![];
        // A connection that is cut off has answered what it has.
        let ended = stream.read_to_end(&mut answer);
        if answer.is_empty() {
            ended?;
        }
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(Answer { status, head, body: answer.get(end + 4..).unwrap_or_default().to_vec() })
    }

    /// Asks, and expects an answer.
    ///
    /// # Errors
    /// The connection fails, or it is an error: its status and body.
    pub fn ask(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Element, String> {
        let answer = self.send(&Form::action(action, parameters)).map_err(|e| format!("{action}: {e}"))?;
        if answer.status != 200 {
            return Err(format!("{action}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)));
        }
        Element::parse(&answer.body)
    }

    /// All volumes with tags; what instances boot from has none.
    ///
    /// # Errors
    /// As `ask`.
    pub fn volumes(&self) -> Result<Vec<Volume>, String> {
        let tree = self.ask("DescribeVolumes", &[])?;
        let volume = |item: &Element| Volume {
            id: item.get("volumeId").into(),
            size: item.get("size").parse().unwrap_or(0),
            zone: item.get("availabilityZone").into(),
            tags: tags(item),
            attached: item.items("attachmentSet").first().map(|a| (a.get("instanceId").into(), a.get("device").into())),
        };
        Ok(tree.items("volumeSet").iter().map(volume).filter(|volume| !volume.tags.is_empty()).collect())
    }

    /// Volumes that carry this tag.
    ///
    /// # Errors
    /// As `ask`.
    pub fn volumes_with(&self, key: &str, value: &str) -> Result<Vec<Volume>, String> {
        let has = |volume: &Volume| volume.tags.iter().any(|(k, v)| k == key && v == value);
        Ok(self.volumes()?.into_iter().filter(has).collect())
    }

    /// All snapshots.
    ///
    /// # Errors
    /// As `ask`.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, String> {
        let tree = self.ask("DescribeSnapshots", &[])?;
        let snapshot = |item: &Element| Snapshot {
            id: item.get("snapshotId").into(),
            volume: item.get("volumeId").into(),
            tags: tags(item),
        };
        Ok(tree.items("snapshotSet").iter().map(snapshot).collect())
    }

    /// Snapshots that carry this tag.
    ///
    /// # Errors
    /// As `ask`.
    pub fn snapshots_with(&self, key: &str, value: &str) -> Result<Vec<Snapshot>, String> {
        let has = |snapshot: &Snapshot| snapshot.tags.iter().any(|(k, v)| k == key && v == value);
        Ok(self.snapshots()?.into_iter().filter(has).collect())
    }
}

/// Values of a tag that more than one of these has: objects that were made twice for one name.
pub fn doubled<'a>(tags: impl IntoIterator<Item = &'a [(String, String)]>, key: &str) -> Vec<String> {
    let mut values: Vec<_> = tags.into_iter().flatten().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect();
    values.sort();
    let mut twice: Vec<_> = values.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    twice.dedup();
    twice
}

fn tags(item: &Element) -> Vec<(String, String)> {
    item.items("tagSet").iter().map(|tag| (tag.get("key").into(), tag.get("value").into())).collect()
}

#[cfg(test)]
mod tests {
    use super::doubled;

    #[test]
    fn what_was_made_twice_is_named_once() {
        let tag = |value: &str| vec![("name".to_owned(), value.to_owned()), ("other".to_owned(), "x".to_owned())];
        let all = [tag("a"), tag("b"), tag("a"), tag("c"), tag("a")];
        assert_eq!(doubled(all.iter().map(Vec::as_slice), "name"), ["a"]);
    }
}
