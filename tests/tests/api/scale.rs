//! Many volumes at once, and many calls on one volume at once.

use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Places, Sandbox,
    client::{Use, capability, create_request},
};
use std::{
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};
use tonic::{Code, Status};

const MIB: i64 = 1 << 20;
const VOLUMES: usize = 1000;
const IN_FLIGHT: usize = 64;

/// Every tenth is an ext4 image of 16 to 64 MiB, the others are directories.
fn is_image(number: usize) -> bool {
    number.is_multiple_of(10)
}

async fn create(client: &Client, number: usize) -> v1::Volume {
    let name = format!("pvc-{number}");
    let request = if is_image(number) {
        create_request(&name, (16 + (number / 10 % 4) as i64 * 16) * MIB, Use::Mount("ext4"), &[])
    } else {
        create_request(&name, MIB, Use::Mount(""), &[("type", "directory")])
    };
    client.create(request).await.unwrap()
}

fn cap(number: usize) -> v1::VolumeCapability {
    capability(Use::Mount(if is_image(number) { "ext4" } else { "" }))
}

async fn bring_up(client: Client, number: usize) -> (usize, v1::Volume) {
    let volume = create(&client, number).await;
    client.stage(&volume, cap(number)).await.unwrap();
    let target = client.publish(&volume, cap(number), "pod", false).await.unwrap();
    fs::write(Path::new(&target).join("whose"), &volume.volume_id).unwrap();
    (number, volume)
}

async fn take_down(client: Client, volume: v1::Volume) {
    let id = &volume.volume_id;
    let found = fs::read_to_string(Path::new(&client.target("pod", id)).join("whose")).unwrap();
    assert_eq!(found, *id, "a volume has the data of another one");
    client.unpublish(id, "pod").await.unwrap();
    client.unstage(id).await.unwrap();
    client.delete(id).await.unwrap();
}

/// Runs all of them, so many at a time, and prints how long it took.
async fn in_flight<T: Send + 'static>(
    what: &str,
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let start = Instant::now();
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut running = JoinSet::new();
    for task in tasks {
        let place = places.clone().acquire_owned().await.unwrap();
        running.spawn(async move {
            let done = task.await;
            drop(place);
            done
        });
    }
    let done = running.join_all().await;
    println!("{what}: {} volumes, {IN_FLIGHT} in flight, {:?}", done.len(), start.elapsed());
    done
}

async fn listed(client: &Client) -> usize {
    let (mut count, mut starting_token) = (0, String::new());
    loop {
        let request = v1::ListVolumesRequest { max_entries: 300, starting_token };
        let page = client.controller.clone().list_volumes(request).await.unwrap().into_inner();
        count += page.entries.len();
        starting_token = page.next_token;
        if starting_token.is_empty() {
            return count;
        }
    }
}

#[test]
fn a_thousand_volumes_come_and_go_with_64_in_flight() {
    sandboxed(async |s| {
        let builder = HostBuilder::new(&s, [Driver::local(&s)]);
        let places = Places::of(&s);
        let host = builder.start();
        let client = host.client().await;
        let up = (0..VOLUMES).map(|number| bring_up(client.clone(), number));
        let volumes = in_flight("create, stage, publish", up).await;
        // All are there at once.
        assert_eq!(s.mounts().len(), 2 * VOLUMES);
        assert_eq!(s.loops().len(), VOLUMES / 10);
        assert_eq!(s.journal(&places.state).len(), VOLUMES);
        assert_eq!(listed(&client).await, VOLUMES);
        let down = volumes.into_iter().map(|(_, volume)| take_down(client.clone(), volume));
        in_flight("unpublish, unstage, delete", down).await;
        assert_eq!(listed(&client).await, 0);
        places.assert_empty(&s);
        let socket = builder.socket(&builder.drivers[0].name);
        assert!(socket.exists());
        assert!(host.stop().success());
        assert!(!socket.exists(), "the socket is left");
    });
}

/// A host that stops at one failpoint until it is released.
struct Held {
    client: Client,
    hold: PathBuf,
    places: Places,
    _host: bulkhead_tests::Host,
}

