//! Lists read page by page while their contents change: what was there all the time appears exactly once.

use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, Host, HostBuilder, Places, Sandbox,
    client::{Use, create_request},
};
use std::{
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tonic::{Code, Status};

const VOLUMES: usize = 10_000;
const SNAPSHOTS: usize = 300;
const IN_FLIGHT: usize = 32;
/// How many volumes each of the others has at a time.
const STANDING: usize = 50;
/// Longest walk over all volumes. A quiet machine needs a tenth of it.
const WALK: Duration = Duration::from_secs(30);

async fn directory(client: &Client, name: &str) -> Result<v1::Volume, Status> {
    client.create(create_request(name, 4096, Use::Mount(""), &[("type", "directory")])).await
}

/// CreateSnapshot, again and again while the volume is being read by others: a cut waits for another one, but not for long.
async fn snapshot(client: &Client, name: &str, source: &str) -> Result<v1::Snapshot, Status> {
    let start = Instant::now();
    loop {
        match client.create_snapshot(name, source).await {
            Err(e) if e.code() == Code::Aborted && start.elapsed() < WALK => {}
            done => return done,
        }
    }
}

/// Runs `call` for every number below `count`, so many at a time, and gives the results in order.
async fn many<T: Send + 'static, F: Future<Output = Result<T, Status>> + Send + 'static>(
    count: usize,
    call: impl Fn(usize) -> F,
) -> Vec<T> {
    let (mut running, mut done) = (JoinSet::new(), Vec::with_capacity(count));
    for number in 0..count {
        if running.len() == IN_FLIGHT {
            done.push(running.join_next().await.unwrap().unwrap());
        }
        let call = call(number);
        running.spawn(async move { (number, call.await) });
    }
    done.extend(running.join_all().await);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(number, result)| result.unwrap_or_else(|e| panic!("call {number}: {e}"))).collect()
}

/// Others, who create and delete until they are told to stop.
struct Others {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    running: JoinSet<()>,
}

impl Others {
    /// `round` makes something of its own and takes something of its own away. It gets the number of the task and of the round.
    fn start<F: Future<Output = Result<(), Status>> + Send + 'static>(
        tasks: usize,
        round: impl Fn(usize, usize) -> F + Clone + Send + 'static,
    ) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut running = JoinSet::new();
        for task in 0..tasks {
            let (stop, rounds, round) = (stop.clone(), rounds.clone(), round.clone());
            running.spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    round(task, number).await.unwrap();
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stop, rounds, running }
    }

    fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_all().await;
    }
}

/// A name somewhere in the list, between those of the volumes that stay, and in every round somewhere else.
fn passing(task: usize, round: usize) -> String {
    format!("pvc-{:05}-passing-{task}", (round * 577 + task * 2_503) % VOLUMES)
}

/// All pages: their entries, and how many pages there were.
async fn walk<T>(
    what: &str,
    size: i32,
    mut page: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Status>,
) -> Vec<T> {
    let (start, mut all, mut token, mut pages) = (Instant::now(), Vec::new(), String::new(), 0);
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let (entries, next) = page(size, token).await.unwrap();
        slowest = slowest.max(asked.elapsed());
        assert!(size == 0 || entries.len() <= size as usize, "{what}: {} entries for {size}", entries.len());
        all.extend(entries);
        pages += 1;
        token = next;
        if token.is_empty() {
            break;
        }
    }
    let took = start.elapsed();
    println!("{what}: {} entries in {pages} pages of {size}, {took:?}, slowest page {slowest:?}", all.len());
    assert!(took < WALK, "{what}: a walk took {took:?}");
    all
}

async fn walk_volumes(client: &Client, size: i32) -> Vec<v1::list_volumes_response::Entry> {
    walk("ListVolumes", size, async |max_entries, starting_token| {
        let request = v1::ListVolumesRequest { max_entries, starting_token };
        let page = client.controller.clone().list_volumes(request).await?.into_inner();
        Ok((page.entries, page.next_token))
    })
    .await
}

async fn walk_snapshots(client: &Client, size: i32, source: &str) -> Vec<v1::Snapshot> {
    walk("ListSnapshots", size, async |max_entries, starting_token| {
        let source_volume_id = source.to_owned();
        let request = v1::ListSnapshotsRequest { max_entries, starting_token, source_volume_id, ..Default::default() };
        let page = client.controller.clone().list_snapshots(request).await?.into_inner();
        Ok((page.entries.into_iter().filter_map(|entry| entry.snapshot).collect(), page.next_token))
    })
    .await
}

/// Every one of `stay` appears once, those who pass at most once, nothing else. Gives how many passed.
fn assert_once<'a>(seen: impl Iterator<Item = &'a str>, stay: &[String]) -> usize {
    let mut times: HashMap<&str, usize> = HashMap::new();
    seen.for_each(|id| *times.entry(id).or_default() += 1);
    let wrong: Vec<_> = stay.iter().filter(|id| times.get(id.as_str()) != Some(&1)).collect();
    assert!(wrong.is_empty(), "{} of {} not exactly once, like {:?}", wrong.len(), stay.len(), wrong.first());
    for id in stay {
        times.remove(id.as_str());
    }
    let foreign: Vec<_> = times.keys().filter(|id| !id.contains("-passing-")).collect();
    assert!(foreign.is_empty(), "listed, but not there: {foreign:?}");
    assert!(times.values().all(|times| *times == 1), "listed twice: {times:?}");
    times.len()
}

