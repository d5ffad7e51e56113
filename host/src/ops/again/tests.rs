//! A backend that says "not yet", and how often it is asked.

use super::*;
use crate::ops::ports::{BoxFuture, Effect, Role};
use bulkhead_domain::{error::Resume, request::Secrets};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::runtime::Handle;

const MS: Duration = Duration::from_millis(1);

/// A pace that only counts.
#[derive(Default)]
struct Counted {
    turns: AtomicUsize,
    told: Mutex<Vec<Duration>>,
}

impl Backoff for Counted {
    fn turn(&self) -> BoxFuture<'_, ()> {
        self.turns.fetch_add(1, SeqCst);
        Box::pin(std::future::ready(()))
    }

    fn unavailable(&self, retry_after: Duration) {
        self.told.lock().unwrap().push(retry_after);
    }
}

/// The backend of one driver: what it answers, one after the other, the last for good; and what it was asked with.
struct Ground {
    asking: Asking,
    pace: Arc<Counted>,
    asked: Mutex<Vec<(Instant, CallContext)>>,
}

impl Ground {
    fn new() -> Self {
        let pace = Arc::new(Counted::default());
        let asking = Asking::new("d", Work::new(Handle::current()), pace.clone());
        Self { asking, pace, asked: Mutex::default() }
    }

    async fn ask(&self, time: Duration, id: u32, answers: &[Result<u32>]) -> (Duration, Result<u32>) {
        self.asked.lock().unwrap().clear();
        let cx = CallContext {
            request_id: "first".into(),
            deadline: Instant::now() + time,
            role: Role::Controller,
            effect: Effect::Possible,
            idempotency_key: None,
            secrets: Secrets::default(),
            resume: None,
        };
        let call = |cx: CallContext| {
            let mut asked = self.asked.lock().unwrap();
            let answer = answers[asked.len().min(answers.len() - 1)].clone();
            asked.push((Instant::now(), cx));
            std::future::ready(answer)
        };
        let start = Instant::now();
        let answer = self.asking.ask(cx, Some(RequestId::of("operation", &id)), call).await;
        (start.elapsed(), answer)
    }

