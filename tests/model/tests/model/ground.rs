//! Where a run takes place: directories, config, the host's process, and what a pod would write.

use bulkhead::{directory::Folder, ops::ports::NodeDirectory as _};
use bulkhead_domain::node::NodeFacts;
use bulkhead_tests::{client::is_serving, host, secrets};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub const KEY: &str = "topology.example.com/zone";
pub const DRIVER: &str = "local.csi.bulkhead.dev";
const PATIENCE: Duration = Duration::from_secs(60);
/// Where a pod writes to a raw device, and where the recorder's volumes hold what a pod wrote.
const TAG_AT: u64 = 1 << 20;

/// Who carries plans out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// `bulkhead-recorder`, without mounts.
    Recording,
    /// `bulkhead serve`.
    Kernel,
}

/// A host and its surroundings.
pub struct Ground {
    pub root: PathBuf,
    pub executor: Executor,
    pub csi_1_13: bool,
    lie: Option<&'static str>,
    cache: PathBuf,
    child: Option<Child>,
    pub failpoint: Option<(&'static str, &'static str)>,
}

impl Ground {
    /// A new one below `base`, which keeps compiled code for those to come. The host is not started.
    pub fn new(base: &Path, executor: Executor, csi_1_13: bool, lie: Option<&'static str>) -> Self {
        let root = tempfile::Builder::new().prefix("run-").tempdir_in(base).unwrap().keep();
        for dir in ["kubelet", "fast", "slow", "nodes", "state"] {
            fs::create_dir(root.join(dir)).unwrap();
        }
        let other = NodeFacts { node_id: "node-2".into(), name: "node-2".into(), ..NodeFacts::default() };
        // The other node's host doesn't run here: its entry must not get old.
        let folder = Folder::new(&root.join("nodes"), Duration::from_secs(86_400));
        folder.publish(&other).unwrap();
        let cache = base.join("cache");
        if executor == Executor::Kernel {
            copy(&cache, &root.join("state/cache"));
        }
        let ground = Self { root, executor, csi_1_13, lie, cache, child: None, failpoint: None };
        ground.write_config();
        ground
    }

    fn write_config(&self) {
        let (root, source) = (self.root.display(), host::backend("local"));
        let yaml = format!(
            "version: 1
stateDir: {root}/state
node:
  id: node-1
  kubeletRoot: {root}/kubelet
  directory: {root}/nodes
  labels: {{ {KEY}: z1 }}
drivers:
  - name: {DRIVER}
    endpoint: unix://{root}/csi.sock
    csi: \"{}\"
    backend:
      source: {}
      config:
        defaultPool: fast
        maxVolumesPerNode: 3
        lowSpacePercent: 0
        topologyKeys: [{KEY}]
        pools:
          fast: {{ accessibleFrom: [{{ {KEY}: z1 }}] }}
          slow: {{ shared: true, accessibleFrom: [{{ {KEY}: z2 }}] }}
      grants:
        pools:
          fast: {{ path: {root}/fast }}
          slow: {{ path: {root}/slow }}
        access: [pool-image, pool-directory]
",
            if self.csi_1_13 { "1.13" } else { "1.12" },
            source.display()
        );
        fs::write(self.root.join("bulkhead.yaml"), yaml).unwrap();
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("csi.sock")
    }

    /// Starts the host and waits until it is ready. It may come by a failpoint while it finishes what an earlier one left;
    /// then it is started without.
    pub fn start(&mut self, failpoint: Option<(&'static str, &'static str)>) {
        if !self.try_start(failpoint) {
            assert!(failpoint.is_some(), "the host has ended:\n{}", self.log());
            assert!(self.try_start(None), "the host has ended:\n{}", self.log());
        }
        if self.executor == Executor::Kernel && !self.cache.exists() {
            copy(&self.root.join("state/cache"), &self.cache);
        }
    }

