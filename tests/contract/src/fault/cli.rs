//! `bulkhead-contract proxy`: the proxy as a program.

use super::{Proxy, all, controls, find};
use clap::Parser;
use std::{ffi::OsString, path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// A driver with a planted fault, to try suites on.
#[derive(Debug, Parser)]
#[command(name = "bulkhead-contract proxy", version, about)]
struct Args {
    /// Socket of the driver: unix:///path or host:port.
    #[arg(long, required_unless_present = "list")]
    upstream: Option<String>,
    /// Path of the socket to serve on. It is made, and removed on SIGINT and SIGTERM.
    #[arg(long, required_unless_present = "list")]
    listen: Option<PathBuf>,
    /// The fault. Without one everything goes through unchanged.
    #[arg(long)]
    fault: Option<String>,
    /// Lists the faults with the cases that must find them, and serves nothing.
    #[arg(long)]
    list: bool,
}

/// Runs until it is told to end. `args` begins with the name of the program.
///
/// Ends with 0 if it was told to end, with 2 if it could not run.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = Args::parse_from(args);
    if args.list {
        print!("{}", list());
        return ExitCode::SUCCESS;
    }
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bulkhead-contract proxy: {why}");
            ExitCode::from(2)
        }
    }
}

async fn serve(args: Args) -> Result<(), String> {
    let fault = match &args.fault {
        Some(name) => Some(find(name).ok_or_else(|| format!("no fault is called {name:?}: see --list"))?),
        None => None,
    };
    let heard = |kind| signal(kind).map_err(|e| format!("signals: {e}"));
    let (mut interrupt, mut terminate) = (heard(SignalKind::interrupt())?, heard(SignalKind::terminate())?);
    let (upstream, listen) = args.upstream.zip(args.listen).ok_or("--upstream and --listen are needed")?;
    let proxy = Proxy::start(&upstream, &listen, fault.as_ref())?;
    println!("{} with {}", proxy.endpoint(), fault.map_or("no fault", |fault| fault.name));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// A line for each fault.
fn list() -> String {
    let mut text = String::new();
    for (must, faults) in [("found by", all()), ("not minded by", controls())] {
        for fault in faults {
            text += &format!("{}: {}\n    {must} {}\n", fault.name, fault.about, fault.cases.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Args, list};
    use clap::Parser;

    #[test]
    fn a_list_needs_no_sockets_and_everything_else_does() {
        let parse = |line: &str| Args::try_parse_from(line.split(' ')).is_ok();
        assert!(parse("proxy --list"));
        assert!(parse("proxy --upstream /a --listen /b --fault x"));
        assert!(!parse("proxy"));
        assert!(!parse("proxy --upstream /a"));
        assert!(!parse("proxy --listen /b"));
        assert!(list().contains("delete-does-nothing: "));
    }
}
