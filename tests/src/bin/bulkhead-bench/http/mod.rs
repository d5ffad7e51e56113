//! Table `http`: CreateVolume of the EBS backend, beside a native client that sends the same requests to the same server.
//!
//! The server is on the client's core and the native client on the host's, so that each request to it crosses from one core to the
//! other, whoever sends it. The native client signs its requests and reads the answers, as bytes: making the forms and understanding the
//! XML is part of what the backend is for, so it stays in the overhead.

mod cloud;
mod native;

pub use cloud::serve;

use crate::{Arguments, CLIENT_CORE, Helper, SERVER_CORE, Times, create, median, null::Null, pin};
use anyhow::{Result, ensure};
use bulkhead_tests::{
    Driver, Host, HostBuilder, Sandbox,
    http::{ask, free_port},
};
use cloud::{RECORD, Recorded, ZONE};
use native::Native;
use std::{
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};
use tonic::transport::Channel;

const DRIVER: &str = "ebs.csi.bulkhead.dev";
const REGION: &str = "eu-central-1";
const ROWS: [&str; 3] = ["null RPC", "native client", "CreateVolume, EBS"];

struct Server {
    _process: Helper,
    port: u16,
}

impl Server {
    async fn start(millis: u16) -> Result<Self> {
        let port = free_port();
        let mut process = Helper::start("--cloud-server", format!("{port},{millis}"))?;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(process.0.try_wait()?.is_none(), "the server has ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { _process: process, port })
    }

    fn start_recording(&self) -> Result<()> {
        let answer = ask(self.port, "PUT", RECORD);
        ensure!(answer.status == 200, "the server doesn't record: {answer:?}");
        Ok(())
    }

    /// What was sent meanwhile, all of it with a right signature.
    fn recorded(&self) -> Result<Vec<Recorded>> {
        let requests: Vec<Recorded> = serde_json::from_str(&ask(self.port, "GET", RECORD).body)?;
        ensure!(requests.iter().all(|(_, _, right)| *right), "requests without a right signature: {requests:?}");
        Ok(requests)
    }
}

/// Prints the table.
pub async fn table(sandbox: &Sandbox, null: &Null, arguments: &Arguments) -> Result<()> {
    pin(arguments.cloud_core)?;
    let server = Server::start(arguments.cloud_ms).await?;
    pin(SERVER_CORE)?;
    let host = host(sandbox, server.port);
    pin(CLIENT_CORE)?;
    let ebs = host.client_of(DRIVER).await.channel.bare().clone();
    let (native, requests) = rehearse(&server, &ebs).await?;
    let (calls, pause) = (arguments.calls, Duration::from_micros(arguments.pause_us));
    let mut rounds: [Vec<(f64, f64)>; ROWS.len()] = Default::default();
    // One round to warm up, which does not count.
    for round in 0..=arguments.rounds {
        let times = [
            create(&null.0, calls, pause, |_| "pvc".into()).await?,
            native.calls(calls, pause)?,
            create(&ebs, calls, pause, |_| "pvc".into()).await?,
        ];
        for (row, times) in rounds.iter_mut().zip(times) {
            let mut times = Times(times);
            if round > 0 {
                row.push((times.at(0.5), times.at(0.99)));
            }
        }
    }
    print(arguments, requests, &rounds);
    Ok(())
}

fn host(sandbox: &Sandbox, port: u16) -> Host {
    let driver = Driver {
        access: vec!["local-device"],
        config: format!("region: {REGION}\nclusterId: bench\nendpoint: \"http://127.0.0.1:{port}\"\nzones: [{ZONE}]"),
        backend: format!(
            "auth:\n  aws:\n    type: sigv4\n    service: ec2\n    region: {REGION}\n    \
             credentials: [{{ type: instanceMetadata, endpoint: \"http://127.0.0.1:{port}\" }}]"
        ),
        requests: vec![format!(
            "{{ scheme: http, host: 127.0.0.1, port: {port}, methods: [POST], auth: aws, addresses: [loopback] }}"
        )],
        ..Driver::plain("ebs")
    };
    let builder = HostBuilder::new(sandbox, [driver]).env("BULKHEAD_LOG", "warn").mode("controller");
    builder.apart("http").start()
}

/// Learns from the backend what is sent for one volume, and sees to it that the native client sends the same.
async fn rehearse(server: &Server, ebs: &Channel) -> Result<(Native, usize)> {
    // The first call connects, and fetches keys.
    create(ebs, 1, Duration::ZERO, |_| "pvc".into()).await?;
    server.start_recording()?;
    create(ebs, 1, Duration::ZERO, |_| "pvc".into()).await?;
    let backend = server.recorded()?;
    let native = Native::start(server.port, SERVER_CORE, REGION, &backend)?;
    server.start_recording()?;
    native.calls(1, Duration::ZERO)?;
    let natively = server.recorded()?;
    let alike = |requests: &[Recorded]| requests.iter().map(without_moment).collect::<Vec<_>>();
    let (one, other) = (alike(&backend), alike(&natively));
    ensure!(one == other, "the native client sends something else:\n{other:#?}\nthe backend:\n{one:#?}");
    Ok((native, backend.len()))
}

/// A request but for the moment of its signature. The order of headers doesn't matter.
fn without_moment((headers, body, _): &Recorded) -> (Vec<(String, String)>, String) {
    let of_a_moment = |(name, value): &(String, String)| match name.as_str() {
        "x-amz-date" => (name.clone(), String::new()),
        "authorization" => (name.clone(), value.split("Signature=").next().unwrap_or_default().to_owned()),
        _ => (name.clone(), value.clone()),
    };
    let mut headers: Vec<_> = headers.iter().map(of_a_moment).collect();
    headers.sort();
    (headers, body.clone())
}

fn print(arguments: &Arguments, requests: usize, rounds: &[Vec<(f64, f64)>; ROWS.len()]) {
    let at_once = if arguments.cloud_ms == 0 { "at once".into() } else { format!("in {} ms", arguments.cloud_ms) };
    println!(
        "\nCreateVolume by {requests} requests to a server that answers {at_once}; medians of {} interleaved rounds of {} calls\n\
         client on core {CLIENT_CORE}, server on core {}, host and native client on core {SERVER_CORE}",
        arguments.rounds, arguments.calls, arguments.cloud_core
    );
    println!("{:<28} {:>9} {:>9} {:>9}", "", "p50 us", "p99 us", "/ native");
    // Each round by itself: what the machine did meanwhile cancels out.
    let per_round = |of: &dyn Fn(f64, f64, f64) -> f64| -> Vec<f64> {
        let [null, native, ebs] = rounds;
        (0..ebs.len()).map(|round| of(null[round].0, native[round].0, ebs[round].0)).collect()
    };
    for (row, name) in rounds.iter().zip(ROWS) {
        let ratios = row.iter().zip(&rounds[1]).map(|(row, native)| row.0 / native.0).collect();
        let p50 = median(row.iter().map(|round| round.0).collect());
        let p99 = median(row.iter().map(|round| round.1).collect());
        println!("{name:<28} {p50:>9.1} {p99:>9.1} {:>9.2}", median(ratios));
    }
    let overhead = |what: &str, values: Vec<f64>| {
        let percent = |part: f64| format!("{:.0} %", part * 100.0);
        let (least, most) =
            (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(f64::MIN, f64::max));
        println!("{what:<28} {:>9}   rounds: {} to {}", percent(median(values)), percent(least), percent(most));
    };
    overhead("overhead", per_round(&|_, native, ebs| ebs / native - 1.0));
    overhead("  without the null RPC", per_round(&|null, native, ebs| (ebs - null) / native - 1.0));
}
