//! moto's server as a process of its own, which ends with ours however that ends.

use crate::Credentials;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The release that the tests are written against.
pub const VERSION: &str = "5.2.5";

/// What is there from the beginning.
#[derive(Debug, Clone, Deserialize)]
pub struct Facts {
    /// Port at 127.0.0.1.
    pub port: u16,
    /// Region of the zones and instances.
    pub region: String,
    /// Users by name: `driver` may do everything with EC2, `reader` may only look, `proxy` is the proxy's.
    pub users: BTreeMap<String, Credentials>,
    /// ARNs of roles by name: `driver` can be assumed by the user of that name.
    pub roles: BTreeMap<String, String>,
    /// Zones of the region.
    pub zones: Vec<String>,
    /// Running instances, the same number in each zone.
    pub instances: Vec<Instance>,
}

/// An instance that runs.
#[derive(Debug, Clone, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The server. It ends when this is dropped; and when our process dies, since it waits for the end of a pipe that we hold.
#[derive(Debug)]
pub struct Moto {
    /// What is there.
    pub facts: Facts,
    child: Child,
    log: tempfile::NamedTempFile,
}

/// The Python of the virtual environment that has moto: `BULKHEAD_EC2_PYTHON`, or where `scripts/setup-moto.sh` puts it.
pub fn python() -> Option<PathBuf> {
    if let Some(path) = env::var_os("BULKHEAD_EC2_PYTHON") {
        return Some(path.into());
    }
    let tools = env::var_os("BULKHEAD_TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/bulkhead/tools")))?;
    let python = tools.join(format!("moto-{VERSION}")).join("bin/python");
    python.is_file().then_some(python)
}

/// Whether tests against moto can run here.
///
/// # Panics
/// They can't, and `CI=true` forbids to skip them.
pub fn available() -> bool {
    let there = python().is_some();
    if !there {
        let install = "scripts/setup-moto.sh";
        assert!(env::var("CI").as_deref() != Ok("true"), "moto is missing, and CI=true forbids to skip it: {install}");
        eprintln!("NOT RUN: moto is missing, nothing was checked against it. Install it: {install}");
    }
    there
}

/// A script of this crate.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

impl Moto {
    /// Starts it and waits until it answers: users, a role, and three instances in each of three zones are there.
    ///
    /// # Errors
    /// There is no Python with moto, or it does not come up; with the end of what it said.
    pub fn start() -> Result<Self, String> {
        Self::with(&[])
    }

    /// As `start`, with other options of `python/server.py`.
    ///
    /// # Errors
    /// As `start`.
    pub fn with(options: &[&str]) -> Result<Self, String> {
        let python = python().ok_or("moto is missing: run scripts/setup-moto.sh")?;
        let log = tempfile::NamedTempFile::new().map_err(|e| format!("a file for moto's log: {e}"))?;
        let errors = log.reopen().map_err(|e| format!("moto's log: {e}"))?;
        let mut child = Command::new(&python)
            .arg(script("server.py"))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("{}: {e}", python.display()))?;
        let mut line = String::new();
        let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        let facts = serde_json::from_str(&line);
        match (read, facts) {
            (Some(Ok(_)), Ok(facts)) => Ok(Self { facts, child, log }),
            (_, facts) => {
                _ = child.kill();
                _ = child.wait();
                let said = fs::read_to_string(log.path()).unwrap_or_default();
                Err(format!("moto does not come up: {:?}\n{said}", facts.err()))
            }
        }
    }

    /// Its address, without the proxy. Keys are known to be asked for here.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.facts.port)
    }

    /// A user's key.
    ///
    /// # Panics
    /// There is no such user.
    pub fn key(&self, user: &str) -> Credentials {
        self.facts.users.get(user).cloned().unwrap_or_else(|| panic!("moto has no user {user}"))
    }

    /// A client that asks moto itself, past the proxy: for counting.
    pub fn direct(&self) -> crate::Direct {
        crate::Direct::new(self.facts.port, &self.facts.region, self.key("proxy"))
    }

    /// What the server has said: its own faults.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.child.stdin.take() {
            _ = pipe.flush();
        }
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
