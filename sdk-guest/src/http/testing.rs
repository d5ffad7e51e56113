//! A transport of your own, for a backend's unit tests on your machine: each test has its own, since each has its own thread.
//! Time passes only when somebody waits.

use super::{Failure, Request, Response};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What answers instead of the network. Closures do.
pub trait Transport {
    /// Answers one request.
    ///
    /// # Errors
    /// What the host would say.
    fn send(&self, request: &Request) -> Result<Response, Failure>;
}

impl<F: Fn(&Request) -> Result<Response, Failure>> Transport for F {
    fn send(&self, request: &Request) -> Result<Response, Failure> {
        self(request)
    }
}

const CALL: Duration = Duration::from_secs(60);

thread_local! {
    static TRANSPORT: RefCell<Option<Rc<dyn Transport>>> = const { RefCell::new(None) };
    static REMAINING: Cell<Duration> = const { Cell::new(CALL) };
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}

/// From now on `transport` answers this thread's requests; the call has 60 s from here.
pub fn install(transport: impl Transport + 'static) {
    TRANSPORT.set(Some(Rc::new(transport)));
    set_remaining(CALL);
}

/// What is left of the call.
pub fn set_remaining(time: Duration) {
    REMAINING.set(time);
    WAITED.set(Duration::ZERO);
}

/// What was waited since [`install`] or [`set_remaining`].
pub fn waited() -> Duration {
    WAITED.get()
}

/// A reply without headers.
pub fn reply(status: u16, body: &str) -> Response {
    Response::new(status, body)
}

/// As on Wasm, where the host is asked.
pub fn remaining() -> Duration {
    REMAINING.get()
}

pub(super) fn send(request: &Request, _timeout: Duration, max_body: usize) -> Result<Response, Failure> {
    let transport = TRANSPORT.with_borrow(|transport| transport.clone());
    let transport = transport.expect("no transport: call bulkhead_sdk::http::testing::install first");
    let reply = transport.send(request)?;
    if reply.body.len() > max_body {
        return Err(Failure::new(super::Kind::TooLarge, format!("the reply has more than {max_body} bytes")));
    }
    Ok(reply)
}

/// Waits, on the test's clock.
pub fn pause(time: Duration) {
    REMAINING.set(REMAINING.get().saturating_sub(time));
    WAITED.set(WAITED.get() + time);
}

pub(super) fn chance() -> u64 {
    CHANCE.set(CHANCE.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    CHANCE.get() >> 33
}
