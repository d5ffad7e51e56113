//! csi-sanity's and our own suite against the controller.

use crate::rig::{Kind, Rig};
use bulkhead_tests::{
    host::{binary, run_with_patience},
    sanity, secrets,
    skips::{Mode, compare, listed, states},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, time::Duration};

/// Cases that this driver can't pass, and why.
const BEYOND: &[(&str, &str)] = &[
    ("attach/other-capability", "EC2 does not remember how a volume is going to be used on an instance"),
    ("validate/other-context", "what a volume's context holds is for its node, and EC2 does not keep it"),
];
/// Longest that a suite may take.
const SUITE: Duration = Duration::from_secs(600);

fn list(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("ebs").join(name)
}

#[test]
fn csi_sanity_of_the_controller() {
    let Some(rig) = Rig::new(Kind { mode: "all", ..Kind::default() }) else { return };
    let Some(program) = sanity::program() else { return };
    let report = rig.sandbox.path().join("report.json");
    let socket = rig.builder.socket(&rig.builder.drivers[0].name);
    let mutable = rig.sandbox.path().join("mutable.yaml");
    fs::write(&mutable, "iops: \"4000\"\n").unwrap();
    let (status, stdout, stderr) = run_with_patience(
        Command::new(program)
            .arg(format!("-csi.endpoint=unix://{}", socket.display()))
            .arg(format!("-csi.mountdir={}", rig.builder.kubelet().join("mount").display()))
            .arg(format!("-csi.stagingdir={}", rig.builder.kubelet().join("staging").display()))
            .arg("-csi.testvolumeaccesstype=block")
            .arg(format!("-csi.testvolumesize={}", 10u64 << 30))
            .arg(format!("-csi.testvolumeexpandsize={}", 20u64 << 30))
            .arg(format!("-csi.testvolumemutableparameters={}", mutable.display()))
            .arg(format!("-csi.secrets={}", secrets::file(rig.sandbox.path()).display()))
            .arg("-ginkgo.skip=Node Service")
            .arg(format!("-ginkgo.json-report={}", report.display()))
            .arg("-ginkgo.no-color"),
        SUITE,
    );
    let report = fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report: {e}\n{stdout}\n{stderr}"));
    secrets::assert_none(&secrets::in_bytes("the suite's report", report.as_bytes()));
    let states = states(&report).unwrap();
    let file = list("sanity-skipped.txt");
    let listed = listed(&fs::read_to_string(&file).unwrap(), Mode::Block).unwrap();
    if let Err(wrong) = compare(&states, &listed) {
        panic!("csi-sanity differs from {}:\n{wrong}\n{stdout}\n{stderr}", file.display());
    }
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    rig.assert_sound();
    rig.assert_empty();
}

#[test]
fn the_contract_suite_of_the_controller() {
    let Some(rig) = Rig::new(Kind { mode: "all", ..Kind::default() }) else { return };
    let report = rig.sandbox.path().join("report.json");
    let file = |name: &str, yaml: &str| {
        let path = rig.sandbox.path().join(name);
        fs::write(&path, yaml).unwrap();
        path
    };
    let socket = rig.builder.socket(&rig.builder.drivers[0].name);
    let (_, stdout, stderr) = run_with_patience(
        Command::new(binary().with_file_name("bulkhead-contract"))
            .args(["--endpoint", &format!("unix://{}", socket.display()), "--controller-only", "--access", "both"])
            .args(BEYOND.iter().flat_map(|(case, _)| ["--except", case]))
            .args(["--size", "10GiB", "--jobs", "16", "--work-dir"])
            .arg(rig.builder.kubelet().join("suite"))
            .arg("--secrets")
            .arg(secrets::file(rig.sandbox.path()))
            .arg("--report")
            .arg(&report)
            .arg("--parameters")
            .arg(file("parameters.yaml", "type: gp3"))
            .arg("--other-parameters")
            .arg(file("other.yaml", "type: gp2"))
            .arg("--bad-parameters")
            .arg(file("bad.yaml", "type: tape"))
            .arg("--mutable-parameters")
            .arg(file("mutable.yaml", "iops: \"4000\""))
            .arg("--other-mutable-parameters")
            .arg(file("other-mutable.yaml", "iops: \"5000\""))
            .arg("--bad-mutable-parameters")
            .arg(file("bad-mutable.yaml", "colour: red")),
        SUITE,
    );
    let text = fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report: {e}\n{stdout}\n{stderr}"));
    secrets::assert_none(&secrets::in_bytes("the suite's report", text.as_bytes()));
    let report: Value = serde_json::from_str(&text).unwrap();
    let mut skipped = BTreeMap::new();
    let (mut failed, mut passed) = (vec![], 0);
    for case in report["cases"].as_array().unwrap() {
        let (name, why) = (case["name"].as_str().unwrap(), case["reason"].as_str().unwrap_or_default());
        match case["outcome"].as_str().unwrap() {
            "pass" => passed += 1,
            "skip" => drop(skipped.insert(name.to_owned(), why.to_owned())),
            _ => failed.push(format!("{name}: {why}")),
        }
    }
    println!("{passed} passed, {} skipped", skipped.len());
    assert!(failed.is_empty(), "{failed:#?}");
    let file = list("contract-skipped.txt");
    let text: String = skipped.iter().map(|(name, why)| format!("{name} | {why}\n")).collect();
    if std::env::var_os("BULKHEAD_BLESS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&file).unwrap(), "skipped cases, and those of {}", file.display());
    rig.assert_sound();
}
