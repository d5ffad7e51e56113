//! Tier "model": random sequences of all calls of CSI, with the host killed at random, against a model of what must come of
//! them. On a recording node engine, where thousands of steps take seconds, and on the kernel.
//!
//! | variable | meaning |
//! |---|---|
//! | `BULKHEAD_MODEL_SEED` | a number: repeats a run. Without it each run is another one, and says its seed |
//! | `BULKHEAD_MODEL_STEPS` | steps, all rounds together |

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod calls;
mod client;
mod dice;
mod generate;
mod ground;
mod report;
mod run;
mod seen;
mod shrink;
mod world;

use bulkhead_tests::{Sandbox, sandbox::can_mount};
use generate::Generator;
use ground::Executor;
use run::{Divergence, Figures, Setting, Steps, run};
use std::{
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

const RECORDED_STEPS: usize = 10_000;
const KERNEL_STEPS: usize = 600;
/// Steps between two clean starts.
const RECORDED_ROUND: usize = 500;
const KERNEL_ROUND: usize = 150;
/// Both tiers together.
const LONGEST: Duration = Duration::from_secs(300);
/// Longest search for a shorter sequence that goes wrong too.
const SHRINKING: Duration = Duration::from_secs(60);

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// That of the environment, or a new one.
fn seed() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    variable("BULKHEAD_MODEL_SEED").unwrap_or(now.as_nanos() as u64 % 1_000_000_000)
}

fn runtime() -> tokio::runtime::Runtime {
    // One thread: it and all processes that it starts share the sandbox's mount namespace.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Where pools of the recorder lie: in memory where there is room for it, since each step syncs files.
fn memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).is_ok_and(|found| found.f_bavail * found.f_frsize > 8 << 30);
    let builder = |b: &mut tempfile::Builder<'_, '_>| if room { b.tempdir_in(memory) } else { b.tempdir() };
    builder(tempfile::Builder::new().prefix("bulkhead-model-")).unwrap()
}

/// Rounds until all steps are made. Each begins with nothing and leaves nothing. Fails with the shortest sequence that was
/// found to go wrong.
fn rounds(base: &Path, executor: Executor, steps: usize, round: usize, sandbox: Option<&Rc<Sandbox>>) {
    let (seed, start, mut figures) = (seed(), Instant::now(), Figures::default());
    println!("{executor:?}: BULKHEAD_MODEL_SEED={seed}");
    for number in 0_u64.. {
        let left = steps.saturating_sub(figures.steps);
        if left == 0 {
            break;
        }
        // The first round's is that of the run, so that one round can be repeated by itself.
        let seed = seed ^ (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16);
        let csi_1_13 = seed % 2 == 1;
        let setting = Setting { executor, csi_1_13, lie: None, sandbox: sandbox.cloned() };
        let (mut made, mut generator) = (vec![], Generator::new(seed));
        let steps = Steps::New(&mut generator, left.min(round));
        let done = runtime().block_on(run(base, &setting, steps, &mut made, &mut figures));
        if let Err(divergence) = done {
            let shrunk = shrink::shrink(base, &setting, &made, divergence, SHRINKING);
            let again = format!("BULKHEAD_MODEL_SEED={seed} BULKHEAD_MODEL_STEPS={round}");
            panic!("{}\nrepeat with {again}", report::failure(&setting, &made, &shrunk));
        }
    }
    println!("{}", report::figures(executor, &figures, start.elapsed()));
    assert!(start.elapsed() < LONGEST, "too slow: {:?}", start.elapsed());
}

fn steps(default: usize) -> usize {
    variable("BULKHEAD_MODEL_STEPS").map_or(default, |steps| usize::try_from(steps).unwrap())
}

#[test]
fn a_recording_host_does_what_the_model_says() {
    let base = memory();
    rounds(base.path(), Executor::Recording, steps(RECORDED_STEPS), RECORDED_ROUND, None);
}

#[test]
fn the_kernel_does_what_the_model_says() {
    if !can_mount() {
        return;
    }
    let sandbox = Rc::new(Sandbox::enter());
    rounds(sandbox.path(), Executor::Kernel, steps(KERNEL_STEPS), KERNEL_ROUND, Some(&sandbox));
    sandbox.assert_clean();
}

/// Hosts that lie, see `src/mutant.rs`.
const LIES: [&str; 13] = [
    "ForgetsJournal",
    "StagesAnyhow",
    "UnstagesAnyhow",
    "PublishesTwice",
    "ForgetsAttachment",
    "KeepsAttachment",
    "LosesContent",
    "GrowsInWords",
    "WrongCode",
    "SkipsAnEntry",
    "KeepsVolume",
    "ModifiesNothing",
    "TakesAnySource",
];

/// The test of the test.
#[test]
fn every_lie_is_found() {
    let base = memory();
    for lie in LIES {
        let (mut figures, start) = (Figures::default(), Instant::now());
        let found = (0..20).find_map(|seed| -> Option<Divergence> {
            let setting =
                Setting { executor: Executor::Recording, csi_1_13: seed % 2 == 1, lie: Some(lie), sandbox: None };
            let (mut made, mut generator) = (vec![], Generator::new(seed));
            let steps = Steps::New(&mut generator, RECORDED_ROUND);
            runtime().block_on(run(base.path(), &setting, steps, &mut made, &mut figures)).err()
        });
        let found = found.unwrap_or_else(|| panic!("{lie} is not found in {} steps", figures.steps));
        println!(
            "{lie}: found after {} steps, {:?}: {} gives {}, not {:?}",
            figures.steps,
            start.elapsed(),
            found.what,
            report::short(&found.got),
            found.expected
        );
    }
}