/// A pool in memory: ten thousand objects are fifty thousand files, and a disk takes half a minute to be rid of those.
fn pool_in_memory(sandbox: &Sandbox) {
    let pool = sandbox.dir("pool");
    rustix::mount::mount("tmpfs", &pool, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
}

fn driver(sandbox: &Sandbox, csi: &'static str) -> Driver {
    Driver { csi, ..Driver::local(sandbox) }
}

async fn restart(sandbox: &Sandbox, host: Option<Host>, csi: &'static str) -> (Host, Client) {
    host.into_iter().for_each(|host| assert!(host.stop().success()));
    let host = HostBuilder::new(sandbox, [driver(sandbox, csi)]).env("BULKHEAD_LOG", "warn").start();
    let client = host.client().await;
    (host, client)
}

/// Walks with each page size while others come and go.
async fn walk_among_others(client: &Client, stay: &[String], sizes: &[i32]) {
    let others = Others::start(4, {
        let client = client.clone();
        move |task, round| {
            let client = client.clone();
            async move {
                directory(&client, &passing(task, round)).await?;
                let Some(oldest) = round.checked_sub(STANDING) else { return Ok(()) };
                client.delete(&format!("fast/{}", passing(task, oldest))).await
            }
        }
    });
    for &size in sizes {
        let before = others.rounds();
        let listed = walk_volumes(client, size).await;
        let ids = listed.iter().map(|entry| entry.volume.as_ref().unwrap().volume_id.as_str());
        let passed = assert_once(ids, stay);
        let rounds = others.rounds() - before;
        println!("    meanwhile others made {rounds}; {passed} of theirs were seen");
        assert!(rounds > 0 && passed > 0, "nobody came or went during the walk");
    }
    others.stop().await;
}

#[test]
fn of_ten_thousand_volumes_each_is_listed_once_while_others_come_and_go() {
    sandboxed(async |s: Rc<Sandbox>| {
        pool_in_memory(&s);
        let (host, client) = restart(&s, None, "1.13").await;
        let start = Instant::now();
        let volumes = many(VOLUMES, |number| {
            let client = client.clone();
            async move { directory(&client, &format!("pvc-{number:05}")).await }
        })
        .await;
        println!("{VOLUMES} volumes made, {IN_FLIGHT} in flight, {:?}", start.elapsed());
        let stay: Vec<_> = volumes.into_iter().map(|volume| volume.volume_id).collect();
        walk_among_others(&client, &stay, &[137, 1000, 0]).await;
        // The older generation adds a condition to every volume.
        let (host, client) = restart(&s, Some(host), "1.12").await;
        walk_among_others(&client, &stay, &[137, 999]).await;
        let listed = walk_volumes(&client, 1000).await;
        let well = |entry: &v1::list_volumes_response::Entry| {
            let condition = entry.status.as_ref().and_then(|status| status.volume_condition.as_ref());
            condition.is_some_and(|condition| !condition.abnormal)
        };
        assert!(listed.len() >= VOLUMES && listed.iter().all(well), "a volume without a condition, or an abnormal one");
        drop(host);
    });
}

#[test]
fn of_hundreds_of_snapshots_each_is_listed_once_while_others_come_and_go() {
    sandboxed(async |s: Rc<Sandbox>| {
        let (host, client) = restart(&s, None, "1.13").await;
        let sources =
            [directory(&client, "a").await.unwrap().volume_id, directory(&client, "b").await.unwrap().volume_id];
        let snapshots = many(SNAPSHOTS, |number| {
            let (client, source) = (client.clone(), sources[number % 2].clone());
            async move { snapshot(&client, &format!("snap-{number:05}"), &source).await }
        })
        .await;
        let stay: Vec<_> = snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect();
        let of_a: Vec<_> = snapshots.iter().filter(|snapshot| snapshot.source_volume_id == sources[0]).collect();
        let of_a: Vec<_> = of_a.into_iter().map(|snapshot| snapshot.snapshot_id.clone()).collect();
        let (host, client) = restart(&s, Some(host), "1.12").await;
        let others = Others::start(4, {
            let (client, sources) = (client.clone(), sources.clone());
            move |task, round| {
                let (client, source) = (client.clone(), sources[(task + round) % 2].clone());
                async move {
                    let near = (round * 37 + task * 101) % SNAPSHOTS;
                    let made = snapshot(&client, &format!("snap-{near:05}-passing-{task}"), &source).await?;
                    client.delete_snapshot(&made.snapshot_id).await
                }
            }
        });
        for (source, stay, size) in [("", &stay, 7), ("", &stay, 137), (&*sources[0], &of_a, 10), ("", &stay, 0)] {
            let before = others.rounds();
            let mut listed = walk_snapshots(&client, size, source).await;
            while size > 0 && others.rounds() == before {
                listed = walk_snapshots(&client, size, source).await;
            }
            assert_once(listed.iter().map(|snapshot| snapshot.snapshot_id.as_str()), stay);
            assert!(listed.iter().all(|s| source.is_empty() || s.source_volume_id == source), "of another source");
        }
        others.stop().await;
        for id in stay.iter() {
            client.delete_snapshot(id).await.unwrap();
        }
        for id in &sources {
            client.delete(id).await.unwrap();
        }
        assert_eq!(walk_snapshots(&client, 0, "").await, vec![]);
        Places::of(&s).assert_empty(&s);
        assert!(host.stop().success());
    });
}
