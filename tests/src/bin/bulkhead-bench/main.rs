//! `make bench`: medians over interleaved rounds, client and server on different cores, as ratios to a null RPC of the same
//! run. The null RPC is CreateVolume with the same request and reply on the same gRPC stack, without locks, a sandbox or
//! anything else behind it.

use anyhow::{Context, Result, ensure};
use bulkhead_proto::v1::{self, controller_client::ControllerClient, node_client::NodeClient};
use bulkhead_tests::{
    Driver, Host, HostBuilder, Sandbox,
    client::{Use, connect, create_request},
};
use clap::Parser;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tonic::transport::Channel;

mod growth;
mod http;
mod life;
mod null;
mod snapshots;

const MIB: i64 = 1 << 20;
const CLIENT_CORE: usize = 0;
const SERVER_CORE: usize = 1;

#[derive(Parser)]
struct Arguments {
    /// Interleaved rounds; the figures are medians over them.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Calls of each kind in a round.
    #[arg(long, default_value_t = 500)]
    calls: usize,
    /// Microseconds between two calls; 0 = the next call follows at once.
    #[arg(long, default_value_t = 0)]
    pause_us: u64,
    /// Only the null RPC and the call without disk, for a profiler.
    #[arg(long)]
    no_disk_only: bool,
    /// Only these tables, of `calls`, `http`, `life`, `growth` and `snapshots`; all of them if none is named.
    #[arg(long, value_delimiter = ',')]
    tables: Vec<String>,
    /// Volumes of the table `life`; a tenth of that as ext4 images.
    #[arg(long, default_value_t = 1000)]
    volumes: usize,
    /// Volumes that are there already in the pools of the table `growth`; the first is what the others are compared with.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1000, 10_000])]
    filled: Vec<usize>,
    /// Microseconds that the null RPC spins: tells what a call that only takes longer would cost a client.
    #[arg(long, default_value_t = 0)]
    null_spin_us: u64,
    /// Core of the server of the table `http`.
    #[arg(long, default_value_t = CLIENT_CORE)]
    cloud_core: usize,
    /// Milliseconds that this server takes for each answer: what the overhead is where storage is far away.
    #[arg(long, default_value_t = 0)]
    cloud_ms: u16,
    /// Serve the null RPC on this socket; used by the benchmark itself.
    #[arg(long)]
    null_server: Option<PathBuf>,
    /// Serve what the table `http` asks: `PORT,MILLISECONDS`, at 127.0.0.1; used by the benchmark itself.
    #[arg(long, value_delimiter = ',', num_args = 1)]
    cloud_server: Vec<u16>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(socket) = &arguments.null_server {
        return null::serve(socket, Duration::from_micros(arguments.null_spin_us));
    }
    if let [port, millis] = arguments.cloud_server[..] {
        return http::serve(port, Duration::from_millis(millis.into()));
    }
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores > SERVER_CORE, "two cores are needed: client and server are pinned to different ones");
    let sandbox = Sandbox::enter();
    // Children inherit the core; the client goes back to its own afterwards.
    pin(SERVER_CORE)?;
    let host = HostBuilder::new(&sandbox, [example(), Driver::local(&sandbox)]).env("BULKHEAD_LOG", "warn").start();
    let null_socket = sandbox.path().join("null.sock");
    let _null = Helper::start("--null-server", &null_socket)?;
    pin(CLIENT_CORE)?;
    let sockets = Sockets {
        null: null_socket,
        example: sandbox.path().join("example.csi.bulkhead.dev.sock"),
        local: sandbox.path().join("local.csi.bulkhead.dev.sock"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tables(&arguments, &sandbox, &sockets, host))
}

/// This program once more, as one of its servers. Killed when dropped.
struct Helper(Child);

