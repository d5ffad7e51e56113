//! Tier "contract": our own suite of CSI's rules (`tests/contract`) against the local backend: both generations of CSI, two
//! nodes, pools with and without shared extents, images and directories; and with faults planted between the two.
#![allow(missing_docs, clippy::unwrap_used)]

mod rig;

use bulkhead_contract::{cases, fault};
use bulkhead_tests::{
    pernode,
    sandbox::can_mount,
    suite::{Report, case_of},
};
use rig::{Kind, Rig};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Instant,
};

const IMAGES: &[&str] = &["--access", "both", "--fs-type", "ext4,xfs", "--size", "300MiB"];
const XFS: &[&str] = &["--access", "both", "--fs-type", "xfs", "--size", "300MiB"];
const EXT4: &[&str] = &["--access", "both", "--fs-type", "ext4"];
const DIRECTORIES: &[&str] = &["--access", "mount"];

/// Every zone has its pool; a node takes five volumes.
const PLACES: &str = "maxVolumesPerNode: 5
defaultPool: fast
topologyKeys: [local.csi.bulkhead.dev/zone, local.csi.bulkhead.dev/rack]
pools:
  fast: { shared: true, accessibleFrom: [{ local.csi.bulkhead.dev/zone: zone-1, local.csi.bulkhead.dev/rack: rack-1 }] }
  slow: { shared: true, accessibleFrom: [{ local.csi.bulkhead.dev/zone: zone-2, local.csi.bulkhead.dev/rack: rack-1 }] }";

/// Nothing is attached, the node alone grows volumes, and ids are the node's.
const PER_NODE: Kind = Kind { per_node: true, config: "", offer: pernode::PER_NODE, ..Kind::WHOLE };
const GROUP: Kind = Kind { backend: "group", volumes: "", config: "", ..Kind::WHOLE };

fn runs() -> Vec<(&'static str, Kind, Vec<&'static str>)> {
    let whole = Kind::WHOLE;
    let places = ["attach/*", "create-*", "capacity/*", "node-info/*", "identity/*", "snapshot/*", "list-*"];
    let places = places.iter().flat_map(|glob| ["--only", glob]);
    vec![
        ("images, 1.12", whole, IMAGES.to_vec()),
        ("images, 1.13", Kind { generation: "1.13", ..whole }, XFS.to_vec()),
        ("images, a pool that shares no extents", Kind { reflinks: false, ..whole }, EXT4.to_vec()),
        ("directories, 1.13", Kind { generation: "1.13", volumes: "directory", ..whole }, DIRECTORIES.to_vec()),
        ("next to nothing offered, 1.12", Kind { offer: LEAST, ..whole }, DIRECTORIES.to_vec()),
        ("next to nothing offered, 1.13", Kind { offer: LEAST, generation: "1.13", ..whole }, DIRECTORIES.to_vec()),
        ("each node has its own, 1.12", PER_NODE, XFS.to_vec()),
        ("each node has its own, 1.13", Kind { generation: "1.13", reflinks: false, ..PER_NODE }, EXT4.to_vec()),
        (
            "a mount group, and growth offline, 1.12",
            GROUP,
            ["--only", "node-publish/*", "--only", "identity/*", "--only", "expand/offline-only"].to_vec(),
        ),
        (
            "nothing offered, 1.12",
            Kind { backend: "empty", ..GROUP },
            ["--only", "not-offered/*", "--only", "identity/*"].to_vec(),
        ),
        (
            "places, 1.13",
            Kind { generation: "1.13", config: PLACES, ..whole },
            ["--jobs", "1"].into_iter().chain(places).collect(),
        ),
    ]
}

const LEAST: &str = "{ attachment: false, capacity: false, changedBlocks: false, cloning: false, ephemeral: false, expansion: none, groupSnapshots: false, health: false, inspection: false, listing: false, modification: false, snapshots: false, snapshotListing: false }";

