//! The command line. Exit status: 0 done, 1 failed, 2 wrong usage or config.

use crate::{
    config::{Config, json_schema},
    inspect,
    registry::Mode,
    serve::{self, Failure},
    telemetry,
};
use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

#[derive(Parser)]
#[command(
    name = "bulkhead",
    version,
    about = "Serves CSI and forwards volume operations to sandboxed WebAssembly backends."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: telemetry::Format,
}

#[derive(Subcommand)]
enum Command {
    /// Serve every driver of a config until SIGTERM.
    Serve {
        /// The config file.
        #[arg(long)]
        config: PathBuf,
        /// Which halves to serve.
        #[arg(long, value_enum, default_value = "all")]
        mode: Mode,
        /// Serve the other drivers when one can't be loaded, and try that again, instead of ending with its error.
        #[arg(long)]
        keep_going: bool,
    },
    /// Validate a config and load its backends without serving.
    Check {
        /// The config file.
        file: PathBuf,
        /// Which halves would be served.
        #[arg(long, value_enum, default_value = "all")]
        mode: Mode,
    },
    /// Show what a component offers and what it asks for, as config ready to paste.
    Inspect {
        /// The component.
        file: PathBuf,
    },
    /// Print the JSON schema of the config file.
    Schema,
}

/// At the end: how long threads that still block are waited for.
const LAST_THREADS: Duration = Duration::from_secs(1);
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// Runs the command of the process's arguments. `version` is what `--version` prints.
pub fn run(version: &'static str) -> ExitCode {
    // Wrong usage ends the process with status 2 in here.
    let matches = Cli::command().version(version).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    telemetry::start(cli.log_format);
    match command(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(errors)) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            ExitCode::from(WRONG_USAGE)
        }
        Err(Failure::Other(error)) => {
            eprintln!("bulkhead: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { config, mode, keep_going } => {
            bulkhead_node::forbid_core_dumps().map_err(anyhow::Error::from)?;
            let config = load(&config)?;
            block_on(serve::serve(&config, mode, keep_going))?
        }
        Command::Check { file, mode } => {
            let config = load(&file)?;
            block_on(serve::check(&config, mode))??;
            println!("{}: ok, {} driver(s)", file.display(), config.drivers.len());
            Ok(())
        }
        Command::Inspect { file } => {
            print!("{}", block_on(inspect::report(&file))??);
            Ok(())
        }
        Command::Schema => {
            println!("{:#}", json_schema());
            Ok(())
        }
    }
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path, &|name| std::env::var(name).ok()).map_err(Failure::Config)
}

/// Runs a command to its end. A thread that waits for a file system which does not answer is left to the end of the process.
fn block_on<T>(command: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_timeout(LAST_THREADS);
    Ok(ended)
}

/// The runtime that serves gRPC. One thread: what computes or blocks moves to the guests' runtime or to blocking threads, and
/// a second one would be woken for nothing with every call.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("serve")
        .enable_all()
        .build()
        .context("can't start the runtime")
}
