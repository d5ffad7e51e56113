//! Two nodes of one driver, each a host process of its own, over one pool; the suite and its proxy as programs.

use bulkhead_tests::{
    Driver, HostBuilder, Sandbox,
    client::is_serving,
    host::binary,
    pernode, secrets,
    suite::{Report, Suite},
};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longest that a run of the suite may take.
const SUITE: Duration = Duration::from_secs(900);

/// What the driver of a run is like.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Of CSI.
    pub generation: &'static str,
    /// The pool's file system can share extents.
    pub reflinks: bool,
    /// StorageClass parameter `type`.
    pub volumes: &'static str,
    /// YAML of the backend's config.
    pub config: &'static str,
    /// The component, of `dist/backends`, or `empty`.
    pub backend: &'static str,
    /// YAML of what is withheld.
    pub offer: &'static str,
    /// Each node has a pool and ids of its own, and nothing is attached.
    pub per_node: bool,
}

impl Kind {
    /// Images on a pool that shares extents, on two nodes.
    pub const WHOLE: Self = Self {
        generation: "1.12",
        reflinks: true,
        volumes: "image",
        config: "defaultPool: fast\npools: { fast: { shared: true } }",
        backend: "local",
        offer: "",
        per_node: false,
    };
}

/// The hosts. Killed when dropped.
pub struct Rig {
    sandbox: Sandbox,
    kind: Kind,
    nodes: [HostBuilder; 2],
}

