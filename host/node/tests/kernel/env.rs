//! A machine for one test: pool, kubelet root, state; and what is left on it.

pub use crate::kind::Kind;
pub use crate::plans::*;
use bulkhead_domain::capability::{AccessMode, AccessType, MountAccess, MountFlags, VolumeCapability};
use bulkhead_domain::node::{NodeHealth, Publish, PublishEphemeral, Stage, Stats, Unpublish, Unstage};
use bulkhead_domain::plan::{
    Access, BlockUsage, EphemeralPlan, Filesystem, FormatPolicy, FsckPolicy, Plan, PoolObject, Scratch, Usage,
};
use bulkhead_domain::volume::VolumeId;
use bulkhead_domain::{Error, ErrorKind};
use bulkhead_node::pool::{ObjectKind, ObjectSpec, PoolConfig, PoolStore, Provisioning};
use bulkhead_node::{Engine, EngineConfig};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Set in the private mount namespace.
pub const INSIDE: &str = "BULKHEAD_TEST_IN_NAMESPACE";
pub const MIB: u64 = 1 << 20;
/// mkfs.xfs makes nothing smaller.
pub const XFS_MIN: u64 = 320 * MIB;
pub const POOL: &str = "fast";
/// Holds the pool's file system, if it has one of its own.
const POOL_FILE: &str = "pool-file-system";

pub struct Env {
    root: PathBuf,
    /// None in a child process, which leaves everything to its parent.
    _remove: Option<tempfile::TempDir>,
}

