//! Sending, and sending again.

use super::{Failure, Kind, Request, Response, transport};
use std::time::Duration;

/// When a request is sent again, and after what time.
///
/// Throttled, or never sent: always. A lost reply or a 5xx: only if the request may be repeated ([`Request::repeatable`]). Nothing is sent
/// again that couldn't be answered within the call's deadline, less [`Retry::margin`].
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Requests for one answer, the first one included; at least 1.
    pub attempts: u32,
    /// Longest wait before the second request. Each further one may wait twice as long. What is waited is a random part of it, at
    /// least a half, so that callers who were refused together don't come back together.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// Left over of the call's time for what follows: reading an answer, saying what happened.
    pub margin: Duration,
    /// The reply means "too many requests, nothing was done".
    pub is_throttle: fn(&Response) -> bool,
}

impl Default for Retry {
    /// Four requests, 200 ms to 5 s apart, half a second left over; 429 is a throttle.
    fn default() -> Self {
        Self {
            attempts: 4,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(5),
            margin: Duration::from_millis(500),
            is_throttle: |response| response.status == 429,
        }
    }
}

impl Retry {
    /// Once and never again.
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// How long to wait before the request after `sent` ones; `chance` is any number.
    fn wait(&self, sent: u32, asked_for: Option<Duration>, chance: u64) -> Duration {
        let most = self.first.saturating_mul(1 << sent.saturating_sub(1).min(16)).min(self.longest);
        let half = most / 2;
        let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        (half + Duration::from_millis(chance % spread)).max(asked_for.unwrap_or_default())
    }
}

/// Sends requests. It keeps nothing: the host keeps the connections.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// When requests are sent again.
    pub retry: Retry,
    /// Most bytes of a reply's body. The host has a limit of its own.
    pub max_body: usize,
}

impl Default for Client {
    /// [`Retry::default`], and replies of at most 8 MiB.
    fn default() -> Self {
        Self { retry: Retry::default(), max_body: 8 << 20 }
    }
}

impl Client {
    /// Sends `request`, again if [`Retry`] says so, and gives the reply whatever its status: a last throttle or 5xx too.
    ///
    /// # Errors
    /// There is no reply; what is known then is in [`Failure::kind`].
    pub fn send(&self, request: &Request) -> Result<Response, Failure> {
        request.parts()?;
        let mut sent = 0;
        // A lost reply before a request that wasn't sent: still nobody knows what the first one did.
        let mut lost = None;
        loop {
            let outcome = self.once(request);
            sent += 1;
            if let Err(failure) = &outcome
                && !failure.is_harmless()
            {
                lost = Some(failure.clone());
            }
            let asked_for = match &outcome {
                Ok(reply) if (self.retry.is_throttle)(reply) => Some(reply.retry_after()),
                Ok(reply) if reply.status >= 500 && request.repeats => Some(reply.retry_after()),
                Err(failure) if failure.kind == Kind::NotSent => Some(None),
                Err(failure) if failure.kind == Kind::NoReply && request.repeats => Some(None),
                _ => None,
            };
            let wait = asked_for.map(|wait| self.retry.wait(sent, wait, transport::chance()));
            let left = transport::remaining().saturating_sub(self.retry.margin);
            match wait {
                Some(wait) if sent < self.retry.attempts && wait < left => transport::pause(wait),
                _ => return self.settled(outcome, lost),
            }
        }
    }

    fn once(&self, request: &Request) -> Result<Response, Failure> {
        let left = transport::remaining();
        let timeout = request.timeout.map_or(left, |timeout| timeout.min(left));
        let blame = |failure: Failure| Failure {
            message: format!("{}: {}", request.place(), failure.message),
            writes: request.writes,
            ..failure
        };
        if timeout.is_zero() {
            return Err(blame(Failure::new(Kind::NotSent, "no time is left of this call")));
        }
        let reply = transport::send(request, timeout, self.max_body).map_err(blame)?;
        Ok(Response { writes: request.writes, ..reply })
    }

