//! How fast requests may leave, as a calculation: no clock, no waiting. Times are counted from any fixed moment.
//!
//! Unlimited until the first throttle. From then on the rate follows a curve over the time since the last cut: quickly back to
//! near where it was throttled, a while of holding there, then doubling (the shape of CUBIC, with a time of its own: storage
//! systems are asked once or a thousand times a second, and neither must take longer to settle). A cut goes by what the storage
//! system let through, so that a hundred refusals that come at once count as one.
//!
//! Not every refusal says that the rate is too high: a storage system that is shared, or ill, refuses a share of all requests at any
//! rate, and who slows down for each of these ends at one request every few seconds. So a known rate is cut only when refusals
//! come closer together than such a share explains: a sum rises with each refusal, falls with each answer, and cuts at a
//! threshold (a CUSUM test; Page, "Continuous inspection schemes", 1954).

use std::time::Duration;

/// What is left of the rate after a cut.
const CUT: f64 = 0.7;
/// Until the rate is back where it was cut.
const HOLD: Duration = Duration::from_secs(5);
/// From then on it doubles in this time.
const DOUBLING: Duration = Duration::from_millis(2500);
/// The same, where the rate is no more than a guess.
const SEARCHING: Duration = Duration::from_millis(500);
/// What an answer takes from the doubt that a refusal adds 1 to: one refusal in five is taken for chance.
const CALMED: f64 = 0.25;
/// Doubt at which the rate is cut: at the slowest, and what is added for each request a second. Where few requests leave, a
/// refusal is a larger part of what is sent.
const DOUBT: (f64, f64) = (2.0, 0.04);
/// Most of it.
const MOST_DOUBT: f64 = 8.0;
/// Slowest, requests a second: slower means not to find out when it is over.
const SLOWEST: f64 = 0.5;
/// First guess, requests a second, where nothing was measured.
const GUESS: f64 = 16.0;
/// Without a throttle for that long, the limit is forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// Answers to requests from before a cut are waited for this long.
const LATE: Duration = Duration::from_secs(2);
/// A Retry-After is honoured up to this: an endpoint that asks for a year must not end a driver.
const LONGEST_CLOSED: Duration = Duration::from_secs(120);
/// How many turns may be saved up, as time: timers are not exact.
const SAVED: f64 = 0.1;
/// Longest wait before the rate, which grows meanwhile, is looked at again.
const LOOK: Duration = Duration::from_millis(250);

/// What waits for a turn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    /// Requests, which are what the storage system counts.
    Requests = 0,
    /// Calls that come again; their requests wait for turns of their own.
    Calls = 1,
}

/// The state of one driver's pace.
#[derive(Debug, Default)]
pub(super) struct Rate {
    limit: Option<Limit>,
    closed_until: Duration,
    sent: Window,
    passed: Window,
    /// Requests that left and have no answer yet. One that never gets one stays in here: it only ever shortens the rounds.
    out: u64,
    /// How many answers are to requests from before the last cut.
    stale: u64,
    /// That refusals are chance: above the threshold they are not.
    doubt: f64,
}

#[derive(Debug)]
struct Limit {
    /// Requests a second that were too many, or just enough.
    top: f64,
    /// Nothing is known of what the storage system lets through but that it was too much at once.
    guess: bool,
    cut_at: Duration,
    lanes: [Bucket; 2],
}

/// Turns that are saved up.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    turns: f64,
    at: Duration,
}

impl Rate {
    /// Takes a turn.
    ///
    /// # Errors
    /// It is not one's turn yet: when to ask again.
    pub(super) fn take(&mut self, lane: Lane, now: Duration) -> Result<(), Duration> {
        if now < self.closed_until {
            return Err(self.closed_until);
        }
        if self.limit.as_ref().is_some_and(|limit| now.saturating_sub(limit.cut_at) > FORGET) {
            self.limit = None;
        }
        let rate = self.per_second(now);
        if let (Some(limit), Some(rate)) = (&mut self.limit, rate) {
            let bucket = &mut limit.lanes[lane as usize];
            let most = (rate * SAVED).max(1.0);
            bucket.turns = (bucket.turns + rate * now.saturating_sub(bucket.at).as_secs_f64()).min(most);
            bucket.at = now;
            if bucket.turns < 1.0 {
                return Err(now + Duration::from_secs_f64((1.0 - bucket.turns) / rate).min(LOOK));
            }
            bucket.turns -= 1.0;
        }
        if matches!(lane, Lane::Requests) {
            self.sent.add(now);
            self.out += 1;
        }
        Ok(())
    }