impl Env {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("bulkhead-node-").tempdir_in("/tmp").unwrap();
        let env = Self { root: dir.path().canonicalize().unwrap(), _remove: Some(dir) };
        for path in [env.pool(), env.kubelet(), env.kubelet().join("plugins"), env.kubelet().join("pods"), env.state()]
        {
            fs::create_dir(path).unwrap();
        }
        env
    }

    /// The same machine, in another process.
    pub fn existing(root: &str) -> Self {
        Self { root: root.into(), _remove: None }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn pool(&self) -> PathBuf {
        self.root.join("pool")
    }

    pub fn kubelet(&self) -> PathBuf {
        self.root.join("kubelet")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub fn config(&self) -> EngineConfig {
        EngineConfig {
            state_dir: self.state(),
            kubelet_root: self.kubelet(),
            driver: "test.csi.bulkhead.dev".into(),
            node_id: "node-1".into(),
            pools: [(POOL.to_owned(), PoolConfig::new(self.pool()))].into(),
            devices: self.devices(),
            single_node_multi_writer: true,
            volume_mount_group: true,
            grows_objects: false,
        }
    }

    pub fn engine(&self) -> Engine {
        Engine::open(self.config()).unwrap()
    }

    /// The pools alone, as another process of the same node has them.
    pub fn store(&self) -> PoolStore {
        self.store_of(PoolConfig::new(self.pool()), "node-1")
    }

    pub fn store_of(&self, pool: PoolConfig, node_id: &str) -> PoolStore {
        PoolStore::open(&[(POOL.to_owned(), pool)].into(), node_id).unwrap()
    }

    /// Puts a file system of its own under the pool: one that can share extents, or one that can't.
    pub fn pool_on(&self, kind: Kind, size: u64) {
        let file = self.root.join(POOL_FILE);
        fs::File::create(&file).unwrap().set_len(size).unwrap();
        tool(&format!("mkfs.{}", kind.name()), &["-q", file.to_str().unwrap()]);
        tool("mount", &["-o", "loop", file.to_str().unwrap(), self.pool().to_str().unwrap()]);
    }

    /// Makes the object of a volume.
    pub fn create(&self, engine: &Engine, name: &str, kind: Kind) {
        if kind.on_disk() {
            self.plug(name, kind.size());
            return;
        }
        let kind_of_object = if kind == Kind::Directory { ObjectKind::Directory } else { ObjectKind::Image };
        let spec = ObjectSpec {
            name: name.into(),
            kind: kind_of_object,
            size_bytes: kind.size(),
            provisioning: Provisioning::Thin,
            metadata: Default::default(),
        };
        engine.pools().create_object(POOL, &spec).unwrap();
    }

    pub fn image(&self, name: &str) -> PathBuf {
        self.pool().join("objects").join(name).join("image")
    }

    /// Staging path; the directory is made, as a CO does.
    pub fn staging(&self, name: &str) -> PathBuf {
        let path = self.kubelet().join("plugins").join(name);
        // A dead file system may be mounted there.
        if let Err(error) = fs::create_dir_all(&path) {
            assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
        }
        path
    }

    /// Target path; only its parent is made.
    pub fn target(&self, pod: &str) -> PathBuf {
        let parent = self.kubelet().join("pods").join(pod);
        fs::create_dir_all(&parent).unwrap();
        parent.join("mount")
    }

    /// All mounts below the temporary directory but the pool's own, deepest last.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut mounts: Vec<PathBuf> = table
            .lines()
            .map(|line| PathBuf::from(line.split(' ').nth(4).unwrap()))
            .filter(|path| path.starts_with(&self.root) && *path != self.pool())
            .collect();
        mounts.sort();
        mounts
    }

    /// All loop devices on files in the temporary directory but the pool's own and the platform's, and devices on all of those
    /// but the pool's.
    pub fn loops(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let all: Vec<(String, String)> = fs::read_dir("/sys/block")
            .unwrap()
            .filter_map(|entry| {
                let entry = entry.unwrap();
                let backing = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
                Some((format!("/dev/{}", entry.file_name().to_str()?), backing.trim_end().to_owned()))
            })
            .collect();
        let platform: Vec<&String> = all.iter().map(|(device, _)| device).filter(|d| self.is_plugged(d)).collect();
        for _ in 0..3 {
            for (device, backing) in &all {
                let below = backing.starts_with(self.root.to_str().unwrap()) && !backing.ends_with(POOL_FILE);
                let platform = platform.contains(&device);
                let ours = (below && !platform) || found.contains(backing) || self.is_plugged(backing);
                if ours && !found.contains(device) {
                    found.push(device.clone());
                }
            }
        }
        found
    }

    pub fn records(&self) -> Vec<PathBuf> {
        let dir = self.state().join("node/test.csi.bulkhead.dev");
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect()
    }

    /// Nothing is mounted, attached, on record or marked.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!(self.mounts(), Vec::<PathBuf>::new(), "mounts");
        assert_eq!(self.loops(), Vec::<String>::new(), "loop devices");
        assert_eq!(self.records(), Vec::<PathBuf>::new(), "journal records");
        for object in fs::read_dir(self.pool().join("objects")).unwrap() {
            let users = object.unwrap().path().join("users");
            assert_eq!(fs::read_dir(&users).unwrap().count(), 0, "{}", users.display());
        }
        for pod in fs::read_dir(self.kubelet().join("pods")).unwrap() {
            let pod = pod.unwrap().path();
            assert_eq!(fs::read_dir(&pod).unwrap().count(), 0, "{}", pod.display());
        }
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if self._remove.is_none() {
            return;
        }
        // Looked for before anything is unmounted: after that, files on it have other paths.
        let devices = self.loops();
        for mount in self.mounts().iter().rev() {
            let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
        }
        for device in devices.iter().rev() {
            let _ = Command::new("losetup").args(["-d", device]).status();
        }
        self.unplug_all();
        // Its own device detaches itself.
        if self.root.join(POOL_FILE).exists() {
            let _ = rustix::mount::unmount(self.pool(), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

pub fn volume(name: &str) -> VolumeId {
    VolumeId::parse(name).unwrap()
}

pub fn capability(kind: Kind) -> VolumeCapability {
    capability_with(kind, AccessMode::SingleNodeMultiWriter, &[])
}

pub fn capability_with(kind: Kind, access_mode: AccessMode, flags: &[&str]) -> VolumeCapability {
    let access_type = match kind {
        kind if kind.is_block() => AccessType::Block,
        _ => AccessType::Mount(MountAccess {
            mount_flags: MountFlags::new(flags.iter().map(|&flag| flag.to_owned()).collect()),
            ..Default::default()
        }),
    };
    VolumeCapability { access_type, access_mode }
}

pub fn filesystem(kind: Kind) -> Filesystem {
    Filesystem {
        fs_type: if kind.is_xfs() { "xfs" } else { "ext4" }.into(),
        format: FormatPolicy::IfEmpty,
        mkfs_options: vec![],
        mount_options: vec![],
        fsck: FsckPolicy::None,
        grow: true,
        read_only: false,
    }
}

pub fn plan(name: &str, kind: Kind) -> Plan {
    let object = PoolObject { pool: POOL.into(), name: name.into() };
    Plan {
        access: if kind == Kind::Directory { Access::PoolDirectory(object) } else { Access::PoolImage(object) },
        usage: match kind {
            kind if kind.is_block() => Usage::Block(BlockUsage { read_only: false }),
            Kind::Directory => Usage::Directory(directory(&[])),
            _ => Usage::Filesystem(filesystem(kind)),
        },
        encryption: None,
        expected_size_bytes: None,
    }
}

impl Env {
    pub fn stage(&self, name: &str, kind: Kind) -> Stage {
        Stage {
            volume_id: volume(name),
            staging_path: self.staging(name),
            capability: capability(kind),
            plan: if kind.on_disk() { self.plan_of_disk(name, kind) } else { plan(name, kind) },
            timeout: Duration::from_secs(20),
        }
    }

    pub fn unstage(&self, name: &str) -> Unstage {
        Unstage { volume_id: volume(name), staging_path: self.staging(name) }
    }

    pub fn publish(&self, name: &str, kind: Kind, pod: &str, read_only: bool) -> Publish {
        Publish {
            volume_id: volume(name),
            staging_path: self.staging(name),
            target_path: self.target(pod),
            capability: capability(kind),
            read_only,
        }
    }

    pub fn ephemeral(&self, name: &str, kind: Kind, pod: &str) -> PublishEphemeral {
        PublishEphemeral {
            volume_id: volume(name),
            target_path: self.target(pod),
            capability: capability_with(kind, AccessMode::SingleNodeWriter, &[]),
            read_only: false,
            plan: EphemeralPlan {
                pool: POOL.into(),
                size_bytes: kind.size(),
                scratch: match kind {
                    Kind::Directory => Scratch::Directory(directory(&[])),
                    _ => Scratch::Image(filesystem(kind)),
                },
            },
        }
    }

    pub fn health(&self, name: &str, path: Option<PathBuf>) -> NodeHealth {
        NodeHealth { volume_id: volume(name), volume_path: path }
    }

    /// Names of all objects in the pool.
    pub fn objects(&self) -> Vec<String> {
        let objects = fs::read_dir(self.pool().join("objects")).unwrap();
        objects.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// All that a reboot takes.
    pub fn reboot(&self) {
        for mount in self.mounts().iter().rev() {
            tool("umount", &[mount.to_str().unwrap()]);
        }
        for device in self.loops().iter().rev() {
            tool("losetup", &["-d", device]);
        }
    }

    pub fn unpublish(&self, name: &str, pod: &str) -> Unpublish {
        Unpublish { volume_id: volume(name), target_path: self.target(pod) }
    }

    pub fn stats(&self, name: &str, path: PathBuf) -> Stats {
        Stats { volume_id: volume(name), volume_path: path }
    }
}

/// The same, for reading only: its plan says so, as after an attach for reading.
pub fn read_only(mut stage: Stage) -> Stage {
    only_read(&mut stage.plan.usage);
    stage
}

/// Asserts the kind of an error.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) -> String {
    let error = result.expect_err("must be refused");
    assert_eq!(error.kind(), kind, "{error}");
    error.message().to_owned()
}

/// Where data of a published volume is, for a kind.
pub fn data_path(target: &Path, kind: Kind) -> PathBuf {
    if kind.is_block() { target.to_owned() } else { target.join("data") }
}

pub fn write_data(target: &Path, kind: Kind) {
    let mut file = fs::File::options().write(true).create(!kind.is_block()).open(data_path(target, kind)).unwrap();
    std::io::Write::write_all(&mut file, DATA).unwrap();
    file.sync_all().unwrap();
}

const DATA: &[u8] = b"what a tenant wrote";
#[track_caller]
pub fn assert_data(target: &Path, kind: Kind) {
    let mut found = vec![0; DATA.len()];
    let mut file = fs::File::open(data_path(target, kind)).unwrap();
    std::io::Read::read_exact(&mut file, &mut found).unwrap();
    assert_eq!(found, DATA);
}

/// A program, which must succeed.
#[track_caller]
pub fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