    /// A harmless end after a lost reply isn't harmless.
    fn settled(&self, outcome: Result<Response, Failure>, lost: Option<Failure>) -> Result<Response, Failure> {
        match (outcome, lost) {
            (Err(last), Some(lost)) if last.is_harmless() => Err(lost),
            (Ok(reply), Some(lost)) if (self.retry.is_throttle)(&reply) => Err(lost),
            (outcome, _) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{self, install, reply};
    use std::cell::RefCell;
    use std::rc::Rc;

    type Outcome = Result<Response, Failure>;

    /// Answers with `outcomes` one after the other; gives how many requests were sent.
    fn played(request: &Request, outcomes: Vec<Outcome>) -> (Outcome, usize) {
        let total = outcomes.len();
        let left = Rc::new(RefCell::new(outcomes.into_iter()));
        let script = left.clone();
        install(move |_: &Request| script.borrow_mut().next().expect("more requests than expected"));
        let outcome = Client::default().send(request);
        (outcome, total - left.borrow().len())
    }

    fn failed(kind: Kind) -> Outcome {
        Err(Failure::new(kind, "x"))
    }

    fn read() -> Request {
        Request::get("https://h/")
    }

    fn write() -> Request {
        Request::post("https://h/")
    }

    fn status(outcome: &(Outcome, usize)) -> (u16, usize) {
        (outcome.0.as_ref().map(|reply| reply.status).unwrap_or_default(), outcome.1)
    }

    #[test]
    fn what_did_nothing_is_sent_again() {
        let twice = |first: Outcome| vec![first, Ok(reply(200, ""))];
        for request in [read(), write()] {
            assert_eq!(status(&played(&request, twice(Ok(reply(429, ""))))), (200, 2));
            assert_eq!(status(&played(&request, twice(failed(Kind::NotSent)))), (200, 2));
        }
        for request in [read(), write().repeatable()] {
            assert_eq!(status(&played(&request, twice(Ok(reply(500, ""))))), (200, 2));
            assert_eq!(status(&played(&request, twice(failed(Kind::NoReply)))), (200, 2));
        }
    }

    #[test]
    fn what_may_have_done_something_is_not() {
        assert_eq!(status(&played(&write(), vec![Ok(reply(502, ""))])), (502, 1));
        let (lost, sent) = played(&write(), vec![failed(Kind::NoReply)]);
        let lost = lost.unwrap_err();
        assert_eq!((lost.kind, lost.writes, sent), (Kind::NoReply, true, 1));
        assert_eq!(lost.message, "POST https://h: x");
        for kind in [Kind::Denied, Kind::Unauthenticated, Kind::TooLarge, Kind::Invalid] {
            assert_eq!(played(&read(), vec![failed(kind)]).1, 1);
        }
        for code in [200, 301, 400, 401, 404, 409] {
            assert_eq!(status(&played(&read(), vec![Ok(reply(code, ""))])), (code, 1));
        }
    }

    #[test]
    fn a_lost_reply_stays_lost_whatever_comes_after_it() {
        let ends = [failed(Kind::NotSent), Ok(reply(429, ""))];
        for end in ends {
            let outcomes = vec![failed(Kind::NoReply), end.clone(), end.clone(), end];
            let (outcome, sent) = played(&write().repeatable(), outcomes);
            assert_eq!((outcome.unwrap_err().kind, sent), (Kind::NoReply, 4));
        }
        let (outcome, _) = played(&write().repeatable(), vec![failed(Kind::NoReply), Ok(reply(404, ""))]);
        assert_eq!(outcome.unwrap().status, 404);
    }

    #[test]
    fn attempts_end_and_the_deadline_comes_first() {
        let (outcome, sent) = played(&read(), vec![Ok(reply(503, "")); 4]);
        assert_eq!((outcome.unwrap().status, sent), (503, 4));
        install(|_: &Request| Ok(Response { headers: vec![("retry-after".into(), "30".into())], ..reply(429, "") }));
        testing::set_remaining(Duration::from_secs(20));
        assert_eq!(Client::default().send(&write()).unwrap().status, 429);
        assert_eq!(testing::waited(), Duration::ZERO, "it must not wait for what can't come in time");
        testing::set_remaining(Duration::from_secs(100));
        Client::default().send(&write()).unwrap();
        assert_eq!(testing::waited(), Duration::from_secs(90));
        testing::set_remaining(Duration::ZERO);
        assert_eq!(Client::default().send(&write()).unwrap_err().kind, Kind::NotSent);
    }

    #[test]
    fn waits_grow_and_differ() {
        let retry = Retry::default();
        for (sent, most) in [(1, 200), (2, 400), (3, 800), (40, 5000)] {
            for chance in [0, 1, 77, u64::MAX] {
                let wait = retry.wait(sent, None, chance).as_millis();
                assert!((most / 2..=most).contains(&wait), "{sent} {chance}: {wait}");
            }
            assert_ne!(retry.wait(sent, None, 1), retry.wait(sent, None, 2));
        }
        assert_eq!(retry.wait(1, Some(Duration::from_secs(9)), 5), Duration::from_secs(9));
    }
}
