//! The pinned helm, run on the chart.

use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// The YAML files of a folder of the repository, in order.
pub fn folder(path: &str) -> Vec<PathBuf> {
    let dir = root().join(path);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

/// A file's name.
pub fn named(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

/// The objects of a rendering.
pub fn objects(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|e| panic!("not YAML: {e}"));
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// The helm of the version that the goldens are of.
pub struct Helm(PathBuf);

impl Helm {
    /// Where scripts/setup-helm.sh finds it. Without one the tier says that it did not run; with `CI=true` it fails.
    pub fn find() -> Option<Self> {
        let output = Command::new(root().join("scripts/setup-helm.sh")).arg("--find").output().expect("bash");
        if !output.status.success() {
            assert!(env::var("CI").as_deref() != Ok("true"), "helm is missing: run scripts/setup-helm.sh");
            eprintln!("NOT RUN: helm is missing, the chart was not rendered. Install it: scripts/setup-helm.sh");
            return None;
        }
        Some(Self(String::from_utf8(output.stdout).expect("a path").trim().into()))
    }

    /// `helm VERB` on the chart with the values of a file.
    pub fn run(&self, verb: &str, values: &Path) -> Output {
        let mut command = Command::new(&self.0);
        command.arg(verb);
        if verb == "template" {
            command.arg("bulkhead");
        }
        let chart = root().join("deploy/helm");
        command.arg(chart).args(["--namespace", "bulkhead-system", "--kube-version", "1.34.0", "--values"]).arg(values);
        command.output().expect("helm runs")
    }

    /// What the chart renders.
    pub fn render(&self, values: &Path) -> String {
        let output = self.run("template", values);
        assert!(output.status.success(), "{}: {}", values.display(), String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}
