//! A thousand calls about a pool that does not answer, and what others notice of them.

use crate::{
    process::Resources,
    rig::{BOTH, OTHER, Rig, directory, mounted, names},
    sandboxed,
    tries::{self, Outcome},
};
use bulkhead_proto::v1;
use bulkhead_tests::{Client, Sandbox};
use std::{
    collections::BTreeMap,
    thread::JoinHandle,
    time::{Duration, Instant},
};

const TRIES: usize = 1_000;
const WINDOWS: usize = 5;
/// Threads that a pool may cost: those of its lanes in either half, and of questions about its volumes.
const LOST: usize = 16 + 16 + 20;
/// Idle windows are as long as those in which it hangs, about.
const IDLE: Duration = Duration::from_secs(4);

/// How long calls about volumes elsewhere took, by what they were.
#[derive(Default)]
struct Figures(BTreeMap<&'static str, Vec<Duration>>);

impl Figures {
    async fn take<T>(&mut self, what: &'static str, call: impl Future<Output = Result<T, tonic::Status>>) -> T {
        let start = Instant::now();
        let answer = call.await.unwrap();
        self.0.entry(what).or_default().push(start.elapsed());
        answer
    }

    fn p99(&mut self, what: &str) -> Duration {
        let taken = self.0.get_mut(what).unwrap();
        taken.sort();
        taken[(taken.len() * 99).div_ceil(100) - 1]
    }
}

/// In the driver with the pool that hangs: a volume's calls need its own pool and no other, but for CreateVolume, which has to know that
/// no pool has a volume of that name. And in the other driver.
const KINDS: [&str; 4] = [
    "GetCapacity, another pool",
    "NodeStageVolume, another pool",
    "NodeGetVolumeStats, another pool",
    "CreateVolume, another driver",
];

/// What the calls about volumes elsewhere need.
struct Others {
    both: Client,
    other: Client,
    /// Stays staged.
    staged: v1::Volume,
    /// Is staged and unstaged.
    moving: v1::Volume,
}

impl Others {
    async fn new(both: Client, other: Client) -> Self {
        let staged = both.create(directory("staged", "fast")).await.unwrap();
        both.stage(&staged, mounted()).await.unwrap();
        let moving = both.create(directory("moving", "fast")).await.unwrap();
        Self { both, other, staged, moving }
    }

    /// Calls, one after the other, until it is over.
    async fn call(&self, mut over: impl FnMut() -> bool) -> Figures {
        let Self { both, other, staged, moving } = self;
        let (mut figures, mut controller) = (Figures::default(), both.controller.clone());
        let staging = both.staging(&staged.volume_id);
        while !over() {
            let parameters = [("pool".to_owned(), "fast".to_owned())].into();
            let request = v1::GetCapacityRequest { parameters, ..Default::default() };
            figures.take(KINDS[0], controller.get_capacity(request)).await;
            figures.take(KINDS[1], both.stage(moving, mounted())).await;
            both.unstage(&moving.volume_id).await.unwrap();
            figures.take(KINDS[2], both.stats(&staged.volume_id, &staging)).await;
            let made = figures.take(KINDS[3], other.create(directory("b", "own"))).await;
            other.delete(&made.volume_id).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        figures
    }

    async fn clear(self) {
        self.both.unstage(&self.staged.volume_id).await.unwrap();
        for volume in [self.staged, self.moving] {
            self.both.delete(&volume.volume_id).await.unwrap();
        }
    }
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

#[test]
fn a_thousand_calls_about_a_pool_that_does_not_answer_are_noticed_by_nobody_else() {
    sandboxed(async |s| {
        let rig = Rig::new(&s);
        let others = Others::new(rig.host.client_of(BOTH).await, rig.host.client_of(OTHER).await).await;
        let services = rig.wires().connect().await;
        // What is made once, such as threads and what is compiled late, is made by now.
        let mut volumes = tries::prepare(&services).await;
        let warm_up = Instant::now() + Duration::from_secs(1);
        others.call(|| Instant::now() > warm_up).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
        let before = Resources::of(&rig.host);
        let (mut idle, mut hung, mut outcome, mut most) = (vec![], vec![], Outcome::default(), 0);
        for window in 0..WINDOWS {
            let end = Instant::now() + IDLE;
            idle.push(others.call(|| Instant::now() > end).await);
            rig.slow.hang();
            let begins = window * TRIES / WINDOWS;
            let trying =
                tries::run(rig.wires(), begins..begins + TRIES / WINDOWS, volumes.clone(), Duration::from_millis(1));
            let over = || {
                most = most.max(Resources::of(&rig.host).threads);
                trying.is_finished()
            };
            hung.push(others.call(over).await);
            outcome.add(ended(trying));
            assert!(rig.slow.is_waited_for());
            rig.slow.resume();
            volumes = tries::converged(&services, Duration::from_secs(20)).await;
        }
        assert_bounds(&outcome, before, most);
        for kind in KINDS {
            let of = |windows: &mut Vec<Figures>| median(windows.iter_mut().map(|window| window.p99(kind)).collect());
            let (idle, hung) = (of(&mut idle), of(&mut hung));
            println!("{kind}: p99 {idle:?} idle, {hung:?} beside a pool that hangs");
            assert!(hung <= idle * 2, "{kind}: p99 {idle:?} idle, {hung:?} beside a pool that hangs");
        }
        tries::clear(&services).await;
        others.clear().await;
        Resources::settle(&rig.host, before).await;
        assert_nothing_left(&s);
    });
}

fn ended(trying: JoinHandle<Outcome>) -> Outcome {
    trying.join().expect("tries")
}

fn assert_bounds(outcome: &Outcome, before: Resources, most: usize) {
    let mut late = outcome.late.clone();
    late.sort();
    let (tries, p99) = (late.len(), late[late.len() * 99 / 100]);
    println!("{tries} tries: {:?}; past their deadlines: p99 {p99:?}, at most {:?}", outcome.codes, late[tries - 1]);
    println!("threads: {} before, at most {most}", before.threads);
    assert_eq!(tries, TRIES);
    let ran_out = outcome.codes.get("DeadlineExceeded").copied().unwrap_or(0);
    assert!(ran_out > TRIES / 20, "hardly any call met its deadline: did it hang? {:?}", outcome.codes);
    assert!(p99 < Duration::from_millis(100), "calls end {p99:?} after their deadlines");
    assert!(late[tries - 1] < Duration::from_secs(2), "a call ended {:?} after its deadline", late[tries - 1]);
    assert!(most <= before.threads + LOST, "{} threads have become {most}", before.threads);
}

fn assert_nothing_left(sandbox: &Sandbox) {
    let behind = sandbox.path().join("behind");
    for directory in ["objects", "tmp", "trash", "placing", "freezing"] {
        assert_eq!(names(&behind, directory), Vec::<String>::new(), "{directory}");
    }
    let slow = sandbox.path().join("slow");
    let mounts: Vec<_> = sandbox.mounts().into_iter().filter(|(point, ..)| *point != slow).collect();
    assert_eq!(mounts, vec![], "mounts are left");
    assert_eq!(sandbox.journal(&sandbox.path().join("state")), Vec::<std::path::PathBuf>::new());
}