impl Helper {
    fn start(option: &str, value: impl AsRef<OsStr>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Self(command.arg(option).arg(value).stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All tables that are asked for, one after the other.
async fn tables(arguments: &Arguments, sandbox: &Sandbox, sockets: &Sockets, host: Host) -> Result<()> {
    let wanted = |table: &str| {
        let named = arguments.tables.iter().any(|name| name == table);
        named || arguments.tables.is_empty() && (!arguments.no_disk_only || table == "calls")
    };
    let null = null::Null::connect(&sockets.null).await;
    if wanted("calls") {
        let mut measured = measure(arguments, sockets, &null).await?;
        print(arguments, &mut measured);
    }
    drop(host);
    if wanted("calls") {
        print_inside(arguments, sandbox).await?;
    }
    if wanted("http") {
        http::table(sandbox, &null, arguments).await?;
    }
    if wanted("life") {
        life::table(sandbox, &null, arguments.volumes).await?;
    }
    if wanted("growth") {
        // At least 500 calls of each kind.
        let calls = (arguments.calls / 8).max(1);
        growth::table(sandbox, &arguments.filled, arguments.rounds, calls).await?;
    }
    if wanted("snapshots") {
        snapshots::table(sandbox, arguments.rounds).await?;
    }
    Ok(())
}

async fn print_inside(arguments: &Arguments, sandbox: &Sandbox) -> Result<()> {
    let inside = inside_the_host(sandbox, arguments.calls, Duration::from_micros(arguments.pause_us)).await?;
    println!(
        "{:<28} {inside:>9.1}   from the parsed message to the answer, by the host's own clock",
        "  of that, inside the host"
    );
    Ok(())
}

/// What the host itself says a call without disk takes: the median of its log lines, in microseconds.
async fn inside_the_host(sandbox: &Sandbox, calls: usize, pause: Duration) -> Result<f64> {
    pin(SERVER_CORE)?;
    let host = HostBuilder::new(sandbox, [example()]).env("BULKHEAD_LOG", "debug").start();
    pin(CLIENT_CORE)?;
    let before = host.log().len();
    create(host.client().await.channel.bare(), calls, pause, |_| "pvc".into()).await?;
    let log = host.log();
    let took = |line: &str| {
        line.contains("CreateVolume").then(|| line.split_once(" us=")?.1.split(' ').next()?.parse().ok())?
    };
    let times: Vec<f64> = log[before..].lines().filter_map(took).collect();
    ensure!(times.len() == calls, "{} log lines for {calls} calls", times.len());
    Ok(median(times))
}

fn example() -> Driver {
    Driver { config: "server: nfs.example.com\nexport: /export".into(), ..Driver::plain("example") }
}

struct Sockets {
    null: PathBuf,
    example: PathBuf,
    local: PathBuf,
}

fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).context("sched_setaffinity")
}

/// Times of one kind of call: for each round its p50 and p99, in microseconds.
struct Kind {
    name: &'static str,
    rounds: Vec<(f64, f64)>,
}

/// Times of single calls.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    /// A percentile in microseconds, `part` of 1.
    fn at(&mut self, part: f64) -> f64 {
        self.0.sort_unstable();
        self.0[((self.0.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6
    }
}

async fn measure(arguments: &Arguments, sockets: &Sockets, null: &null::Null) -> Result<Vec<Kind>> {
    let example = connect(&sockets.example).await.bare().clone();
    let local = connect(&sockets.local).await.bare().clone();
    let names = [
        "null RPC",
        "NodeGetCapabilities",
        "CreateVolume, no disk",
        "CreateVolume, local, new",
        "CreateVolume, local, again",
    ];
    let mut kinds: Vec<_> = names.into_iter().map(|name| Kind { name, rounds: vec![] }).collect();
    // One round to warm up, which does not count.
    for round in 0..=arguments.rounds {
        let (calls, pause) = (arguments.calls, Duration::from_micros(arguments.pause_us));
        let mut times = vec![
            create(&null.0, calls, pause, |_| "pvc".into()).await?,
            capabilities(&example, calls).await?,
            create(&example, calls, pause, |_| "pvc".into()).await?,
        ];
        if !arguments.no_disk_only {
            times.push(create(&local, calls / 5, pause, |n| format!("pvc-{round}-{n}")).await?);
            times.push(create(&local, calls / 5, pause, |n| format!("pvc-{round}-{n}")).await?);
            delete_all(&local).await?;
        }
        for (kind, times) in kinds.iter_mut().zip(times) {
            let mut times = Times(times);
            if round > 0 {
                kind.rounds.push((times.at(0.5), times.at(0.99)));
            }
        }
    }
    kinds.retain(|kind| !kind.rounds.is_empty());
    Ok(kinds)
}

async fn create(
    channel: &Channel,
    calls: usize,
    pause: Duration,
    name: impl Fn(usize) -> String,
) -> Result<Vec<Duration>> {
    let mut client = ControllerClient::new(channel.clone());
    let mut times = Vec::with_capacity(calls);
    for n in 0..calls {
        let mut request = create_request(&name(n), 32 * MIB, Use::Mount("ext4"), &[]);
        for (key, value) in [("pvc/name", "data-postgres-0"), ("pvc/namespace", "production"), ("pv/name", "pvc-d4c3")]
        {
            request.parameters.insert(format!("csi.storage.k8s.io/{key}"), value.into());
        }
        let start = Instant::now();
        client.create_volume(request).await?;
        times.push(start.elapsed());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    Ok(times)
}

async fn capabilities(channel: &Channel, calls: usize) -> Result<Vec<Duration>> {
    let mut client = NodeClient::new(channel.clone());
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        client.node_get_capabilities(v1::NodeGetCapabilitiesRequest {}).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

async fn delete_all(channel: &Channel) -> Result<()> {
    let mut client = ControllerClient::new(channel.clone());
    let listed = client.list_volumes(v1::ListVolumesRequest::default()).await?.into_inner();
    for volume in listed.entries.into_iter().filter_map(|entry| entry.volume) {
        client.delete_volume(v1::DeleteVolumeRequest { volume_id: volume.volume_id, ..Default::default() }).await?;
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(arguments: &Arguments, kinds: &mut [Kind]) {
    println!(
        "medians of {} interleaved rounds of {} calls, one in flight; client on core {CLIENT_CORE}, server on core {SERVER_CORE}",
        arguments.rounds, arguments.calls
    );
    println!("{:<28} {:>9} {:>9} {:>8} {:>17}", "", "p50 us", "p99 us", "/ null", "rounds' ratio");
    let null: Vec<f64> = kinds[0].rounds.iter().map(|r| r.0).collect();
    for kind in kinds {
        let p50 = median(kind.rounds.iter().map(|r| r.0).collect());
        let p99 = median(kind.rounds.iter().map(|r| r.1).collect());
        // Each round against the null RPC of the same round: what the machine did meanwhile cancels out.
        let mut ratios: Vec<_> = kind.rounds.iter().zip(&null).map(|(r, null)| r.0 / null).collect();
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        println!(
            "{:<28} {p50:>9.1} {p99:>9.1} {:>8.2} {:>17}",
            kind.name,
            median(ratios),
            format!("{least:.2} to {most:.2}")
        );
    }
}
