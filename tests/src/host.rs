//! A host process, its config and its sockets.

use crate::{Client, Driver, Sandbox, secrets};
use std::{
    fmt::Write as _,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Longest wait for a host to come up or go down, and for programs that say nothing else. An emulated machine takes longer, where a
/// backend is compiled once more.
pub fn patience() -> Duration {
    Duration::from_secs(if bulkhead_vm::machine::inside() { 600 } else { 60 })
}

/// The host's binary: `BULKHEAD_BIN`, or the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BULKHEAD_BIN") {
        return path.into();
    }
    let exe = std::env::current_exe().expect("the test's path");
    // A test is target/PROFILE/deps/TEST, a program target/PROFILE/PROGRAM.
    let dir = exe.parent().expect("a directory");
    let dir = if dir.ends_with("deps") { dir.parent().expect("target/PROFILE") } else { dir };
    let path = dir.join("bulkhead");
    assert!(path.exists(), "{} is not built: run `make build` first", path.display());
    path
}

/// A backend that `make build` has made.
pub fn backend(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/backends").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not built: run `make build` first", path.display());
    path.canonicalize().expect("its path")
}

/// Makes hosts.
#[derive(Debug, Clone)]
pub struct HostBuilder {
    root: PathBuf,
    /// Drivers.
    pub drivers: Vec<Driver>,
    /// `--mode`.
    pub mode: &'static str,
    /// Environment of the process. `BULKHEAD_LOG` is `trace` where nothing else is said: what is measured, and what is killed
    /// thousands of times, says less.
    pub env: Vec<(String, String)>,
    /// `--log-format`.
    pub log_format: &'static str,
    /// Memory of all backends together, like `128MiB`.
    pub total_memory: Option<&'static str>,
    /// `node.id`.
    pub node_id: String,
    /// More keys of `node`, one `key: value` a line.
    pub node: String,
    /// Port of `health.endpoint` at 127.0.0.1.
    pub health: Option<u16>,
    /// `--keep-going`.
    pub keep_going: bool,
}

impl HostBuilder {
    /// A host of these drivers, everything below the sandbox.
    pub fn new(sandbox: &Sandbox, drivers: impl IntoIterator<Item = Driver>) -> Self {
        sandbox.dir("kubelet");
        Self {
            root: sandbox.path().to_owned(),
            drivers: drivers.into_iter().collect(),
            mode: "all",
            env: vec![],
            log_format: "text",
            total_memory: None,
            node_id: "node-1".into(),
            node: String::new(),
            health: None,
            keep_going: false,
        }
    }

    /// Sets `limits.memory`, which all backends share.
    #[must_use]
    pub fn total_memory(self, size: &'static str) -> Self {
        Self { total_memory: Some(size), ..self }
    }

    /// `--mode controller` or `--mode node`.
    #[must_use]
    pub fn mode(self, mode: &'static str) -> Self {
        Self { mode, ..self }
    }

    /// A host beside others in the same sandbox: state, kubelet root, sockets and log of its own, below `name`.
    #[must_use]
    pub fn apart(mut self, name: &str) -> Self {
        self.root.push(name);
        fs::create_dir_all(self.kubelet()).expect("its directory");
        self
    }

    /// `--log-format text` or `--log-format json`.
    #[must_use]
    pub fn log_format(self, format: &'static str) -> Self {
        Self { log_format: format, ..self }
    }

    /// Sets a variable of the process's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets a failpoint: see `bulkhead_node::failpoint`.
    #[must_use]
    pub fn failpoint(self, value: impl Into<String>) -> Self {
        self.env("BULKHEAD_FAILPOINTS", value)
    }

    /// State directory.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Kubelet root.
    pub fn kubelet(&self) -> PathBuf {
        self.root.join("kubelet")
    }

    /// Socket of a driver.
    pub fn socket(&self, driver: &str) -> PathBuf {
        self.root.join(format!("{driver}.sock"))
    }

    /// Writes the config and gives its path.
    pub fn write_config(&self) -> PathBuf {
        let mut yaml = format!(
            "version: 1\nstateDir: {}\nnode:\n  id: {}\n  kubeletRoot: {}\n",
            self.state().display(),
            self.node_id,
            self.kubelet().display()
        );
        self.node.lines().for_each(|line| yaml += &format!("  {line}\n"));
        self.total_memory.iter().for_each(|memory| yaml += &format!("limits: {{ memory: {memory} }}\n"));
        self.health.iter().for_each(|port| yaml += &format!("health: {{ endpoint: 127.0.0.1:{port} }}\n"));
        yaml.push_str("drivers:\n");
        for driver in &self.drivers {
            let socket = self.socket(&driver.name);
            let _ = write!(yaml, "  - name: {}\n    endpoint: unix://{}\n", driver.name, socket.display());
            if !driver.csi.is_empty() {
                let _ = writeln!(yaml, "    csi: {:?}", driver.csi);
            }
            let _ = write!(yaml, "    backend:\n      source: {}\n", driver.source.display());
            if !driver.config.is_empty() {
                yaml.push_str("      config:\n");
                driver.config.lines().for_each(|line| yaml += &format!("        {line}\n"));
            }
            if !driver.http.is_empty() {
                let _ = writeln!(yaml, "      http: {}", driver.http);
            }
            driver.backend.lines().for_each(|line| yaml += &format!("      {line}\n"));
            yaml.push_str("      grants:\n");
            if !driver.requests.is_empty() {
                let _ = writeln!(yaml, "        http: [{}]", driver.requests.join(", "));
            }
            driver.grants.lines().for_each(|line| yaml += &format!("        {line}\n"));
            if !driver.pools.is_empty() {
                yaml.push_str("        pools:\n");
                for (name, path) in &driver.pools {
                    let more = if driver.pool.is_empty() { String::new() } else { format!(", {}", driver.pool) };
                    let _ = writeln!(yaml, "          {name}: {{ path: {}{more} }}", path.display());
                }
            }
            let _ = writeln!(yaml, "        access: [{}]", driver.access.join(", "));
            if !driver.offer.is_empty() {
                let _ = writeln!(yaml, "    offer: {}", driver.offer);
            }
            if !driver.limits.is_empty() {
                yaml.push_str("    limits:\n");
                driver.limits.lines().for_each(|line| yaml += &format!("      {line}\n"));
            }
        }
        let path = self.root.join("bulkhead.yaml");
        fs::write(&path, yaml).expect("the config");
        path
    }

