//! Boots the test VM and runs test programs in it: what `make test-vm` does.

use bulkhead_vm::runner::{Job, Machine, Place, Report, jobs, parse};
use clap::Parser;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

/// Runs the test programs of tests/vm/runs.txt in a virtual machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// The repository.
    #[arg(long, default_value = ".")]
    top: PathBuf,
    /// Only programs whose `PACKAGE TEST` contains this.
    #[arg(long)]
    run: Option<String>,
    /// Keep logs and disk also when everything passes.
    #[arg(long)]
    keep: bool,
    /// More arguments for each test program, like parts of names of tests.
    filters: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let top = fs::canonicalize(&arguments.top).map_err(|e| format!("{}: {e}", arguments.top.display()))?;
    let list = top.join("tests/vm/runs.txt");
    let list = parse(&fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?)?;
    let wanted = arguments.run.clone().unwrap_or_default();
    let mut list: Vec<_> =
        list.into_iter().filter(|run| format!("{} {}", run.package, run.test).contains(&wanted)).collect();
    if list.is_empty() {
        return Err(format!("tests/vm/runs.txt has no program with {wanted:?} in its name"));
    }
    list.iter_mut().for_each(|run| run.arguments.extend(arguments.filters.iter().cloned()));
    let home = home(&top)?;
    let jobs = jobs(&top, list)?;
    let target = jobs.first().and_then(|job| target(&job.program)).ok_or("no target directory")?;
    let work = tempfile::Builder::new().prefix("run-").tempdir_in(home.parent().unwrap_or(&home));
    let work = work.map_err(|e| format!("a directory beside {}: {e}", home.display()))?;
    let place = Place { top, home, target, work: work.path().to_owned() };
    let begun = Instant::now();
    let machines: BTreeSet<u8> = jobs.iter().map(|job| job.run.machine).collect();
    let of = |number: u8| jobs.iter().filter(|job| job.run.machine == number).cloned().collect::<Vec<_>>();
    let ended: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = machines
            .iter()
            .map(|&number| {
                scope.spawn({
                    let (of, place) = (&of, &place);
                    move || machine(number, &of(number), place)
                })
            })
            .collect();
        started
            .into_iter()
            .map(|machine| machine.join().unwrap_or_else(|_| Err("a machine's thread panicked".into())))
            .collect()
    });
    let passed = ended.into_iter().collect::<Result<Vec<bool>, _>>()?.into_iter().all(|passed| passed);
    eprintln!("vm: {:.0} s in all", begun.elapsed().as_secs_f32());
    if !passed || arguments.keep {
        eprintln!("vm: logs are in {}", work.keep().display());
    }
    Ok(passed)
}

/// Runs the jobs of one machine, in a directory of its own; whether all have passed.
fn machine(number: u8, jobs: &[Job], place: &Place) -> Result<bool, String> {
    let place = Place { work: place.work.join(number.to_string()), ..place.clone() };
    fs::create_dir(&place.work).map_err(|e| format!("{}: {e}", place.work.display()))?;
    let mut log = String::new();
    // The qemu of a thread that ends is killed: so it is watched here.
    let report = Machine::boot(&place, jobs)?.watch(jobs.len(), |line| {
        println!("{number}| {line}");
        log += line;
        log.push('\n');
    });
    let report = report.map_err(|e| format!("the machine's output: {e}"))?;
    let _ = fs::write(place.work.join("output.log"), log);
    let _ = fs::remove_file(place.work.join("disk"));
    let passed = summary(jobs, &report);
    eprintln!("vm: machine {number} was up after {} s", report.up.as_deref().unwrap_or("-"));
    if !passed {
        console(&place.work.join("console.log"));
    }
    Ok(passed)
}

/// One line for each program; whether all have passed.
fn summary(jobs: &[Job], report: &Report) -> bool {
    let mut passed = true;
    for (job, outcome) in jobs.iter().zip(&report.outcomes) {
        let wrong = outcome.wrong();
        passed &= wrong.is_none();
        let verdict = wrong.unwrap_or_else(|| format!("ok, {} passed", outcome.passed));
        eprintln!("vm: {} {}: {verdict}", job.run.package, job.run.test);
    }
    passed
}

fn console(path: &Path) {
    let Ok(bytes) = fs::read(path) else { return };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<_> = text.lines().collect();
    eprintln!("vm: the kernel's last messages:");
    lines[lines.len().saturating_sub(30)..].iter().for_each(|line| eprintln!("    {line}"));
}

/// Cargo's target directory, from a program below its `debug/deps`.
fn target(program: &Path) -> Option<PathBuf> {
    program.ancestors().nth(3).map(Path::to_owned)
}

/// What the machine boots, made where it is missing.
fn home(top: &Path) -> Result<PathBuf, String> {
    let output = Command::new(top.join("scripts/setup-vm.sh")).stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|e| format!("scripts/setup-vm.sh: {e}"))?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && path.is_dir() { Ok(path) } else { Err("scripts/setup-vm.sh failed".into()) }
}
