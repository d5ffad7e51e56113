//! Tier "sanity": the specification's own conformance suite against the local backend, with mounted and with raw volumes; with
//! all that it offers, and as it is deployed where each node has storage of its own.
#![allow(missing_docs, clippy::unwrap_used)]

use bulkhead_tests::{
    Driver, HostBuilder, Places, Sandbox,
    host::run_with_timeout,
    pernode::per_node,
    sandbox::can_mount,
    sanity::program,
    secrets,
    skips::{Mode, compare, listed, states},
};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;

/// How the driver is deployed.
struct Shape {
    builder: fn(&Sandbox) -> HostBuilder,
    /// Active specs of the suite's version for it.
    specs: usize,
    /// The list of the others, in `tests/sanity`.
    skipped: &'static str,
    /// YAML file of parameters for mounted volumes, in `tests/sanity`.
    mounted: Option<&'static str>,
}

/// Everything is offered.
const WHOLE: Shape = Shape {
    builder: |sandbox| {
        let mut driver = Driver::local(sandbox);
        driver.config = "maxVolumesPerNode: 5".into();
        HostBuilder::new(sandbox, [driver])
    },
    specs: 95,
    skipped: "skipped.txt",
    mounted: None,
};

/// The node grows volumes, nothing is attached, and ids name the node.
const PER_NODE: Shape = Shape {
    builder: |sandbox| per_node(sandbox, "node-1"),
    specs: 68,
    skipped: "skipped-per-node.txt",
    // Nobody but NodeExpandVolume grows volumes here, and ext4 grows while it is mounted only with CAP_SYS_RESOURCE.
    mounted: Some("directories.yaml"),
};

/// Longest for one run.
const LONGEST: Duration = Duration::from_secs(60);

fn run(mode: Mode, bytes: u64, shape: &Shape) {
    if !can_mount() {
        return;
    }
    let Some(program) = program() else { return };
    let sandbox = Sandbox::enter();
    let builder = (shape.builder)(&sandbox);
    let places =
        Places { kubelet: builder.kubelet(), state: builder.state(), pool: builder.drivers[0].pools[0].1.clone() };
    let (socket, kubelet) = (builder.socket(&builder.drivers[0].name), builder.kubelet());
    let host = builder.start();
    let start = Instant::now();
    let report = sandbox.path().join("report.json");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sanity");
    let parameters = shape.mounted.filter(|_| mode == Mode::Mount);
    let parameters = parameters.map(|file| format!("-csi.testvolumeparameters={}", directory.join(file).display()));
    // The two directories are the suite's own: it makes and removes them for each spec.
    let (status, stdout, stderr) = run_with_timeout(
        Command::new(program)
            .args(parameters)
            .arg(format!("-csi.endpoint=unix://{}", socket.display()))
            .arg(format!("-csi.mountdir={}", kubelet.join("mount").display()))
            .arg(format!("-csi.stagingdir={}", kubelet.join("staging").display()))
            .arg(format!("-csi.testvolumeaccesstype={}", mode.name()))
            .arg(format!("-csi.testvolumesize={bytes}"))
            .arg(format!("-csi.testvolumeexpandsize={}", 2 * bytes))
            .arg(format!("-csi.secrets={}", secrets::file(sandbox.path()).display()))
            .arg("-csi.testnodevolumeattachlimit")
            .arg(format!("-csi.testvolumemutableparameters={}", directory.join("mutable.yaml").display()))
            .arg(format!("-ginkgo.json-report={}", report.display()))
            .arg("-ginkgo.no-color"),
    );
    let report = fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report: {e}\n{stdout}\n{stderr}"));
    for (place, said) in [("the report", &report), ("standard output", &stdout), ("standard error", &stderr)] {
        secrets::assert_none(&secrets::in_bytes(place, said.as_bytes()));
    }
    let list = directory.join(shape.skipped).display().to_string();
    let listed = listed(&fs::read_to_string(&list).unwrap(), mode).unwrap_or_else(|e| panic!("{list}: {e}"));
    let states = states(&report).unwrap();
    if let Err(wrong) = compare(&states, &listed) {
        panic!("csi-sanity in {} mode differs from {list}:\n{wrong}\n{stdout}\n{stderr}", mode.name());
    }
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    let passed = states.values().filter(|state| *state == "passed").count();
    assert_eq!(passed, shape.specs, "in {} mode", mode.name());
    assert!(start.elapsed() < LONGEST, "the suite took {:?} in {} mode", start.elapsed(), mode.name());
    println!(
        "csi-sanity, {} mode: {passed} passed, {} not run, as listed in {}",
        mode.name(),
        states.len() - passed,
        shape.skipped
    );
    assert!(host.stop().success());
    places.assert_empty(&sandbox);
    assert_eq!(fs::read_dir(&kubelet).unwrap().count(), 0, "the suite or the host has left something");
}

#[test]
fn mounted_volumes_conform() {
    // The default file system, ext4.
    run(Mode::Mount, 16 * MIB, &WHOLE);
}

#[test]
fn raw_volumes_conform() {
    run(Mode::Block, 10 * MIB, &WHOLE);
}

#[test]
fn mounted_volumes_conform_where_each_node_has_its_own() {
    run(Mode::Mount, 16 * MIB, &PER_NODE);
}

#[test]
fn raw_volumes_conform_where_each_node_has_its_own() {
    run(Mode::Block, 10 * MIB, &PER_NODE);
}
