//! moto, the proxy, the disks, a metadata service, a controller and a node.

use crate::disks::Disks;
use bulkhead_ec2::{Moto, Proxy, Rules, Settings};
use bulkhead_tests::{
    Client, Driver, Host, HostBuilder, Sandbox, secrets,
    web::{Instance, Web},
};
use bulkhead_vm::machine::{names, run};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// Tag that says which cluster a volume belongs to, with the cluster's id.
const CLUSTER: &str = "cloud";
/// By which CSI knows the node. EC2 knows it by another.
pub const NODE: &str = "node-1";
/// Longest wait for a node that has to make itself known.
const PATIENCE: Duration = Duration::from_secs(120);

/// What stands; all of it ends when it is dropped.
pub struct Rig {
    /// None while it is down.
    pub controller: Option<Host>,
    pub node: Option<Host>,
    controller_builder: HostBuilder,
    node_builder: HostBuilder,
    pub disks: Arc<Disks>,
    pub proxy: Proxy,
    pub moto: Moto,
    metadata: Web,
    pub sandbox: Sandbox,
}

impl Rig {
    /// The metadata service runs on `runtime`.
    pub fn start(sandbox: Sandbox, runtime: &Runtime) -> Self {
        let begun = Instant::now();
        let moto = Moto::start().unwrap();
        println!("moto after {:.0?}", begun.elapsed());
        let settings = Settings { rules: Rules::at_once(), ..Settings::default() };
        let proxy = Proxy::start(&moto, settings, None).unwrap();
        let instance = moto.facts.instances[0].clone();
        let disks = Arc::new(Disks::new(sandbox.dir("disks"), &instance.id));
        let behind = disks.clone();
        proxy.on_change(move |change| behind.apply(change));
        let region = moto.facts.region.clone();
        let metadata = runtime.block_on(Web::metadata(Instance {
            id: instance.id,
            kind: instance.kind,
            region,
            zone: instance.zone,
        }));
        let controller_builder = controller(&sandbox, &moto, &proxy);
        let node_builder = node(&sandbox, &moto, &proxy, metadata.port);
        let mut rig = Self {
            controller: None,
            node: None,
            controller_builder,
            node_builder,
            disks,
            proxy,
            moto,
            metadata,
            sandbox,
        };
        rig.start_controller();
        println!("a controller after {:.0?}", begun.elapsed());
        // Compiling takes long in an emulated machine, and both run the same backend.
        let [from, to] = [&rig.controller_builder, &rig.node_builder].map(HostBuilder::state);
        fs::create_dir(&to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();
        run("cp", ["-a".into(), from.join("cache"), to]);
        rig.start_node();
        println!("a node after {:.0?}", begun.elapsed());
        rig
    }

    pub fn start_controller(&mut self) {
        self.controller = Some(self.controller_builder.start());
    }

    /// Starts the node and waits until controllers can know it.
    pub fn start_node(&mut self) {
        let node = self.node_builder.start();
        let start = Instant::now();
        while !self.entry().is_some_and(|entry| entry.contains(&self.moto.facts.instances[0].id)) {
            assert!(start.elapsed() < PATIENCE, "the node doesn't make itself known:\n{}", node.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.node = Some(node);
    }

    /// What the node has made known.
    pub fn entry(&self) -> Option<String> {
        fs::read_to_string(self.entry_file()?).ok()
    }

    /// Takes it away, as an operator does with a node that doesn't come back.
    pub fn forget_node(&self) {
        fs::remove_file(self.entry_file().unwrap()).unwrap();
    }

    fn entry_file(&self) -> Option<PathBuf> {
        let dir = nodes(&self.sandbox);
        let name = names(&dir).into_iter().find(|name| name.ends_with(".json"))?;
        Some(dir.join(name))
    }

    /// To which instance a volume is attached, by moto's own word.
    pub fn instance_of(&self, volume: &str) -> Option<String> {
        let all = self.moto.direct().volumes().unwrap();
        let found = all.into_iter().find(|there| there.id == volume).expect("the volume");
        found.attached.map(|(instance, _)| instance)
    }

    /// The controller's client, as the sidecars are.
    pub async fn controller(&self) -> Client {
        self.controller.as_ref().unwrap().client().await
    }

    /// The node's client, as kubelet is.
    pub async fn node(&self) -> Client {
        self.node.as_ref().unwrap().client().await
    }

    /// No volume or snapshot at EC2, no disk, no mount, no record of a volume.
    pub fn assert_nothing_left(&self) {
        let (key, direct) = (format!("kubernetes.io/cluster/{CLUSTER}"), self.moto.direct());
        assert_eq!(direct.volumes_with(&key, "owned").unwrap(), [], "volumes at EC2");
        assert_eq!(direct.snapshots_with(&key, "owned").unwrap(), [], "snapshots at EC2");
        assert_eq!(self.proxy.stats().unverified, 0, "requests without a good signature");
        assert_eq!(self.disks.files(), Vec::<String>::new(), "what volumes and snapshots hold");
        assert_eq!(names("/sys/class/nvme"), Vec::<String>::new(), "NVMe disks");
        self.sandbox.assert_clean();
        for builder in [&self.controller_builder, &self.node_builder] {
            assert_eq!(self.sandbox.journal(&builder.state()), Vec::<PathBuf>::new(), "records of volumes");
        }
        assert!(self.metadata.connections() > 0, "the node has asked who it is");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Before the hosts end and are searched.
        for key in self.proxy.keys() {
            secrets::plant(&key.secret);
        }
        drop(self.node.take());
        drop(self.controller.take());
        self.sandbox.clear();
        self.disks.clear();
    }
}

fn nodes(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("nodes")
}

fn driver(moto: &Moto, proxy: &Proxy) -> Driver {
    Driver {
        access: vec!["local-device"],
        config: format!("region: {}\nclusterId: {CLUSTER}\nendpoint: \"{}\"", moto.facts.region, proxy.url()),
        limits: "callTimeout: 120s".into(),
        ..Driver::plain("ebs")
    }
}

fn request(proxy: &Proxy, auth: &str) -> String {
    let port = proxy.port();
    format!("{{ scheme: http, host: 127.0.0.1, port: {port}, methods: [POST], addresses: [loopback]{auth} }}")
}

fn controller(sandbox: &Sandbox, moto: &Moto, proxy: &Proxy) -> HostBuilder {
    let (key, region) = (moto.key("driver"), &moto.facts.region);
    secrets::plant(&key.secret);
    let file = |name: &str, value: &str| {
        let path = sandbox.path().join(name);
        fs::write(&path, value).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let (id, secret) = (file("key-id", &key.id), file("key", &key.secret));
    let driver = Driver {
        backend: format!(
            "secrets: {{ key-id: {{ file: {id} }}, key: {{ file: {secret} }} }}\nauth:\n  aws:\n    type: sigv4\n    service: ec2\n    \
             region: {region}\n    credentials: [{{ type: static, accessKeyId: key-id, secretAccessKey: key }}]"
        ),
        requests: vec![request(proxy, ", auth: aws")],
        ..driver(moto, proxy)
    };
    let mut builder = HostBuilder::new(sandbox, [driver]).apart("controller").mode("controller");
    builder.node_id = "controller-1".into();
    builder.node = format!("directory: {}", nodes(sandbox).display());
    builder
}

/// As the chart has it: no key, no profile, nothing said of the instance.
fn node(sandbox: &Sandbox, moto: &Moto, proxy: &Proxy, metadata: u16) -> HostBuilder {
    let driver = Driver { requests: vec![request(proxy, "")], ..driver(moto, proxy) };
    let mut builder = HostBuilder::new(sandbox, [driver]).apart("node").mode("node");
    builder.node_id = NODE.into();
    builder.node = format!(
        "directory: {}\nfacts: {{ interval: 1s, cloud: {{ provider: aws, metadata: true, \
         metadataEndpoint: 'http://127.0.0.1:{metadata}' }} }}",
        nodes(sandbox).display()
    );
    builder
}

/// Bytes of a file system that is mounted there.
pub fn capacity(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_blocks * stat.f_frsize
}
