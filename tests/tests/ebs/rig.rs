//! A controller of the EBS backend and the EC2 behind it.

use bulkhead_ec2::{Moto, Proxy, Rules, Settings, checker, direct, moto::available};
use bulkhead_tests::{Client, Driver, Host, HostBuilder, Sandbox, secrets};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

/// Tag that says which cluster a volume belongs to, with the cluster's id.
const CLUSTER: &str = "contract";

/// What measures times runs alone: it holds this for writing, all others for reading.
pub static TURN: RwLock<()> = RwLock::new(());

/// What stands; all of it ends when it is dropped.
pub struct Rig {
    pub host: Host,
    pub proxy: Proxy,
    pub moto: Moto,
    pub record: PathBuf,
    pub builder: HostBuilder,
    pub sandbox: Sandbox,
    _turn: Option<RwLockReadGuard<'static, ()>>,
}

/// What differs between tests.
pub struct Kind {
    pub settings: Settings,
    /// User of moto whose key the host has.
    pub user: &'static str,
    /// Secret key in place of that user's.
    pub wrong_key: bool,
    /// Role of moto that the host assumes with that key, of the token service behind the proxy.
    pub role: Option<&'static str>,
    /// `limits` of the driver.
    pub limits: &'static str,
    /// `--mode`.
    pub mode: &'static str,
    /// The test holds [`TURN`] itself.
    pub alone: bool,
}

impl Default for Kind {
    fn default() -> Self {
        Self {
            settings: at_once(),
            user: "driver",
            wrong_key: false,
            role: None,
            limits: "callTimeout: 60s\nconcurrency: 64",
            mode: "controller",
            alone: false,
        }
    }
}

impl Rig {
    /// None where moto isn't there, which is said; with CI=true that is a failure.
    pub fn new(kind: Kind) -> Option<Self> {
        if !available() {
            return None;
        }
        let moto = Moto::start().unwrap();
        let turn = (!kind.alone).then(|| TURN.read().unwrap_or_else(PoisonError::into_inner));
        let sandbox = Sandbox::enter();
        let record = sandbox.path().join("record.jsonl");
        let proxy = Proxy::start(&moto, kind.settings.clone(), Some(&record)).unwrap();
        let builder = builder(&sandbox, &moto, &proxy, &kind);
        let host = builder.start();
        Some(Self { host, proxy, moto, record, builder, sandbox, _turn: turn })
    }

    pub async fn client(&self) -> Client {
        self.host.client().await
    }

    /// Nothing is at EC2 twice, and botocore's model finds nothing wrong with what was sent and answered.
    pub fn assert_sound(&self) {
        let volumes = self.moto.direct().volumes().unwrap();
        let doubled = direct::doubled(volumes.iter().map(|volume| volume.tags.as_slice()), "CSIVolumeName");
        assert!(doubled.is_empty(), "volumes of one name: {doubled:?}");
        let snapshots = self.moto.direct().snapshots().unwrap();
        let doubled =
            direct::doubled(snapshots.iter().map(|snapshot| snapshot.tags.as_slice()), "CSIVolumeSnapshotName");
        assert!(doubled.is_empty(), "snapshots of one name: {doubled:?}");
        assert_eq!(self.proxy.stats().unverified, 0, "requests without a good signature");
        println!("{}", checker::check(&self.record).unwrap());
    }

    /// How many volumes and snapshots this driver has at EC2, counted past the proxy.
    pub fn made(&self) -> (usize, usize) {
        let (key, direct) = (format!("kubernetes.io/cluster/{CLUSTER}"), self.moto.direct());
        let volumes = direct.volumes_with(&key, "owned").unwrap().len();
        (volumes, direct.snapshots_with(&key, "owned").unwrap().len())
    }

    /// Nothing is left at EC2.
    pub fn assert_empty(&self) {
        assert_eq!(self.made(), (0, 0), "volumes and snapshots are left");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Before the host ends and is searched: also what it was given by the token service is secret.
        for key in self.proxy.keys() {
            secrets::plant(&key.secret);
            key.token.iter().for_each(secrets::plant);
        }
    }
}

fn builder(sandbox: &Sandbox, moto: &Moto, proxy: &Proxy, kind: &Kind) -> HostBuilder {
    let key = moto.key(kind.user);
    let secret = if kind.wrong_key { "wrong".repeat(8) } else { key.secret.clone() };
    secrets::plant(&secret);
    for (name, value) in [("key-id", &key.id), ("key", &secret)] {
        let path = sandbox.path().join(name);
        fs::write(&path, value).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let file = |name: &str| sandbox.path().join(name).display().to_string();
    let region = &moto.facts.region;
    // Through the proxy, which so learns the keys that come.
    let role = kind.role.map_or_else(String::new, |role| {
        let (role, port) = (&moto.facts.roles[role], proxy.port());
        format!("assumeRole: {{ roleArn: \"{role}\", sessionName: bulkhead-tests, stsEndpoint: \"http://127.0.0.1:{port}\" }}")
    });
    let driver = Driver {
        access: vec!["local-device"],
        config: format!(
            "region: {region}\nclusterId: {CLUSTER}\nendpoint: \"{}\"\nzones: [{}]",
            proxy.url(),
            moto.facts.instances[0].zone
        ),
        backend: format!(
            "secrets: {{ key-id: {{ file: {} }}, key: {{ file: {} }} }}\nauth:\n  aws:\n    type: sigv4\n    service: ec2\n    \
             region: {region}\n    credentials: [{{ type: static, accessKeyId: key-id, secretAccessKey: key }}]\n    {}",
            file("key-id"),
            file("key"),
            role
        ),
        requests: vec![format!(
            "{{ scheme: http, host: 127.0.0.1, port: {}, methods: [POST], auth: aws, addresses: [loopback] }}",
            proxy.port()
        )],
        limits: kind.limits.into(),
        ..Driver::plain("ebs")
    };
    let instance = &moto.facts.instances[0];
    let mut builder = HostBuilder::new(sandbox, [driver]).mode(kind.mode).env("BULKHEAD_LOG", "trace");
    builder.node_id = instance.id.clone();
    builder.node = format!(
        "facts: {{ cloud: {{ provider: aws, instanceId: {}, instanceType: {}, region: {region}, zone: {} }} }}",
        instance.id, instance.kind, instance.zone
    );
    builder
}

/// EC2's rules, and no waiting for states.
pub fn at_once() -> Settings {
    // As many as the host says of moto's instances, and the root disk.
    Settings { rules: Rules { attach_limit: 26, ..Rules::at_once() }, ..Settings::default() }
}
