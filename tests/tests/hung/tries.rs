//! Calls about volumes on a pool that does not answer.

use crate::rig::{Services, Wires, directory, is_asked_again, mounted};
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client,
    patient::{searched, within},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

/// Volumes that are there before it hangs: a third each made, staged, published.
pub const VOLUMES: usize = 24;
/// Tries at once.
const IN_FLIGHT: usize = 16;
/// Nothing takes so long: the host has no deadline then.
const NEVER: Duration = Duration::from_secs(60);

pub fn volume(number: usize) -> v1::Volume {
    v1::Volume { volume_id: format!("slow/v{number}"), volume_context: Default::default(), ..Default::default() }
}

/// A volume, and its paths: whoever asks the file system for them would hang too.
#[derive(Clone)]
pub struct Prepared {
    pub volume: v1::Volume,
    pub staging: String,
    pub target: String,
}

impl Prepared {
    pub fn of(client: &Client, volume: v1::Volume) -> Self {
        let (staging, target) = (client.staging(&volume.volume_id), client.target("pod", &volume.volume_id));
        Self { volume, staging, target }
    }
}

/// Makes all volumes what they are to be, by the calls that an orchestrator repeats: whatever was cut short before.
pub async fn prepare(services: &Services) -> Vec<Prepared> {
    let (client, mut volumes) = (&services.client, vec![]);
    for number in 0..VOLUMES {
        let volume = client.create(directory(&format!("v{number}"), "slow")).await.unwrap();
        if number % 3 > 0 {
            client.stage(&volume, mounted()).await.unwrap();
        } else {
            client.unstage(&volume.volume_id).await.unwrap();
        }
        if number % 3 > 1 {
            client.publish(&volume, mounted(), "pod", false).await.unwrap();
        } else {
            client.unpublish(&volume.volume_id, "pod").await.unwrap();
        }
        volumes.push(Prepared::of(client, volume));
    }
    volumes
}

