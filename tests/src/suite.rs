//! `bulkhead-contract`, our own suite, run as a program against a driver's socket.

use crate::{
    host::{binary, run_with_patience},
    secrets,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A run that is being put together. It uses the secrets of this process.
#[derive(Debug)]
pub struct Suite {
    command: Command,
    directory: PathBuf,
    may_tell: bool,
}

impl Suite {
    /// Against this socket; the driver's node makes what it is asked for in `work_dir`. Files for the suite, and its report, are
    /// in `directory`.
    pub fn new(directory: &Path, socket: &Path, work_dir: &Path) -> Self {
        let mut command = Command::new(binary().with_file_name("bulkhead-contract"));
        command.arg("--endpoint").arg(format!("unix://{}", socket.display())).arg("--work-dir").arg(work_dir);
        command.arg("--secrets").arg(secrets::file(directory));
        Self { command, directory: directory.to_owned(), may_tell: false }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Adds an option that takes a YAML file, of this text.
    ///
    /// # Panics
    /// The file can't be written.
    #[must_use]
    pub fn yaml(mut self, option: &str, text: &str) -> Self {
        let path = self.directory.join(format!("{}.yaml", option.trim_start_matches('-')));
        fs::write(&path, text).expect("a file for the suite");
        self.command.arg(option).arg(path);
        self
    }

    /// Leaves out cases, each with the reason why the driver can't pass it.
    #[must_use]
    pub fn except(self, cases: &[(&str, &str)]) -> Self {
        self.args(cases.iter().flat_map(|(case, _)| ["--except", case]))
    }

    /// What stands between it and the driver may tell secrets.
    #[must_use]
    pub fn may_tell(mut self) -> Self {
        self.may_tell = true;
        self
    }

    /// Runs it: what it found.
    ///
    /// # Panics
    /// It takes longer than this, leaves no report, or tells a secret.
    pub fn run(mut self, patience: Duration) -> Report {
        let path = self.directory.join("report.json");
        let (_, stdout, stderr) = run_with_patience(self.command.arg("--report").arg(&path), patience);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("no report: {e}\n{stdout}\n{stderr}"));
        if !self.may_tell {
            let said = [("its report", &text), ("its standard output", &stdout), ("its standard error", &stderr)];
            said.iter().for_each(|(place, said)| secrets::assert_none(&secrets::in_bytes(place, said.as_bytes())));
        }
        fs::remove_file(&path).expect("the report");
        Report(serde_json::from_str(&text).expect("the report is JSON"))
    }
}

/// What the suite found.
#[derive(Debug)]
pub struct Report(Value);

impl Report {
    /// Names, uses and reasons of the results with this outcome: `pass`, `fail`, `skip`.
    ///
    /// # Panics
    /// The report is of another form.
    pub fn with(&self, outcome: &str) -> Vec<(&str, &str)> {
        let cases = self.0["cases"].as_array().expect("cases");
        let of = cases.iter().filter(|case| case["outcome"] == outcome);
        of.map(|case| (case["name"].as_str().expect("a name"), case["reason"].as_str().expect("a reason"))).collect()
    }

    /// Names of cases with this outcome, without their use.
    pub fn names(&self, outcome: &str) -> Vec<String> {
        self.with(outcome).into_iter().map(|(name, _)| case_of(name).to_owned()).collect()
    }

    /// Which cases took longest, and how long.
    fn slowest(&self) -> String {
        let cases = self.0["cases"].as_array().into_iter().flatten();
        let mut cases: Vec<_> = cases.map(|case| (case["milliseconds"].as_u64(), case["name"].as_str())).collect();
        cases.sort();
        let of = |(took, name): &(Option<u64>, Option<&str>)| {
            format!("{} {} ms", name.unwrap_or_default(), took.unwrap_or_default())
        };
        cases.iter().rev().take(20).map(of).collect::<Vec<_>>().join(", ")
    }

    /// Asserts that nothing failed and that exactly the cases of a list, in `tests/`, were left out, for its reasons. With
    /// `BULKHEAD_BLESS` set the list is written instead.
    ///
    /// # Panics
    /// It isn't so.
    pub fn assert_skips(&self, list: &str) {
        let failed = self.with("fail");
        assert!(failed.is_empty(), "{failed:#?}");
        let skipped: BTreeMap<_, _> = self.with("skip").into_iter().collect();
        println!("our own suite: {} passed, {} skipped; {}", self.with("pass").len(), skipped.len(), self.slowest());
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join(list);
        let text: String = skipped.iter().map(|(name, why)| format!("{name} | {why}\n")).collect();
        if env::var_os("BULKHEAD_BLESS").is_some() {
            fs::write(&list, &text).expect("the list");
        }
        let listed = fs::read_to_string(&list).unwrap_or_default();
        assert_eq!(text, listed, "skipped cases, and those of {}", list.display());
    }
}

/// `stage/repeat` of `stage/repeat[ext4]`.
pub fn case_of(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}
