//! Table `growth`: what a call costs more in a pool that has many volumes already. Pools of several sizes are measured in turn, so
//! that what the machine does meanwhile meets all of them.

use crate::{CLIENT_CORE, SERVER_CORE, Times, median, pin};
use anyhow::Result;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Sandbox,
    client::{Use, create_request},
};
use std::time::Instant;
use tokio::task::JoinSet;
use tonic::Status;

const CALLS: [&str; 5] = ["CreateVolume", "CreateVolume again", "ControllerGetVolume", "GetCapacity", "DeleteVolume"];
const FILLERS: usize = 32;

struct Pool {
    volumes: usize,
    client: Client,
    /// For each kind of call, the median of each round, in microseconds.
    rounds: [Vec<f64>; CALLS.len()],
}

fn request(name: &str) -> v1::CreateVolumeRequest {
    create_request(name, 32 << 20, Use::Mount("ext4"), &[])
}

async fn fill(client: &Client, volumes: usize) -> Result<()> {
    let mut fillers = JoinSet::new();
    for filler in 0..FILLERS {
        let client = client.clone();
        fillers.spawn(async move {
            for number in (filler..volumes).step_by(FILLERS) {
                client.create(request(&format!("pvc-{number:05}"))).await?;
            }
            Ok::<_, Status>(())
        });
    }
    fillers.join_all().await.into_iter().collect::<Result<(), _>>()?;
    Ok(())
}

async fn call(client: &Client, n: usize, name: &str) -> Result<(), Status> {
    let volume_id = format!("fast/{name}");
    let mut controller = client.controller.clone();
    match n {
        0 | 1 => client.create(request(name)).await.map(drop),
        2 => {
            let request = v1::ControllerGetVolumeRequest { volume_id };
            controller.controller_get_volume(request).await.map(drop)
        }
        3 => controller.get_capacity(v1::GetCapacityRequest::default()).await.map(drop),
        _ => client.delete(&volume_id).await,
    }
}

/// Prints the table: in each round so many calls of each kind in each of the pools.
pub async fn table(sandbox: &Sandbox, sizes: &[usize], rounds: usize, calls: usize) -> Result<()> {
    let names: Vec<_> = sizes.iter().map(|size| format!("of-{size}.csi.bulkhead.dev")).collect();
    let driver = |(size, name): (&usize, &String)| Driver {
        name: name.clone(),
        pools: vec![("fast".into(), sandbox.dir(&format!("pool-of-{size}")))],
        ..Driver::local(sandbox)
    };
    pin(SERVER_CORE)?;
    let drivers: Vec<_> = sizes.iter().zip(&names).map(driver).collect();
    let host = HostBuilder::new(sandbox, drivers).env("BULKHEAD_LOG", "warn").apart("growth").start();
    pin(CLIENT_CORE)?;
    let mut pools = Vec::new();
    for (&volumes, name) in sizes.iter().zip(&names) {
        let client = host.client_of(name).await;
        fill(&client, volumes).await?;
        pools.push(Pool { volumes, client, rounds: Default::default() });
    }
    // One round to warm up, which does not count.
    for round in 0..=rounds {
        for pool in &mut pools {
            for n in 0..CALLS.len() {
                let mut times = Times::default();
                for number in 0..calls {
                    // All over the list, between those that are there.
                    let name = format!("pvc-{:05}-{round}", (number * 9_973) % 10_000);
                    let start = Instant::now();
                    call(&pool.client, n, &name).await?;
                    times.0.push(start.elapsed());
                }
                if round > 0 {
                    pool.rounds[n].push(times.at(0.5));
                }
            }
        }
    }
    print(&pools, rounds, calls);
    Ok(())
}

fn print(pools: &[Pool], rounds: usize, calls: usize) {
    println!("\ncalls in a pool that has volumes already; medians of {rounds} interleaved rounds of {calls} calls");
    print!("{:<20}", "");
    for (n, pool) in pools.iter().enumerate() {
        print!(" {:>13}", format!("p50 us, {}", pool.volumes));
        if n > 0 {
            print!(" {:>9}", "ratio");
        }
    }
    println!();
    for (n, name) in CALLS.iter().enumerate() {
        print!("{name:<20}");
        for (at, pool) in pools.iter().enumerate() {
            print!(" {:>13.1}", median(pool.rounds[n].clone()));
            if at > 0 {
                let ratios = pool.rounds[n].iter().zip(&pools[0].rounds[n]).map(|(full, empty)| full / empty);
                print!(" {:>9.2}", median(ratios.collect()));
            }
        }
        println!();
    }
}