impl Held {
    async fn start(sandbox: &Sandbox, failpoint: &str) -> Self {
        let hold = sandbox.path().join("hold");
        let builder = HostBuilder::new(sandbox, [Driver::local(sandbox)]);
        let host = builder.failpoint(format!("{failpoint}=hold:{}", hold.display())).start();
        Self { client: host.client().await, hold, places: Places::of(sandbox), _host: host }
    }

    /// Begins a call and waits until it is held.
    async fn begin<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> JoinHandle<Result<T, Status>> {
        let call = tokio::spawn(call);
        let reached = self.hold.with_extension("reached");
        let start = Instant::now();
        while !reached.exists() {
            assert!(!call.is_finished() && start.elapsed() < Duration::from_secs(20), "the failpoint is not reached");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        call
    }

    fn release(&self) {
        fs::remove_file(&self.hold).unwrap();
    }

    /// Another volume lives its whole life meanwhile, apart from what would meet the failpoint too.
    async fn others_go_on(&self, volume: &v1::Volume) {
        let (client, id) = (&self.client, &volume.volume_id);
        let cap = || capability(Use::Mount(""));
        client.stage(volume, cap()).await.unwrap();
        let target = client.publish(volume, cap(), "pod", false).await.unwrap();
        client.stats(id, &target).await.unwrap();
        client.expand(id, 2 * MIB, cap()).await.unwrap();
        client.unpublish(id, "pod").await.unwrap();
        client.unstage(id).await.unwrap();
        assert!(listed(client).await >= 1);
    }
}

/// The call is refused with ABORTED, and does not wait to find out.
async fn aborted<T: std::fmt::Debug>(what: &str, call: impl Future<Output = Result<T, Status>>) {
    let start = Instant::now();
    let refused = tokio::time::timeout(Duration::from_secs(5), call).await;
    let refused = refused.unwrap_or_else(|_| panic!("{what} waits")).unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{what}: {refused}");
    assert!(start.elapsed() < Duration::from_secs(1), "{what} took {:?}", start.elapsed());
}

async fn directory(client: &Client, name: &str) -> Result<v1::Volume, Status> {
    client.create(create_request(name, MIB, Use::Mount(""), &[("type", "directory")])).await
}

async fn image(client: &Client, name: &str) -> v1::Volume {
    client.create(create_request(name, 16 * MIB, Use::Mount("ext4"), &[])).await.unwrap()
}

#[test]
fn while_a_stage_is_held_other_calls_on_the_volume_are_aborted_and_other_volumes_go_on() {
    sandboxed(async |s: Rc<Sandbox>| {
        // Only an image that is new comes by here.
        let held = Held::start(&s, "stage.formatted").await;
        let client = held.client.clone();
        let cap = || capability(Use::Mount("ext4"));
        let (volume, other) = (image(&client, "held").await, directory(&client, "other").await.unwrap());
        let id = volume.volume_id.as_str();
        let first = held.begin({
            let (client, volume) = (client.clone(), volume.clone());
            async move { client.stage(&volume, capability(Use::Mount("ext4"))).await }
        });
        let first = first.await;
        let found = held.places.snapshot(&s, id);
        aborted("stage", client.stage(&volume, cap())).await;
        aborted("unstage", client.unstage(id)).await;
        aborted("publish", client.publish(&volume, cap(), "pod", false)).await;
        aborted("unpublish", client.unpublish(id, "pod")).await;
        aborted("node expand", client.node_expand(id, &client.staging(id), 16 * MIB)).await;
        aborted("expand", client.expand(id, 32 * MIB, cap())).await;
        aborted("delete", client.delete(id)).await;
        assert_eq!(held.places.snapshot(&s, id), found, "a call that is refused changes nothing");
        held.others_go_on(&other).await;
        held.release();
        first.await.unwrap().unwrap();
        let staged = held.places.snapshot(&s, id);
        client.stage(&volume, cap()).await.unwrap();
        assert_eq!(held.places.snapshot(&s, id), staged, "a repeat gives the same");
        client.unstage(id).await.unwrap();
        client.delete(id).await.unwrap();
        client.delete(&other.volume_id).await.unwrap();
        held.places.assert_empty(&s);
    });
}

#[test]
fn while_a_create_is_held_the_same_name_is_aborted_and_other_volumes_go_on() {
    sandboxed(async |s: Rc<Sandbox>| {
        let other = {
            let host = HostBuilder::new(&s, [Driver::local(&s)]).start();
            directory(&host.client().await, "other").await.unwrap()
        };
        let held = Held::start(&s, "pool-create.written").await;
        let client = held.client.clone();
        let begin = |name: &'static str| {
            let client = client.clone();
            async move { directory(&client, name).await }
        };
        let first = held.begin(begin("held")).await;
        aborted("create", begin("held")).await;
        held.others_go_on(&other).await;
        // Another name gets as far as the first one: it does not wait for it.
        let second = tokio::spawn(begin("second"));
        let tmp = held.places.pool.join("tmp");
        let made = || fs::read_dir(&tmp).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
        let start = Instant::now();
        while made() < 2 {
            assert!(start.elapsed() < Duration::from_secs(20), "another name waits");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        aborted("create", begin("second")).await;
        // The second one may have made the file after the first one did, but not come to look at it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.release();
        let (volume, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
        held.client.delete(&second.volume_id).await.unwrap();
        client.delete(&other.volume_id).await.unwrap();
        // A repeat finds the volume, without making anything.
        assert_eq!(begin("held").await.unwrap(), volume);
        client.delete(&volume.volume_id).await.unwrap();
        held.places.assert_empty(&s);
    });
}

#[test]
fn while_an_expansion_or_a_deletion_is_held_other_calls_on_the_volume_are_aborted() {
    sandboxed(async |s: Rc<Sandbox>| {
        let cap = || capability(Use::Mount("ext4"));
        for (failpoint, deletes) in [("pool-resize.grown", false), ("pool-delete.moved", true)] {
            let held = Held::start(&s, failpoint).await;
            let client = held.client.clone();
            let (volume, other) = (image(&client, "held").await, directory(&client, "other").await.unwrap());
            let id = volume.volume_id.clone();
            let call = || {
                let (client, id) = (client.clone(), id.clone());
                async move {
                    if deletes {
                        return client.delete(&id).await;
                    }
                    client.expand(&id, 32 * MIB, capability(Use::Mount("ext4"))).await.map(drop)
                }
            };
            let first = held.begin(call()).await;
            aborted("the same", call()).await;
            aborted("delete", client.delete(&id)).await;
            aborted("stage", client.stage(&volume, cap())).await;
            held.others_go_on(&other).await;
            held.release();
            first.await.unwrap().unwrap();
            call().await.unwrap();
            fs::remove_file(held.hold.with_extension("reached")).unwrap();
            let places = held.places.clone();
            drop(held);
            // Nothing holds this host.
            let host = HostBuilder::new(&s, [Driver::local(&s)]).start();
            let client = host.client().await;
            client.delete(&id).await.unwrap();
            client.delete(&other.volume_id).await.unwrap();
            places.assert_empty(&s);
        }
    });
}

#[test]
fn a_client_that_hangs_up_does_not_free_the_volume_before_the_call_has_ended() {
    sandboxed(async |s: Rc<Sandbox>| {
        let held = Held::start(&s, "stage.formatted").await;
        let client = held.client.clone();
        let volume = image(&client, "held").await;
        let id = volume.volume_id.as_str();
        let first = held.begin({
            let (client, volume) = (client.clone(), volume.clone());
            async move { client.stage(&volume, capability(Use::Mount("ext4"))).await }
        });
        let first = first.await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        for _ in 0..10 {
            aborted("unstage", client.unstage(id)).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        held.release();
        // The call that nobody waits for ends, whole.
        let start = Instant::now();
        let publish = || client.publish(&volume, capability(Use::Mount("ext4")), "pod", false);
        loop {
            match publish().await {
                Ok(_) => break,
                Err(e) => assert_eq!(e.code(), Code::Aborted, "{e}"),
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the volume is never free");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        client.unpublish(id, "pod").await.unwrap();
        client.unstage(id).await.unwrap();
        client.delete(id).await.unwrap();
        held.places.assert_empty(&s);
    });
}