/// Only the run of this name, to try it alone.
fn chosen(name: &str) -> bool {
    std::env::var("BULKHEAD_CONTRACT_RUN").map_or(true, |only| name.contains(&only))
}

/// Cases that none of these drivers can be asked, and where they are shown instead.
const ELSEWHERE: &[(&str, &str)] = &[];

/// What the suite said of one driver.
struct Outcome {
    name: &'static str,
    report: Report,
}

fn run(name: &'static str, kind: Kind, arguments: &[&str]) -> Outcome {
    let start = Instant::now();
    let rig = Rig::new(kind);
    let report = rig.suite(None, arguments);
    let count = |outcome| report.with(outcome).len();
    let (passed, failed, skipped) = (count("pass"), count("fail"), count("skip"));
    println!("{name}: {passed} passed, {failed} failed, {skipped} skipped, {:?}", start.elapsed());
    if failed == 0 {
        rig.assert_clean();
    } else {
        println!("{}", rig.complaints());
    }
    Outcome { name, report }
}

#[test]
fn the_suite_passes_whole() {
    if !can_mount() {
        return;
    }
    let chosen: Vec<_> = runs().into_iter().filter(|(name, ..)| chosen(name)).collect();
    let whole = chosen.len() == runs().len();
    let (queue, outcomes) = (Mutex::new(chosen.into_iter()), Mutex::new(vec![]));
    // Each thread has mounts of its own.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((name, kind, arguments)) = next else { break };
                    let outcome = run(name, kind, &arguments);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    let (mut passed, mut skipped, mut failed) = (BTreeSet::new(), BTreeMap::new(), vec![]);
    for Outcome { name, report } in outcomes.lock().unwrap().iter() {
        failed.extend(report.with("fail").into_iter().map(|(case, why)| format!("{name}: {case}: {why}")));
        passed.extend(report.names("pass"));
        for (case, why) in report.with("skip") {
            skipped.entry(case_of(case).to_owned()).or_insert_with(|| format!("{name}: {why}"));
        }
    }
    let all: BTreeSet<_> = cases::all().into_iter().map(|case| case.name).collect();
    let never: BTreeSet<&str> = all.iter().map(String::as_str).filter(|name| !passed.contains(*name)).collect();
    for name in &never {
        println!("not tried: {name}: {}", skipped.get(*name).map_or("not chosen", String::as_str));
    }
    assert!(failed.is_empty(), "{failed:#?}");
    if !whole {
        println!("NOT CHECKED: whether every case has passed in some run");
        return;
    }
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(name, _)| *name).collect();
    assert_eq!(never, elsewhere, "cases that no run has passed");
}

#[test]
fn every_planted_fault_is_found_by_a_case_that_is_named_with_it() {
    if !can_mount() {
        return;
    }
    let mut missed = vec![];
    for fault in fault::all() {
        let start = Instant::now();
        let mut found = vec![];
        // Until one of the drivers shows it: not every one can be asked what the fault is about.
        for (kind, arguments) in [
            (Kind::WHOLE, XFS),
            (Kind { generation: "1.13", ..Kind::WHOLE }, XFS),
            (Kind { generation: "1.13", config: PLACES, ..Kind::WHOLE }, DIRECTORIES),
            (GROUP, DIRECTORIES),
            (Kind { offer: LEAST, ..Kind::WHOLE }, DIRECTORIES),
            // Small volumes can be had.
            (Kind { volumes: "directory", ..Kind::WHOLE }, DIRECTORIES),
        ] {
            let rig = Rig::new(kind);
            let mut arguments = [arguments, &["--timeout", "5"]].concat();
            arguments.extend(fault.cases.iter().flat_map(|glob| ["--only", glob]));
            found = rig.suite(Some(fault.name), &arguments).names("fail");
            if !found.is_empty() {
                break;
            }
        }
        println!("{}: found by {found:?}, {:?}", fault.name, start.elapsed());
        if found.is_empty() {
            missed.push(format!("{}: {}: not found by {:?}", fault.name, fault.about, fault.cases));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
