//! A directory with a config that is good but for what a test changes.

use bulkhead_tests::{Listing, host};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};
use tempfile::TempDir;

/// `ROOT` stands for the directory.
const GOOD: &str = "\
version: 1
stateDir: ROOT/state
node: { id: node-1, kubeletRoot: ROOT/kubelet }
drivers:
  - name: one.csi.bulkhead.dev
    endpoint: unix://ROOT/one.sock
    backend:
      source: ROOT/one.wasm
      grants:
        access: [nfs]
";

/// Marks the lines that errors are about.
const HERE: &str = "# HERE";

/// The whole error but its place.
pub type Says<'a> = &'a [&'a str];

/// A directory with a config, a component and a kubelet root.
pub struct Ground {
    _dir: TempDir,
    root: PathBuf,
}

impl Ground {
    /// With the config changed: each pair is a text that is there once and what comes in its place.
    pub fn new(changes: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("bulkhead-test-").tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("its path");
        let ground = Self { _dir: dir, root };
        fs::create_dir(ground.path("kubelet")).expect("the kubelet root");
        fs::copy(host::backend("example"), ground.path("one.wasm")).expect("the component");
        let mut config = GOOD.to_owned();
        for (from, to) in changes {
            assert_eq!(config.matches(from).count(), 1, "{from:?} is not there once:\n{config}");
            config = config.replace(from, to);
        }
        fs::write(ground.config(), config.replace("ROOT", ground.root.to_str().expect("UTF-8"))).expect("the config");
        ground
    }

    /// With another component, at the line of its source.
    pub fn component(bytes: &[u8]) -> Self {
        let ground = Self::new(&[("one.wasm", "one.wasm # HERE")]);
        fs::write(ground.path("one.wasm"), bytes).expect("the component");
        ground
    }

    /// Something in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("bulkhead.yaml")
    }

    /// Runs `check` or `serve`, without a log. Standard output must stay empty unless it succeeds.
    pub fn run(&self, command: &str, args: &[&str]) -> (ExitStatus, String) {
        let file: &[&str] = if command == "serve" { &["--config"] } else { &[] };
        let mut process = Command::new(host::binary());
        process.arg(command).args(args).args(file).arg(self.config()).env("BULKHEAD_LOG", "off");
        let (status, stdout, stderr) = host::run_with_timeout(&mut process);
        assert!(status.success() || stdout.is_empty(), "{command} printed {stdout}");
        (status, stderr)
    }

    /// Both commands refuse the config with exactly these errors, at the lines marked in the config, in their order; and
    /// nothing is begun.
    pub fn is_refused(&self, what: &str, errors: &[Says<'_>]) {
        self.is_refused_with(what, &[], errors);
    }

    /// As [`Ground::is_refused`], with arguments.
    pub fn is_refused_with(&self, what: &str, args: &[&str], errors: &[Says<'_>]) {
        let text = fs::read_to_string(self.config()).expect("the config");
        let marked = |(index, line): (usize, &str)| line.contains(HERE).then_some(index + 1);
        let lines: Vec<_> = text.lines().enumerate().filter_map(marked).collect();
        assert_eq!(lines.len(), errors.len(), "{what}: a line is marked for each error");
        for command in ["check", "serve"] {
            let before = self.listing(command);
            let (status, stderr) = self.run(command, args);
            let context = format!("{command} of {what} said:\n{stderr}");
            assert_eq!(status.code(), Some(2), "{context}");
            assert_eq!(stderr.lines().count(), errors.len(), "{context}");
            for ((said, line), parts) in stderr.lines().zip(&lines).zip(errors) {
                is_clear(said, &context);
                let place = format!("{}:{line}:", self.config().display());
                assert!(said.starts_with(&place), "expected it to begin with {place}\n{context}");
                let missing: Vec<_> = parts.iter().filter(|part| !said.contains(**part)).collect();
                assert!(missing.is_empty(), "expected {missing:?}\n{context}");
            }
            self.listing(command).assert_same(&before, &context);
        }
    }

    /// All but what `serve` may make before it knows: the state directory, its lock and its cache.
    fn listing(&self, command: &str) -> Listing {
        let listing = Listing::of(std::slice::from_ref(&self.root));
        if command == "check" {
            return listing;
        }
        assert!(!self.path("state/node").exists(), "a journal was begun");
        // An entry more changes the root's own time.
        let parts = fs::read_dir(&self.root).expect("the directory").map(|entry| entry.expect("an entry").path());
        let parts: Vec<_> = parts.filter(|path| !path.ends_with("state")).collect();
        Listing::of(&parts)
    }
}

/// One line that a person can read.
fn is_clear(line: &str, context: &str) {
    assert!(line.len() < 1000, "too long: {context}");
    assert!(!line.chars().any(char::is_control), "{context}");
    assert!(!line.contains("\\n") && !line.contains("\\u{"), "more than a line: {context}");
}

/// A socket file on which nobody listens.
pub fn stale_socket(path: &Path) {
    drop(std::os::unix::net::UnixListener::bind(path).expect("a socket"));
    assert!(std::os::unix::net::UnixStream::connect(path).is_err(), "nobody listens");
}