impl Rig {
    /// Starts both hosts.
    pub fn new(kind: Kind) -> Self {
        let sandbox = Sandbox::enter();
        let pool = sandbox.dir(if kind.per_node { "pool-node-1" } else { "pool" });
        if kind.reflinks {
            let image = sandbox.path().join("pool.img");
            fs::File::create(&image).unwrap().set_len(24 << 30).unwrap();
            tool(Command::new("mkfs.xfs").arg("-q").arg(&image));
            tool(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&pool));
        }
        let mut driver = Driver::local(&sandbox);
        // Only used where the config says who reaches it.
        driver.pools.push(("slow".into(), sandbox.dir("pool-slow")));
        driver.config = kind.config.into();
        driver.offer = kind.offer.into();
        driver.csi = kind.generation;
        driver.source = match kind.backend {
            // Exports nothing but what it is.
            "empty" => Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/components/v0.1-empty.wasm"),
            name => bulkhead_tests::host::backend(name),
        };
        let labels =
            |n: usize| format!("{{ local.csi.bulkhead.dev/zone: zone-{n}, local.csi.bulkhead.dev/rack: rack-1 }}");
        let nodes = [1, 2].map(|n| {
            let name = format!("node-{n}");
            if kind.per_node {
                let mut builder = pernode::per_node(&sandbox, &name);
                builder.drivers[0].csi = kind.generation;
                return builder;
            }
            let mut builder = HostBuilder::new(&sandbox, [driver.clone()]).apart(&name);
            builder.node_id = name;
            builder.node = format!("directory: {}\nlabels: {}", sandbox.path().join("nodes").display(), labels(n));
            builder
        });
        let rig = Self { sandbox, kind, nodes };
        for builder in &rig.nodes {
            fs::write(rig.script(builder), restart_script(builder)).unwrap();
            tool(Command::new("sh").arg(rig.script(builder)));
        }
        for builder in &rig.nodes {
            let (socket, start) = (rig.socket(builder), Instant::now());
            while !is_serving(&socket) {
                assert!(start.elapsed() < PATIENCE, "the host does not come up:\n{}", rig.log(builder));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        rig
    }

    fn script(&self, builder: &HostBuilder) -> PathBuf {
        self.sandbox.path().join(format!("restart-{}.sh", builder.node_id))
    }

    fn socket(&self, builder: &HostBuilder) -> PathBuf {
        builder.socket(&builder.drivers[0].name)
    }

    /// What the first node's host said when it did not come up again.
    pub fn complaints(&self) -> String {
        let log = self.log(&self.nodes[0]);
        log.lines()
            .filter(|line| ![" TRACE ", " DEBUG ", " INFO "].iter().any(|level| line.contains(level)))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn log(&self, builder: &HostBuilder) -> String {
        fs::read_to_string(builder.kubelet().with_file_name("host.log")).unwrap_or_default()
    }

    /// Runs the suite, through proxies with this fault if there is one: its report.
    pub fn suite(&self, fault: Option<&str>, arguments: &[&str]) -> Report {
        let proxies: Vec<_> = fault.map_or_else(Vec::new, |fault| {
            self.nodes
                .iter()
                .map(|builder| Proxy::start(&self.socket(builder), &self.sandbox, &builder.node_id, fault))
                .collect()
        });
        let socket = |n: usize| match proxies.get(n) {
            Some(proxy) => proxy.socket.clone(),
            None => self.socket(&self.nodes[n]),
        };
        let work_dir = |n: usize| self.nodes[n].kubelet().join("suite");
        let mut suite = Suite::new(self.sandbox.path(), &socket(0), &work_dir(0)).args(arguments);
        // What is on each node by itself has no other node.
        if !self.kind.per_node {
            let second = format!("unix://{}", socket(1).display());
            suite = suite.args(["--second-node-endpoint", &second]);
            suite = suite.args([OsStr::new("--second-work-dir"), work_dir(1).as_os_str()]);
        }
        let type_ = self.kind.volumes;
        // Of thick volumes it is known how large they can be.
        let (provisioning, other) = if type_ == "directory" { ("thick", "thin") } else { ("thin", "thick") };
        // Only the local backend has parameters.
        let options = [
            ("--parameters", format!("type: {type_}\nprovisioning: {provisioning}")),
            ("--other-parameters", format!("type: {type_}\nprovisioning: {other}")),
            ("--bad-parameters", "type: tape".into()),
            ("--mutable-parameters", "provisioning: thick".into()),
            ("--other-mutable-parameters", "provisioning: thin".into()),
            ("--bad-mutable-parameters", "size: 7".into()),
            ("--ephemeral-attributes", format!("pool: fast\nsize: 320Mi\ntype: {type_}")),
        ];
        let offered = |option: &str| {
            let plain = !option.contains("mutable") && !option.contains("ephemeral");
            let inline = option.contains("ephemeral") && self.kind.per_node;
            !type_.is_empty() && (plain || inline || self.kind.offer.is_empty())
        };
        for (option, text) in options.iter().filter(|(option, _)| offered(option)) {
            suite = suite.yaml(option, text);
        }
        suite = match fault {
            None => suite.args(["--restart-command", &format!("sh {}", self.script(&self.nodes[0]).display())]),
            // It may be to tell them.
            Some(_) => suite.may_tell(),
        };
        suite.run(SUITE)
    }

    /// Nothing is left of all the suite did.
    pub fn assert_clean(&self) {
        for builder in &self.nodes {
            let left: Vec<_> = self.sandbox.journal(&builder.state());
            assert!(left.is_empty(), "{left:?}");
        }
        for pool in ["pool", "pool-slow", "pool-node-1", "pool-node-2"] {
            let Ok(objects) = fs::read_dir(self.sandbox.path().join(pool).join("objects")) else { continue };
            let left: Vec<_> = objects.map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        let pool = self.sandbox.path().join(if self.kind.per_node { "pool-node-1" } else { "pool" });
        let mounts: Vec<_> = self.sandbox.mounts().into_iter().filter(|(point, ..)| *point != pool).collect();
        assert_eq!(mounts, vec![]);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for builder in &self.nodes {
            let pid = fs::read_to_string(pid_file(builder)).unwrap_or_default();
            _ = Command::new("kill").args(["-9", pid.trim()]).stderr(Stdio::null()).status();
            if std::thread::panicking() {
                let log = self.log(builder);
                let tail = log.len().saturating_sub(6000);
                eprintln!("--- log of {} ---\n{}", builder.node_id, log.get(tail..).unwrap_or(&log));
            }
        }
        for builder in &self.nodes {
            let log = secrets::in_bytes("the log", self.log(builder).as_bytes());
            secrets::assert_none(&[log, secrets::below(&builder.state())].concat());
        }
    }
}

fn pid_file(builder: &HostBuilder) -> PathBuf {
    builder.kubelet().with_file_name("pid")
}

/// Kills the host, if it runs, and starts it once it is gone: its last thread, and a helper that it was just starting.
fn restart_script(builder: &HostBuilder) -> String {
    let (pid, log) = (pid_file(builder), builder.kubelet().with_file_name("host.log"));
    let lock = builder.state().join(bulkhead_node::LOCK_FILE);
    let (pid, log, lock, config) = (pid.display(), log.display(), lock.display(), builder.write_config());
    format!(
        "if [ -f {pid} ]; then\n  p=$(cat {pid}); kill -9 $p 2>/dev/null\n  \
         while ! flock -n {lock} true; do sleep 0.01; done\nfi\n\
         BULKHEAD_LOG=trace setsid {} serve --config {} >>{log} 2>&1 </dev/null &\necho $! >{pid}\n",
        binary().display(),
        config.display()
    )
}

fn tool(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

struct Proxy {
    child: Child,
    socket: PathBuf,
}

impl Proxy {
    fn start(upstream: &Path, sandbox: &Sandbox, node: &str, fault: &str) -> Self {
        let socket = sandbox.path().join(format!("proxy-{node}.sock"));
        let child = Command::new(binary().with_file_name("bulkhead-contract"))
            .args(["proxy", "--fault", fault, "--listen"])
            .arg(&socket)
            .arg("--upstream")
            .arg(format!("unix://{}", upstream.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while !socket.exists() {
            assert!(start.elapsed() < PATIENCE, "the proxy does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, socket }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = fs::remove_file(&self.socket);
    }
}
