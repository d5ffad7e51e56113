//! The list of test programs, `tests/vm/runs.txt`, and where cargo has put them.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A line of the list: `MACHINE PACKAGE TEST SECONDS [ARGUMENT...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Machines run beside each other, what is of one machine one after the other.
    pub machine: u8,
    /// The package.
    pub package: String,
    /// The target of kind test in it, or `lib` for its unit tests.
    pub test: String,
    /// How long it may take.
    pub seconds: u32,
    /// Arguments for the test program.
    pub arguments: Vec<String>,
}

/// A test program with all that it takes to run it.
#[derive(Debug, Clone)]
pub struct Job {
    /// What it is of.
    pub run: Run,
    /// The program.
    pub program: PathBuf,
    /// Where it runs: the directory of its package, as with cargo.
    pub directory: PathBuf,
}

/// Reads the list. Empty lines and such with `#` count for nothing.
///
/// # Errors
/// A line is not of that form; there is none.
pub fn parse(text: &str) -> Result<Vec<Run>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let run = |(index, line): (usize, &str)| {
        let wrong = || format!("line {} is not `MACHINE PACKAGE TEST SECONDS [ARGUMENT...]`: {line}", index + 1);
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(machine), Some(package), Some(test), Some(seconds)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let machine = machine.parse().map_err(|_| wrong())?;
        let seconds = seconds.parse().map_err(|_| wrong())?;
        Ok(Run { machine, package, test, seconds, arguments: words.collect() })
    };
    let runs = lines.map(run).collect::<Result<Vec<_>, _>>()?;
    if runs.is_empty() { Err("the list is empty".into()) } else { Ok(runs) }
}

/// Has cargo build these tests and finds the programs of these runs.
///
/// # Errors
/// cargo fails; it has built no such test.
pub fn jobs(top: &Path, runs: Vec<Run>) -> Result<Vec<Job>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // All packages, as in every other build: a narrower selection would compile much anew. Only these tests are linked.
    let tests: BTreeSet<&str> = runs.iter().map(|run| run.test.as_str()).collect();
    let selected = tests.iter().flat_map(|test| if *test == "lib" { vec!["--lib"] } else { vec!["--test", test] });
    let output = Command::new(cargo)
        .args(["test", "--workspace", "--locked", "--no-run", "--message-format=json-render-diagnostics"])
        .args(selected)
        .current_dir(top)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cargo can't be run: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo test --no-run: {}", output.status));
    }
    let built = built(&String::from_utf8_lossy(&output.stdout));
    let job = |run: Run| {
        let (program, manifest) = built
            .get(&(run.package.clone(), run.test.clone()))
            .ok_or_else(|| format!("cargo has built no test {} of {}: is the list right?", run.test, run.package))?;
        let directory = manifest.parent().ok_or("a manifest without a directory")?.to_owned();
        Ok(Job { run, program: program.clone(), directory })
    };
    runs.into_iter().map(job).collect()
}

/// Test programs and manifests by package and target, from cargo's messages.
fn built(messages: &str) -> BTreeMap<(String, String), (PathBuf, PathBuf)> {
    let message = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let program = text(&message["executable"])?;
        if message["profile"]["test"] != true {
            return None;
        }
        let manifest = PathBuf::from(text(&message["manifest_path"])?);
        let kind = text(&message["target"]["kind"][0])?;
        let test = if kind == "test" { text(&message["target"]["name"])? } else { kind };
        Some(((package(message["package_id"].as_str()?), test), (program.into(), manifest)))
    };
    messages.lines().filter_map(message).collect()
}

/// The name in a package id: `path+file:///x/tests/vm#bulkhead-vm@0.1.0`, or `path+file:///x/vm#0.1.0` where directory and
/// package are called the same.
fn package(id: &str) -> String {
    let (path, rest) = id.rsplit_once('#').unwrap_or(("", id));
    match rest.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => path.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_and_what_is_wrong_in_it_is_named() {
        let runs = parse("# why\n\n1 a vm 60 --ignored x\n2 b kernel 5\n").expect("a list");
        assert_eq!(runs[0].arguments, ["--ignored", "x"]);
        assert_eq!((runs[0].machine, runs[1].machine), (1, 2));
        assert_eq!((runs[1].package.as_str(), runs[1].test.as_str(), runs[1].seconds), ("b", "kernel", 5));
        for (bad, line) in [
            ("1 a", "line 1"),
            ("1 a vm", "line 1"),
            ("1 a vm 1\n1 b vm soon", "line 2"),
            ("# 1 a vm 1", "empty"),
            ("a vm 1 1", "line 1"),
        ] {
            let refused = parse(bad).expect_err("refused");
            assert!(refused.contains(line), "{refused}");
        }
    }

    #[test]
    fn the_list_of_this_repository_names_tests_of_it() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let runs = parse(include_str!("../../runs.txt")).expect("a list");
        assert!(runs.iter().any(|run| run.package == "bulkhead-vm"), "{} is left out", top.display());
    }

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let line = |kind: &str, name: &str, test: bool, program: &str| {
            serde_json::json!({ "reason": "compiler-artifact", "package_id": "path+file:///x/tests/vm#bulkhead-vm@0.1.0",
                "manifest_path": "/x/tests/vm/Cargo.toml", "target": { "kind": [kind], "name": name },
                "profile": { "test": test }, "executable": program })
            .to_string()
        };
        let messages = [
            line("test", "vm", true, "/t/vm-1"),
            line("lib", "bulkhead_vm", true, "/t/lib-1"),
            line("bin", "bulkhead-vm", false, "/t/bin"),
            "{\"reason\":\"build-finished\"}".to_owned(),
        ];
        let found = built(&messages.join("\n"));
        let key = |test: &str| ("bulkhead-vm".to_owned(), test.to_owned());
        assert_eq!(found[&key("vm")].0, Path::new("/t/vm-1"));
        assert_eq!(found[&key("lib")].0, Path::new("/t/lib-1"));
        assert_eq!(found.len(), 2);
        assert_eq!(package("path+file:///x/proto#0.1.0"), "proto");
    }
}
