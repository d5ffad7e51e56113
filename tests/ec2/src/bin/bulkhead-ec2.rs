//! moto behind the proxy, for people: `bulkhead-ec2` starts both and says where they are and which keys there are. They end with
//! it (Ctrl-C).

use bulkhead_ec2::{Fault, Moto, Proxy, Settings};
use clap::Parser;
use std::{path::PathBuf, process::ExitCode};

/// What looks like EC2.
#[derive(Debug, Parser)]
#[command(name = "bulkhead-ec2", about = "moto's EC2 with EC2's own rules and with faults")]
struct Options {
    /// Port of 127.0.0.1; 0 is a free one.
    #[arg(long, default_value = "0")]
    port: u16,
    /// Port of 127.0.0.1 for settings and counts; 0 is a free one.
    #[arg(long, default_value = "0")]
    admin_port: u16,
    /// Writes requests and replies to this file, one JSON object a line.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Settings, a file of JSON; what it doesn't name is as in `GET /settings`.
    #[arg(long)]
    settings: Option<PathBuf>,
    /// A fault and its share of requests, like lost-reply=0.1. May be given more than once.
    #[arg(long, value_parser = fault)]
    fault: Vec<(Fault, f64)>,
}

fn fault(text: &str) -> Result<(Fault, f64), String> {
    let (name, rate) = text.split_once('=').ok_or("NAME=SHARE")?;
    let fault = serde_json::from_value(name.into()).map_err(|e| e.to_string())?;
    let rate: f64 = rate.parse().map_err(|e| format!("{rate}: {e}"))?;
    if !(0.0..=1.0).contains(&rate) {
        return Err(format!("{rate} is no share: 0 to 1"));
    }
    Ok((fault, rate))
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bulkhead-ec2: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), String> {
    let settings = match &options.settings {
        None => Settings::default(),
        Some(path) => {
            let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
            let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
            serde_json::from_str(&text).map_err(|e| wrong(&e))?
        }
    };
    let settings = if options.fault.is_empty() { settings } else { settings.with_faults(&options.fault) };
    let moto = Moto::start()?;
    let ports = (options.port, options.admin_port);
    let proxy = Proxy::at(&moto, settings, options.record.as_deref(), ports).map_err(|e| format!("the proxy: {e}"))?;
    println!("EC2     {}  region {}", proxy.url(), moto.facts.region);
    println!("admin   {}settings  {}stats", proxy.admin(), proxy.admin());
    println!("moto    {}", moto.url());
    for (name, key) in &moto.facts.users {
        // These keys are of this process, and gone with it.
        println!("key     {name}: AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", key.id, key.secret);
    }
    for (name, arn) in &moto.facts.roles {
        println!("role    {name}: {arn}");
    }
    for instance in &moto.facts.instances {
        println!("node    {} in {} ({})", instance.id, instance.zone, instance.kind);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(tokio::signal::ctrl_c()).map_err(|e| e.to_string())
}
