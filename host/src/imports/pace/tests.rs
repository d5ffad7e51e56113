//! The pace against a storage system that throttles, in time that is only counted.

use super::{
    Pace,
    rate::{Lane, Rate},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

const MS: Duration = Duration::from_millis(1);

/// A storage system that lets `rate` requests a second through, and `burst` at once.
struct Endpoint {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Duration,
    retry_after: Option<Duration>,
    /// One request in so many is refused at any rate.
    chance: Option<u64>,
    seed: u64,
}

impl Endpoint {
    fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst, tokens: burst, at: Duration::ZERO, retry_after: None, chance: None, seed: 1 }
    }

    fn accepts(&mut self, now: Duration) -> bool {
        // Knuth's MMIX: the same sequence for each run.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if self.chance.is_some_and(|chance| (self.seed >> 33).is_multiple_of(chance)) {
            return false;
        }
        self.tokens = (self.tokens + self.rate * (now - self.at).as_secs_f64()).min(self.burst);
        self.at = now;
        let accepts = self.tokens >= 1.0;
        if accepts {
            self.tokens -= 1.0;
        }
        accepts
    }
}

/// What happens, and to which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The head of the queue looks whether it is its turn.
    Look,
    /// An answer is there.
    Answer(usize, bool),
}

#[derive(Debug)]
struct Figures {
    sent: usize,
    throttled: usize,
    last_end: Duration,
}

/// `calls` that begin at the same moment, `places` of them at a time, each of which has to get `requests` through one after
/// the other, and tries again at once (that is, waits for its turn) when it is throttled.
fn run(mut endpoint: Endpoint, calls: usize, requests: usize, places: usize, round_trip: Duration) -> Figures {
    let mut rate = Rate::default();
    let mut left = vec![requests; calls];
    let (mut queue, mut waiting): (VecDeque<_>, VecDeque<_>) =
        ((0..calls.min(places)).collect(), (places..calls).collect());
    let mut events = BinaryHeap::from([Reverse((Duration::ZERO, Event::Look))]);
    let mut figures = Figures { sent: 0, throttled: 0, last_end: Duration::ZERO };
    let mut look_at = None;
    while let Some(Reverse((now, event))) = events.pop() {
        if let Event::Answer(call, accepted) = event {
            if accepted {
                rate.passed(now);
                left[call] -= 1;
            } else {
                figures.throttled += 1;
                rate.throttled(now, endpoint.retry_after);
            }
            if left[call] > 0 {
                queue.push_back(call);
            } else {
                figures.last_end = now;
                queue.extend(waiting.pop_front());
            }
        } else if look_at == Some(now) {
            look_at = None;
        }
        while let Some(call) = queue.front().copied() {
            if look_at.is_some_and(|at| now < at) {
                break;
            }
            match rate.take(Lane::Requests, now) {
                Ok(()) => {
                    queue.pop_front();
                    figures.sent += 1;
                    let accepted = endpoint.accepts(now);
                    events.push(Reverse((now + round_trip, Event::Answer(call, accepted))));
                }
                Err(at) => {
                    // Timers are as exact as that.
                    let at = at + MS;
                    look_at = Some(at);
                    events.push(Reverse((at, Event::Look)));
                }
            }
        }
        assert!(now < Duration::from_secs(3600), "it does not come to an end: {figures:?}");
    }
    assert!(left.iter().all(|left| *left == 0), "calls were forgotten");
    figures
}

#[test]
fn five_hundred_throttled_calls_are_no_storm() {
    let mut shown = String::new();
    for (rate, burst) in [(8.0, 5.0), (10.0, 100.0), (20.0, 20.0), (50.0, 10.0), (100.0, 100.0), (500.0, 50.0)] {
        for requests in [1, 3] {
            for round_trip in [20, 200, 1000].map(|ms| ms * MS) {
                // All at once only where there is more than one request for each: the first of each are on their way before
                // anything is known.
                for places in [64, 500].into_iter().filter(|places| requests > 1 || *places == 64) {
                    let total = 500 * requests;
                    let figures = run(Endpoint::new(rate, burst), 500, requests, places, round_trip);
                    let at_best = (total as f64 / rate).max(
                        // What one round trip after the other takes anyway.
                        round_trip.as_secs_f64() * (total as f64 / places as f64),
                    );
                    let (more, longer) = (figures.sent as f64 / total as f64, figures.last_end.as_secs_f64() / at_best);
                    shown += &format!(
                        "{rate}/s, burst {burst}, {requests} requests, {round_trip:?}, {places} places: {more:.2}x sent, {longer:.2}x time\n"
                    );
                    assert_eq!(figures.sent - figures.throttled, total);
                    // What takes a few seconds is over before much can be learnt.
                    let most = if at_best < 5.0 { 2.0 } else { 1.5 };
                    assert!(more < 2.0 && longer < most, "{shown}");
                }
            }
        }
    }
}

