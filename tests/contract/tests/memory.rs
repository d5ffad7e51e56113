//! The suite against the driver in memory, which keeps the rules: every case passes, and what is skipped is listed here.
#![allow(missing_docs, clippy::unwrap_used)]

use bulkhead_contract::{
    Driver, Options, Verdict, cases,
    memory::{Memory, Server},
    options::{Access, Map},
    run,
};
use tempfile::TempDir;

/// Subjects that need no real mounts and no data, which memory does not have.
const ONLY: &[&str] = &[
    "identity/*",
    "not-offered/*",
    "missing/*",
    "too-long/*",
    "odd/*",
    "concurrent/*",
    "deadline/*",
    "cancelled/*",
    "create-volume/*",
    "delete-volume/*",
    "attach/*",
    "detach/*",
    "validate/*",
    "list-volumes/*",
    "get-volume/*",
    "capacity/*",
    "expand/*",
    "modify/*",
    "snapshot/*",
    "delete-snapshot/*",
    "list-snapshots/*",
    "get-snapshot/*",
    "group/*",
    "metadata/*",
    "health/*",
];

/// Why a case may be skipped here.
const SKIPS: &[&str] = &[
    "is offered",
    "are offered",
    "no controller VOLUME_CONDITION",
    "no node ",
    "no OFFLINE expansion",
    "no SNAPSHOT_ACCESSIBILITY_CONSTRAINTS",
    "the volume is mounted",
    "the volume is a raw device",
];

fn map(pairs: &[(&str, &str)]) -> Option<Map> {
    Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

/// A driver in memory, on two nodes; it ends when it is dropped.
struct Stand {
    memory: Memory,
    nodes: [Server; 2],
    dir: TempDir,
}

impl Stand {
    fn new() -> Self {
        let (dir, memory) = (tempfile::tempdir().unwrap(), Memory::default());
        let nodes = ["node-1", "node-2"].map(|node| memory.serve(&dir.path().join(node), node).unwrap());
        Self { memory, nodes, dir }
    }

    fn options(&self) -> Options {
        let mut options = Options::new(self.nodes[0].endpoint(), self.dir.path().join("work"));
        options.second_node_endpoint = Some(self.nodes[1].endpoint());
        options.access = Access::Both;
        options.parameters = map(&[("color", "red")]);
        options.other_parameters = map(&[("color", "blue")]);
        options.bad_parameters = map(&[("color", "ultraviolet")]);
        options.mutable_parameters = map(&[("speed", "1")]);
        options.other_mutable_parameters = map(&[("speed", "2")]);
        options.bad_mutable_parameters = map(&[("speed", "much")]);
        options.only = ONLY.iter().map(|glob| (*glob).to_owned()).collect();
        options
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nodes_the_controllers_rules_are_checked_and_no_node_is_asked() {
    let stand = Stand::new();
    let mut options = stand.options();
    // Cases with mounts as well: all of them are to be skipped.
    options.only.clear();
    options.controller_only = true;
    let driver = Driver::connect(options, None).await.unwrap();
    let report = run(&driver, &cases::all(), |_| {}).await;
    let failures: Vec<_> = report.failures().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let (mut beyond, mut passed) = (0, 0);
    for line in &report.lines {
        let of_node = line.calls.split("; ").any(|call| call.starts_with("Node") && !call.starts_with("NodeGet"));
        assert!(!of_node, "{}: {}", line.name, line.calls);
        match &line.verdict {
            Verdict::Skip(why) if why.starts_with("--controller-only: it ") => beyond += 1,
            Verdict::Pass => {
                passed += 1;
                let asks = ["node-stage/", "node-publish/", "node-unstage/", "data/"];
                assert!(!asks.iter().any(|subject| line.name.starts_with(subject)), "{} passed", line.name);
            }
            _ => {}
        }
    }
    println!("{passed} passed, {beyond} skipped");
    assert!(passed > 150 && beyond > 20, "{passed} passed, {beyond} skipped");
    assert!(stand.memory.is_empty(), "the suite has left something behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_keeps_the_rules_passes() {
    let stand = Stand::new();
    let driver = Driver::connect(stand.options(), None).await.unwrap();
    let report = run(&driver, &cases::all(), |line| println!("{line}")).await;
    let failures: Vec<_> = report.failures().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for line in &report.lines {
        let Verdict::Skip(why) = &line.verdict else { continue };
        assert!(SKIPS.iter().any(|skip| why.contains(skip)), "{} was skipped: {why}", line.name);
    }
    let (passed, _, _) = report.totals();
    assert!(passed > 200, "only {passed} cases ran");
    assert!(stand.memory.is_empty(), "the suite has left something behind");
    assert!(!stand.dir.path().join("work/staging").exists(), "the suite has left directories behind");
}
