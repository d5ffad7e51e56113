//! csi-sanity's and our own suite against the controller.

use crate::rig::{Kind, Rig};
use bulkhead_tests::{sanity, skips::Mode, suite::Suite};
use std::time::Duration;

/// Cases that this driver can't pass, and why.
const BEYOND: &[(&str, &str)] = &[
    ("attach/other-capability", "EC2 does not remember how a volume is going to be used on an instance"),
    ("validate/other-context", "what a volume's context holds is for its node, and EC2 does not keep it"),
];
/// Specs of csi-sanity that pass.
const SPECS: usize = 60;
/// Longest that a suite may take.
const SUITE: Duration = Duration::from_secs(600);

#[test]
fn csi_sanity_of_the_controller() {
    let Some(rig) = Rig::new(Kind { mode: "all", ..Kind::default() }) else { return };
    let Some(program) = sanity::program() else { return };
    let run = sanity::Run {
        mutable: "ebs/mutable.yaml",
        arguments: &["-ginkgo.skip=Node Service"],
        patience: SUITE,
        ..sanity::Run::new(Mode::Block, 10 << 30, SPECS, "ebs/sanity-skipped.txt")
    };
    run.pass_at(&program, &rig.sandbox, &rig.builder);
    rig.assert_sound();
    rig.assert_empty();
}

#[test]
fn the_contract_suite_of_the_controller() {
    let Some(rig) = Rig::new(Kind { mode: "all", ..Kind::default() }) else { return };
    let socket = rig.builder.socket(&rig.builder.drivers[0].name);
    Suite::new(rig.sandbox.path(), &socket, &rig.builder.kubelet().join("suite"))
        .args(["--controller-only", "--access", "both", "--size", "10GiB", "--jobs", "16"])
        .except(BEYOND)
        .yaml("--parameters", "type: gp3")
        .yaml("--other-parameters", "type: gp2")
        .yaml("--bad-parameters", "type: tape")
        .yaml("--mutable-parameters", "iops: \"4000\"")
        .yaml("--other-mutable-parameters", "iops: \"5000\"")
        .yaml("--bad-mutable-parameters", "colour: red")
        .run(SUITE)
        .assert_skips("ebs/contract-skipped.txt");
    rig.assert_sound();
}
