//! The suite against the driver in memory, with one fault after the other: each is found by a case that is named with it.
#![allow(missing_docs, clippy::unwrap_used)]

use bulkhead_contract::{
    Case, Driver, Need, Options, Report, Verdict, cases,
    fault::{self, Fault, Proxy},
    memory::Memory,
    options::{Access, Map},
    run,
};
use std::{collections::BTreeSet, time::Duration};

/// Faults that only cases with real mounts, real data or a driver of the other generation find.
const NOT_HERE: &[&str] = &[
    "snapshot-not-frozen",
    "larger-copy-not-grown",
    "list-hides-condition",
    "group-torn",
    "delta-is-empty",
    "stage-ignores-capability",
    "stage-default-fs",
    "mount-flags-dropped",
    "mount-group-dropped",
    "unstage-does-nothing",
    "publish-clears-readonly",
    "publish-ignores-arguments",
    "publish-shares-a-single-writer",
    "publish-once",
    "publish-needs-no-staging-path",
    "publish-mounts-nothing",
    "unpublish-does-nothing",
    "unpublish-leaves-the-target",
    "unpublish-takes-all-targets",
    "stats-of-nothing",
    "stats-from-a-cache",
    "stats-in-kib",
    "stats-below-zero",
    "stats-without-condition",
    "health-always-well",
    "storage-health-unknown",
    "node-expand-skipped",
    "node-expand-ignores-range",
];

fn map(pairs: &[(&str, &str)]) -> Option<Map> {
    Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

/// The cases of these names, against a driver of their own behind a proxy on each node.
async fn run_cases(fault: Option<&Fault>, only: Vec<String>) -> Report {
    run_with(fault, only, |_| {}).await
}

/// As `run_cases`, with other options.
async fn run_with(fault: Option<&Fault>, only: Vec<String>, change: impl FnOnce(&mut Options)) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let memory = Memory::default();
    let nodes = [memory.serve(&at("1.sock"), "node-1").unwrap(), memory.serve(&at("2.sock"), "node-2").unwrap()];
    let first = Proxy::start(&nodes[0].endpoint(), &at("first.sock"), fault).unwrap();
    let second = Proxy::start(&nodes[1].endpoint(), &at("second.sock"), fault).unwrap();
    let mut options = Options::new(first.endpoint(), at("work"));
    options.second_node_endpoint = Some(second.endpoint());
    options.access = Access::Both;
    options.parameters = map(&[("color", "red")]);
    options.other_parameters = map(&[("color", "blue")]);
    options.bad_parameters = map(&[("color", "ultraviolet")]);
    options.mutable_parameters = map(&[("speed", "1")]);
    options.other_mutable_parameters = map(&[("speed", "2")]);
    // Long enough for a driver in memory; short, because some faults are found when it is over.
    options.timeout = Duration::from_secs(3);
    options.only = only;
    change(&mut options);
    let driver = Driver::connect(options, None).await.unwrap();
    run(&driver, &cases::all(), |_| {}).await
}

/// Case names of results: without the use in brackets.
fn names(report: &Report, of: fn(&Verdict) -> bool) -> BTreeSet<String> {
    let line = |name: &str| name.split('[').next().unwrap_or(name).to_owned();
    report.lines.iter().filter(|l| of(&l.verdict)).map(|l| line(&l.name)).collect()
}

/// The named cases that a driver without a fault passes here.
async fn passed(faults: &[Fault], all: &[Case]) -> BTreeSet<String> {
    let named = |case: &&Case| faults.iter().any(|fault| fault.names(&case.name));
    // Nothing can be written to volumes in memory: cases that look would see nothing.
    let blind = |case: &&Case| case.needs.contains(&Need::Root);
    let only = all.iter().filter(named).filter(|case| !blind(case)).map(|case| case.name.clone()).collect();
    let report = run_cases(None, only).await;
    let failed = names(&report, |verdict| matches!(verdict, Verdict::Fail(_)));
    let passed = names(&report, |verdict| *verdict == Verdict::Pass);
    passed.difference(&failed).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_found() {
    let (faults, all) = (fault::all(), cases::all());
    let passed = passed(&faults, &all).await;
    let (mut missed, mut not_here) = (vec![], vec![]);
    for fault in &faults {
        let only: Vec<_> = passed.iter().filter(|name| fault.names(name)).cloned().collect();
        if only.is_empty() {
            not_here.push(fault.name);
            continue;
        }
        let report = run_cases(Some(fault), only.clone()).await;
        let found = names(&report, |verdict| matches!(verdict, Verdict::Fail(_)));
        let blind: Vec<_> = only.iter().filter(|name| !found.contains(*name)).collect();
        println!("{}: found by {}, not by {blind:?}", fault.name, found.len());
        if found.is_empty() {
            missed.push(format!("{}: {}: not found by {only:?}", fault.name, fault.about));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(not_here, NOT_HERE, "faults that no case could find here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_driver_may_do_is_not_minded() {
    let (controls, all) = (fault::controls(), cases::all());
    let passed = passed(&controls, &all).await;
    for control in &controls {
        let only: Vec<_> = passed.iter().filter(|name| control.names(name)).cloned().collect();
        assert!(!only.is_empty(), "{}: no case could be tried", control.name);
        let report = run_cases(Some(control), only).await;
        let minded: Vec<_> = report.failures().map(ToString::to_string).collect();
        assert!(minded.is_empty(), "{}: {}\n{}", control.name, control.about, minded.join("\n"));
    }
}

/// `--controller-only` hides no fault of a controller.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_controllers_are_found_without_nodes() {
    let all = fault::all();
    for name in ["create-forgets-names", "attach-ignores-readonly", "snapshot-ignores-source"] {
        let fault = all.iter().find(|fault| fault.name == name).unwrap();
        let only = fault.cases.iter().map(|glob| (*glob).to_owned()).collect();
        let report = run_with(Some(fault), only, |options| options.controller_only = true).await;
        assert!(report.failures().count() > 0, "{name} is not found by {:?}", fault.cases);
    }
}
