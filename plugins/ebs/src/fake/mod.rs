//! EC2 as unit tests have it: it keeps EC2's rules on tokens, states and attachments, works in the background as slowly as a test
//! wants, and fails on demand. One world for each test: each has its own thread.

mod actions;

use actions::{Form, perform};
use bulkhead_sdk::http::testing::{install, set_remaining};
use bulkhead_sdk::http::{Failure, Kind, Request, Response};
use bulkhead_sdk::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is done, and nobody hears of it.
    LostAfter,
    /// It never arrives, and nobody can tell.
    LostBefore,
    /// It never left.
    NotSent,
    /// EC2 refuses it with this code.
    Refused(u16, &'static str),
    /// It is done, and a proxy answers with this status.
    Proxy(u16),
}

#[derive(Clone, Debug, Default)]
pub struct Vol {
    pub fields: BTreeMap<&'static str, String>,
    pub attachments: Vec<(String, String, &'static str)>,
    pub tags: BTreeMap<String, String>,
    /// Not to be seen by anybody before this time.
    pub visible_at: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Snap {
    pub volume: String,
    pub size: String,
    pub status: &'static str,
    pub cut_at: u64,
    pub tags: BTreeMap<String, String>,
}

#[derive(Default)]
pub struct World {
    pub config: StringMap,
    pub resume: Option<String>,
    pub key: Option<String>,
    pub volumes: BTreeMap<String, Vol>,
    pub snapshots: BTreeMap<String, Snap>,
    /// Id, device names that its mapping shows besides, and names that EC2 refuses without showing them.
    pub instances: BTreeMap<String, (Vec<String>, Vec<String>)>,
    /// Volume, and `state size type iops throughput`.
    pub changes: BTreeMap<String, [String; 5]>,
    /// Token, what was asked with it, and the volume.
    pub tokens: BTreeMap<String, (String, String)>,
    /// Actions that were sent, in their order.
    pub calls: Vec<String>,
    pub faults: VecDeque<(&'static str, Fault)>,
    /// Seconds since the test began.
    pub now: u64,
    /// States change only after this many looks: `creating`, `attaching`, `detaching`, `pending`, `modifying`.
    pub slow: bool,
    /// Seconds until what is made can be seen.
    pub hidden: u64,
    /// Looks for volumes that find nothing.
    pub blind: u32,
    pub made: u32,
    /// Most volumes.
    pub quota: usize,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
}

/// Looks at EC2, or changes it behind the backend's back.
pub fn world<T>(f: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(f)
}

pub fn map(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// A new EC2 with two instances, and a driver of cluster `one`.
pub fn start() {
    let config = map(&[("region", "eu-central-1"), ("clusterId", "one")]);
    let instances = ["i-0a", "i-0b"].map(|id| (id.to_owned(), (vec!["/dev/xvda".to_owned()], Vec::new())));
    world(|world| *world = World { config, instances: instances.into(), quota: 1000, ..World::default() });
    install(answer);
}

/// The next request of that action goes wrong.
pub fn fail(action: &'static str, fault: Fault) {
    world(|world| world.faults.push_back((action, fault)));
}

pub fn calls(action: &str) -> usize {
    world(|world| world.calls.iter().filter(|call| *call == action).count())
}

/// As the host does with `pending`: waits, hands the resume text over and asks again.
pub fn asked_again<T>(mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..50 {
        set_remaining(Duration::from_secs(60));
        match ask() {
            Err(Error::Pending(pending)) => world(|world| {
                world.resume = pending.resume;
                world.now += u64::from(pending.retry_after_ms.unwrap_or(1000)).div_ceil(1000);
            }),
            Err(Error::Unavailable(_) | Error::UnknownOutcome(_)) => world(|world| world.now += 1),
            outcome => {
                world(|world| world.resume = None);
                return outcome;
            }
        }
    }
    panic!("it doesn't converge");
}

/// `2026-11-23T10:00:00.000Z` and later.
pub fn iso(seconds: u64) -> String {
    let (h, m, s) = clock(seconds);
    format!("2026-11-23T{h:02}:{m:02}:{s:02}.000Z")
}

fn clock(seconds: u64) -> (u64, u64, u64) {
    (10 + seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn answer(request: &Request) -> std::result::Result<Response, Failure> {
    assert_eq!(request.url, "https://ec2.eu-central-1.amazonaws.com/");
    let form = Form::parse(&request.body);
    let action = form.get("Action").to_owned();
    assert_eq!(form.get("Version"), "2016-11-15");
    world(|world| {
        world.calls.push(action.clone());
        let position = world.faults.iter().position(|(wanted, _)| *wanted == action || *wanted == "*");
        let fault = position.and_then(|at| world.faults.remove(at)).map(|(_, fault)| fault);
        let lost = || Err(Failure::new(Kind::NoReply, "lost"));
        match fault {
            Some(Fault::NotSent) => return Err(Failure::new(Kind::NotSent, "refused")),
            Some(Fault::LostBefore) => return lost(),
            Some(Fault::Refused(status, code)) => return Ok(refusal(world.now, status, code, "injected")),
            _ => {}
        }
        let outcome = perform(world, &action, &form);
        match fault {
            Some(Fault::LostAfter) => return lost(),
            Some(Fault::Proxy(status)) => return Ok(Response::new(status, "<html>bad gateway</html>")),
            _ => {}
        }
        Ok(match outcome {
            Ok(body) => dated(
                world.now,
                Response::new(
                    200,
                    format!("<{action}Response xmlns=\"urn:x\"><requestId>r</requestId>{body}</{action}Response>"),
                ),
            ),
            Err((code, message)) => refusal(world.now, 400, code, &message),
        })
    })
}

fn refusal(now: u64, status: u16, code: &str, message: &str) -> Response {
    let xml = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>r</RequestID></Response>"
    );
    dated(now, Response::new(status, xml))
}

fn dated(now: u64, reply: Response) -> Response {
    let (h, m, s) = clock(now);
    reply.with_header("date", &format!("Mon, 23 Nov 2026 {h:02}:{m:02}:{s:02} GMT"))
}

/// What stands where the host is.
pub mod host {
    pub mod call {
        use crate::fake::world;

        pub fn resume() -> Option<String> {
            world(|world| world.resume.clone())
        }

        pub fn idempotency_key() -> Option<String> {
            world(|world| world.key.clone())
        }
    }

    pub mod config {
        use crate::fake::world;
        use bulkhead_sdk::prelude::lookup;

        pub fn get(key: &str) -> Option<String> {
            world(|world| lookup(&world.config, key).map(str::to_owned))
        }

        pub fn keys() -> Vec<String> {
            world(|world| world.config.iter().map(|(key, _)| key.clone()).collect())
        }
    }
}
