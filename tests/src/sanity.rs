//! csi-sanity, the specification's own conformance suite.

use std::{env, path::PathBuf, process::Command};

const INSTALL: &str = "go install github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@v5.5.0";

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