#[test]
fn refusals_by_chance_do_not_slow_it_down_further_and_further() {
    for seed in 1..=20 {
        for chance in [20, 10] {
            for (rate, at_best) in [(50.0, 120.0), (200.0, 33.0), (100_000.0, 21.0)] {
                let endpoint = Endpoint { chance: Some(chance), seed, ..Endpoint::new(rate, 50.0) };
                let figures = run(endpoint, 1000, 6, 64, 200 * MS);
                let took = figures.last_end.as_secs_f64();
                let what = format!("seed {seed}, 1 in {chance}, {rate}/s: {figures:?}");
                assert!(took < 2.0 * at_best && figures.sent < 6000 * 5 / 4, "{what}");
            }
        }
    }
}

#[test]
fn retry_after_is_a_floor_for_all() {
    let mut rate = Rate::default();
    let second = Duration::from_secs(1);
    assert_eq!(rate.take(Lane::Requests, second), Ok(()));
    rate.throttled(second, Some(10 * second));
    for lane in [Lane::Requests, Lane::Calls] {
        assert_eq!(rate.take(lane, 2 * second), Err(11 * second));
    }
    // A shorter one does not open it, and a mad one is not believed.
    rate.throttled(2 * second, Some(second));
    assert_eq!(rate.take(Lane::Requests, 10 * second), Err(11 * second));
    rate.throttled(11 * second, Some(100_000 * second));
    assert_eq!(rate.take(Lane::Requests, 12 * second), Err(131 * second));

    // With a Retry-After for each throttle the queue still moves.
    let endpoint = || Endpoint { retry_after: Some(second), ..Endpoint::new(20.0, 20.0) };
    let figures = run(endpoint(), 500, 3, 64, 50 * MS);
    assert!(figures.sent < 2000 && figures.last_end < 113 * second, "{figures:?}");
}

#[test]
fn a_call_that_gives_up_does_not_close_it_again() {
    let mut rate = Rate::default();
    rate.take(Lane::Requests, Duration::ZERO).expect("unlimited");
    rate.throttled(10 * MS, None);
    let before = rate.per_second(20 * MS);
    rate.unavailable(20 * MS, Duration::from_secs(1));
    assert_eq!(rate.per_second(20 * MS), before);
    assert!(rate.take(Lane::Requests, 1500 * MS).is_ok(), "it is closed");
    // Where no request was throttled, it is the call that tells.
    let mut rate = Rate::default();
    rate.unavailable(Duration::ZERO, Duration::from_secs(1));
    assert_eq!(rate.take(Lane::Calls, 500 * MS), Err(Duration::from_secs(1)));
    assert!(rate.per_second(Duration::from_secs(1)).is_some());
}

#[test]
fn it_is_forgotten_and_never_ends() {
    let mut rate = Rate::default();
    let mut now = Duration::ZERO;
    assert_eq!(rate.per_second(now), None);
    for _ in 0..1000 {
        now += 100 * MS;
        if rate.take(Lane::Requests, now).is_ok() {
            rate.throttled(now, None);
        }
    }
    let slowest = rate.per_second(now).expect("limited");
    assert!((0.5..2.0).contains(&slowest), "{slowest}");
    assert!(rate.take(Lane::Requests, now + Duration::from_secs(3)).is_ok());
    // One that never gets an answer does not make later throttles count for nothing.
    for _ in 0..100 {
        let _ = rate.take(Lane::Requests, now + Duration::from_secs(59));
    }
    now += Duration::from_secs(70);
    for _ in 0..1000 {
        rate.take(Lane::Requests, now).expect("unlimited again");
    }
    assert_eq!(rate.per_second(now), None);
    rate.throttled(now, None);
    assert!(rate.per_second(now).is_some());
}

#[tokio::test]
async fn first_come_first_served_and_each_driver_for_itself() {
    let (pace, other) = (Pace::default(), Pace::default());
    for _ in 0..20 {
        pace.turn().await;
    }
    pace.throttled(Some(50 * MS));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = vec![];
    for n in 0..10 {
        let (turn, tell) = (pace.clone(), tell.clone());
        tasks.push(tokio::spawn(async move {
            turn.turn().await;
            let _ = tell.send(n);
        }));
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    tasks[3].abort();
    other.turn().await;
    assert!(start.elapsed() < 40 * MS, "another driver's pace");
    let mut order = vec![];
    while order.len() < 9 {
        order.push(told.recv().await.expect("a turn"));
    }
    assert_eq!(order, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    // 20 at once were too many: it goes on with 28 a second, and a little more as time passes.
    assert!(start.elapsed() >= 200 * MS, "{:?}", start.elapsed());
}
