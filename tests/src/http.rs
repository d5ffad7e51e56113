//! HTTP as a probe speaks it: one request a connection, as plain bytes, so that the answer is seen as it is.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status; 0: nobody listens, or the connection was closed without an answer.
    pub status: u16,
    /// Lines of the head, the first one too.
    pub head: Vec<String>,
    /// What follows them.
    pub body: String,
}

/// A port of this machine that was free a moment ago.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Sends a request without a body.
pub fn ask(port: u16, method: &str, path: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return parse("") };
    // A connection that is cut off has answered what it has.
    let _ = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.write_all(request.as_bytes()));
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    parse(&answer)
}

/// GET.
pub fn get(port: u16, path: &str) -> Answer {
    ask(port, "GET", path)
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.lines().map(str::to_owned).collect(), body: body.to_owned() }
}
