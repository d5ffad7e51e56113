//! botocore's service model over a recording: did a client of ours ask, and did this proxy answer, what EC2's own description
//! allows? Neither was written by us.

use crate::moto::{python, script};
use std::{path::Path, process::Command};

/// Checks a recording.
///
/// # Errors
/// The first offences; or that the check could not run.
pub fn check(recording: &Path) -> Result<String, String> {
    let python = python().ok_or("moto is missing: run scripts/setup-moto.sh")?;
    let output = Command::new(&python)
        .arg(script("check.py"))
        .arg(recording)
        .output()
        .map_err(|e| format!("{}: {e}", python.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr))) }
}
