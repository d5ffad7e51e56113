//! Tier "sanity": the specification's own conformance suite against the local backend, with mounted and with raw volumes; with
//! all that it offers, and as it is deployed where each node has storage of its own.
#![allow(missing_docs, clippy::unwrap_used)]

use bulkhead_tests::{
    Driver, HostBuilder, Sandbox,
    pernode::per_node,
    sandbox::can_mount,
    sanity::{Run, program},
    skips::Mode,
};

const MIB: u64 = 1 << 20;

/// How the driver is deployed.
struct Shape {
    builder: fn(&Sandbox) -> HostBuilder,
    /// Active specs of the suite's version for it.
    specs: usize,
    /// The list of the others, in `tests`.
    skipped: &'static str,
    /// YAML file of parameters for mounted volumes, in `tests`.
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
    skipped: "sanity/skipped.txt",
    mounted: None,
};

/// The node grows volumes, nothing is attached, and ids name the node.
const PER_NODE: Shape = Shape {
    builder: |sandbox| per_node(sandbox, "node-1"),
    specs: 68,
    skipped: "sanity/skipped-per-node.txt",
    // Nobody but NodeExpandVolume grows volumes here, and ext4 grows while it is mounted only with CAP_SYS_RESOURCE.
    mounted: Some("sanity/directories.yaml"),
};

fn run(mode: Mode, bytes: u64, shape: &Shape) {
    if !can_mount() {
        return;
    }
    let Some(program) = program() else { return };
    let sandbox = Sandbox::enter();
    let parameters = shape.mounted.filter(|_| mode == Mode::Mount);
    let run = Run { parameters, ..Run::new(mode, bytes, shape.specs, shape.skipped) };
    run.pass(&program, &sandbox, &(shape.builder)(&sandbox));
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
