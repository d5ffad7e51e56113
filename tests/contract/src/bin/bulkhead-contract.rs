//! The suite as a program. Ends with 0 if no case failed, 1 if one did, 2 if it could not run. `bulkhead-contract proxy` is a
//! driver with a planted fault instead.

use bulkhead_contract::{Driver, Options, cases, fault, report, run};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == "proxy") {
        return fault::cli::run(std::env::args_os().skip(1)).await;
    }
    let options = Options::parse();
    let cases = cases::all();
    if options.list {
        print!("{}", report::list(&cases));
        return ExitCode::SUCCESS;
    }
    match all(options, &cases).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("bulkhead-contract: {why}");
            ExitCode::from(2)
        }
    }
}

async fn all(options: Options, cases: &[bulkhead_contract::Case]) -> Result<bool, String> {
    let file = options.report.clone();
    let driver = Driver::connect(options, None).await?;
    println!("driver {} {}", driver.info.name, driver.info.vendor_version);
    let report = run(&driver, cases, |line| println!("{line}")).await;
    let (passed, failed, skipped) = report.totals();
    let rules = report.rules();
    let count = |how| rules.values().filter(|fares| **fares == how).count();
    let (kept, broken, untried) = (count("pass"), count("fail"), count("not tried"));
    println!("rules: {kept} kept, {broken} broken, {untried} not tried");
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if let Some(file) = file {
        let text = format!("{:#}\n", report.json());
        std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    if report.lines.is_empty() {
        return Err("no case fits --only and --except".into());
    }
    Ok(failed == 0)
}