    /// What each try found.
    fn resumed(&self) -> Vec<Option<String>> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(_, cx)| cx.resume.as_ref().map(|resume| resume.expose().to_owned())).collect()
    }

    fn tries(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn pending(resume: Option<&str>, wanted: Option<u32>) -> Result<u32> {
    let resume = resume.and_then(|text| Resume::parse(text.to_owned()));
    Err(Error::aborted("not yet").with_again(Again::Pending(resume)).with_retry_after_ms(wanted))
}

fn throttled(wanted: u32) -> Result<u32> {
    Err(Error::unavailable("throttled").with_again(Again::Unchanged).with_retry_after_ms(Some(wanted)))
}

fn kind(answer: Result<u32>) -> ErrorKind {
    answer.unwrap_err().kind()
}

#[test]
fn pauses_grow_and_are_never_shorter_than_wanted() {
    let ms = Duration::from_millis;
    let [early, late] = [|| 0.0, || 1.0].map(|jitter: fn() -> f64| Pauses { jitter });
    let grown: Vec<_> = (1..=7).map(|tries| late.next(tries, None)).collect();
    assert_eq!(grown, [100, 200, 400, 800, 1600, 2000, 2000].map(ms));
    assert_eq!(early.next(1, None), ms(50));
    assert_eq!(early.next(u32::MAX, None), ms(1000));
    assert_eq!((early.next(9, Some(ms(500))), late.next(1, Some(ms(500)))), (ms(500), ms(550)));
    assert_eq!(early.next(1, Some(Duration::ZERO)), ms(10));
    let random = Pauses::default();
    let drawn: Vec<_> = (0..20).map(|_| random.next(1, None)).collect();
    assert!(drawn.iter().all(|pause| (ms(50)..=ms(100)).contains(pause)), "{drawn:?}");
    assert!(drawn.iter().any(|pause| *pause != drawn[0]), "{drawn:?}");
}

#[tokio::test]
async fn what_is_pending_is_asked_for_until_it_is_done() {
    let ground = Ground::new();
    let answers = [pending(Some("one"), Some(20)), pending(Some("two"), Some(20)), pending(None, Some(20)), Ok(7)];
    let (took, answer) = ground.ask(Duration::from_secs(30), 1, &answers).await;
    assert_eq!(answer, Ok(7));
    assert!((60 * MS..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert_eq!(ground.resumed(), [None, Some("one".into()), Some("two".into()), None]);
    let asked = ground.asked.lock().unwrap().clone();
    let mut ids: Vec<_> = asked.iter().map(|(_, cx)| cx.request_id.clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each try has an id of its own");
    assert!(asked.windows(2).all(|two| two[1].0 - two[0].0 >= 20 * MS), "asked too early");
    assert!(asked.iter().all(|(_, cx)| cx.deadline == asked[0].1.deadline));
    assert_eq!(ground.pace.turns.load(SeqCst), 0, "pending is no throttle");
    // It is over: nothing is left for another request that looks the same.
    ground.ask(Duration::from_secs(30), 1, &[Ok(7)]).await.1.unwrap();
    assert_eq!(ground.resumed(), [None]);
}

#[tokio::test]
async fn time_that_is_up_and_a_client_that_comes_again() {
    let ground = Ground::new();
    let (took, answer) = ground.ask(400 * MS, 1, &[pending(Some("mine"), None)]).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Aborted, "not yet"));
    assert!(took < 380 * MS && ground.tries() >= 2, "{took:?}, {} tries", ground.tries());
    // Another request finds nothing.
    ground.ask(400 * MS, 2, &[Ok(1)]).await.1.unwrap();
    assert_eq!(ground.resumed(), [None]);
    // The same one finds it, also after a try that came to nothing.
    assert_eq!(kind(ground.ask(400 * MS, 1, &[Err(Error::unavailable("lost"))]).await.1), ErrorKind::Unavailable);
    assert_eq!(ground.resumed(), [Some("mine".into())]);
    assert_eq!(kind(ground.ask(400 * MS, 1, &[Err(Error::not_found("gone"))]).await.1), ErrorKind::NotFound);
    assert_eq!(ground.resumed(), [Some("mine".into())]);
    // That was final.
    ground.ask(400 * MS, 1, &[Ok(1)]).await.1.unwrap();
    assert_eq!(ground.resumed(), [None]);
}

#[tokio::test]
async fn nobody_is_asked_before_it_makes_sense() {
    let ground = Ground::new();
    let (took, answer) = ground.ask(Duration::from_secs(2), 1, &[pending(Some("r"), Some(5000))]).await;
    assert_eq!((kind(answer), ground.tries()), (ErrorKind::Aborted, 1));
    assert!(took < Duration::from_secs(1), "it waits for what can't come: {took:?}");
    // The client comes again at once.
    let (_, answer) = ground.ask(Duration::from_secs(2), 1, &[Ok(1)]).await;
    assert_eq!((answer.unwrap_err().message(), ground.tries()), ("not yet", 0));
    // One that has the time is heard when it is time.
    assert_eq!(kind(ground.ask(500 * MS, 2, &[pending(Some("r"), Some(600))]).await.1), ErrorKind::Aborted);
    let (took, answer) = ground.ask(Duration::from_secs(30), 2, &[Ok(1)]).await;
    assert_eq!(answer, Ok(1));
    assert!((300 * MS..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert_eq!(ground.resumed(), [Some("r".into())]);
}

#[tokio::test]
async fn what_is_throttled_waits_for_its_turn() {
    let ground = Ground::new();
    let (took, answer) = ground.ask(Duration::from_secs(30), 1, &[throttled(50), throttled(30), Ok(1)]).await;
    assert_eq!((answer, ground.tries()), (Ok(1), 3));
    assert!(took >= 80 * MS, "{took:?}");
    assert_eq!(ground.pace.turns.load(SeqCst), 2);
    assert_eq!(*ground.pace.told.lock().unwrap(), [50 * MS, 30 * MS]);
    let (took, answer) = ground.ask(300 * MS, 1, &[throttled(100)]).await;
    assert_eq!(kind(answer), ErrorKind::Unavailable);
    assert!(took < 290 * MS && ground.tries() == 3, "{took:?}, {} tries", ground.tries());
    // Nobody has said that it helps to come again: the client is asked.
    let answers = [Err(Error::unavailable("a lost reply")), Ok(1)];
    assert_eq!(kind(ground.ask(Duration::from_secs(30), 1, &answers).await.1), ErrorKind::Unavailable);
    assert_eq!(ground.tries(), 1);
}

#[tokio::test]
async fn shutting_down_ends_the_wait() {
    let ground = Ground::new();
    let closing = async {
        tokio::time::sleep(50 * MS).await;
        ground.asking.work.close(Duration::ZERO).await
    };
    let answers = [pending(Some("r"), Some(10_000))];
    let (asked, _) = tokio::join!(ground.ask(Duration::from_secs(60), 1, &answers), closing);
    assert_eq!(kind(asked.1), ErrorKind::Aborted);
    assert!(asked.0 < Duration::from_secs(5), "{:?}", asked.0);
}
