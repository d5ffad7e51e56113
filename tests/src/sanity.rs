//! csi-sanity, the specification's own conformance suite.

use crate::{
    HostBuilder, Places, Sandbox,
    host::{patience, run_with_patience},
    secrets,
    skips::{Mode, compare, listed, states},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const INSTALL: &str = "go install github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@v5.5.0";

/// One run of the suite against the only driver of a host.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// How volumes are used.
    pub mode: Mode,
    /// Bytes of a volume. It grows to twice as much.
    pub bytes: u64,
    /// How many specs pass.
    pub specs: usize,
    /// The list of the others, in `tests`.
    pub skipped: &'static str,
    /// YAML file of parameters, in `tests`.
    pub parameters: Option<&'static str>,
    /// YAML file of mutable parameters, in `tests`.
    pub mutable: &'static str,
    /// Further arguments of the suite.
    pub arguments: &'static [&'static str],
    /// Longest that it may take.
    pub patience: Duration,
}

impl Run {
    /// All the suite has, without parameters.
    pub fn new(mode: Mode, bytes: u64, specs: usize, skipped: &'static str) -> Self {
        let mutable = "sanity/mutable.yaml";
        let arguments = &["-csi.testnodevolumeattachlimit"];
        Self { mode, bytes, specs, skipped, parameters: None, mutable, arguments, patience: patience() }
    }

    /// Runs the suite's `program` against a host of its own, which offers volumes that nodes use. Nothing is left of it.
    ///
    /// # Panics
    /// As [`Self::pass_at`]; or the run leaves something.
    pub fn pass(self, program: &Path, sandbox: &Sandbox, builder: &HostBuilder) {
        let places =
            Places { kubelet: builder.kubelet(), state: builder.state(), pool: builder.drivers[0].pools[0].1.clone() };
        let host = builder.start();
        self.pass_at(program, sandbox, builder);
        assert!(host.stop().success());
        places.assert_empty(sandbox);
        let left = fs::read_dir(builder.kubelet()).expect("the kubelet root").count();
        assert_eq!(left, 0, "the suite or the host has left something");
    }

    /// Runs the suite's `program` against this host, which serves.
    ///
    /// # Panics
    /// A spec fails, is left out without being listed, or is listed and isn't left out; the run takes too long, or tells a
    /// secret.
    pub fn pass_at(self, program: &Path, sandbox: &Sandbox, builder: &HostBuilder) {
        let Self { mode, skipped, .. } = self;
        let report = sandbox.path().join("report.json");
        let mut command = self.command(program, sandbox, builder, &report);
        let (status, stdout, stderr) = run_with_patience(&mut command, self.patience);
        let report = fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report: {e}\n{stdout}\n{stderr}"));
        for (place, said) in [("the report", &report), ("standard output", &stdout), ("standard error", &stderr)] {
            secrets::assert_none(&secrets::in_bytes(place, said.as_bytes()));
        }
        let list = directory().join(skipped).display().to_string();
        let listed = listed(&fs::read_to_string(&list).expect("the list of what is skipped"), mode)
            .unwrap_or_else(|e| panic!("{list}: {e}"));
        let states = states(&report).expect("a report");
        if let Err(wrong) = compare(&states, &listed) {
            panic!("csi-sanity in {} mode differs from {list}:\n{wrong}\n{stdout}\n{stderr}", mode.name());
        }
        assert!(status.success(), "{status}\n{stdout}\n{stderr}");
        let passed = states.values().filter(|state| *state == "passed").count();
        assert_eq!(passed, self.specs, "in {} mode", mode.name());
        let left_out = states.len() - passed;
        println!("csi-sanity, {} mode: {passed} passed, {left_out} not run, as listed in {skipped}", mode.name());
    }

    /// The two directories below the kubelet root are the suite's own: it makes and removes them for each spec.
    fn command(self, program: &Path, sandbox: &Sandbox, builder: &HostBuilder, report: &Path) -> Command {
        let kubelet = builder.kubelet();
        let parameters = self.parameters.map(|file| directory().join(file));
        let mut command = Command::new(program);
        command
            .args(parameters.map(|file| format!("-csi.testvolumeparameters={}", file.display())))
            .arg(format!("-csi.endpoint=unix://{}", builder.socket(&builder.drivers[0].name).display()))
            .arg(format!("-csi.mountdir={}", kubelet.join("mount").display()))
            .arg(format!("-csi.stagingdir={}", kubelet.join("staging").display()))
            .arg(format!("-csi.testvolumeaccesstype={}", self.mode.name()))
            .arg(format!("-csi.testvolumesize={}", self.bytes))
            .arg(format!("-csi.testvolumeexpandsize={}", 2 * self.bytes))
            .arg(format!("-csi.testvolumemutableparameters={}", directory().join(self.mutable).display()))
            .arg(format!("-csi.secrets={}", secrets::file(sandbox.path()).display()))
            .args(self.arguments)
            .arg(format!("-ginkgo.json-report={}", report.display()))
            .arg("-ginkgo.no-color");
        command
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The suite's program: named by `BULKHEAD_CSI_SANITY`, or found where `go install` puts it. None is said, and with CI=true a failure.
///
/// # Panics
/// It isn't there, and `CI` is `true`.
pub fn program() -> Option<PathBuf> {
    let program = installed();
    if program.is_none() {
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "csi-sanity is missing, and CI=true forbids to skip it: {INSTALL}"
        );
        eprintln!(
            "NOT RUN: csi-sanity is missing, nothing was checked against the specification. Install it: {INSTALL}"
        );
    }
    program
}

fn installed() -> Option<PathBuf> {
    if let Some(path) = env::var_os("BULKHEAD_CSI_SANITY") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "BULKHEAD_CSI_SANITY: there is no {}", path.display());
        return Some(path);
    }
    let mut dirs: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    dirs.extend(env::var_os("GOBIN").map(PathBuf::from));
    if let Ok(output) = Command::new("go").args(["env", "GOPATH"]).output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).join("bin"));
    }
    dirs.extend(env::var_os("HOME").map(|home| PathBuf::from(home).join("go/bin")));
    dirs.into_iter().map(|dir| dir.join("csi-sanity")).find(|path| path.is_file())
}