    /// Requests a second that may leave now; none: any number.
    pub(super) fn per_second(&self, now: Duration) -> Option<f64> {
        let limit = self.limit.as_ref()?;
        let since = now.saturating_sub(limit.cut_at.max(self.closed_until));
        let doubled = |time: Duration, each: Duration| (time.as_secs_f64() / each.as_secs_f64()).exp2();
        let factor = match since.checked_sub(HOLD) {
            _ if limit.guess => CUT * doubled(since, SEARCHING),
            None => 1.0 - (1.0 - CUT) * (1.0 - since.as_secs_f64() / HOLD.as_secs_f64()).powi(3),
            Some(beyond) => doubled(beyond, DOUBLING),
        };
        Some((limit.top * factor).max(SLOWEST))
    }

    /// A request was answered, and not with a throttle.
    pub(super) fn passed(&mut self, now: Duration) {
        if !self.answered(now) {
            self.doubt = (self.doubt - CALMED).max(0.0);
        }
        self.passed.add(now);
    }

    /// A request was answered with a throttle.
    pub(super) fn throttled(&mut self, now: Duration, retry_after: Option<Duration>) {
        if !self.answered(now) {
            self.doubt += 1.0;
            if self.doubt >= self.threshold(now) {
                self.cut(now);
            }
        }
        self.close(now, retry_after);
    }

    /// A call was answered with "unavailable, not before". Most often a request of it was throttled just before: then all is
    /// done already, and closing once more for each call that gives up would keep it closed for good.
    pub(super) fn unavailable(&mut self, now: Duration, retry_after: Duration) {
        let known = self.limit.as_ref().is_some_and(|limit| now.saturating_sub(limit.cut_at) < LATE.max(retry_after));
        if !known {
            self.cut(now);
            self.close(now, Some(retry_after));
        }
    }

    /// Where nothing is known yet, or no more than guessed, one refusal is enough: a storm begins with the first.
    fn threshold(&self, now: Duration) -> f64 {
        let known = self.limit.as_ref().filter(|limit| !limit.guess && now.saturating_sub(limit.cut_at) <= FORGET);
        let rate = known.and_then(|_| self.per_second(now));
        rate.map_or(0.0, |rate| (DOUBT.0 + DOUBT.1 * rate).min(MOST_DOUBT))
    }

    fn close(&mut self, now: Duration, retry_after: Option<Duration>) {
        if let Some(time) = retry_after {
            self.closed_until = self.closed_until.max(now + time.min(LONGEST_CLOSED));
        }
    }

    /// True: to a request from before the last cut, of which nothing new is learnt.
    fn answered(&mut self, now: Duration) -> bool {
        self.out = self.out.saturating_sub(1);
        let waiting = self.limit.as_ref().is_some_and(|limit| now.saturating_sub(limit.cut_at) < LATE);
        if self.stale > 0 && waiting {
            self.stale -= 1;
            return true;
        }
        false
    }

    fn cut(&mut self, now: Duration) {
        let before = self.per_second(now);
        let top = match before {
            Some(rate) => self.passed.per_second(now, Window::ALL).clamp(rate / 2.0, rate),
            None => match self.sent.per_second(now, Window::ALL / 4) {
                0.0 => GUESS,
                rate => rate,
            },
        };
        // Of those that never get an answer, only the latest can still be on their way.
        self.out = self.out.min(self.sent.count(now, Window::ALL));
        self.stale = self.out;
        self.doubt = 0.0;
        let lanes = [Bucket { turns: 0.0, at: now }; 2];
        self.limit = Some(Limit { top: top.max(SLOWEST), guess: before.is_none(), cut_at: now, lanes });
    }
}

/// How many there were lately.
#[derive(Debug, Default)]
struct Window {
    counts: [u32; Self::TICKS as usize],
    newest: u64,
}

impl Window {
    const TICK: Duration = Duration::from_millis(100);
    const TICKS: u64 = 20;
    /// How far back it sees.
    const ALL: Duration = Duration::from_secs(2);

    fn advance(&mut self, now: Duration) {
        let tick = Self::tick(now);
        for passed in (self.newest + 1..=tick).take(Self::TICKS as usize) {
            // Beyond a whole round all are cleared, whichever come first.
            self.counts[(passed % Self::TICKS) as usize] = 0;
        }
        self.newest = self.newest.max(tick);
    }

    fn tick(now: Duration) -> u64 {
        u64::try_from(now.as_millis() / Self::TICK.as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn add(&mut self, now: Duration) {
        self.advance(now);
        let count = &mut self.counts[(self.newest % Self::TICKS) as usize];
        *count = count.saturating_add(1);
    }

    fn count(&mut self, now: Duration, over: Duration) -> u64 {
        self.advance(now);
        let ticks = Self::tick(over).clamp(1, Self::TICKS);
        let oldest = (self.newest + 1).saturating_sub(ticks);
        (oldest..=self.newest).map(|tick| u64::from(self.counts[(tick % Self::TICKS) as usize])).sum()
    }

    fn per_second(&mut self, now: Duration, over: Duration) -> f64 {
        self.count(now, over) as f64 / over.as_secs_f64()
    }
}