    /// False: it has ended.
    fn try_start(&mut self, failpoint: Option<(&'static str, &'static str)>) -> bool {
        let config = self.root.join("bulkhead.yaml");
        let mut command = match self.executor {
            Executor::Recording => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead-recorder"));
                command.arg(config).arg(&self.cache).envs(self.lie.map(|lie| ("BULKHEAD_MODEL_LIE", lie)));
                command
            }
            Executor::Kernel => {
                let mut command = Command::new(host::binary());
                command.args(["serve", "--config"]).arg(config);
                command
            }
        };
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        command
            .env("BULKHEAD_LOG", "trace")
            .envs(failpoint.map(|(name, action)| ("BULKHEAD_FAILPOINTS", format!("{name}={action}"))));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        self.failpoint = failpoint;
        let start = Instant::now();
        // Asked twice: one that dies while it is asked seems to be there.
        while !(is_serving(&self.socket()) && is_serving(&self.socket())) {
            if !self.is_alive() {
                self.kill();
                return false;
            }
            assert!(start.elapsed() < PATIENCE, "the host does not come up:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.is_alive()
    }

    fn log_path(&self) -> PathBuf {
        self.root.join("host.log")
    }

    /// The end of what the host has said.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The host has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// As an operator does.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // The recorder has no way to end but this one.
        let signal = if self.executor == Executor::Kernel { Signal::TERM } else { Signal::KILL };
        let _ = kill_process(Pid::from_child(&child), signal);
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the host does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Pools can share extents between files.
    pub fn has_reflinks(&self) -> bool {
        let file = || tempfile::tempfile_in(&self.root).unwrap();
        let (from, to) = (file(), file());
        from.write_all_at(&[1; 4096], 0).unwrap();
        rustix::fs::ioctl_ficlone(&to, &from).is_ok()
    }

    /// How many records the journal has.
    pub fn records(&self) -> usize {
        let state = self.root.join("state");
        if self.executor == Executor::Kernel {
            let all = crate::seen::names(&state.join("node").join(DRIVER));
            return all.iter().filter(|name| name.ends_with(".json")).count();
        }
        let text = fs::read_to_string(state.join("recorder.json")).unwrap_or_default();
        text.matches("\"volume\":").count()
    }

    /// A staging path; the directory is made, as an orchestrator does.
    pub fn staging(&self, volume: &str, which: u8) -> PathBuf {
        let path = self.root.join("kubelet/plugins").join(format!("{}-{which}", volume.replace('/', "_")));
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A pod's target path; its parent is made.
    pub fn target(&self, volume: &str, pod: u8) -> PathBuf {
        let parent = self.root.join("kubelet/pods").join(pod.to_string()).join(volume.replace('/', "_"));
        fs::create_dir_all(&parent).unwrap();
        parent.join("mount")
    }

    /// Directory of a volume's or snapshot's object.
    pub fn object(&self, id: &str) -> PathBuf {
        let (pool, object) = id.split_once('/').unwrap_or(("none", id));
        self.root.join(pool).join("objects").join(object)
    }

    /// As a pod does at its target. The recorder shows nothing there: the bytes go to the object itself.
    pub fn write(&self, volume: &str, pod: u8, block: bool, tag: u64) {
        let place = match self.executor {
            Executor::Kernel => self.target(volume, pod),
            Executor::Recording => self.object(volume),
        };
        let image = place.join("image");
        let (path, at) = match self.executor {
            Executor::Kernel if block => (place, TAG_AT),
            Executor::Kernel => (place.join("tag"), 0),
            Executor::Recording if image.exists() => (image, TAG_AT),
            Executor::Recording => (place.join("data/tag"), 0),
        };
        let create = !block || self.executor == Executor::Recording;
        let file = fs::OpenOptions::new().create(create).truncate(false).write(true).open(&path).unwrap();
        file.write_all_at(&tag.to_le_bytes(), at).unwrap();
        file.sync_all().unwrap();
    }

    /// What a pod reads at its target: 0 = nothing.
    pub fn read(&self, volume: &str, pod: u8, block: bool) -> u64 {
        let target = self.target(volume, pod);
        if block { tag_at(&target, TAG_AT) } else { tag_at(&target.join("tag"), 0) }
    }

    /// What the recorder's object holds: 0 = nothing.
    pub fn read_object(&self, id: &str) -> u64 {
        let object = self.object(id);
        let image = object.join("image");
        if image.exists() { tag_at(&image, TAG_AT) } else { tag_at(&object.join("data/tag"), 0) }
    }
}

fn tag_at(path: &Path, at: u64) -> u64 {
    let mut bytes = [0; 8];
    match fs::File::open(path).and_then(|file| file.read_exact_at(&mut bytes, at)) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

/// Copies a directory of files, if it is there.
fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::DirBuilder::new().mode(0o700).recursive(true).create(to).unwrap();
    for entry in entries {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.kill();
        if self.log_path().exists() {
            let found = [secrets::in_file(&self.log_path(), 0), secrets::below(&self.root.join("state"))].concat();
            secrets::assert_none(&found);
        }
        // What a failed run left mounted, the sandbox takes away first.
        if self.executor == Executor::Recording || !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}
