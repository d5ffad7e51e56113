//! `bulkhead-e2e`: runs flows in the cluster of `WORK`, one line for each.

use anyhow::{Context, Result, bail};
use bulkhead_e2e::{
    audit,
    cluster::Cluster,
    flows::{self, Flow, Shape},
    leftovers,
    space::Space,
};
use clap::Parser;
use std::{collections::BTreeSet, fs, path::PathBuf, process::ExitCode, time::Instant};

#[derive(Parser)]
#[command(about = "Runs flows in the test cluster. Without names: all of the shape.")]
struct Cli {
    /// How the driver is deployed.
    #[arg(long, value_enum)]
    shape: Shape,
    /// Flows that passed are written here, and not run again.
    #[arg(long)]
    passed: Option<PathBuf>,
    /// Stop at the first flow that fails, and leave everything as it is.
    #[arg(long)]
    stop: bool,
    /// Instead: compare what the chart's roles grant with the API server's audit log; exceptions are in this file.
    #[arg(long)]
    audit: Option<PathBuf>,
    /// Only list them.
    #[arg(long)]
    list: bool,
    /// Names of flows.
    names: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("{failed} flow(s) failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("bulkhead-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<usize> {
    let flows = chosen(cli)?;
    if cli.list {
        flows.iter().for_each(|flow| println!("{:<24} {}", flow.name, flow.about));
        return Ok(0);
    }
    let cluster = Cluster::of_environment()?;
    if let Some(exceptions) = &cli.audit {
        println!("ok   audit: {}", audit::check(&audit::read(&cluster)?, exceptions)?);
        return Ok(0);
    }
    let mut passed: BTreeSet<String> = cli
        .passed
        .as_ref()
        .and_then(|file| fs::read_to_string(file).ok())
        .map(|text| text.lines().map(str::to_owned).collect())
        .unwrap_or_default();
    let mut failed = 0;
    for flow in flows {
        if passed.contains(flow.name) {
            println!("passed before   {}", flow.name);
            continue;
        }
        let begin = Instant::now();
        let outcome = play(&cluster, flow, cli.stop);
        let seconds = begin.elapsed().as_secs_f64();
        match outcome {
            Ok(note) => {
                println!(
                    "ok   {seconds:6.1} s  {}: {}{}",
                    flow.name,
                    flow.about,
                    note.map(|n| format!(" [{n}]")).unwrap_or_default()
                );
                passed.insert(flow.name.to_owned());
                if let Some(file) = &cli.passed {
                    let lines: Vec<_> = passed.iter().map(String::as_str).collect();
                    fs::write(file, lines.join("\n") + "\n")
                        .with_context(|| format!("can't write {}", file.display()))?;
                }
            }
            Err(error) => {
                println!("FAIL {seconds:6.1} s  {}: {error:#}", flow.name);
                failed += 1;
                if cli.stop {
                    break;
                }
            }
        }
    }
    Ok(failed)
}

/// One flow in its namespace; then nothing may be left. What it wants to tell goes into its line.
fn play(cluster: &Cluster, flow: &Flow, leave: bool) -> Result<Option<String>> {
    let space = Space::begin(cluster, flow.name)?;
    let outcome = (flow.run)(&space);
    if outcome.is_err() && leave {
        return outcome;
    }
    let ended = space.end().and_then(|()| leftovers::none(cluster));
    let note = outcome?;
    ended?;
    Ok(note)
}

fn chosen(cli: &Cli) -> Result<Vec<&'static Flow>> {
    let all: Vec<_> = flows::ALL.iter().copied().flatten().filter(|flow| flow.shapes.contains(&cli.shape)).collect();
    if let Some(unknown) = cli.names.iter().find(|name| !all.iter().any(|flow| flow.name == **name)) {
        bail!("there is no flow {unknown:?} for this shape; --list shows them");
    }
    Ok(all.into_iter().filter(|flow| cli.names.is_empty() || cli.names.iter().any(|name| name == flow.name)).collect())
}