/// The same calls succeed, at the latest when what hung has ended and given up its locks.
pub async fn converged(services: &Services, patience: Duration) -> Vec<Prepared> {
    let start = Instant::now();
    // Something may still be at work on a volume of which the try was given up.
    loop {
        let probe = services.client.clone();
        let free = async {
            for number in 0..VOLUMES {
                let id = volume(number).volume_id;
                probe.unpublish(&id, "pod").await?;
                probe.unstage(&id).await?;
            }
            probe.create(directory("one", "slow")).await.map(drop)
        };
        match free.await {
            Ok(()) => return prepare(services).await,
            Err(status) => {
                assert!(is_asked_again(&status), "{status}");
                assert!(start.elapsed() < patience, "a lock is kept: {status}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Takes all away, also what tries have made.
pub async fn clear(services: &Services) {
    for number in 0..VOLUMES {
        let id = volume(number).volume_id;
        services.client.unpublish(&id, "pod").await.unwrap();
        services.client.unstage(&id).await.unwrap();
    }
    let listed = services.controller.clone().list_volumes(v1::ListVolumesRequest::default()).await.unwrap();
    for entry in listed.into_inner().entries {
        let id = entry.volume.unwrap().volume_id;
        if id.starts_with("slow/") {
            services.client.delete(&id).await.unwrap();
        }
    }
}

/// What became of the tries of a window.
#[derive(Debug, Default)]
pub struct Outcome {
    pub codes: BTreeMap<String, usize>,
    /// How much later than their deadlines they ended.
    pub late: Vec<Duration>,
}

impl Outcome {
    pub fn add(&mut self, other: Self) {
        self.late.extend(other.late);
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
    }
}

/// One call, with a deadline.
async fn attempt(services: Services, number: usize, volumes: &[Prepared], timeout: Duration) -> Result<(), Status> {
    let Services { mut controller, mut node, .. } = services;
    let Prepared { volume, staging, target } = volumes[number * 7 % volumes.len()].clone();
    let id = volume.volume_id.clone();
    match number % 8 {
        0 => {
            let fresh = directory(&format!("try{number}"), "slow");
            searched(controller.create_volume(within(timeout, fresh)).await).map(drop)
        }
        1 => searched(controller.create_volume(within(timeout, directory("one", "slow"))).await).map(drop),
        2 => {
            let parameters = [("pool".to_owned(), "slow".to_owned())].into();
            let request = v1::GetCapacityRequest { parameters, ..Default::default() };
            searched(controller.get_capacity(within(timeout, request)).await).map(drop)
        }
        3 => {
            let request = v1::DeleteVolumeRequest { volume_id: format!("slow/gone{number}"), ..Default::default() };
            searched(controller.delete_volume(within(timeout, request)).await).map(drop)
        }
        4 => {
            let request = v1::NodeStageVolumeRequest {
                volume_id: id,
                staging_target_path: staging,
                volume_capability: Some(mounted()),
                volume_context: volume.volume_context,
                ..Default::default()
            };
            searched(node.node_stage_volume(within(timeout, request)).await).map(drop)
        }
        5 => {
            let request = v1::NodeGetVolumeStatsRequest { volume_id: id, volume_path: staging, ..Default::default() };
            searched(node.node_get_volume_stats(within(timeout, request)).await).map(|found| {
                let condition = found.volume_condition.expect("a condition");
                assert!(condition.abnormal && found.usage.is_empty(), "{condition:?}, {:?}", found.usage);
            })
        }
        6 => {
            let request = v1::NodeUnpublishVolumeRequest { volume_id: id, target_path: target };
            searched(node.node_unpublish_volume(within(timeout, request)).await).map(drop)
        }
        _ => {
            let request = v1::NodeUnstageVolumeRequest { volume_id: id, staging_target_path: staging };
            searched(node.node_unstage_volume(within(timeout, request)).await).map(drop)
        }
    }
}

/// These tries, several at once, on a thread of their own. None may succeed but those that need nothing of the pool.
/// Deadlines are 100 to 500 of these units.
pub fn run(
    wires: Wires,
    numbers: std::ops::Range<usize>,
    volumes: Vec<Prepared>,
    unit: Duration,
) -> std::thread::JoinHandle<Outcome> {
    let all = async move {
        let (services, volumes) = (wires.connect().await, Arc::new(volumes));
        let (places, mut running) = (Arc::new(Semaphore::new(IN_FLIGHT)), tokio::task::JoinSet::new());
        for number in numbers {
            let place = places.clone().acquire_owned().await.unwrap();
            let (services, volumes) = (services.clone(), volumes.clone());
            running.spawn(async move {
                let units = 100 + u32::try_from(number * 37 % 400).unwrap();
                let (timeout, start) = (unit * units, Instant::now());
                let answer = tokio::time::timeout(NEVER, attempt(services, number, &volumes, timeout)).await;
                drop(place);
                (number, answer.expect("an answer"), start.elapsed().saturating_sub(timeout))
            });
        }
        let mut outcome = Outcome::default();
        while let Some(ended) = running.join_next().await {
            let (number, answer, late) = ended.unwrap();
            outcome.late.push(late);
            let code = match &answer {
                // A volume that isn't staged or published is unpublished and unstaged without a look at the pool.
                Ok(()) if number % 8 >= 6 => "OK".to_owned(),
                // One that is staged does not answer, says its condition; one that isn't has none.
                Ok(()) if number % 8 == 5 => "abnormal".to_owned(),
                Err(status) if number % 8 == 5 && status.code() == Code::NotFound => "NotFound".to_owned(),
                Err(status) if is_asked_again(status) => format!("{:?}", status.code()),
                other => panic!("try {number}: {other:?}"),
            };
            *outcome.codes.entry(code).or_default() += 1;
        }
        outcome
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || runtime.block_on(all))
}