    /// Starts the host and waits until every driver is served.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(&self) -> Host {
        let mut host = self.spawn();
        let start = Instant::now();
        while !self.drivers.iter().all(|d| crate::client::is_serving(&self.socket(&d.name))) {
            if let Some(status) = host.child.try_wait().expect("its status") {
                panic!("the host ended with {status}:\n{}", host.log());
            }
            assert!(start.elapsed() < patience(), "the host does not come up:\n{}", host.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        host
    }

    /// Starts the host and waits for nothing.
    ///
    /// # Panics
    /// There is no such program.
    pub fn spawn(&self) -> Host {
        let config = self.write_config();
        let log = self.root.join("host.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).expect("the log");
        let begins = file.metadata().expect("the log").len();
        let child = Command::new(binary())
            .args(["serve", "--log-format", self.log_format, "--mode", self.mode])
            .args(self.keep_going.then_some("--keep-going"))
            .arg("--config")
            .arg(config)
            .env("BULKHEAD_LOG", "trace")
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the host starts");
        Host { child, builder: self.clone(), log, begins, answered: vec![] }
    }

    /// Runs `bulkhead ARGS CONFIG` to its end: status, standard output, standard error.
    pub fn run(&self, args: &[&str]) -> (ExitStatus, String, String) {
        let config = self.write_config();
        let ended =
            run_with_timeout(Command::new(binary()).args(args).arg(config).envs(self.env.iter().map(|(k, v)| (k, v))));
        secrets::assert_none(&secrets::in_bytes("standard output", ended.1.as_bytes()));
        secrets::assert_none(&secrets::in_bytes("standard error", ended.2.as_bytes()));
        ended
    }
}

/// Runs a command to its end, at most as long as [`patience`].
///
/// # Panics
/// It takes longer.
pub fn run_with_timeout(command: &mut Command) -> (ExitStatus, String, String) {
    run_with_patience(command, patience())
}

/// As [`run_with_timeout`], with another patience.
///
/// # Panics
/// It takes longer.
pub fn run_with_patience(command: &mut Command, patience: Duration) -> (ExitStatus, String, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let (mut stdout, mut stderr) = (child.stdout.take().expect("stdout"), child.stderr.take().expect("stderr"));
    let out = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.read_to_string(&mut text);
        text
    });
    let err = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("its status") {
            break status;
        }
        if start.elapsed() > patience {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it did not end within {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    (status, out.join().expect("stdout"), err.join().expect("stderr"))
}

/// A host that runs. Killed when dropped; then its log, its state directory and what it answered over HTTP are searched for
/// planted secrets ([`secrets::plant`]), and the test fails if one is found.
#[derive(Debug)]
pub struct Host {
    child: Child,
    builder: HostBuilder,
    log: PathBuf,
    /// How long the log was when it was started: others have been searched for what comes before.
    begins: u64,
    /// What was found in its answers over HTTP.
    answered: Vec<secrets::Finding>,
}

impl Host {
    /// Connects to the only driver.
    pub async fn client(&self) -> Client {
        assert_eq!(self.builder.drivers.len(), 1, "name the driver");
        self.client_of(&self.builder.drivers[0].name).await
    }

    /// Connects to a driver.
    pub async fn client_of(&self, driver: &str) -> Client {
        Client::connect(&self.builder.socket(driver), &self.builder.kubelet()).await
    }

    /// What it has logged, also before a restart.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    ///
    /// # Panics
    /// The kernel does not say.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its status")
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// It does not.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
            }
            assert!(start.elapsed() < patience(), "the host does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGTERM and waits.
    pub fn stop(mut self) -> ExitStatus {
        self.ask();
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("kill");
    }
}

impl Host {
    /// Searches what it answers over HTTP, while it runs.
    fn ask(&mut self) {
        if let (Some(port), Ok(None)) = (self.builder.health, self.child.try_wait()) {
            self.answered.extend(secrets::over_http(port));
        }
    }

    /// Planted secrets in its log, in its state directory and in what it has answered over HTTP.
    ///
    /// # Panics
    /// The log or the directory can't be read.
    pub fn secrets(&self) -> Vec<secrets::Finding> {
        let log = secrets::in_file(&self.log, self.begins);
        [log, secrets::below(&self.builder.state()), self.answered.clone()].concat()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ask();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the host ---\n{}", self.log());
            return;
        }
        secrets::assert_none(&self.secrets());
    }
}
