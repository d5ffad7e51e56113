//! The node engine on the real kernel: loop devices, ext4, xfs, bind mounts, SIGKILL.
//!
//! Needs root. Everything happens in a private mount namespace and a temporary directory; whatever a test leaves is taken
//! down when it ends, also when it fails. Loop devices are not in a namespace, so only those on files in that
//! directory are looked at and touched.
//!
//! Arguments: parts of test names. Without any, all tests run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod block;
mod child;
mod copies;
mod copy;
mod cut;
mod directory;
mod disk;
mod disk_faults;
mod disk_identity;
mod env;
mod ephemeral;
mod ephemeral_kill;
mod expand;
mod extents;
mod filesystem;
mod format;
mod group;
mod health;
mod helpers;
mod kill;
mod kind;
mod matrix;
mod paths;
mod plans;
mod platform;
mod pool;
mod provisioning;
mod publish;
mod reconcile;
mod recovery;
mod shared;
mod vm_disks;
mod vm_kill;
mod vm_life;
mod vm_nfs;
mod vm_platform;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Instant;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    if let Some(code) = bulkhead_node::helper_main() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == child::MARK) {
        return child::run(&arguments[1..]);
    }
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: all tests of the node engine on the real kernel. They need root (mounts, loop devices).");
        return if std::env::var("CI").is_ok_and(|ci| ci == "true") { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    if std::env::var_os(env::INSIDE).is_none() {
        return enter(&arguments);
    }
    run(&arguments)
}

/// Runs itself again in a private mount namespace.
fn enter(arguments: &[String]) -> ExitCode {
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(arguments)
        .env(env::INSIDE, "1")
        .status()
        .expect("unshare(1) is needed");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &[String]) -> ExitCode {
    let machine: &[&[Test]] = match bulkhead_vm::machine::inside() {
        true => &[vm_life::TESTS, vm_nfs::TESTS, vm_disks::TESTS, vm_kill::TESTS],
        false => &[],
    };
    let all: Vec<Test> = [
        filesystem::TESTS,
        format::TESTS,
        block::TESTS,
        directory::TESTS,
        disk::TESTS,
        disk_faults::TESTS,
        disk_identity::TESTS,
        publish::TESTS,
        matrix::TESTS,
        ephemeral::TESTS,
        ephemeral_kill::TESTS,
        health::TESTS,
        group::TESTS,
        copies::TESTS,
        shared::TESTS,
        paths::TESTS,
        expand::TESTS,
        reconcile::TESTS,
        recovery::TESTS,
        helpers::TESTS,
        pool::TESTS,
        kill::TESTS,
        copy::TESTS,
        cut::TESTS,
        extents::TESTS,
        provisioning::TESTS,
    ]
    .iter()
    .chain(machine)
    .flat_map(|tests| tests.iter().copied())
    .collect();
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen: Vec<Test> = all
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|part| name.contains(*part)))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        let started = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {} ({:.2?})", if passed { "ok" } else { "FAILED" }, started.elapsed());
        if !passed {
            failed.push(*name);
        }
    }
    println!("{} passed; {} failed {failed:?}", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
