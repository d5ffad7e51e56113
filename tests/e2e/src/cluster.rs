//! The cluster as a test sees it: kubectl, and the nodes' own mount namespaces. This program runs inside the cluster's
//! namespaces (`cluster/in.sh`).

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How often something that is waited for is looked at.
const POLL: Duration = Duration::from_millis(250);

/// A running cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Folder of its data and logs.
    pub work: PathBuf,
}

impl Cluster {
    /// The one whose folder is in `WORK`.
    ///
    /// # Errors
    /// `WORK` isn't set, or no cluster is up.
    pub fn of_environment() -> Result<Self> {
        let work = PathBuf::from(std::env::var_os("WORK").context("WORK isn't set: run this through make e2e")?);
        let cluster = Self { work };
        cluster.nodes()?;
        Ok(cluster)
    }

    /// Runs kubectl; gives what it prints.
    ///
    /// # Errors
    /// Its own, with what it wrote.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        run(Command::new("kubectl").args(args))
    }

    /// Makes or changes an object.
    ///
    /// # Errors
    /// The API server's, also for fields that it does not know.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.apply_text(&object.to_string())
    }

    /// Makes or changes the objects of a YAML or JSON text.
    ///
    /// # Errors
    /// As for [`Cluster::apply`].
    pub fn apply_text(&self, text: &str) -> Result<()> {
        feed(Command::new("kubectl").args(["apply", "--validate=strict", "-f", "-"]), text).map(drop)
    }

    /// Deletes the objects of a YAML or JSON text, and waits until they are gone.
    ///
    /// # Errors
    /// kubectl's.
    pub fn delete_text(&self, text: &str) -> Result<()> {
        let args = ["delete", "--ignore-not-found", "--wait=true", "--timeout=120s", "-f", "-"];
        feed(Command::new("kubectl").args(args), text).map(drop)
    }

    /// Puts an object in the place of the one of its name.
    ///
    /// # Errors
    /// The API server's.
    pub fn replace(&self, object: &Value) -> Result<()> {
        feed(Command::new("kubectl").args(["replace", "-f", "-"]), &object.to_string()).map(drop)
    }

    /// Has the API server check the objects of a text, strictly, without making them.
    ///
    /// # Errors
    /// The API server's.
    pub fn dry_run(&self, text: &str) -> Result<()> {
        let args = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        feed(Command::new("kubectl").args(args), text).map(drop)
    }

    /// The object of `kind` named so, if there is one.
    ///
    /// # Errors
    /// kubectl's.
    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        let text = self.kubectl(&["-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "json"])?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// All objects of `kind`, in all namespaces.
    ///
    /// # Errors
    /// kubectl's.
    pub fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let text = self.kubectl(&["get", kind, "--all-namespaces", "-o", "json"])?;
        let mut list: Value = serde_json::from_str(&text)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            other => bail!("kubectl get {kind} gave {other}"),
        }
    }

    /// Messages of the events about one object, newest last: `REASON: MESSAGE`.
    ///
    /// # Errors
    /// kubectl's.
    pub fn events(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<String>> {
        let selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let text = self.kubectl(&["-n", namespace, "get", "events", "--field-selector", &selector, "-o", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().map(|event| format!("{}: {}", text_at(event, "/reason"), text_at(event, "/message"))).collect())
    }

    /// Names of the nodes, sorted.
    ///
    /// # Errors
    /// kubectl's.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let mut names: Vec<_> = self.list("nodes")?.iter().map(|node| text_at(node, "/metadata/name")).collect();
        names.sort();
        Ok(names)
    }

    /// Runs a command in a node's mount namespace.
    ///
    /// # Errors
    /// Its own, with what it wrote.
    pub fn on_node(&self, node: &str, args: &[&str]) -> Result<String> {
        let pid = self.pid(node)?;
        run(Command::new("nsenter").args(["-t", &pid, "-m", "--"]).args(args))
    }

    /// Pid of one of the cluster's own processes: `node1`, `kubelet1`, `apiserver`.
    ///
    /// # Errors
    /// There is none.
    pub fn pid(&self, process: &str) -> Result<String> {
        let file = self.work.join("run").join(format!("{process}.pid"));
        let pid = std::fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
        Ok(pid.trim().to_owned())
    }

    /// Runs a shell line in a pod.
    ///
    /// # Errors
    /// Its own, with what it wrote.
    pub fn exec(&self, namespace: &str, pod: &str, line: &str) -> Result<String> {
        self.kubectl(&["-n", namespace, "exec", pod, "--", "sh", "-c", line])
    }

    /// Loop devices whose file lies in a node's pool, by node.
    ///
    /// # Errors
    /// losetup's.
    pub fn loops(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let listed = run(Command::new("losetup").args(["-n", "-l", "-O", "NAME,BACK-MAJ:MIN"]))?;
        let mut found = BTreeMap::new();
        for node in self.nodes()? {
            let pool = self.on_node(&node, &["stat", "-c", "%Hd:%Ld", crate::POOL])?;
            let mut devices: Vec<_> = listed
                .lines()
                .filter_map(|line| line.split_once(char::is_whitespace))
                .filter(|(_, on)| on.trim() == pool.trim())
                .map(|(device, _)| device.to_owned())
                .collect();
            devices.sort();
            found.insert(node, devices);
        }
        Ok(found)
    }
}

/// Waits until `look` gives something, at most `patience`. An error of `look` is only its last word.
///
/// # Errors
/// Time is over: what was waited for, and what was last seen.
pub fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        let last = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if begin.elapsed() > patience {
            let seen = last.map(|error| format!("; last: {error:#}")).unwrap_or_default();
            bail!("waited {} s for: {what}{seen}", patience.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

/// The text at a JSON pointer, empty if there is none.
pub fn text_at(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Runs a command to its end.
///
/// # Errors
/// It can't be started, or fails: with what it wrote.
pub fn run(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("can't run {command:?}"))?;
    outcome(command, &out)
}

fn feed(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run {command:?}"))?;
    child.stdin.take().context("no stdin")?.write_all(input.as_bytes())?;
    let out = child.wait_with_output()?;
    outcome(command, &out)
}

fn outcome(command: &Command, out: &std::process::Output) -> Result<String> {
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if !out.status.success() {
        let program = Path::new(command.get_program()).display().to_string();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        bail!("{program} {}: {}: {}{}", args.join(" "), out.status, stderr.trim(), stdout.trim());
    }
    Ok(stdout.into_owned())
}
