//! One fetch for all, renewed in time, with pauses after failures. The clock is the tests' own.

use super::*;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Gives the numbers of its fetches.
struct Counter {
    fetches: AtomicU32,
    lifetime: Option<Duration>,
    fails: Box<dyn Fn(u32) -> bool + Send + Sync>,
    begun: Instant,
    /// Milliseconds since then.
    clock: AtomicU64,
}

impl Source for Counter {
    type Item = u32;

    async fn fetch(&self, _deadline: Instant) -> Result<Fetched<u32>, Problem> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if (self.fails)(number) {
            return Err(Problem::unauthenticated(format_args!("fetch {number} failed")));
        }
        Ok(Fetched { item: number, lifetime: self.lifetime })
    }
}

fn lease(lifetime_s: Option<u64>, fails: impl Fn(u32) -> bool + Send + Sync + 'static) -> Lease<Counter> {
    let source = Counter {
        fetches: AtomicU32::new(0),
        lifetime: lifetime_s.map(Duration::from_secs),
        fails: Box::new(fails),
        begun: Instant::now(),
        clock: AtomicU64::new(0),
    };
    Lease::by(source, |source| source.begun + Duration::from_millis(source.clock.load(Ordering::SeqCst)))
}

fn fetches(lease: &Lease<Counter>) -> u32 {
    lease.source().fetches.load(Ordering::SeqCst)
}

fn pass(lease: &Lease<Counter>, ms: u64) {
    lease.source().clock.fetch_add(ms, Ordering::SeqCst);
}

fn patient() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn item(lease: &Lease<Counter>) -> Result<u32, String> {
    lease.get(patient()).await.map(|held| *held.item).map_err(|problem| problem.text)
}

/// Until no fetch is under way.
async fn landed(lease: &Lease<Counter>) {
    let flight = lease.0.state().flight.clone();
    if let Some(mut flight) = flight {
        let _ = flight.changed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_share_one_fetch() {
    let lease = lease(None, |_| false);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let lease = lease.clone();
            tokio::spawn(async move { item(&lease).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(1));
    }
    assert_eq!((item(&lease).await, fetches(&lease)), (Ok(1), 1));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_end_the_fetch() {
    let lease = lease(None, |_| false);
    let early = lease.get(Instant::now()).await.map(|_| ()).unwrap_err();
    assert_eq!(early, Problem::unavailable("the login has not ended in time"));
    let _ = tokio::time::timeout(Duration::from_millis(1), lease.get(patient())).await;
    assert_eq!((item(&lease).await, fetches(&lease)), (Ok(1), 1));
}

#[tokio::test]
async fn what_ends_is_renewed_while_it_is_used() {
    // Renewed from 800 s on, not used after 990 s.
    let lease = lease(Some(1000), |_| false);
    assert_eq!(item(&lease).await, Ok(1));
    pass(&lease, 799_000);
    assert_eq!((item(&lease).await, fetches(&lease)), (Ok(1), 1));
    pass(&lease, 1_000);
    assert_eq!(item(&lease).await, Ok(1), "nobody waits for the new one");
    landed(&lease).await;
    assert_eq!((item(&lease).await, fetches(&lease)), (Ok(2), 2));
    pass(&lease, 990_000);
    assert_eq!((item(&lease).await, fetches(&lease)), (Ok(3), 3), "the old one is over: this one waited");
}

#[tokio::test]
async fn a_failing_renewal_keeps_the_old_one_while_it_lives() {
    let lease = lease(Some(1000), |number| number > 1);
    assert_eq!(item(&lease).await, Ok(1));
    pass(&lease, 800_000);
    for _ in 0..10 {
        assert_eq!(item(&lease).await, Ok(1));
        landed(&lease).await;
    }
    assert_eq!(fetches(&lease), 2, "the failure is remembered");
    pass(&lease, 189_000);
    assert_eq!(item(&lease).await, Ok(1));
    landed(&lease).await;
    pass(&lease, 1_000);
    assert_eq!((item(&lease).await, fetches(&lease)), (Err("fetch 3 failed".into()), 3));
}

#[tokio::test]
async fn failures_are_remembered_for_a_second_and_then_longer() {
    let lease = lease(None, |number| number < 9);
    let mut pauses = vec![];
    while pauses.len() < 8 {
        let failed = item(&lease).await.unwrap_err();
        let before = fetches(&lease);
        let mut paused = 0;
        while fetches(&lease) == before {
            pass(&lease, 500);
            paused += 500;
            let again = item(&lease).await;
            assert!(fetches(&lease) > before || again == Err(failed.clone()));
        }
        pauses.push(paused);
    }
    assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    assert_eq!(item(&lease).await, Ok(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fetches_once_for_all_and_not_all_the_time() {
    let lease = lease(None, |_| false);
    let held = lease.get(patient()).await.map(|held| held.generation).unwrap_or_default();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let lease = lease.clone();
            tokio::spawn(async move { lease.renew(held, patient()).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!((item(&lease).await, fetches(&lease)), (Ok(2), 2));
    // A server that refuses everything.
    assert!(!lease.renew(held + 1, patient()).await, "too soon after the last one");
    assert_eq!((item(&lease).await, fetches(&lease)), (Ok(2), 2));
    pass(&lease, 1_000);
    assert!(lease.renew(held + 1, patient()).await);
    pass(&lease, 1_000);
    assert!(!lease.renew(held + 2, patient()).await, "two seconds now");
    assert_eq!(fetches(&lease), 3);
    // After a good while it counts from the start.
    pass(&lease, 61_000);
    assert!(lease.renew(held + 2, patient()).await);
    pass(&lease, 1_000);
    assert!(lease.renew(held + 3, patient()).await);
}

#[tokio::test]
async fn a_fetch_that_panics_is_a_failure() {
    let lease = lease(None, |number| {
        assert!(number > 1, "planted");
        false
    });
    assert_eq!(item(&lease).await, Err("the login was broken off".into()));
    pass(&lease, 1_000);
    assert_eq!(item(&lease).await, Ok(2));
}
